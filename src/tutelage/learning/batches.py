"""From records to padded passes: which tokens go through the model together, and which of them are scored.

An *optimizer batch* is split into *groups* whose graphs are held at once, and a group into *passes* (one forward
each) of rows of like length, so that little padding is computed. Splitting never changes the loss: all normalisation
is by numbers of the whole optimizer batch (`losses.nll_coefficients`). Rows are padded on the right and need no
attention mask: a causal model's real tokens never see what is to their right. The last scored token of a row and
all after it are not fed: nothing scored is predicted from them.

Nothing is ever cut: a row that is too long is dropped and counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tutelage.errors import DataError
from tutelage.records import Example, PreferencePair, seed_of

FORWARD_OVERHEAD = {"cpu": 64, "cuda": 4096}
"""Tokens that could be computed in the time that one more pass costs; passes are split with this in mind."""


@dataclass(frozen=True)
class Row:
    """One sequence: prompt and completion, and the loss weight of each completion token.

    Args:
        ids: prompt then completion.
        start: number of prompt tokens, >= 1.
        weights: one per completion token, >= 0; 0 is masked.
    """

    ids: tuple[int, ...]
    start: int
    weights: tuple[float, ...]

    @cached_property
    def num_scored(self) -> int:
        """Number of tokens with a weight other than 0."""
        return sum(1 for weight in self.weights if weight)

    @cached_property
    def num_fed(self) -> int:
        """Number of tokens that the model must read: all before the last scored one."""
        last = max((i for i, weight in enumerate(self.weights) if weight), default=-1)
        return self.start + last


@dataclass(frozen=True)
class Pass:
    """One forward pass of R rows padded to T tokens, P of whose positions are scored.

    Args:
        input_ids: `(R, T)`, padded on the right with 0.
        positions: `(P,)` indices into the flattened `(R * T)` states, each of which predicts one target.
        targets: `(P,)` token ids.
        weights: `(P,)` loss weights, not 0.
        owners: `(P,)` the row in [0, R) that each position belongs to.
        rows: the caller's indices of the R rows.
    """

    input_ids: Tensor
    positions: Tensor
    targets: Tensor
    weights: Tensor
    owners: Tensor
    rows: tuple[int, ...]

    def to(self, device: torch.device) -> Pass:
        """The same pass on another device."""
        return Pass(
            self.input_ids.to(device, non_blocking=True),
            self.positions.to(device, non_blocking=True),
            self.targets.to(device, non_blocking=True),
            self.weights.to(device, non_blocking=True),
            self.owners.to(device, non_blocking=True),
            self.rows,
        )


def pair_rows(pair: PreferencePair) -> tuple[Row, Row]:
    """The chosen and the rejected row of a pair.

    Raises:
        DataError: a mask has another length than its tokens, or the prompt is empty.
    """
    return (
        _row(pair.id, pair.prompt_ids, pair.chosen_ids, pair.chosen_mask),
        _row(pair.id, pair.prompt_ids, pair.rejected_ids, pair.rejected_mask),
    )


def example_row(example: Example) -> Row:
    """The row of a supervised example.

    Raises:
        DataError: `weights` has another length than `target_ids`, holds a negative or non-finite number, or the
            prompt is empty.
    """
    return _row(example.id, example.prompt_ids, example.target_ids, example.weights)


def _row(name: str, prompt: Sequence[int], target: Sequence[int], weights: Sequence[float]) -> Row:
    if not prompt:
        raise DataError(
            f"record {name} has an empty prompt",
            expected="at least one prompt token, e.g. the begin token",
            advice="the first completion token cannot be scored without a token before it",
        )
    if len(weights) != len(target):
        raise DataError(f"record {name} has {len(weights)} loss weights for {len(target)} tokens", expected="one each")
    if any(not 0 <= weight < math.inf for weight in weights):
        raise DataError(f"record {name} has a loss weight out of range", seen=list(weights), expected="finite, >= 0")
    return Row((*prompt, *target), len(prompt), tuple(float(weight) for weight in weights))


def check_row(name: str, row: Row, *, max_length: int, vocab_size: int) -> str | None:
    """Why a row must be left out ("too_long", "no_loss_tokens"), or None if it is fine.

    Args:
        name: the record's id, for messages.
        row: the row.
        max_length: most tokens of prompt and completion together.
        vocab_size: number of the model's token ids.

    Raises:
        DataError: a token id is not in the model's vocabulary.
    """
    if min(row.ids) < 0 or max(row.ids) >= vocab_size:
        raise DataError(
            f"record {name} holds token ids that the model does not have",
            seen=f"ids from {min(row.ids)} to {max(row.ids)}",
            expected=f"0 to {vocab_size - 1}",
            advice="was it made with another model's tokenizer?",
        )
    if len(row.ids) > max_length:
        return "too_long"
    return None if row.num_scored else "no_loss_tokens"


@dataclass(frozen=True)
class Group:
    """Items (pairs or examples) whose graphs are held at once, and the passes that compute them.

    Args:
        items: indices of the items in the optimizer batch.
        passes: each pass is a list of (item index, side); side 0 is chosen, 1 rejected.
    """

    items: tuple[int, ...]
    passes: tuple[tuple[tuple[int, int], ...], ...]


def plan_groups(items: Sequence[Sequence[Row]], *, token_budget: int, overhead: int) -> list[Group]:
    """Split an optimizer batch so that no group computes more than `token_budget` tokens, padding included.

    An item's rows stay in one group (a pair's loss needs both its rows), but may go through different passes. An item
    that is larger than the budget gets a group of its own.

    Args:
        items: the rows of every item: two of a pair, one of an example.
        token_budget: most tokens, padding included, in one group (hence in one pass).
        overhead: cost of one more pass, in tokens.

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
            groups.append(_group(items, pending, overhead))
            pending, num_rows = [], 0
        pending.append(item)
        num_rows += size
    if pending:
        groups.append(_group(items, pending, overhead))
    return groups


