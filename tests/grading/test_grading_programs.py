"""Programs are judged by what they give; a failure of the sandbox is never a wrong answer."""

from __future__ import annotations

import pytest

from tutelage.grading import ExactGrader
from tutelage.grading.programs import ProgramGrader
from tutelage.records import Choices, Completion, Policy, Problem, SamplingParams

PROBLEM = Problem("p", "6 * 7?", "42")
PROGRAM = "```python\nprint(6 * 7)\n```\n"


def completion(text: str, note: str = "", finish_reason: str = "stop") -> Completion:
    return Completion(
        "c", "p", "answer", Policy("m"), "t", (1,), (2,), text, ((0, 1, "model"),), (0.0,), finish_reason,  # type: ignore[arg-type]
        SamplingParams(), 0, note=note,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "note", "outcome"),
    [
        (PROGRAM + "```output\n42\n```\n", "programs: ok", "correct"),
        (PROGRAM + "```output\nsteps\n42.0\n```\n", "programs: ok", "correct"),
        (PROGRAM + "```output\nThe answer is 42.\n```\n", "programs: ok", "correct"),
        (PROGRAM + "```output\n41\n```\n", "programs: ok", "incorrect"),
        (PROGRAM + "```output\n42\n```\n", "", "correct"),  # a recording that has outputs but no statuses
        ("a=42\nprint(a)\n```output\n42\n```\n", "programs: ok", "correct"),
        ("print(42)\n```output\n41\n```\n", "programs: ok", "incorrect"),  # what ran counts, not what stands there
        (PROGRAM + "```output\n41.99999999999999\n```\n", "programs: ok", "correct"),  # a binary fraction
        (PROGRAM + "```output\n41.9999\n```\n", "programs: ok", "incorrect"),
        (PROGRAM + "```output\n-42.0\n```\nIt is $\\boxed{42}$ less.", "programs: ok", "correct"),
        (PROGRAM + "```output\n42\n```\nDone.", "programs: ok", "correct"),
        (PROGRAM + "```output\n```\n", "programs: ok", "no_answer"),
        (PROGRAM + "```output\nTimeoutError: 42\n```\n", "programs: timeout", "timeout"),
        (PROGRAM + "```output\nTimeoutError: 42\n```\n", "programs: cpu", "timeout"),
        (PROGRAM + "```output\nValueError: 42\n```\n", "programs: error", "no_answer"),
        (PROGRAM + "```output\n42\n```\n", "programs: output_limit", "no_answer"),
        (PROGRAM + "```output\n42\n```\n", "programs: crash", "no_answer"),
        (PROGRAM, "programs: sandbox_error", "error"),
        (PROGRAM + "```output\n41\n```\n", "programs: refused", "error"),
        (PROGRAM, "", "no_answer"),  # never run
        ("Think.\n" + PROGRAM + "```output\n42\n```\nFinal answer: 42", "programs: ok", "correct"),
        ("Think.\n" + PROGRAM + "```output\n42\n```\nFinal answer: 43", "programs: ok", "incorrect"),
        ("Think.\n" + PROGRAM + "```output\n41\n```\nFinal answer: 42", "programs: ok", "correct"),
        ("Think.\n" + PROGRAM + "```output\n42\n```\nThat is all.", "programs: ok", "correct"),
        ("Think: Final answer: 41\n" + PROGRAM + "```output\n42\n```\n", "programs: ok", "correct"),
        ("Final answer: 42", "", "correct"),
        ("Final answer: 41", "", "incorrect"),
    ],
)
def test_outcomes(text: str, note: str, outcome: str) -> None:
    verdict = ProgramGrader(ExactGrader()).grade(PROBLEM, completion(text, note))
    assert verdict.outcome == outcome
    assert verdict.score == (None if outcome == "error" else float(outcome == "correct"))


def test_a_program_that_was_cut_off_is_truncated() -> None:
    cut = completion("```python\nprint(6", finish_reason="length")
    assert ProgramGrader(ExactGrader()).grade(PROBLEM, cut).outcome == "truncated"


def test_a_choice_and_the_order_of_many() -> None:
    choice = Problem("p", "Which?", "B", "choice", choices=Choices(("A", "B"), ("one", "two")))
    pairs = [
        (choice, completion("```python\nprint('B')\n```\n```output\nB\n```\n", "programs: ok")),
        (PROBLEM, completion("Final answer: 41")),
        (PROBLEM, completion(PROGRAM, "programs: memory")),
    ]
    grader = ProgramGrader(ExactGrader())
    assert [v.outcome for v in grader.grade_many(pairs)] == ["correct", "incorrect", "no_answer"]
    assert grader.grade_many([]) == [] and grader.name.endswith("+programs")
