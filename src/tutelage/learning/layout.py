"""From rows to forward passes that compute as few tokens as they can.

An *optimizer batch* is split into *groups* whose graphs are held at once, and a group into *passes* (one forward
each). There are two packings, and a batch takes the one that counts fewer tokens, attention included:

- `tree`: the rows of a group lie on one *line* as a prefix tree: what they have in common (the prompt, and however far
  their completions agree) is computed once, nothing is padded, and attention shows each token its own beginning only
  (`tree_attention`). A group takes whole subtrees while they fit; a tree that does not fit is cut at its nodes, and
  only the tokens above a cut are computed once more.
- `plain`: every row on a line of its own, lines of like length padded into passes.

A row that occurs several times is computed once. Neither packing nor splitting changes a loss: all normalisation is by
numbers of the whole optimizer batch (`losses.nll_coefficients`), and gradients add up.

Lines are padded on the right and need no mask on that account: a causal model's real tokens never see what is to
their right. The last scored token of a row and all after it are not fed: nothing scored is predicted from them.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutelage.learning.batches import Row

FORWARD_OVERHEAD = {"cpu": 32, "cuda": 4096}
"""Tokens that could be computed in the time that one more pass costs; passes are split with this in mind."""
ATTENTION_COST = 0.25
"""Tokens that could be computed in the time that one query's attention to one key takes, times the hidden size.

