"""What graders share: the protocol, and counting verdicts by outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from tutelage.records import OUTCOMES, Completion, Outcome, Problem, Verdict


@runtime_checkable
class CompletionGrader(Protocol):
    """The protocol of all graders, built in or brought: says of a completion whether it solves its problem.

    A grader never raises on model text, never hangs on it and never evaluates it in this process. `version` changes
    whenever a verdict may change; it is stored with every run.
    """

    @property
    def name(self) -> str:
        """Short name, stored with the run."""
        ...

    @property
    def version(self) -> str:
        """Version of the rules."""
        ...

    def grade(self, problem: Problem, completion: Completion) -> Verdict:
        """The verdict on one completion."""
        ...

    def grade_many(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """The verdicts on many, in their order."""
        ...


def tally(verdicts: Iterable[Verdict]) -> dict[Outcome, int]:
    """How many verdicts have each outcome; all seven outcomes are there."""
    counts: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
    for verdict in verdicts:
        counts[verdict.outcome] += 1
    return counts
