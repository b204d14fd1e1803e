"""Filters keep order, and keep or drop whole records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tutelage.records import Example, PreferencePair
from tutelage.selection.filters import drop_empty, drop_overlong, length_of


def pair(prompt: int, chosen: int, rejected: int, masked: bool = False) -> PreferencePair:
    return PreferencePair(
        "i", "p", (1,) * prompt, (2,) * chosen, (3,) * rejected, (0 if masked else 1,) * chosen, (1,) * rejected,
        "c", "r", "paper",
    )  # fmt: skip


def example(prompt: int, target: int) -> Example:
    return Example("i", "p", (1,) * prompt, (2,) * target, (1.0,) * target, "self")


def test_a_pair_goes_if_either_side_is_too_long() -> None:
    fits, long_chosen, long_rejected = pair(3, 7, 7), pair(3, 8, 1), pair(3, 1, 8)
    assert [length_of(p) for p in (fits, long_chosen, long_rejected)] == [10, 11, 11]
    assert drop_overlong([long_chosen, fits, long_rejected], 10) == ([fits], [long_chosen, long_rejected])
    assert drop_overlong([example(3, 8), example(3, 7)], 10) == ([example(3, 7)], [example(3, 8)])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))), st.integers(0, 20))
def test_nothing_goes_missing(sizes: list[tuple[int, int]], limit: int) -> None:
    records = [example(*size) for size in sizes]
    kept, dropped = drop_overlong(records, limit)
    assert kept == [r for r in records if length_of(r) <= limit]
    assert dropped == [r for r in records if length_of(r) > limit]


def test_what_has_nothing_to_learn_from_goes() -> None:
    assert drop_empty([pair(1, 1, 1), pair(1, 0, 1), pair(1, 2, 2, masked=True)]).kept == [pair(1, 1, 1)]
    assert drop_empty([example(1, 0), example(1, 1)]).dropped == [example(1, 0)]
