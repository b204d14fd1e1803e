"""Graders that users bring: what they return, raise, and where they are loaded from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import InputError
from tutelage.grading.exact import ExactGrader
from tutelage.grading.grader import Grader, tally
from tutelage.grading.user import UserGrader, load_grader
from tutelage.records import Completion, Policy, Problem, SamplingParams, Verdict

PROBLEM = Problem("p", "?", "1")
COMPLETION = Completion("c1", "p", "answer", Policy("m"), "", (), (), "text", (), (), "stop", SamplingParams(), 0)


@pytest.mark.parametrize(
    ("result", "outcome", "score"),
    [
        (True, "correct", 1.0),
        (False, "incorrect", 0.0),
        (0.7, "correct", 0.7),
        (0.5, "correct", 0.5),
        (0.49, "incorrect", 0.49),
        (-3, "incorrect", -3.0),
        (None, "undecided", None),
        (float("nan"), "error", None),
        ("good", "error", None),
        ([1], "error", None),
        (Verdict("x", "y", "timeout", 0.0), "timeout", 0.0),
        (Verdict("x", "y", "nonsense", 0.0), "error", None),  # type: ignore[arg-type]
        (Verdict("x", "y", "correct", float("inf")), "error", None),
    ],
)
def test_what_a_function_returns_becomes_a_verdict(result: Any, outcome: str, score: float | None) -> None:
    verdict = UserGrader(lambda problem, completion: result).grade(PROBLEM, COMPLETION)
    assert (verdict.outcome, verdict.score) == (outcome, score)
    assert (verdict.completion_id, verdict.problem_id) == ("c1", "p")


def test_an_exception_is_an_error_with_its_cause_and_never_a_score() -> None:
    def fails(problem: Problem, completion: Completion) -> bool:
        raise KeyError("lost")

    verdicts = UserGrader(fails).grade_many([(PROBLEM, COMPLETION)] * 3)
    assert tally(verdicts)["error"] == 3
    assert verdicts[0].score is None
    assert "KeyError" in verdicts[0].note


def test_the_threshold_decides_what_counts_as_correct() -> None:
    grader = UserGrader(lambda problem, completion: 7.5, threshold=8)
    assert (grader.grade(PROBLEM, COMPLETION).outcome, grader.grade(PROBLEM, COMPLETION).score) == ("incorrect", 7.5)


@pytest.mark.parametrize("threshold", [-1, 0, 8])
def test_a_bool_is_correct_or_incorrect_whatever_the_threshold(threshold: float) -> None:
    grade = [UserGrader(lambda p, c, said=said: said, threshold=threshold).grade(PROBLEM, COMPLETION)  # type: ignore[misc]
             for said in (True, False)]  # fmt: skip
    assert [verdict.outcome for verdict in grade] == ["correct", "incorrect"]


def test_load_grader(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def judge(problem, completion):\n    return completion.text == 'text'\n")
    grader = load_grader(f"{file}:judge")
    assert isinstance(grader, Grader)
    assert grader.grade(PROBLEM, COMPLETION).outcome == "correct"
    assert isinstance(load_grader("exact"), ExactGrader)
    before = grader.version
    file.write_text("def judge(problem, completion):\n    return False\n")
    assert load_grader(f"{file}:judge").version != before


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("exakt", "Unknown grader"),
        ("{dir}/none.py:f", "does not exist"),
        ("{dir}/mine.py:g", "no such function"),
        ("{dir}/broken.py:f", "fails"),
    ],
)
def test_bad_graders_are_refused_before_work(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "mine.py").write_text("def f(problem, completion):\n    return True\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('no')\n")
    with pytest.raises(InputError, match=message) as caught:
        load_grader(spec.format(dir=tmp_path))
    assert caught.value.exit_code == 2
    assert "expected:" in str(caught.value)
