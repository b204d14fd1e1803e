"""Prompts, run through the model once and kept: the keys and values of all but a prompt's last token.

The last token is left to the decode loop, which feeds it as a row's first token: so prefill needs no logits, and all
samples of a prompt share one prefill. A prompt that begins like a kept one takes over the whole blocks of 16 positions
they share (few-shot prompts, the next chunk of a solution). Neither sharing nor batching changes a bit of the result on
a CPU in fp32 with one thread and torch 2.13 (before: no token, and log-probs by less than 1e-5); keys written by the
decode loop would, so those are never taken over.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from tutelage.sampling.cache import KEY_MULTIPLE, Prefix, SlotCache, WritePlan
from tutelage.sampling.forward import CachedForward
from tutelage.sampling.grouping import round_up

Ids = tuple[int, ...]
CHUNK = 512
"""New tokens of a row that one forward takes."""
BATCH_TOKENS = 2048
"""Padded tokens that one forward takes."""
LEAD_BLOCKS = 4
"""Missing prompts that share this many blocks wait for one of them to be prefilled first."""


@dataclass
class Prompt:
    """A prefilled prompt; `prefix` holds `length` = len(ids) - 1 positions."""

    ids: Ids
    prefix: Prefix
    blocks: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Positions held."""
        return len(self.ids) - 1

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return sum(t.numel() * t.element_size() for pair in self.prefix for t in pair)


class PromptStore:
    """Prefilled prompts of one set of weights, the least recently used forgotten first.

    Args:
        forward: the model.
        max_bytes: memory to keep; what is asked for at once is always kept.
    """

    def __init__(self, forward: CachedForward, *, max_bytes: int) -> None:
        self.forward, self.max_bytes = forward, max_bytes
        self.num_prefilled = self.num_forwards = self.num_reused = 0
        self._prompts: OrderedDict[Ids, Prompt] = OrderedDict()
        self._blocks: dict[int, Ids] = {}
        self._bytes = 0

    def __contains__(self, ids: Ids) -> bool:
        return ids in self._prompts

    def get(self, ids: Ids) -> Prompt:
        """A prompt that `ensure` was asked for."""
        self._prompts.move_to_end(ids)
        return self._prompts[ids]

    def ensure(self, wanted: Iterable[Ids]) -> None:
        """Prefill those of `wanted` that are not kept."""
        wanted = list(dict.fromkeys(wanted))
        chains = {ids: block_chain(ids[:-1]) for ids in wanted if ids not in self._prompts}
        leaders: dict[int, Ids] = {}
        for ids, chain in chains.items():
            leaders.setdefault(chain[LEAD_BLOCKS - 1] if len(chain) >= LEAD_BLOCKS else hash(ids), ids)
        first = set(leaders.values())
        for some in ([i for i in chains if i in first], [i for i in chains if i not in first]):
            plans = sorted(((self._reusable(ids, chains[ids]), ids) for ids in some), key=lambda p: len(p[1]) - p[0][1])
            for batch in _batches(plans):
                self._prefill(batch, chains)
        self._forget(set(wanted))

    def clear(self) -> None:
        """Forget everything (the weights changed)."""
        self._prompts.clear()
        self._blocks.clear()
        self._bytes = 0

    def _reusable(self, ids: Ids, chain: list[int]) -> tuple[Prompt | None, int]:
        """A kept prompt that begins like `ids`, and how many positions of it can be taken over."""
        for count in range(len(chain), 0, -1):
            length = count * KEY_MULTIPLE
            donor = self._prompts.get(self._blocks.get(chain[count - 1], ()))
            if donor is not None and donor.ids[:length] == ids[:length] and donor.length >= length:
                return donor, length
        return None, 0

    def _prefill(self, batch: list[tuple[tuple[Prompt | None, int], Ids]], chains: dict[Ids, list[int]]) -> None:
        device = self.forward.device
        starts = [start for (_, start), _ in batch]
        width = max(round_up(max(len(ids) - 1 - start for (_, start), ids in batch), KEY_MULTIPLE), KEY_MULTIPLE)
        capacity = self.forward.key_span(max(starts) + width, new_tokens=CHUNK)
        cache = SlotCache(len(batch), capacity)
        padded = [list(ids[start:-1]) + [0] * (width - (len(ids) - 1 - start)) for (_, start), ids in batch]
        for row, ((donor, start), _) in enumerate(batch):
            if donor is not None:
                cache.load(row, donor.prefix, start)
        tokens = torch.tensor(padded, dtype=torch.int64, device=device)
        positions = torch.tensor(starts, device=device)[:, None] + torch.arange(width, device=device)
        for begin in range(0, width, CHUNK):
            part = slice(begin, min(begin + CHUNK, width))
            span = self.forward.key_span(max(starts) + part.stop, new_tokens=CHUNK)
            self.forward.hidden(tokens[:, part], cache, WritePlan(positions[:, part], span))
            self.num_forwards += 1
        for row, ((_, start), ids) in enumerate(batch):
            self._keep(Prompt(ids, cache.prefix(row, len(ids) - 1), chains[ids]))
            self.num_prefilled += 1
            self.num_reused += start

    def _keep(self, prompt: Prompt) -> None:
        self._prompts[prompt.ids] = prompt
        self._bytes += prompt.num_bytes
        for block in prompt.blocks:
            self._blocks[block] = prompt.ids

    def _forget(self, needed: set[Ids]) -> None:
        for ids in list(self._prompts):
            if self._bytes <= self.max_bytes:
                return
            if ids not in needed:
                gone = self._prompts.pop(ids)
                self._bytes -= gone.num_bytes
                for block in gone.blocks:
                    if self._blocks.get(block) == ids:
                        del self._blocks[block]


def block_chain(ids: Sequence[int]) -> list[int]:
    """Hashes of the prefixes of `ids` that are whole blocks; equal prefixes have equal hashes."""
    chain: list[int] = []
    for end in range(KEY_MULTIPLE, len(ids) + 1, KEY_MULTIPLE):
        chain.append(hash((chain[-1] if chain else 0, tuple(ids[end - KEY_MULTIPLE : end]))))
    return chain


def _batches(
    plans: list[tuple[tuple[Prompt | None, int], Ids]],
) -> Iterator[list[tuple[tuple[Prompt | None, int], Ids]]]:
    """Split plans, sorted by how many new tokens they have, into batches of at most `BATCH_TOKENS` padded tokens."""
    batch: list[tuple[tuple[Prompt | None, int], Ids]] = []
    for plan in plans:
        (_, start), ids = plan
        width = max(round_up(len(ids) - 1 - start, KEY_MULTIPLE), KEY_MULTIPLE)
        if batch and (len(batch) + 1) * width > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(plan)
    if batch:
        yield batch
