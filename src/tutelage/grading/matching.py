"""Matching the members of two structures: in order, in any order, or as unions of intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from tutelage.text.values import Infinite, Piece, Region, Scalar, Value

Result = bool | None
Compare = Callable[[Value, Value, Fraction | None], Result]
_End = tuple[int, Fraction]
_Interval = tuple[_End, bool, _End, bool]


def match_ordered(
    first: Sequence[Value], second: Sequence[Value], compare: Compare, tolerance: Fraction | None
) -> Result:
    """Whether members are equal one by one; False as soon as one pair differs."""
    if len(first) != len(second):
        return False
    results = [compare(a, b, tolerance) for a, b in zip(first, second, strict=True)]
    return False if False in results else None if None in results else True


def match_unordered(
    first: Sequence[Value], second: Sequence[Value], compare: Compare, tolerance: Fraction | None
) -> Result:
    """Whether the members can be paired one to one; None where only undecided pairs would complete it."""
    if len(first) != len(second):
        return False
    if tolerance is None and _all_plain(first) and _all_plain(second):
        return _sorted_values(first) == _sorted_values(second)
    table = [[compare(a, b, tolerance) for b in second] for a in first]
    if _has_pairing([[result is True for result in row] for row in table]):
        return True
    return None if _has_pairing([[result is not False for result in row] for row in table]) else False


def match_regions(first: Region, second: Region, compare: Compare) -> Result:
    """Whether two unions of intervals are the same set."""
    ours, theirs = _intervals(first.pieces), _intervals(second.pieces)
    if ours is not None and theirs is not None and (ours or theirs):
        return _merged(ours) == _merged(theirs)
    if len(first.pieces) != len(second.pieces):
        return None
    table = [[_same_piece(a, b, compare) for b in second.pieces] for a in first.pieces]
    if _has_pairing([[result is True for result in row] for row in table]):
        return True
    # Pieces that touch may still make the same union, so several pieces that differ prove nothing.
    return table[0][0] if len(table) == 1 else None


def is_empty(region: Region) -> bool:
    """Whether no number is in a region with rational ends: `(3, 1]`, or the point (3, 1) taken for an interval."""
    return _intervals(region.pieces) == []


def _all_plain(items: Sequence[Value]) -> bool:
    return all(
        isinstance(item, Scalar) and item.value is not None and not item.unit and not item.percent for item in items
    )


def _sorted_values(items: Sequence[Value]) -> list[Fraction]:
    return sorted(item.value for item in items if isinstance(item, Scalar) and item.value is not None)


def _has_pairing(allowed: list[list[bool]]) -> bool:
    """Whether a perfect matching exists (augmenting paths)."""
    partner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, is_allowed in enumerate(allowed[row]):
            if is_allowed and column not in seen:
                seen.add(column)
                if column not in partner or place(partner[column], seen):
                    partner[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(allowed)))


def _same_piece(first: Piece, second: Piece, compare: Compare) -> Result:
    results: list[Result] = [compare(first.low, second.low, None), compare(first.high, second.high, None)]
    results += [first.low_closed == second.low_closed, first.high_closed == second.high_closed]
    return False if False in results else None if None in results else True


def _end(end: Scalar | Infinite) -> _End | None:
    if isinstance(end, Infinite):
        return (end.sign, Fraction(0))
    return None if end.value is None else (0, end.value)


def _intervals(pieces: Sequence[Piece]) -> list[_Interval] | None:
    """The pieces with rational ends, empty ones dropped; None where an end is not rational."""
    intervals: list[_Interval] = []
    for piece in pieces:
        low, high = _end(piece.low), _end(piece.high)
        if low is None or high is None:
            return None
        if low < high or (low == high and piece.low_closed and piece.high_closed):
            # An end at infinity is open, however it is written.
            intervals.append((low, piece.low_closed and low[0] == 0, high, piece.high_closed and high[0] == 0))
    return intervals


def _merged(intervals: list[_Interval]) -> list[_Interval]:
    result: list[_Interval] = []
    for low, low_closed, high, high_closed in sorted(intervals, key=lambda part: (part[0], not part[1])):
        if result:
            last_low, last_closed, last_high, last_high_closed = result[-1]
            if low < last_high or (low == last_high and (low_closed or last_high_closed)):
                if high > last_high:
                    result[-1] = (last_low, last_closed, high, high_closed)
                elif high == last_high:
                    result[-1] = (last_low, last_closed, high, high_closed or last_high_closed)
                continue
        result.append((low, low_closed, high, high_closed))
    return result
