"""Layout of passes: every token once, within budget, little padding; siblings share a prompt and nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.learning.batches import Row
from tutelage.learning.layout import line_length, make_pass, plan_groups, split_by_length


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
    st.booleans(),
)
def test_groups_cover_every_row_once_and_keep_the_budget(sizes, budget: int, overhead: int, share: bool):
    items = [(row_of(a), row_of(b)) for a, b in sizes]
    groups = plan_groups(items, token_budget=budget, overhead=overhead, share_prompts=share)
    assert sorted(i for group in groups for i in group.items) == list(range(len(items)))
    for group in groups:
        keys = sorted(key for lines in group.passes for line in lines for key in line)
        assert keys == sorted((item, side) for item in group.items for side in (0, 1))
        made = [make_pass([[items[i][s] for i, s in line] for line in lines]) for lines in group.passes]
        assert group.num_padded == sum(batch.input_ids.numel() for batch in made)
        assert group.num_padded <= budget or len(group.items) == 1


def test_ragged_lengths_waste_little():
    rng = np.random.default_rng(0)
    items = [(row_of(int(a)), row_of(int(b))) for a, b in rng.integers(45, 105, (32, 2))]
    (group,) = plan_groups(items, token_budget=10**6, overhead=64)
    fed = sum(row.num_fed for rows in items for row in rows)
    assert group.num_padded / fed < 1.10
    assert 64 * max(row.num_fed for rows in items for row in rows) / fed > 1.30  # what one pass would compute


def test_a_shared_line_by_hand():
    # prompt 5 6; siblings 7 8 9 (the 9 is not fed) and 3 4
    line = [Row((5, 6, 7, 8, 9), 2, (1.0, 1.0, 1.0)), Row((5, 6, 3, 4), 2, (1.0, 0.5))]
    batch = make_pass([line, [Row((1, 2), 1, (1.0,))]])
    assert line_length(line) == 5 and batch.num_rows == 3
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 3], [1, 0, 0, 0, 0]]
    assert batch.position_ids.tolist()[0] == [0, 1, 2, 3, 2]
    assert batch.siblings.tolist() == [[0, 0, 1, 1, 2], [0, -1, -1, -1, -1]]
    assert batch.positions.tolist() == [
        1,
        2,
        3,
        1,
        4,
        5,
    ]  # 3 is predicted from the prompt, not from 8
    assert batch.targets.tolist() == [7, 8, 9, 3, 4, 2] and batch.owners.tolist() == [0, 0, 0, 1, 1, 2]
    mask = batch.attention_mask()
    assert mask.shape == (2, 1, 5, 5)
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert make_pass([[line[0]], [line[1]]]).attention_mask() is None


def test_prompts_are_shared_only_where_that_saves_a_tenth():
    long_prompt = [(row_of(60, start=40), row_of(50, start=40))]
    short_prompt = [(row_of(60, start=4), row_of(50, start=4))]
    for items, is_shared in ((long_prompt, True), (short_prompt, False)):
        (group,) = plan_groups(items, token_budget=1000, overhead=0, share_prompts=True)
        assert (group.passes[0][0] == ((0, 0), (0, 1))) == is_shared
    (apart,) = plan_groups(long_prompt, token_budget=1000, overhead=0)
    (together,) = plan_groups(long_prompt, token_budget=1000, overhead=0, share_prompts=True)
    assert apart.num_padded == 59 + 49 and together.num_padded == 59 + 49 - 40
