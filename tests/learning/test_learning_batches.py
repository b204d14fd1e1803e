"""Layout of batches: every token once, within budget, little padding; order and drops are exact."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import DataError
from tutelage.learning.batches import (
    Row,
    batch_indices,
    check_row,
    example_row,
    make_pass,
    num_items_to_visit,
    pair_rows,
    plan_groups,
    split_by_length,
)
from tutelage.records import Example


def row_of(length: int, start: int = 2) -> Row:
    return Row(tuple(range(1, length + 1)), start, (1.0,) * (length - start))


def test_a_pass_scores_the_right_positions():
    # ids 5 6 | 7 8 9 with 8 masked; ids 1 | 2
    rows = [Row((5, 6, 7, 8, 9), 2, (1.0, 0.0, 0.5)), Row((1, 2), 1, (1.0,))]
    batch = make_pass(rows, [0, 1])
    assert batch.input_ids.tolist() == [[5, 6, 7, 8], [1, 0, 0, 0]]
    assert batch.positions.tolist() == [1, 3, 4]  # 7 is predicted at 6, 9 at 8, 2 at 1 of the second row (4 + 0)
    assert batch.targets.tolist() == [7, 9, 2]
    assert batch.weights.tolist() == [1.0, 0.5, 1.0]
    assert batch.owners.tolist() == [0, 0, 1]


def test_trailing_masked_tokens_are_not_fed():
    row = Row((1, 2, 3, 4, 5), 2, (1.0, 0.0, 0.0))
    assert row.num_fed == 2 and row.num_scored == 1
    assert make_pass([row], [0]).input_ids.tolist() == [[1, 2]]


def test_split_by_length_by_hand():
    # One span: 4 * 10 + 5 = 45; [1, 1, 1] and [10]: 3 + 10 + 2 * 5 = 23
    assert split_by_length([1, 1, 1, 10], overhead=5) == [(0, 3), (3, 4)]
    # With overhead 40 one span (80) beats two (93)
    assert split_by_length([1, 1, 1, 10], overhead=40) == [(0, 4)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.integers(0, 60))
def test_split_by_length_is_the_cheapest_of_all(lengths: list[int], overhead: int):
    lengths = sorted(lengths)

    def cost(spans: list[tuple[int, int]]) -> int:
        return sum((b - a) * lengths[b - 1] + overhead for a, b in spans)

    def all_ways(start: int):
        if start == len(lengths):
            yield []
        for end in range(start + 1, len(lengths) + 1):
            for rest in all_ways(end):
                yield [(start, end), *rest]

    spans = split_by_length(lengths, overhead=overhead)
    assert [i for a, b in spans for i in range(a, b)] == list(range(len(lengths)))
    assert cost(spans) == min(cost(way) for way in all_ways(0))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(3, 40), st.integers(3, 40)), min_size=1, max_size=20),
    st.integers(20, 400),
    st.integers(0, 100),
)
def test_groups_cover_every_row_once_and_keep_the_budget(sizes, budget: int, overhead: int):
    items = [(row_of(a), row_of(b)) for a, b in sizes]
    groups = plan_groups(items, token_budget=budget, overhead=overhead)
    assert sorted(i for group in groups for i in group.items) == list(range(len(items)))
    for group in groups:
        keys = sorted(key for keys in group.passes for key in keys)
        assert keys == sorted((item, side) for item in group.items for side in (0, 1))
        padded = sum(len(keys) * max(items[i][s].num_fed for i, s in keys) for keys in group.passes)
        assert padded <= budget or len(group.items) == 1


def test_ragged_lengths_waste_little():
    rng = np.random.default_rng(0)
    items = [(row_of(int(a)), row_of(int(b))) for a, b in rng.integers(45, 105, (32, 2))]
    (group,) = plan_groups(items, token_budget=10**6, overhead=64)
    fed = sum(row.num_fed for rows in items for row in rows)
    padded = sum(len(keys) * max(items[i][s].num_fed for i, s in keys) for keys in group.passes)
    assert padded / fed < 1.10
    assert 64 * max(row.num_fed for rows in items for row in rows) / fed > 1.30  # what one pass would compute


def test_every_epoch_visits_everything_once_and_is_reshuffled():
    seen = [i for step in range(5) for i in batch_indices(10, step=step, batch_size=4, visits=20, seed=3)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10)) and seen[:10] != seen[10:]
    assert batch_indices(10, step=5, batch_size=4, visits=20, seed=3) == []
    assert batch_indices(10, step=2, batch_size=4, visits=20, seed=3) != batch_indices(
        10, step=2, batch_size=4, visits=20, seed=4
    )


@pytest.mark.parametrize(("items", "epochs", "visits"), [(10, 1.4, 14), (10, 0.05, 1), (3, 1.0, 3), (7, 1.5, 11)])
def test_num_items_to_visit(items: int, epochs: float, visits: int):
    assert num_items_to_visit(items, epochs) == visits


def test_check_row_never_cuts():
    row = row_of(9)
    assert check_row("a", row, max_length=9, vocab_size=50) is None
    assert check_row("a", row, max_length=8, vocab_size=50) == "too_long"
    assert check_row("a", dataclasses.replace(row, weights=(0.0,) * 7), max_length=9, vocab_size=50) == "no_loss_tokens"
    with pytest.raises(DataError, match="token ids that the model does not have"):
        check_row("a", row, max_length=9, vocab_size=9)


def test_bad_records_are_refused(make_pair):
    with pytest.raises(DataError, match="empty prompt"):
        pair_rows(make_pair("x", [], [1], [2]))
    with pytest.raises(DataError, match="1 loss weights for 2 tokens"):
        pair_rows(make_pair("x", [1], [1, 2], [2], chosen_mask=(1,)))
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(DataError, match="out of range"):
            example_row(Example("e", "p", (1,), (2,), (weight,), "test"))


def test_pair_rows_share_the_prompt(make_pair):
    chosen, rejected = pair_rows(make_pair("x", [1, 2], [3], [4, 5]))
    assert chosen == Row((1, 2, 3), 2, (1.0,)) and rejected == Row((1, 2, 4, 5), 2, (1.0, 1.0))
    assert make_pass([chosen, rejected], [1, 0]).rows == (1, 0)
    assert make_pass([chosen], [0]).input_ids.dtype == torch.int64
