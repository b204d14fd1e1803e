"""The decode loop: many rows, one token each per step; rows that finish leave, waiting ones take their slots.

Everything that is per token stays in tensors: the drawn tokens, their log-probs and the uniform numbers lie in tables
of one row per slot, and the only question asked of the device each step is whether some row drew an end token.
Row i sits in slot i of the cache; the rows are kept dense, and rounded up to a multiple of 8 with idle ones.
Not here: which requests wait, and what becomes of finished rows and of their keys (`lane`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from tutelage.records import FinishReason, SamplingParams
from tutelage.sampling.cache import SlotCache, WritePlan
from tutelage.sampling.draw import Filters, draw, uniforms
from tutelage.sampling.forward import CachedForward
from tutelage.sampling.grouping import ROW_MULTIPLE, RowSpan, better_places, grouped, round_up
from tutelage.sampling.kept import KeptSequence
from tutelage.sampling.session import SampleRequest
from tutelage.sampling.stopping import StopWatch

HEADROOM = 256
"""New positions of a row that the cache has room for from the start; beyond, it grows by doubling."""


@dataclass
class Row:
    """A completion being written.

    Args:
        request: what it answers.
        limit: most tokens it may have.
        watch: looks for stop and pause texts, None where none are given.
        born: the step at which it entered.
    """

    request: SampleRequest
    limit: int
    watch: StopWatch | None = None
    born: int = 0

    def length(self, clock: int) -> int:
        """Its positions at a step, the token that is fed next included."""
        return len(self.request.prompt_ids) + clock - self.born

    @property
    def num_before(self) -> int:
        """Positions that it needs to begin: all of its prompt but the last token, which is fed first."""
        return len(self.request.prompt_ids) - 1


@dataclass(frozen=True)
class FinishedRow:
    """A completion that is done."""

    request: SampleRequest
    token_ids: list[int]
    token_logprobs: list[float]
    finish_reason: FinishReason


Leaving = Callable[[FinishedRow, SlotCache, int], None]
"""Told of a row that is done, with the cache and the slot that still holds its keys: all but the last token's."""


