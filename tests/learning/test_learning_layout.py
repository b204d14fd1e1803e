"""Layout of passes: every token once, within budget, little padding; rows share their beginnings and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.learning.batches import Row
from tutelage.learning.layout import (
    common_length,
    line_length,
    longest_first,
    make_pass,
    plan_groups,
    split_by_length,
    with_rows,
)


def row_of(length: int, start: int = 2) -> Row:
    return Row(tuple(range(1, length + 1)), start, (1.0,) * (length - start))


def test_a_pass_scores_the_right_positions():
    # ids 5 6 | 7 8 9 with 8 masked; ids 1 | 2
    rows = [Row((5, 6, 7, 8, 9), 2, (1.0, 0.0, 0.5)), Row((1, 2), 1, (1.0,))]
    batch = make_pass([[row] for row in rows])
    assert batch.input_ids.tolist() == [[5, 6, 7, 8], [1, 0, 0, 0]]
    assert batch.positions.tolist() == [1, 3, 4]  # 7 is predicted at 6, 9 at 8, 2 at 1 of the second row (4 + 0)
    assert batch.targets.tolist() == [7, 9, 2]
    assert batch.weights.tolist() == [1.0, 0.5, 1.0]
    assert batch.owners.tolist() == [0, 0, 1]


def test_trailing_masked_tokens_are_not_fed():
    row = Row((1, 2, 3, 4, 5), 2, (1.0, 0.0, 0.0))
    assert row.num_fed == 2 and row.num_scored == 1
    assert make_pass([[row]]).input_ids.tolist() == [[1, 2]]


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
    st.sampled_from([None, 0.0, 0.01]),
)
def test_groups_cover_every_different_row_once_and_keep_the_budget(sizes, budget: int, overhead: int, cost):
    items = [(row_of(a), row_of(b)) for a, b in sizes]
    groups = plan_groups(items, token_budget=budget, overhead=overhead, attention_cost=cost)
    assert sorted(i for group in groups for i in group.items) == list(range(len(items)))
    for group in groups:
        rows = [row for lines in group.passes for line in lines for row in line]
        assert len(rows) == len(set(rows)) and set(rows) == {row for i in group.items for row in items[i]}
        made = [make_pass(lines) for lines in group.passes]
        assert group.num_padded == sum(batch.input_ids.numel() for batch in made)
        assert group.num_padded <= budget or len(group.items) == 1
    assert len({group.packing for group in groups}) == 1


@st.composite
def trees(draw) -> list[Row]:
    """Rows over few tokens, so that many begin alike or are the same."""
    prompt = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    rows = draw(st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=6), min_size=1, max_size=8))
    masks = st.sampled_from([0.0, 0.5, 1.0])
    weights = [(*draw(st.lists(masks, min_size=len(r) - 1, max_size=len(r) - 1)), 1.0) for r in rows]
    return [Row((*prompt, *r), len(prompt), w) for r, w in zip(rows, weights, strict=True)]


@settings(max_examples=100, deadline=None)
@given(trees())
def test_a_line_is_a_prefix_tree_in_which_each_token_sees_its_own_beginning(rows: list[Row]):
    sorted_rows, length = with_rows((), rows)
    assert set(sorted_rows) == set(rows) and len(sorted_rows) == len(set(rows))
    line = longest_first(sorted_rows)
    assert sorted(line, key=rows.index) == sorted(sorted_rows, key=rows.index)
    batch = make_pass([line])
    fed = {row.ids[: row.num_fed] for row in rows}
    beginnings = {f[:i] for f in fed for i in range(1, len(f) + 1)}
    assert batch.input_ids.numel() == line_length(line) == length == len(beginnings)
    if len(line) == 1:
        return
    mask, ids = seen_by(batch).numpy(), batch.input_ids[0].numpy()
    seen = [tuple(ids[mask[i]].tolist()) for i in range(len(ids))]
    assert set(seen) == beginnings and len(set(seen)) == len(seen)
    assert batch.position_ids[0].tolist() == [len(beginning) - 1 for beginning in seen]
    scored = [
        (owner, seen[batch.positions[i]], int(batch.targets[i]), weight)
        for owner, i, weight in zip(batch.owners.tolist(), batch.scored.tolist(), batch.weights.tolist(), strict=True)
    ]
    assert scored == [
        (k, row.ids[: row.start + t], row.ids[row.start + t], weight)
        for k, row in enumerate(line)
        for t, weight in enumerate(row.weights)
        if weight
    ]
    predictions = list(zip(batch.positions.tolist(), batch.targets.tolist(), strict=True))
    assert len(set(predictions)) == len(predictions)


@settings(max_examples=60, deadline=None)
@given(trees(), st.integers(4, 30))
def test_trees_are_cut_at_nodes_within_the_budget(rows: list[Row], budget: int):
    items = [(row,) for row in rows]
    groups = plan_groups(items, token_budget=budget, overhead=10**6, attention_cost=0.0)
    assert sorted(i for group in groups for i in group.items) == list(range(len(items)))
    for group in groups:
        assert group.num_padded == sum(make_pass(lines).input_ids.numel() for lines in group.passes)
        assert group.num_padded <= budget or len(group.items) == 1


def seen_by(batch) -> torch.Tensor:
    """The `(T, T)` mask of a pass that is a tree."""
    place = torch.arange(batch.ends.shape[1])
    return (place[None] <= place[:, None]) & (place[:, None] < batch.ends[0][None])


def test_ragged_lengths_waste_little():
    rng = np.random.default_rng(0)
    items = [(row_of(int(a)), row_of(int(b))) for a, b in rng.integers(45, 105, (32, 2))]
    (group,) = plan_groups(items, token_budget=10**6, overhead=64)
    fed = sum(row.num_fed for rows in items for row in rows)
    assert group.num_padded / fed < 1.10
    assert 64 * max(row.num_fed for rows in items for row in rows) / fed > 1.30  # what one pass would compute


def test_a_shared_line_by_hand():
    # prompt 5 6; rows 3 4 (the 4 is not fed), 7 8 9 and 7 2; the 7 is computed and predicted once
    rows = [
        Row((5, 6, 7, 8, 9), 2, (1.0, 1.0, 1.0)),
        Row((5, 6, 7, 2), 2, (0.5, 1.0)),
        Row((5, 6, 3, 4), 2, (1.0, 0.5)),
    ]
    line, length = with_rows((), rows)
    assert line == [rows[2], rows[1], rows[0]] and common_length(rows[0], rows[1]) == 3 and length == 5
    assert with_rows(line, rows) == (line, 0)
    trunk_first = longest_first(line)
    assert trunk_first == (rows[0], rows[1], rows[2])  # 7 2 feeds nothing that 7 8 9 does not
    batch = make_pass([trunk_first])
    assert line_length(trunk_first) == 5 and batch.num_rows == 3
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 3]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 2]]
    assert batch.ends.tolist() == [[5, 5, 4, 4, 5]]
    predictions = [(1, 3), (1, 7), (2, 2), (2, 8), (3, 9), (4, 4)]  # 3 is predicted from the prompt, not from 8
    assert list(zip(batch.positions.tolist(), batch.targets.tolist(), strict=True)) == predictions
    assert batch.scored.tolist() == [1, 3, 4, 1, 2, 0, 5] and batch.owners.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert batch.weights.tolist() == [1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 0.5]
    assert seen_by(batch).int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert not make_pass([(row,) for row in rows]).is_tree
    with pytest.raises(ValueError, match="one line"):
        make_pass([trunk_first, (Row((1, 2), 1, (1.0,)),)])


def test_a_trunk_lies_in_one_piece_before_its_branches():
    trunk = Row(tuple(range(20, 40)), 2, (1.0,) * 18)
    sides = [Row((*trunk.ids[:k], 1, 2, 3), k, (1.0,) * 3) for k in (5, 10, 15)]
    line, _ = with_rows((), [sides[1], trunk, *sides])
    assert line == [sides[0], sides[1], sides[2], trunk]
    assert longest_first(line) == (trunk, sides[2], sides[1], sides[0])


def test_the_cheaper_packing_is_taken():
    # 59 and 49 fed tokens, 40 in common: 68 on a line, against two rows of 59
    alike = [(Row(tuple(range(60)), 40, (1.0,) * 20), Row((*range(40), *range(90, 100)), 40, (1.0,) * 10))]
    # nothing in common, one length: two passes instead of one save nothing
    different = [(Row(tuple(range(60)), 3, (1.0,) * 57), Row(tuple(range(1, 61)), 3, (1.0,) * 57))]
    for items, cost, packing in ((alike, 0.01, "tree"), (different, 0.01, "plain"), (alike, None, "plain")):
        (group,) = plan_groups(items, token_budget=1000, overhead=5, attention_cost=cost)
        assert group.packing == packing
    (together,) = plan_groups(alike, token_budget=1000, overhead=5, attention_cost=0.01)
    assert together.num_padded == 59 + 49 - 40
    assert together.num_attended == 59 * 60 // 2 + 49 * 50 // 2 - 40 * 41 // 2


def test_long_groups_end_where_the_next_tree_has_little_in_common():
    families = [[(Row((9, k, 1, 2, 3, *range(j, j + 9)), 5, (1.0,) * 9),) for j in (10, 30)] for k in (5, 6)]
    items = [item for family in families for item in family]
    for overhead, budget, sizes in ((1, 1000, [2, 2]), (2, 1000, [4]), (2, 40, [3, 1])):
        groups = plan_groups(items, token_budget=budget, overhead=overhead, attention_cost=0.0)
        assert [len(group.items) for group in groups] == sizes
        assert all(len(lines) == 1 for group in groups for lines in group.passes)
    first, second = plan_groups(items, token_budget=1000, overhead=1, attention_cost=0.0)
    assert first.num_padded == second.num_padded == 5 + 8 + 8  # the 9 is computed once for every group
