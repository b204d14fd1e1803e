"""From rows to padded forward passes that compute as few tokens as they can.

An *optimizer batch* is split into *groups* whose graphs are held at once, and a group into *passes* (one forward
each) of *lines* of like length. A line holds one row, or several rows of one prompt: then the prompt is computed once
and a mask keeps the siblings from seeing each other. Splitting and sharing change no loss: all normalisation is by
numbers of the whole optimizer batch (`losses.nll_coefficients`).

Lines are padded on the right and need no mask on that account: a causal model's real tokens never see what is to
their right. The last scored token of a row and all after it are not fed: nothing scored is predicted from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tutelage.learning.batches import Row

FORWARD_OVERHEAD = {"cpu": 32, "cuda": 4096}
"""Tokens that could be computed in the time that one more pass costs; passes are split with this in mind."""
LEAST_SAVING = 0.1
"""Share of the tokens that sharing prompts must save: its attention cannot use the causal short cut."""

Key = tuple[int, int]
"""(item, side): side 0 of a pair is chosen, 1 rejected."""
Line = tuple[Key, ...]


@dataclass(frozen=True)
class Pass:
    """One forward pass of L lines padded to T tokens, P of whose positions are scored for R rows.

    Args:
        input_ids: `(L, T)`, padded on the right with 0.
        positions: `(P,)` indices into the flattened `(L * T)` states, each of which predicts one target.
        targets: `(P,)` token ids.
        weights: `(P,)` loss weights, not 0.
        owners: `(P,)` the row in [0, R) that each position belongs to; rows are counted line by line.
        num_rows: R.
        position_ids: `(L, T)` each token's place in its own row; None where every line holds one row.
        siblings: `(L, T)` 0 for the prompt, k for the k-th row's completion, -1 for padding; None likewise.
    """

    input_ids: Tensor
    positions: Tensor
    targets: Tensor
    weights: Tensor
    owners: Tensor
    num_rows: int
    position_ids: Tensor | None = None
    siblings: Tensor | None = None

    def to(self, device: torch.device) -> Pass:
        """The same pass on another device."""
        return Pass(
            self.input_ids.to(device, non_blocking=True),
            self.positions.to(device, non_blocking=True),
            self.targets.to(device, non_blocking=True),
            self.weights.to(device, non_blocking=True),
            self.owners.to(device, non_blocking=True),
            self.num_rows,
            None if self.position_ids is None else self.position_ids.to(device, non_blocking=True),
            None if self.siblings is None else self.siblings.to(device, non_blocking=True),
        )

    def attention_mask(self) -> Tensor | None:
        """`(L, 1, T, T)`, True where a token (third axis) may see another; None where plain causality is right."""
        if self.siblings is None:
            return None
        key, query = self.siblings[:, None, :], self.siblings[:, :, None]
        causal = torch.ones(key.shape[-1], key.shape[-1], dtype=torch.bool, device=key.device).tril()
        return (causal & ((key == 0) | (key == query)))[:, None]


@dataclass(frozen=True)
class Group:
    """Items (pairs or examples) whose graphs are held at once.

    Args:
        items: indices of the items in the optimizer batch.
        passes: each pass is a tuple of lines, each line a tuple of (item, side).
        num_padded: tokens that the passes compute, padding included.
    """

    items: tuple[int, ...]
    passes: tuple[tuple[Line, ...], ...]
    num_padded: int


def plan_groups(
    items: Sequence[Sequence[Row]], *, token_budget: int, overhead: int, share_prompts: bool = False
) -> list[Group]:
    """Split an optimizer batch so that no group computes more than `token_budget` tokens, padding included.

    An item's rows stay in one group (a pair's loss needs both its rows), but may go through different passes. An item
    that is larger than the budget gets a group of its own.

    Args:
        items: the rows of every item: two of a pair, one of an example; rows of one item have the same prompt.
        token_budget: most tokens, padding included, in one group (hence in one pass).
        overhead: cost of one more pass, in tokens.
        share_prompts: whether the rows of an item may be put on one line, where that saves enough.

    Returns:
        Groups that cover every item once.
    """
    longest = [max(row.num_fed for row in rows) for rows in items]
    groups: list[Group] = []
    pending: list[int] = []
    num_rows = 0
    for item in sorted(range(len(items)), key=lambda i: (-longest[i], i)):
        size = len(items[item])
        # Items come longest first, so the first one's length bounds every row of its group.
        if pending and (num_rows + size) * longest[pending[0]] > token_budget:
            groups.append(_group(items, pending, overhead, share_prompts))
            pending, num_rows = [], 0
        pending.append(item)
        num_rows += size
    if pending:
        groups.append(_group(items, pending, overhead, share_prompts))
    return groups


def line_length(rows: Sequence[Row]) -> int:
    """Tokens fed for rows of one prompt on one line."""
    return rows[0].start + sum(row.num_fed - row.start for row in rows)


def _group(items: Sequence[Sequence[Row]], members: Sequence[int], overhead: int, share: bool) -> Group:
    lines: list[Line] = [((item, side),) for item in members for side in range(len(items[item]))]
    if share:
        apart = sum(row.num_fed for item in members for row in items[item])
        together = sum(line_length(items[item]) for item in members)
        if together <= (1 - LEAST_SAVING) * apart:
            lines = [tuple((item, side) for side in range(len(items[item]))) for item in members]
    sized = sorted((line_length([items[item][side] for item, side in line]), line) for line in lines)
    lengths = [length for length, _ in sized]
    spans = split_by_length(lengths, overhead=overhead)
    passes = tuple(tuple(line for _, line in sized[a:b]) for a, b in spans)
    return Group(tuple(members), passes, sum((b - a) * lengths[b - 1] for a, b in spans))


def split_by_length(lengths: Sequence[int], *, overhead: int) -> list[tuple[int, int]]:
    """Cut ascending lengths into spans with the least sum of `rows * longest + overhead`.

    Args:
        lengths: ascending row lengths.
        overhead: cost of one more span, in tokens.

    Returns:
        Half-open spans [start, end) that cover `lengths` in order.
    """
    best = np.zeros(len(lengths) + 1)
    cut = np.zeros(len(lengths) + 1, dtype=np.int64)
    starts = np.arange(len(lengths))
    for end in range(1, len(lengths) + 1):
        costs = best[:end] + (end - starts[:end]) * lengths[end - 1] + overhead
        cut[end] = int(costs.argmin())
        best[end] = costs[cut[end]]
    spans: list[tuple[int, int]] = []
    end = len(lengths)
    while end:
        spans.append((int(cut[end]), end))
        end = int(cut[end])
    return spans[::-1]


def make_pass(lines: Sequence[Sequence[Row]]) -> Pass:
    """Pad some lines into one pass, on the CPU.

    Args:
        lines: the rows of every line; rows of one line have the same prompt.
    """
    width = max(line_length(line) for line in lines)
    inputs = np.zeros((len(lines), width), dtype=np.int64)
    places = np.zeros((len(lines), width), dtype=np.int64)
    siblings = np.full((len(lines), width), -1, dtype=np.int8)
    scored: list[tuple[int, int, float, int]] = []
    num_rows = 0
    for index, line in enumerate(lines):
        start = end = line[0].start
        inputs[index, :start], places[index, :start], siblings[index, :start] = line[0].ids[:start], range(start), 0
        for number, row in enumerate(line):
            begin, end = end, end + row.num_fed - start
            inputs[index, begin:end] = row.ids[start : row.num_fed]
            places[index, begin:end] = range(start, row.num_fed)
            siblings[index, begin:end] = number + 1
            for t, weight in enumerate(row.weights):
                if weight:  # the first token is predicted from the prompt's last one, wherever the row lies
                    source = index * width + (start - 1 if t == 0 else begin + t - 1)
                    scored.append((source, row.ids[start + t], weight, num_rows))
            num_rows += 1
    positions, targets, weights, owners = zip(*scored, strict=True)
    is_shared = num_rows > len(lines)
    return Pass(
        torch.from_numpy(inputs),
        torch.tensor(positions, dtype=torch.int64),
        torch.tensor(targets, dtype=torch.int64),
        torch.tensor(weights, dtype=torch.float32),
        torch.tensor(owners, dtype=torch.int64),
        num_rows,
        torch.from_numpy(places) if is_shared else None,
        torch.from_numpy(siblings) if is_shared else None,
    )
