"""Which rows of a decode batch look at keys together, and where rows lie so that neighbours are about equally long.

What it is: arithmetic on lengths; no tensors. Every row grows by one position a step, so who is longer never changes:
only rows that come and go do. Costs are counted in row-positions, i.e. one row looking at one key position.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

ROW_MULTIPLE = 8
"""Row counts are rounded up to this, so that a CPU's matrix kernels treat each row alike whatever their number."""
MOST_BLOCKS = 8
"""Blocks of slots that rows are sorted into: more would move more rows for little."""
MOVE_COST = 4
"""Row-positions that moving one position costs: it is read and written twice."""
LOOK_AHEAD = 16
"""Steps over which a better order is expected to pay: then so many rows have come and gone that it is of little use."""


def round_up(value: int, multiple: int) -> int:
    """`value` rounded up to a multiple of `multiple`."""
    return -(-value // multiple) * multiple


class RowSpan(NamedTuple):
    """Rows `start` to `stop` (exclusive) look at the first `length` key positions."""

    start: int
    stop: int
    length: int


def block_size(rows: int) -> int:
    """Slots of a block when there are so many rows (a multiple of 8)."""
    return round_up(-(-rows // MOST_BLOCKS), ROW_MULTIPLE)


def grouped(lengths: Sequence[int], call_cost: int) -> list[RowSpan]:
    """The groups of rows that look at keys together; each as long as its longest row.

    Args:
        lengths: positions of each row; a multiple of 8 of them, in the order of the slots.
        call_cost: row-positions that are worth saving at the price of one more group.
    """
    size = block_size(len(lengths))
    groups = [
        RowSpan(start, min(start + size, len(lengths)), max(lengths[start : start + size]))
        for start in range(0, len(lengths), size)
    ]
    while len(groups) > 1:
        costs = [_merging_cost(a, b) for a, b in pairwise(groups)]
        cheapest = min(range(len(costs)), key=costs.__getitem__)
        if costs[cheapest] >= call_cost:
            break
        first, second = groups[cheapest : cheapest + 2]
        groups[cheapest : cheapest + 2] = [RowSpan(first.start, second.stop, max(first.length, second.length))]
    return groups


def _merging_cost(first: RowSpan, second: RowSpan) -> int:
    longest = max(first.length, second.length)
    return sum((longest - span.length) * (span.stop - span.start) for span in (first, second))


def better_places(lengths: Sequence[int], call_cost: int) -> dict[int, int]:
    """Moves `{slot: new slot}` that put rows of like lengths together, or none where that would not pay.

    Args:
        lengths: positions of each row, in the order of the slots.
        call_cost: as for `grouped`.
    """
    padded = [*lengths, *[0] * (round_up(len(lengths), ROW_MULTIPLE) - len(lengths))]
    size = block_size(len(padded))
    order = sorted(range(len(lengths)), key=lambda slot: -lengths[slot])
    wanted = {slot: rank // size for rank, slot in enumerate(order)}
    moving = [slot for slot in order if slot // size != wanted[slot]]
    gain = _cost(padded, call_cost) - _cost(sorted(padded, reverse=True), call_cost)
    if gain * LOOK_AHEAD <= MOVE_COST * sum(lengths[slot] for slot in moving):
        return {}
    free = sorted(moving)
    return dict(zip(moving, free, strict=True))


def _cost(lengths: Sequence[int], call_cost: int) -> int:
    groups = grouped(lengths, call_cost)
    return sum((g.stop - g.start) * g.length for g in groups) + call_cost * len(groups)
