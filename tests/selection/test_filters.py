"""Filters: top M by reward model, cut by judge, each alone and both, counted by verdict."""

from __future__ import annotations

import pytest

from tutelage.records import Completion, Policy, SamplingParams, Score, Verdict
from tutelage.selection.filters import filter_answers, keep_above, keep_top


def completion(name: str) -> Completion:
    return Completion(
        name, name[0], "answer", Policy("m"), "t", (1,), (2,), name, ((0, 1, "model"),), (-1.0,), "stop",
        SamplingParams(), 0,
    )  # fmt: skip


ANSWERS = [completion(name) for name in ("a1", "b1", "a2", "a3", "b2", "b3")]
RIGHT = {"a1": True, "a2": False, "a3": True, "b1": False, "b2": True, "b3": None}
VERDICTS = [
    Verdict(name, name[0], "undecided" if right is None else "correct" if right else "incorrect", None)
    for name, right in RIGHT.items()
]
RANKS = [Score(n, "reward_model", v, "rm") for n, v in dict(a1=0.1, a2=0.9, a3=0.5, b1=-3, b2=-2, b3=-2).items()]
MARKS = [Score(n, "judge", v, "j") for n, v in dict(a1=9, a2=3, a3=8, b1=6, b2=7).items()]


def ids(answers: list[Completion]) -> list[str]:
    return [answer.id for answer in answers]


def test_the_top_is_taken_problem_by_problem_and_the_first_wins_a_tie() -> None:
    assert ids(keep_top(ANSWERS, RANKS, 1)) == ["a2", "b2"], "b2 ties with b3; -2 of b is kept beside 0.9 of a"
    assert ids(keep_top(ANSWERS, RANKS, 2)) == ["a2", "a3", "b2", "b3"], "in the order in which they came"
    assert ids(keep_top(ANSWERS, RANKS, 9)) == ids(ANSWERS)


def test_the_cut_is_absolute_and_what_has_no_score_does_not_pass() -> None:
    assert ids(keep_above(ANSWERS, MARKS, 7)) == ["a1", "a3", "b2"]
    assert ids(keep_above(ANSWERS, MARKS, 0)) == ["a1", "b1", "a2", "a3", "b2"]
    assert ids(keep_top(ANSWERS, MARKS, 9)) == ["a1", "b1", "a2", "a3", "b2"]


def test_each_filter_alone_and_both_with_their_counts() -> None:
    kept, [alone] = filter_answers(ANSWERS, VERDICTS, judged_by=MARKS, at_least=6)
    assert ids(kept) == ["a1", "b1", "a3", "b2"]
    assert (alone.right_in, alone.right_out, alone.wrong_in, alone.wrong_out) == (3, 3, 2, 1)
    assert (alone.unjudged_in, alone.unjudged_out, alone.unscored) == (1, 0, 1)
    assert (alone.precision_in, alone.precision_out, alone.recall) == (0.6, 0.75, 1.0)
    kept, [first, second] = filter_answers(ANSWERS, VERDICTS, ranked_by=RANKS, top=2, judged_by=MARKS, at_least=6)
    assert ids(kept) == ["a3", "b2"]
    assert (first.name, first.right_out, first.wrong_out, first.unjudged_out) == ("reward_model", 2, 1, 1)
    assert (second.name, second.right_in, second.right_out, second.wrong_out) == ("judge", 2, 2, 0)
    assert second.precision_out == 1.0


def test_a_filter_without_its_limit_is_refused() -> None:
    for wrong in ({"ranked_by": RANKS}, {"at_least": 6.0}, {}):
        with pytest.raises(ValueError, match="filter"):
            filter_answers(ANSWERS, VERDICTS, **wrong)
    with pytest.raises(ValueError, match="at least 1"):
        keep_top(ANSWERS, RANKS, 0)


def test_nothing_comes_of_nothing() -> None:
    kept, [told] = filter_answers([], [], ranked_by=[], top=3)
    assert kept == [] and told.precision_out is None and told.recall is None