def _group(items: Sequence[Sequence[Row]], members: Sequence[int], overhead: int) -> Group:
    keys = [(item, side) for item in members for side in range(len(items[item]))]
    keys.sort(key=lambda key: (items[key[0]][key[1]].num_fed, key))
    lengths = [items[item][side].num_fed for item, side in keys]
    spans = split_by_length(lengths, overhead=overhead)
    return Group(tuple(members), tuple(tuple(keys[a:b]) for a, b in spans))


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


def make_pass(rows: Sequence[Row], indices: Sequence[int]) -> Pass:
    """Pad some rows into one pass.

    Args:
        rows: all rows.
        indices: which of them to put into the pass, in this order.

    Returns:
        The pass, on the CPU; `rows` of it are `indices`.
    """
    width = max(rows[i].num_fed for i in indices)
    inputs = np.zeros((len(indices), width), dtype=np.int64)
    positions: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    owners: list[int] = []
    for r, i in enumerate(indices):
        row = rows[i]
        inputs[r, : row.num_fed] = row.ids[: row.num_fed]
        base = r * width + row.start - 1
        for t, weight in enumerate(row.weights):
            if weight:
                positions.append(base + t)
                targets.append(row.ids[row.start + t])
                weights.append(weight)
                owners.append(r)
    return Pass(
        torch.from_numpy(inputs),
        torch.tensor(positions, dtype=torch.int64),
        torch.tensor(targets, dtype=torch.int64),
        torch.tensor(weights, dtype=torch.float32),
        torch.tensor(owners, dtype=torch.int64),
        tuple(indices),
    )


def num_items_to_visit(num_items: int, epochs: float) -> int:
    """How many items `epochs` passes over `num_items` visit, at least 1."""
    return max(1, math.ceil(epochs * num_items - 1e-9))


def batch_indices(num_items: int, *, step: int, batch_size: int, visits: int, seed: int) -> list[int]:
    """The items of one optimizer step: a pure function of the seed and the step, so that resuming needs no state.

    Every epoch is a fresh permutation; batches run on over an epoch's end, the last one may be smaller.

    Args:
        num_items: size of the data set.
        step: the step, from 0.
        batch_size: items in one step.
        visits: items visited over the whole training (`num_items_to_visit`).
        seed: everything random derives from it.

    Returns:
        Indices into the data set.
    """
    indices: list[int] = []
    position, end = step * batch_size, min((step + 1) * batch_size, visits)
    while position < end:
        epoch, offset = divmod(position, num_items)
        take = min(end - position, num_items - offset)
        order = np.random.default_rng(seed_of("epoch", seed, epoch)).permutation(num_items)
        indices += [int(i) for i in order[offset : offset + take]]
        position += take
    return indices
