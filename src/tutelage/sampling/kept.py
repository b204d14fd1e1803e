"""Keys and values that may be needed again: sequences of positions, found by their tokens, the least used forgotten.

What it is: the memory of one adapter at one version. A sequence that begins with another whole one takes its place and
its memory, so a chain of chunks is held once, and of a tree one copy a leaf. Whoever asks names tokens, never a
completion: a completion's id is only used to free what nobody will continue (`release`).
What it is not: a promise. What was forgotten is computed again, with the same numbers (`prefill` says when).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tutelage.sampling.cache import Prefix, SlotCache
from tutelage.sampling.grouping import round_up
from tutelage.sampling.prefix_tree import Ids, PrefixTree

ROOM = 32
"""Positions are allocated in multiples of this, so that the next chunk is often written beside the last."""


@dataclass(eq=False)
class KeptSequence:
    """The keys and values of the first positions of a text.

    Args:
        ids: the tokens at these positions.
        states: per bank of the cache `(entries, heads, room, width)`, room >= len(ids).
        nodes: completions that end in it: the positions at which what they wrote begins and ends.
    """

    ids: Ids
    states: Prefix
    nodes: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return sum(t.numel() * t.element_size() for t in self.states)

    def grow(self, ids: Ids, cache: SlotCache, slot: int) -> None:
        """Go on to `ids`, which begins with its own, by what a slot holds."""
        length, room = len(self.ids), self.states[0].shape[2]
        if len(ids) > room:
            self.states = cache.prefix(slot, len(ids), room=round_up(len(ids), ROOM))
        else:
            for mine, new in zip(self.states, cache.written(slot, length, len(ids)), strict=True):
                mine[:, :, length : len(ids)] = new
        self.ids = ids

    def cut(self, length: int) -> None:
        """Hold only the first positions."""
        self.ids = self.ids[:length]
        self.states = [states[:, :, :length].clone() for states in self.states]


class KeptKeys:
    """The kept sequences of one set of weights.

    Args:
        max_bytes: memory that is kept; what `forget` is told to spare may exceed it.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes, self.num_bytes, self.num_forgotten = max_bytes, 0, 0
        self._tree: PrefixTree[KeptSequence] = PrefixTree()
        self._order: OrderedDict[KeptSequence, None] = OrderedDict()
        self._nodes: dict[str, KeptSequence] = {}

    def __len__(self) -> int:
        return len(self._order)

    def longest(self, ids: Ids) -> tuple[KeptSequence | None, int]:
        """A kept sequence that shares the most first tokens with `ids`, and how many."""
        sequence, length = self._tree.find(ids)
        if sequence is not None:
            self._order.move_to_end(sequence)
        return sequence, length

    def keep(self, ids: Ids, cache: SlotCache, slot: int, *, node: str = "", own_from: int = 0) -> None:
        """Keep what a slot holds at the positions of `ids`.

        Args:
            ids: the tokens at the slot's first positions.
            cache, slot: where they are.
            node: the completion that ends here, if one does.
            own_from: the position at which what it wrote begins.
        """
        if not ids:
            return
        sequence, length = self.longest(ids)
        if sequence is None or (length < len(ids) and length < len(sequence.ids)):
            sequence = KeptSequence(ids, cache.prefix(slot, len(ids), room=round_up(len(ids), ROOM)))
            self._add(sequence)
        elif length < len(ids):
            self.num_bytes -= sequence.num_bytes
            self._tree.extend(sequence.ids, ids[length:])
            sequence.grow(ids, cache, slot)
            self.num_bytes += sequence.num_bytes
        if node:
            sequence.nodes[node] = (own_from, len(ids))
            self._nodes[node] = sequence

    def _add(self, sequence: KeptSequence) -> None:
        self._tree.add(sequence.ids, sequence)
        self._order[sequence] = None
        self.num_bytes += sequence.num_bytes

    def _remove(self, sequence: KeptSequence) -> None:
        self._tree.remove(sequence.ids)
        del self._order[sequence]
        self.num_bytes -= sequence.num_bytes
        for node in sequence.nodes:
            self._nodes.pop(node, None)

    def release(self, node: str) -> None:
        """Free what a completion wrote, where nothing kept goes on from it."""
        sequence = self._nodes.pop(node, None)
        if sequence is None:
            return
        start, end = sequence.nodes.pop(node)
        length = max([start, *(end for _, end in sequence.nodes.values())])
        if end < len(sequence.ids) or length >= end:
            return
        nodes = dict(sequence.nodes)
        self._remove(sequence)
        _, held = self.longest(sequence.ids[:length])
        if nodes or held < length:
            sequence.cut(length)
            self._nodes.update(dict.fromkeys(nodes, sequence))
            self._add(sequence)

    def forget(self, spared: Iterable[KeptSequence] = ()) -> None:
        """Forget the least recently used until the rest fits."""
        if self.num_bytes <= self.max_bytes:
            return
        spared = set(spared)
        for sequence in list(self._order):
            if self.num_bytes <= self.max_bytes:
                return
            if sequence not in spared:
                self._remove(sequence)
                self.num_forgotten += 1

    def clear(self) -> None:
        """Forget everything (the weights changed)."""
        self._tree = PrefixTree()
        self._order.clear()
        self._nodes.clear()
        self.num_bytes = 0
