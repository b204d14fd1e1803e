"""What a stage of grading warns of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tutelage.grading import Grader
from tutelage.recipes.stages import _tell_trouble
from tutelage.records import Outcome, Verdict


def told(counts: dict[Outcome, int], grader: Any = None) -> list[str]:
    notes: list[str] = []
    bench = SimpleNamespace(grader=grader, progress=SimpleNamespace(note=notes.append))
    verdicts = [Verdict("c", "p", outcome, None) for outcome, count in counts.items() for _ in range(count)]
    _tell_trouble(bench, verdicts, "iteration 1: grade")  # type: ignore[arg-type]
    return notes


def test_half_a_percent_of_timeouts_or_failures_is_told_and_less_is_not() -> None:
    assert told({"correct": 995, "timeout": 5}) == []
    assert told({"correct": 994, "timeout": 6}) == [
        "warning: iteration 1: grade: 6 of 1000 answers (0.6%) timed out and count as wrong"
    ]
    assert told({"correct": 90, "undecided": 6, "error": 4}) == [
        "warning: iteration 1: grade: 10 of 100 answers (10.0%) could not be graded and have no score"
    ]
    assert told({}) == []


def test_an_absent_tier_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    grader = Grader()
    assert told({"correct": 1}, grader) == []
    grader.check(r"x^{1/3}", r"\sqrt[3]{x}")
    assert len(told({"correct": 1}, grader)) == 1
    assert told({"correct": 1}, grader) == []
