"""From rows to padded forward passes that compute as few tokens as they can.

An *optimizer batch* is split into *groups* whose graphs are held at once, and a group into *passes* (one forward
each) of *lines* of like length. A line holds one row, or several rows with a common beginning as a prefix tree: what
they have in common (the prompt, and however far their completions agree) is computed once, and a mask shows each token
its own beginning only. A row that occurs several times is computed once. Splitting and sharing change no loss: all
normalisation is by numbers of the whole optimizer batch (`losses.nll_coefficients`), and gradients add up.

Lines are padded on the right and need no mask on that account: a causal model's real tokens never see what is to
their right. The last scored token of a row and all after it are not fed: nothing scored is predicted from them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutelage.learning.batches import Row

FORWARD_OVERHEAD = {"cpu": 32, "cuda": 4096}
"""Tokens that could be computed in the time that one more pass costs; passes are split with this in mind."""
ATTENTION_COST = 0.25
"""Tokens that could be computed in the time that one query's attention to one key takes, times the hidden size.

Measured on CPUs with hidden sizes of 128 and 384. Longer lines share more and attend more.
"""

Line = tuple[Row, ...]
"""Different rows in lexicographic order of what is fed of them, so that each has most in common with the one before."""


@dataclass(frozen=True)
class Pass:
    """One forward pass of L lines padded to T tokens, P of whose predictions are S scored tokens of R rows.

    Args:
        input_ids: `(L, T)`, padded on the right with 0.
        positions: `(P,)` indices into the flattened `(L * T)` states, each of which predicts one target.
        targets: `(P,)` token ids; no prediction occurs twice.
        scored: `(S,)` the prediction in [0, P) that each scored token is; row by row, in order.
        weights: `(S,)` loss weights, not 0.
        owners: `(S,)` the row in [0, R) that each scored token belongs to; rows are counted line by line.
        num_rows: R.
        position_ids: `(L, T)` each token's place in its own row; None where every line holds one row.
        ends: `(L, T)` the tokens from a token's own place up to here are those that continue it; None likewise.
    """

    input_ids: Tensor
    positions: Tensor
    targets: Tensor
    scored: Tensor
    weights: Tensor
    owners: Tensor
    num_rows: int
    position_ids: Tensor | None = None
    ends: Tensor | None = None

    def to(self, device: torch.device) -> Pass:
        """The same pass on another device."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if name != "num_rows" and value is not None
        }
        return replace(self, **moved)

    def attention_mask(self) -> Tensor | None:
        """`(L, 1, T, T)`, True where a token (third axis) may see another; None where plain causality is right."""
        if self.ends is None:
            return None
        place = torch.arange(self.ends.shape[1], device=self.ends.device)
        key, query = place[None, None, :], place[None, :, None]
        return ((key <= query) & (query < self.ends[:, None, :]))[:, None]


@dataclass(frozen=True)
class Group:
    """Items (pairs or examples) whose graphs are held at once.

    Args:
        items: indices of the items in the optimizer batch.
        passes: each pass is a tuple of lines; every different row of the items is on one line.
        num_padded: tokens that the passes compute, padding included.
    """

    items: tuple[int, ...]
    passes: tuple[tuple[Line, ...], ...]
    num_padded: int


