"""Groups of rows that look at keys together: no row looks too short, and rows move only where that pays."""

from __future__ import annotations

import random

import pytest

from tutelage.sampling.grouping import RowSpan, better_places, block_size, grouped


def looked_at(lengths: list[int], call_cost: int) -> int:
    return sum((g.stop - g.start) * g.length + call_cost for g in grouped(lengths, call_cost))


def padded(lengths: list[int]) -> list[int]:
    return lengths + [0] * (-len(lengths) % 8)


def test_rows_of_two_lengths_make_two_groups() -> None:
    # 8 rows x 280 positions saved = 2240: worth a call of up to that, not one of more.
    lengths = [300] * 8 + [20] * 8
    assert grouped(lengths, 2240) == [RowSpan(0, 8, 300), RowSpan(8, 16, 20)]
    assert grouped(lengths, 2241) == [RowSpan(0, 16, 300)]


def test_one_long_row_lengthens_its_block_only() -> None:
    lengths = [20] * 32
    lengths[9] = 400
    assert grouped(lengths, 100) == [RowSpan(0, 8, 20), RowSpan(8, 16, 400), RowSpan(16, 32, 20)]


@pytest.mark.parametrize("count", [8, 64, 72, 256])
def test_groups_cover_all_rows_at_their_lengths(count: int) -> None:
    rng = random.Random(count)
    for call_cost in (1, 500, 10**9):
        lengths = [rng.randint(1, 400) for _ in range(count)]
        groups = grouped(lengths, call_cost)
        assert [g.start for g in groups] + [count] == [0] + [g.stop for g in groups]
        assert all(g.length == max(lengths[g.start : g.stop]) for g in groups)
        assert all(g.start % 8 == 0 for g in groups)


def test_sorting_puts_long_rows_together() -> None:
    rng = random.Random(0)
    for count in (5, 16, 40, 61, 64, 150):
        lengths = [rng.choice((30, 350)) for _ in range(count)]
        moves = better_places(lengths, 10)
        after = list(lengths)
        for source, target in moves.items():
            after[target] = lengths[source]
        assert sorted(moves) == sorted(moves.values())
        assert sorted(after) == sorted(lengths)
        if count > 16:
            assert looked_at(padded(after), 10) < looked_at(padded(lengths), 10)
        assert better_places(after, 10) == {}


def test_rows_stay_where_moving_would_not_pay() -> None:
    assert better_places([200] * 64, 10) == {}
    assert better_places(list(range(300, 236, -1)), 10) == {}  # in order already
    nearly = [200] * 64
    nearly[3], nearly[60] = 190, 210
    assert better_places(nearly, 100) == {}


def test_blocks_are_few_and_of_whole_eights() -> None:
    assert [block_size(n) for n in (8, 64, 72, 128, 256)] == [8, 8, 16, 16, 32]