Measured on CPUs with hidden sizes of 128 and 384.
"""

LONG_GROUP = 16
"""How many times its overhead a group of a tree computes before it may be ended for another."""

Packing = Literal["tree", "plain"]
Line = tuple[Row, ...]
"""Different rows in an order in which none has more in common with an earlier one than with the one before it."""


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
        position_ids: `(1, T)` each token's place in its own row; None where every line holds one row.
        ends: `(1, T)` the tokens from a token's own place up to here are those that continue it; None likewise.
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

    @property
    def is_tree(self) -> bool:
        """Whether rows share their beginnings, so that attention must follow them."""
        return self.ends is not None

    def to(self, device: torch.device) -> Pass:
        """The same pass on another device."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if name != "num_rows" and value is not None
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Group:
    """Items (pairs or examples) whose graphs are held at once.

    Args:
        items: indices of the items in the optimizer batch.
        passes: each pass is a tuple of lines; every different row of the items is on one line.
        num_padded: tokens that the passes compute, padding included.
        num_attended: queries times the keys that each of them looks at.
        packing: how its rows are laid out.
    """

    items: tuple[int, ...]
    passes: tuple[tuple[Line, ...], ...]
    num_padded: int
    num_attended: int
    packing: Packing


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
        attention_cost: cost of one query's attention to one key, in tokens; None rules trees out.

    Returns:
        Groups of one packing that cover every item once.
    """
    plain = _plain_groups(items, token_budget, overhead)
    if attention_cost is None:
        return plain
    rate = attention_cost

    def cost(groups: Sequence[Group]) -> float:
        return sum(g.num_padded + len(g.passes) * overhead + g.num_attended * rate for g in groups)

    trees = _tree_groups(items, token_budget, overhead)
    return trees if cost(trees) < cost(plain) else plain


def _plain_groups(items: Sequence[Sequence[Row]], token_budget: int, overhead: int) -> list[Group]:
    longest = [max(row.num_fed for row in rows) for rows in items]
    members: list[list[int]] = []
    num_rows = 0
    for item in sorted(range(len(items)), key=lambda i: (-longest[i], i)):
        size = len(items[item])
        # Items come longest first, so the first one's length bounds every row of its group.
        if not members or (num_rows + size) * longest[members[-1][0]] > token_budget:
            members.append([])
            num_rows = 0
        members[-1].append(item)
        num_rows += size
    return [_plain_group(items, part, overhead) for part in members]


def _plain_group(items: Sequence[Sequence[Row]], members: Sequence[int], overhead: int) -> Group:
    """Every row apart, in passes of like length."""
    rows = sorted(dict.fromkeys(row for item in members for row in items[item]), key=lambda row: row.num_fed)
    lengths = [row.num_fed for row in rows]
    spans = split_by_length(lengths, overhead=overhead)
    return Group(
        tuple(members),
        tuple(tuple((row,) for row in rows[a:b]) for a, b in spans),
        sum((b - a) * lengths[b - 1] for a, b in spans),
        sum((b - a) * _triangle(lengths[b - 1]) for a, b in spans),
        "plain",
    )


def _tree_groups(items: Sequence[Sequence[Row]], token_budget: int, overhead: int) -> list[Group]:
    """Items in the order of their tokens, so that a tree is walked depth first; a new group where the budget ends.

    A group that is worth its overhead also ends where the next item has less in common with it than another pass
    costs: the activations of one tree stay in a processor's caches until the backward pass, those of many do not.
    """
    groups: list[Group] = []
    members: list[int] = []
    line: list[Row] = []
    length = 0
    for item in sorted(range(len(items)), key=lambda i: min(row.fed for row in items[i])):
        longer, added = with_rows(line, items[item])
        may_end = length >= LONG_GROUP * overhead or length + added > token_budget
        if members and may_end:
            alone, size = with_rows((), items[item])
            if size - added <= overhead or length + added > token_budget:
                groups.append(_tree_group(members, line))
                members, length, longer, added = [], 0, alone, size
        members.append(item)
        line, length = longer, length + added
    return [*groups, _tree_group(members, line)] if members else groups


def _tree_group(members: Sequence[int], line: Sequence[Row]) -> Group:
    """All rows on one line."""
    length = attended = 0
    for row, common in _with_common(line):
        length += row.num_fed - common
        attended += _triangle(row.num_fed) - _triangle(common)
    return Group(tuple(members), ((longest_first(line),),), length, attended, "tree")


def _triangle(count: int) -> int:
    """What the first `count` tokens of a row attend to."""
    return count * (count + 1) // 2


def longest_first(line: Sequence[Row]) -> Line:
    """A line walked depth first again, at every node into the longest branch first.

    A trunk then lies in one piece with its side branches after it, and what a branch attends to is two pieces of the
    line: the trunk up to where it leaves it, and itself.

    Args:
        line: different rows in lexicographic order of what is fed of them.
    """
    commons = [common for _, common in _with_common(line)]
    ordered: list[Row] = []
    waiting = [(0, len(line))]
    while waiting:
        start, end = waiting.pop()
        if end - start == 1:
            ordered.append(line[start])
            continue
        node = min(commons[start + 1 : end])
        cuts = [start, *(i for i in range(start + 1, end) if commons[i] == node), end]
        branches = list(itertools.pairwise(cuts))
        waiting += sorted(branches, key=lambda span: max(row.num_fed for row in line[span[0] : span[1]]))
    return tuple(ordered)


def with_rows(line: Sequence[Row], rows: Iterable[Row]) -> tuple[list[Row], int]:
    """A line with more rows in their places, those left out that it has already, and how many tokens that adds.

    Args:
        line: different rows in lexicographic order of what is fed of them.
        rows: any rows.
    """
    longer, added = list(line), 0
    for row in rows:
        place = first = bisect_right(longer, row.fed, key=lambda other: other.fed)
        while first and longer[first - 1].fed == row.fed:
            first -= 1
        if row in longer[first:place]:
            continue
        neighbours = longer[max(0, place - 1) : place + 1]
        added += row.num_fed - max((common_length(row, other) for other in neighbours), default=0)
        longer.insert(place, row)
    return longer, added


def common_length(first: Row, second: Row) -> int:
    """Number of tokens with which what is fed of two rows begins alike."""
    size = min(first.num_fed, second.num_fed)
    differs = first.tokens[:size] != second.tokens[:size]
    return int(differs.argmax()) if differs.any() else size


def line_length(line: Sequence[Row]) -> int:
    """Tokens fed for the rows of a line."""
    return sum(row.num_fed - common for row, common in _with_common(line))


def _with_common(line: Sequence[Row]) -> Iterator[tuple[Row, int]]:
    """Each row of a line and how many tokens it has in common with the one before."""
    if line:
        yield line[0], 0
    for before, row in itertools.pairwise(line):
        yield row, common_length(before, row)


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
    """Lay rows out into one pass, on the CPU.

    Args:
        lines: one line of several rows in the order that `Line` asks for, or lines of one row, to be padded.

    Raises:
        ValueError: there are several lines, and one of them holds several rows.
    """
    num_rows = sum(len(line) for line in lines)
    is_tree = num_rows > len(lines)
    if is_tree and len(lines) > 1:
        raise ValueError("a tree takes one line, and a pass of several lines one row on each")
    width = max(line_length(line) for line in lines)
    inputs = np.zeros((len(lines), width), dtype=np.int64)
    places, ends = np.zeros((1, width), dtype=np.int64), np.zeros((1, width), dtype=np.int64)
    predictions, weights, owners = [], [], []
    paths = ((index, row, path) for index, line in enumerate(lines) for row, path in paths_of(line))
    for owner, (index, row, path) in enumerate(paths):
        inputs[index, path] = row.tokens[: row.num_fed]
        if is_tree:
            places[0, path] = np.arange(row.num_fed)
            ends[0, path] = np.maximum(ends[0, path], path[-1] + 1)  # a beginning in common is seen by all its rows
        kept = np.flatnonzero(row.weights)
        sources, targets = path[row.start - 1 + kept] + index * width, row.tokens[row.start + kept]
        predictions.append(sources << 32 | targets)
        weights.append(np.array(row.weights)[kept])
        owners.append(np.full(len(kept), owner))
    different, scored = np.unique(np.concatenate(predictions), return_inverse=True)
    return Pass(
        torch.from_numpy(inputs),
        torch.from_numpy(different >> 32),
        torch.from_numpy(different & 0xFFFFFFFF),
        torch.from_numpy(scored),
        torch.from_numpy(np.concatenate(weights).astype(np.float32)),
        torch.from_numpy(np.concatenate(owners)),
        num_rows,
        torch.from_numpy(places) if is_tree else None,
        torch.from_numpy(ends) if is_tree else None,
    )


def paths_of(line: Line) -> Iterator[tuple[Row, NDArray[np.int64]]]:
    """Each row of a line and where on the line what is fed of it lies."""
    path, length = np.empty(0, dtype=np.int64), 0
    for row, common in _with_common(line):
        path = np.append(path[:common], np.arange(length, length + row.num_fed - common))
        length += row.num_fed - common
        yield row, path


@lru_cache(maxsize=64)
def kept_pass(lines: tuple[Line, ...]) -> Pass:
    """As `make_pass`, made once where an update computes what its reference computed just before.

    What is kept is forgotten after each update: a layout and its blocks of attention take about 400 bytes a token.
    """
    with torch.inference_mode(False):  # an update needs these tensors for its gradients, whoever asked for them first
        return make_pass(lines)
