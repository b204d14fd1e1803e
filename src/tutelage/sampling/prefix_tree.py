"""A tree of token sequences: which kept sequence begins most like a new one, found in time that grows with its length.

What it is: a compressed prefix tree whose leaves hold values. What it is not: an owner of memory; `kept` is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

V = TypeVar("V")
Ids = tuple[int, ...]


@dataclass
class _Branch(Generic[V]):
    """The tokens from one fork to the next, and what comes after them; a leaf has a value."""

    ids: Ids
    value: V | None = None
    after: dict[int, _Branch[V]] = field(default_factory=dict)


class PrefixTree(Generic[V]):
    """Sequences of which none begins with another whole one, each with a value."""

    def __init__(self) -> None:
        self._root: _Branch[V] = _Branch(())

    def find(self, ids: Ids) -> tuple[V | None, int]:
        """A value whose sequence shares the most first tokens with `ids`, and how many; (None, 0) where none does."""
        branch, length = self._root, 0
        while length < len(ids):
            following = branch.after.get(ids[length])
            if following is None:
                break
            branch = following
            shared = _shared(branch.ids, ids, length)
            length += shared
            if shared < len(branch.ids):
                break
        return (_leaf(branch).value, length) if length else (None, 0)

    def add(self, ids: Ids, value: V) -> None:
        """Put in a sequence that no other begins with, nor begins with another whole one; not empty."""
        branch, length = self._root, 0
        while (following := branch.after.get(ids[length])) is not None:
            shared = _shared(following.ids, ids, length)
            length += shared
            if shared < len(following.ids):
                fork: _Branch[V] = _Branch(following.ids[:shared], None, {following.ids[shared]: following})
                branch.after[fork.ids[0]] = fork
                following.ids = following.ids[shared:]
                branch = fork
                break
            branch = following
        branch.after[ids[length]] = _Branch(ids[length:], value)

    def extend(self, ids: Ids, more: Ids) -> None:
        """The sequence `ids` goes on with `more`."""
        self._path(ids)[-1].ids += more

    def remove(self, ids: Ids) -> None:
        """Take out a sequence."""
        *_, parent, leaf = self._path(ids)
        del parent.after[leaf.ids[0]]
        if len(parent.after) == 1 and parent is not self._root:
            (only,) = parent.after.values()
            parent.ids, parent.value, parent.after = parent.ids + only.ids, only.value, only.after

    def _path(self, ids: Ids) -> list[_Branch[V]]:
        path, length = [self._root], 0
        while length < len(ids):
            path.append(path[-1].after[ids[length]])
            length += len(path[-1].ids)
        return path


def _leaf(branch: _Branch[V]) -> _Branch[V]:
    while branch.after:
        branch = next(iter(branch.after.values()))
    return branch


def _shared(own: Ids, ids: Ids, start: int) -> int:
    """How many of a branch's tokens `ids` has from `start` on."""
    if ids[start : start + len(own)] == own:
        return len(own)
    return next((i for i, (a, b) in enumerate(zip(own, ids[start:], strict=False)) if a != b), len(ids) - start)