class DecodeBatch:
    """The rows that are decoded together, all with the same weights.

    Args:
        forward: the model.
        end_ids: tokens that end any completion.
        max_rows: most rows at once.
        on_leaving: told of every row that is done.
    """

    def __init__(
        self, forward: CachedForward, *, end_ids: frozenset[int], max_rows: int, on_leaving: Leaving | None = None
    ) -> None:
        self.forward, self.end_ids, self.max_rows, self.on_leaving = forward, end_ids, max_rows, on_leaving
        self.clock = 0
        self._rows: list[Row | None] = []
        self._cache = forward.new_cache(ROW_MULTIPLE, 64)
        self._is_end = torch.zeros(forward.config.vocab_size, dtype=torch.bool, device=forward.device)
        self._is_end[[i for i in end_ids if i < len(self._is_end)]] = True
        zeros = {"dtype": torch.int64, "device": forward.device}
        self._pending, self._position, self._count, self._alive = (torch.zeros(ROW_MULTIPLE, **zeros) for _ in range(4))
        self._tokens = torch.zeros((ROW_MULTIPLE, 64), **zeros)
        self._logprobs = torch.zeros((ROW_MULTIPLE, 64), dtype=torch.float32, device=forward.device)
        self._uniforms = torch.zeros((ROW_MULTIPLE, 64), dtype=torch.float64, device=forward.device)
        self._groups: list[RowSpan] = []
        self._longest = 0
        self._stale = True

    @property
    def num_rows(self) -> int:
        """Rows being written."""
        return sum(row is not None for row in self._rows)

    @property
    def num_free(self) -> int:
        """Rows that could be admitted."""
        return self.max_rows - self.num_rows

    def admit(self, entering: Sequence[tuple[Row, KeptSequence | None]]) -> None:
        """Start rows, at most `num_free`, each with what holds the positions that it needs to begin."""
        for row, _ in entering:
            self._longest = max(self._longest, row.num_before + row.limit)
        widest = max(row.num_before + min(row.limit, HEADROOM) for row, _ in entering)
        self._reserve(self.num_rows + len(entering), widest, max(row.limit for row, _ in entering))
        for row, prompt in entering:
            slot = self._rows.index(None) if None in self._rows else len(self._rows)
            if slot == len(self._rows):
                self._rows.append(None)
            self._enter(slot, row, prompt)
        self._stale = True

    def _enter(self, slot: int, row: Row, prompt: KeptSequence | None) -> None:
        self._rows[slot] = row
        row.born = self.clock
        if prompt is not None and row.num_before:
            self._cache.load(slot, prompt.states, row.num_before)
        self._pending[slot] = row.request.prompt_ids[-1]
        self._position[slot] = row.num_before
        self._count[slot] = 0
        self._alive[slot] = 1
        if row.request.params.temperature > 0:
            self._uniforms[slot, : row.limit] = torch.from_numpy(uniforms(row.request.seed, row.limit))

    def step(self) -> list[FinishedRow]:
        """One token for every row; returns the rows that are done and frees their slots.

        Must run inside `CachedForward.evaluating`.
        """
        if self._stale:
            self._settle()
        rows, count = self._num_padded, self._count[: self._num_padded, None]
        spans = tuple(
            RowSpan(start, stop, self.forward.key_span(length + self.clock, new_tokens=1))
            for start, stop, length in self._groups
        )
        span = max(span.length for span in spans)
        if span > self._cache.capacity:
            self._reserve(rows, max(span, min(2 * self._cache.capacity, self._longest)), 0)
        plan = WritePlan(self._position[:rows, None], span, spans)
        logits = self.forward.logits(self._pending[:rows, None], self._cache, plan)
        drawn = draw(logits, self._filters, self._uniforms[:rows].gather(1, count)[:, 0])
        self._tokens[:rows].scatter_(1, count, drawn.tokens[:, None])
        self._logprobs[:rows].scatter_(1, count, drawn.logprobs[:, None])
        self._pending[:rows] = drawn.tokens
        self._position += self._alive
        self._count += self._alive
        self.clock += 1
        return [self._finish(slot, reason) for slot, reason in self._ended(drawn.tokens).items()]

    def _ended(self, tokens: torch.Tensor) -> dict[int, FinishReason]:
        """The slots whose row is done after drawing `tokens`, and why."""
        ended: dict[int, FinishReason] = {}
        is_end = self._is_end[tokens]
        if self._own_ends is not None:
            is_end |= (tokens[:, None] == self._own_ends).any(1)
        if bool(is_end.any()):
            ended = {slot: "stop" for slot in is_end.nonzero()[:, 0].tolist() if slot < len(self._rows)}
        if self._watched:
            seen = tokens.tolist()
            for slot in self._watched:
                reason = self._rows[slot].watch.feed(seen[slot])  # type: ignore[union-attr]
                if reason is not None:
                    ended.setdefault(slot, reason)
        if self.clock >= self._deadline:
            for slot, row in enumerate(self._rows):
                if row is not None and self.clock - row.born >= row.limit:
                    ended.setdefault(slot, "length")
        return ended

    def _finish(self, slot: int, reason: FinishReason) -> FinishedRow:
        row = self._rows[slot]
        assert row is not None
        count = self.clock - row.born
        self._rows[slot] = None
        self._stale = True
        finished = FinishedRow(
            row.request, self._tokens[slot, :count].tolist(), self._logprobs[slot, :count].tolist(), reason
        )
        if self.on_leaving is not None:
            self.on_leaving(finished, self._cache, slot)
        return finished

    def _settle(self) -> None:
        """After rows came or went: make them dense again and note what the host must know of them."""
        self._make_dense()
        self._group()
        rows: list[Row] = [row for row in self._rows if row is not None]
        for state in (self._pending, self._position, self._count, self._alive):
            state[len(rows) :] = 0
        params = [row.request.params for row in rows]
        idle = [SamplingParams(temperature=params[0].temperature)] * (self._num_padded - len(rows))
        self._filters = Filters.of(params + idle, self.forward.device)
        self._own_ends = _own_ends(params, self._num_padded, self.forward.device)
        self._watched = [slot for slot, row in enumerate(rows) if row.watch is not None]
        self._deadline = min(row.born + row.limit for row in rows)
        self._stale = False

    def _make_dense(self) -> None:
        """The last rows take the slots that became free."""
        free = [slot for slot, row in enumerate(self._rows) if row is None]
        remaining = len(self._rows) - len(free)
        last = [slot for slot in range(remaining, len(self._rows)) if self._rows[slot] is not None]
        moves = dict(zip(last, [slot for slot in free if slot < remaining], strict=True))
        self._move(moves)
        del self._rows[remaining:]
        self._num_padded = round_up(remaining, ROW_MULTIPLE)

    def _group(self) -> None:
        """Rows of like lengths come together where that pays, and look at keys in groups."""
        cost = self.forward.group_cost
        if cost is not None:
            self._move(better_places(self._lengths(), cost))
        lengths = self._lengths()
        lengths += [min(lengths)] * (self._num_padded - len(lengths))
        groups = grouped(lengths, cost) if cost is not None else [RowSpan(0, len(lengths), max(lengths))]
        # Counted back to clock 0, so that a group's length at any step is this plus the clock.
        self._groups = [group._replace(length=group.length - self.clock) for group in groups]

    def _lengths(self) -> list[int]:
        """Positions of each row, the pending token's included."""
        return [row.length(self.clock) for row in self._rows if row is not None]

    def _move(self, moves: Mapping[int, int]) -> None:
        """Rows take other slots, all at once."""
        if not moves:
            return
        rows = {target: self._rows[source] for source, target in moves.items()}
        lengths = {slot: row.length(self.clock) for slot, row in enumerate(self._rows) if row is not None}
        self._cache.move(moves, lengths)
        source, target = (torch.tensor(list(m), device=self.forward.device) for m in (moves.keys(), moves.values()))
        tables = (self._pending, self._position, self._count, self._alive, self._tokens, self._logprobs, self._uniforms)
        for table in tables:
            table[target] = table[source]
        for slot, row in rows.items():
            self._rows[slot] = row

    def _reserve(self, rows: int, positions: int, new_tokens: int) -> None:
        """Grow slots (doubling), positions and tables to hold this much."""
        slots, capacity = self._cache.slots, self._cache.capacity
        while slots < rows:
            slots *= 2
        slots = max(min(slots, round_up(self.max_rows, ROW_MULTIPLE)), self._cache.slots)
        capacity = max(capacity, self.forward.key_span(positions, new_tokens=1))
        if (slots, capacity) != (self._cache.slots, self._cache.capacity):
            self._cache.resize(slots, capacity)
        for name in ("_pending", "_position", "_count", "_alive"):
            setattr(self, name, _grown(getattr(self, name), (slots,)))
        width = max(self._tokens.shape[1], round_up(new_tokens, 64))
        for name in ("_tokens", "_logprobs", "_uniforms"):
            setattr(self, name, _grown(getattr(self, name), (slots, width)))


def _grown(old: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """`old` within zeros of a larger shape."""
    if tuple(old.shape) == shape:
        return old
    new = old.new_zeros(shape)
    new[tuple(slice(n) for n in old.shape)] = old
    return new


def _own_ends(params: Sequence[SamplingParams], rows: int, device: torch.device) -> torch.Tensor | None:
    """`(rows, E)` end tokens that single requests name, padded with -1; None where none does."""
    width = max(len(p.stop_token_ids) for p in params)
    if width == 0:
        return None
    filled = [[*p.stop_token_ids, *[-1] * (width - len(p.stop_token_ids))] for p in params]
    return torch.tensor(filled + [[-1] * width] * (rows - len(params)), dtype=torch.int64, device=device)