def plan_groups(
    items: Sequence[Sequence[Row]], *, token_budget: int, overhead: int, attention_cost: float | None = None
) -> list[Group]:
    """Split an optimizer batch so that no group computes more than `token_budget` tokens, padding included.

    An item's rows stay in one group (a pair's loss needs both its rows), but may go through different passes. An item
    that is larger than the budget gets a group of its own.

    Args:
        items: the rows of every item: two of a pair, one of an example.
        token_budget: most tokens, padding included, in one group (hence in one pass).
        overhead: cost of one more pass, in tokens.
        attention_cost: cost of one query's attention to one key, in tokens; rows of a group are put on one line where
            that costs less. None keeps them apart.

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
            groups.append(_group(items, pending, overhead, attention_cost))
            pending, num_rows = [], 0
        pending.append(item)
        num_rows += size
    if pending:
        groups.append(_group(items, pending, overhead, attention_cost))
    return groups


def _group(
    items: Sequence[Sequence[Row]], members: Sequence[int], overhead: int, attention_cost: float | None
) -> Group:
    rows = dict.fromkeys(row for item in members for row in items[item])
    if attention_cost is not None:
        passes, num_padded = _passes(share_beginnings(rows, attention_cost=attention_cost), overhead)
        # Padding many short lines to a few very long ones can cost more than sharing saves.
        if num_padded <= len(rows) * max(row.num_fed for row in rows):
            return Group(tuple(members), passes, num_padded)
    passes, num_padded = _passes([(row,) for row in rows], overhead)
    return Group(tuple(members), passes, num_padded)


def _passes(lines: Sequence[Line], overhead: int) -> tuple[tuple[tuple[Line, ...], ...], int]:
    """Lines in passes of like length, and how many tokens these compute."""
    ordered = sorted(lines, key=line_length)
    lengths = [line_length(line) for line in ordered]
    spans = split_by_length(lengths, overhead=overhead)
    return tuple(tuple(ordered[a:b]) for a, b in spans), sum((b - a) * lengths[b - 1] for a, b in spans)


def share_beginnings(rows: Iterable[Row], *, attention_cost: float) -> list[Line]:
    """Put rows with a common beginning on one line wherever that is cheaper than apart.

    Args:
        rows: different rows.
        attention_cost: cost of one query's attention to one key, in tokens.
    """
    lines: list[list[Row]] = []
    length = 0
    for row in sorted(rows, key=lambda row: row.ids[: row.num_fed]):
        if lines:
            common = common_length(lines[-1][-1], row)
            added = row.num_fed - common
            more_attention = (length + added) ** 2 - length**2 - row.num_fed**2
            if common > attention_cost * more_attention:
                lines[-1].append(row)
                length += added
                continue
        lines.append([row])
        length = row.num_fed
    return [tuple(line) for line in lines]


def common_length(first: Row, second: Row) -> int:
    """Number of tokens with which what is fed of two rows begins alike."""
    pairs = zip(first.ids[: first.num_fed], second.ids[: second.num_fed], strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(first.num_fed, second.num_fed))


def line_length(line: Line) -> int:
    """Tokens fed for the rows of a line."""
    return line[0].num_fed + sum(b.num_fed - common_length(a, b) for a, b in itertools.pairwise(line))


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


def make_pass(lines: Sequence[Line]) -> Pass:
    """Pad some lines into one pass, on the CPU.

    Args:
        lines: the rows of every line, in the order that `Line` asks for.
    """
    width = max(line_length(line) for line in lines)
    inputs = np.zeros((len(lines), width), dtype=np.int64)
    places = np.zeros((len(lines), width), dtype=np.int64)
    ends = np.tile(np.arange(1, width + 1), (len(lines), 1))
    predictions, weights, owners = [], [], []
    num_rows = 0
    for index, line in enumerate(lines):
        for row, path in _paths(line):
            inputs[index, path], places[index, path] = row.ids[: row.num_fed], range(row.num_fed)
            ends[index, path] = path[-1] + 1  # what earlier rows wrote for a beginning in common is written over
            kept = np.flatnonzero(row.weights)
            sources, targets = path[row.start - 1 + kept] + index * width, np.array(row.ids)[row.start + kept]
            predictions.append(sources << 32 | targets)
            weights.append(np.array(row.weights)[kept])
            owners.append(np.full(len(kept), num_rows))
            num_rows += 1
    different, scored = np.unique(np.concatenate(predictions), return_inverse=True)
    is_shared = num_rows > len(lines)
    return Pass(
        torch.from_numpy(inputs),
        torch.from_numpy(different >> 32),
        torch.from_numpy(different & 0xFFFFFFFF),
        torch.from_numpy(scored),
        torch.from_numpy(np.concatenate(weights).astype(np.float32)),
        torch.from_numpy(np.concatenate(owners)),
        num_rows,
        torch.from_numpy(places) if is_shared else None,
        torch.from_numpy(ends) if is_shared else None,
    )


def _paths(line: Line) -> Iterator[tuple[Row, NDArray[np.int64]]]:
    """Each row of a line and where on the line what is fed of it lies."""
    path, length = np.empty(0, dtype=np.int64), 0
    for number, row in enumerate(line):
        common = common_length(line[number - 1], row) if number else 0
        path = np.append(path[:common], np.arange(length, length + row.num_fed - common))
        length += row.num_fed - common
        yield row, path
