"""Groups count independent samples only; bins are exact at their edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.records import Completion, Group, Policy, SamplingParams, Verdict
from tutelage.selection.difficulty import difficulty_bin, difficulty_histogram, make_groups, with_pass_rate


def sample(number: int, problem: str = "p", policy: Policy = Policy("m")) -> Completion:  # noqa: B008
    return Completion(
        f"c{number}", problem, "answer", policy, "t", (1,), (2,), "x", ((0, 1, "model"),), (0.0,), "stop",
        SamplingParams(), 0, index=number,
    )  # fmt: skip


def verdict(number: int, outcome: str) -> Verdict:
    return Verdict(f"c{number}", "p", outcome, None)  # type: ignore[arg-type]


def group(num_correct: int, num_usable: int, problem: str = "p") -> Group:
    return Group(problem, Policy("m"), 0, (), num_correct, num_usable)


def test_branches_and_refinements_do_not_count() -> None:
    completions = [
        sample(1),
        sample(0),
        sample(0),
        replace(sample(2), parent_id="c0", branch_position=1),
        replace(sample(3), role="refinement"),
        replace(sample(4), role="program"),
        sample(5),
        sample(6),
    ]
    outcomes = ["correct", "incorrect", "correct", "correct", "timeout", "undecided"]
    (made,) = make_groups(completions, [verdict(i, o) for i, o in enumerate(outcomes)], round=2)
    # c5 could not be judged by us and c6 not at all: they are samples, but do not enter the rate.
    assert made == Group("p", Policy("m"), 2, ("c0", "c1", "c4", "c5", "c6"), 1, 3)
    assert made.pass_rate == pytest.approx(1 / 3)


def test_a_solution_that_was_joined_of_pieces_counts() -> None:
    joined = [replace(sample(n), parent_id=f"piece{n}", note="programs: ok") for n in range(4)]
    (made,) = make_groups(joined, [verdict(n, "correct" if n < 1 else "incorrect") for n in range(4)])
    assert made.pass_rate == pytest.approx(1 / 4) and len(made.completion_ids) == 4


def test_one_group_for_each_problem_and_policy() -> None:
    other = Policy("m", version=1)
    made = make_groups([sample(0), sample(1, policy=other), sample(2, problem="q")], [verdict(0, "correct")])
    assert [(g.problem_id, g.policy, g.num_usable) for g in made] == [
        ("p", Policy("m"), 1),
        ("p", other, 0),
        ("q", Policy("m"), 0),
    ]
    assert [difficulty_bin(g) for g in made] == [4, None, None]


@pytest.mark.parametrize(
    ("num_correct", "num_usable", "expected"),
    [(0, 10, 0), (1, 10, 0), (2, 10, 1), (3, 5, 3), (6, 10, 3), (7, 10, 3), (8, 10, 4), (10, 10, 4), (29, 100, 1)],
)
def test_bins_at_their_edges(num_correct: int, num_usable: int, expected: int) -> None:
    assert difficulty_bin(group(num_correct, num_usable)) == expected


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_histogram_counts_every_usable_group(rows: list[tuple[int, int]]) -> None:
    groups = [group(min(c, n), n) for c, n in rows]
    assert sum(difficulty_histogram(groups)) == sum(n > 0 for _, n in rows)


def test_selection_by_pass_rate() -> None:
    groups = [group(c, 4, f"p{c}") for c in range(5)] + [group(0, 0, "unknown")]
    assert with_pass_rate(groups, 0.0, up_to=0.5) == ["p1", "p2"]
    assert with_pass_rate(groups, -1.0, up_to=0.0) == ["p0"]
