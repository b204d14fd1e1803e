"""Prompts, run through the model so that decoding can begin: the keys and values of all but a prompt's last token.

The last token is left to the decode loop, which feeds it as a row's first token: so prefill needs no logits, and all
samples of a prompt share one prefill. What a kept sequence begins like is taken from there, whoever computed it: an
earlier prompt, or the decode loop for a completion that this one continues. Which positions are kept never changes a
bit of a sample on a CPU in fp32, by one of two rules:

    where the model's layout is known (`CachedForward.fills_exactly`), a fill computes the very bits that decode steps
    do; so keys are taken over to the position, from prompts and completions alike;
    elsewhere the kernels of prefill and decode round differently: keys of completions are not kept, what continues one
    prefills its tokens, and keys of prompts are taken over in whole blocks of 16 positions.

Off the CPU or in bf16, where no bits are promised, keys are always taken over to the position. Prompts that come
together share what is kept; of what is not, those with 16 more tokens in common wait for the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch

from tutelage.sampling.cache import FillPlan, Run, SlotCache, WritePlan
from tutelage.sampling.forward import CachedForward
from tutelage.sampling.grouping import ROW_MULTIPLE, round_up
from tutelage.sampling.kept import KeptKeys, KeptSequence
from tutelage.sampling.kernels import KEY_MULTIPLE
from tutelage.sampling.prefix_tree import Ids

CHUNK = 512
"""New tokens of a row that one forward takes."""
BATCH_TOKENS = 2048
"""Tokens that one forward takes, padding included."""
RUN_TOKENS = 64
"""Tokens of a sequence that look equally far in a fill: less reads fewer keys, in more calls."""


class Opening(NamedTuple):
    """A text of which something is to be computed.

    Args:
        ids: all its tokens.
        start: how many positions are there already, or computed before.
        donor: holds them, None where there are none.
    """

    ids: Ids
    start: int
    donor: KeptSequence | None

    @property
    def num_new(self) -> int:
        """Tokens to compute."""
        return len(self.ids) - self.start


class Prefiller:
    """Prefills prompts under one set of weights.

    Args:
        forward: the model.
        kept: where keys are taken from and put.
        to_the_position: whether kept keys are taken over to the position, or in whole blocks.
    """

    def __init__(self, forward: CachedForward, kept: KeptKeys, *, to_the_position: bool) -> None:
        self.forward, self.kept, self._exact = forward, kept, to_the_position
        self.num_tokens = self.num_prompts = self.num_forwards = 0

    def held(self, ids: Ids) -> KeptSequence | None:
        """What holds the keys of all but the last token of a prompt, None where nothing does."""
        sequence, length = self.kept.longest(ids[:-1])
        return sequence if length == len(ids) - 1 else None

    def is_ready(self, ids: Ids) -> bool:
        """Whether a prompt needs no prefill."""
        return len(ids) == 1 or self.held(ids) is not None

    def ensure(self, wanted: Iterable[Ids]) -> None:
        """Prefill those of `wanted` that are not kept."""
        wanted = list(dict.fromkeys(wanted))
        missing = [ids[:-1] for ids in wanted if not self.is_ready(ids)]
        while missing:
            now: dict[tuple[Ids, Ids] | Ids, Opening] = {}
            for ids in missing:
                opening = self.opening(ids)
                common = ids[opening.start : opening.start + KEY_MULTIPLE]
                now.setdefault((ids[: opening.start], common) if len(common) == KEY_MULTIPLE else ids, opening)
            self.compute(now.values())
            missing = [ids for ids in missing if self.kept.longest(ids)[1] < len(ids)]
        self.kept.forget(spared=[found for ids in wanted if (found := self.held(ids)) is not None])

    def opening(self, ids: Ids) -> Opening:
        """What is kept of a text, and so what is still to be computed."""
        donor, length = self.kept.longest(ids)
        start = length if self._exact else length // KEY_MULTIPLE * KEY_MULTIPLE
        return Opening(ids, start, donor if start else None)

    def compute(self, openings: Iterable[Opening]) -> None:
        """Prefill texts, and keep them."""
        for batch in _batches(sorted(openings, key=lambda o: o.num_new)):
            capacity = self.forward.key_span(max(len(o.ids) for o in batch) + CHUNK, new_tokens=CHUNK)
            cache = self.forward.new_cache(len(batch), capacity)
            for slot, opening in enumerate(batch):
                if opening.donor is not None:
                    cache.load(slot, opening.donor.states, opening.start)
            if self.forward.fills_exactly:
                self._fill(batch, cache)
            else:
                self._prefill(batch, cache)
            for slot, opening in enumerate(batch):
                self.kept.keep(opening.ids, cache, slot)
                self.num_prompts += 1
                self.num_tokens += opening.num_new

    def _fill(self, batch: list[Opening], cache: SlotCache) -> None:
        for ids, plan, _ in fills(batch, self.forward):
            self.forward.fill(ids, cache, plan)
            self.num_forwards += 1

    def _prefill(self, batch: list[Opening], cache: SlotCache) -> None:
        device, starts = self.forward.device, [opening.start for opening in batch]
        width = round_up(max(opening.num_new for opening in batch), KEY_MULTIPLE)
        padded = [[*o.ids[o.start :], *[0] * (width - o.num_new)] for o in batch]
        tokens = torch.tensor(padded, dtype=torch.int64, device=device)
        positions = torch.tensor(starts, device=device)[:, None] + torch.arange(width, device=device)
        for begin in range(0, width, CHUNK):
            part = slice(begin, min(begin + CHUNK, width))
            span = self.forward.key_span(max(starts) + part.stop, new_tokens=CHUNK)
            self.forward.hidden(tokens[:, part], cache, WritePlan(positions[:, part], span))
            self.num_forwards += 1


def fills(batch: list[Opening], forward: CachedForward) -> Iterator[tuple[torch.Tensor, FillPlan, int]]:
    """The forwards that compute what is new in `batch`, row i in slot i: tokens, a plan, and how many are not padding.

    The last token is repeated until there are a multiple of 8.
    """
    left = [
        (slot, start, min(start + RUN_TOKENS, len(opening.ids)))
        for slot, opening in enumerate(batch)
        for start in range(opening.start, len(opening.ids), RUN_TOKENS)
    ]
    while left:
        runs: list[Run] = []
        ids: list[int] = []
        slots: list[int] = []
        positions: list[int] = []
        while left and len(ids) < BATCH_TOKENS:
            slot, start, stop = left.pop(0)
            runs.append(Run(slot, len(ids), len(ids) + stop - start, forward.key_span(stop, new_tokens=1)))
            ids += batch[slot].ids[start:stop]
            slots += [slot] * (stop - start)
            positions += range(start, stop)
        padding = -len(ids) % ROW_MULTIPLE
        runs[-1] = runs[-1]._replace(stop=runs[-1].stop + padding)
        tensors = [
            torch.tensor(values + values[-1:] * padding, dtype=torch.int64) for values in (ids, slots, positions)
        ]
        yield tensors[0], FillPlan(tensors[1], tensors[2][:, None], runs), len(ids)


def _batches(openings: list[Opening]) -> Iterator[list[Opening]]:
    """Split texts, sorted by how many new tokens they have, into batches of at most `BATCH_TOKENS` padded tokens."""
    batch: list[Opening] = []
    for opening in openings:
        width = round_up(max(1, opening.num_new), KEY_MULTIPLE)
        if batch and (len(batch) + 1) * width > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(opening)
    if batch:
        yield batch
