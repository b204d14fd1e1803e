"""Grading solutions that compute: what a program gave is its answer.

A text that concludes with an answer after its last program is judged by that, any other by what the program printed
last (or its variable `answer`), binary fractions up to their rounding. A program that ran out of time is `timeout`,
one that failed otherwise `no_answer`: both are the model's doing. Where the sandbox refused or failed, the outcome is
`error`: that is never a wrong answer. Text without a program goes to the inner grader as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tutelage.grading.grader import CompletionGrader
from tutelage.records import Completion, Outcome, Problem, Verdict
from tutelage.text.programs import Solution, read_solution, statuses

METHOD = "program"
ROUNDING = 1e-9
"""Relative difference that counts as none where a program printed a binary fraction, e.g. 349.9999999999999."""
_FRACTION = re.compile(r"-?[0-9]+\.[0-9]+(?:e[-+]?[0-9]+)?")
_OUTCOMES: dict[str, Outcome] = {
    "timeout": "timeout", "cpu": "timeout", "refused": "error", "sandbox_error": "error",
}  # fmt: skip
"""Outcome by a program's status; of those that are not here, and not `ok`, it is `no_answer`."""


class ProgramGrader:
    """Grades programs by their results and everything else as the inner grader does.

    Args:
        inner: compares answers.
    """

    def __init__(self, inner: CompletionGrader) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """The inner grader's, and that programs count."""
        return f"{self.inner.name}+programs"

    @property
    def version(self) -> str:
        """Version of the rules."""
        return f"{self.inner.version}+1"

    def grade(self, problem: Problem, completion: Completion) -> Verdict:
        """The verdict on one completion."""
        return self.grade_many([(problem, completion)])[0]

    def grade_many(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """The verdicts on many completions, in their order."""
        verdicts: dict[int, Verdict] = {}
        asked: list[tuple[int, tuple[Problem, Completion]]] = []
        values: dict[int, str] = {}
        for place, (problem, completion) in enumerate(pairs):
            solution = read_solution(completion.text)
            if not solution.programs:
                asked.append((place, (problem, completion)))
                continue
            ran = statuses(completion.note)
            failed = _OUTCOMES.get(ran[-1]) if ran else None
            value = value_of(solution)
            if failed == "error" or completion.finish_reason == "error":
                verdicts[place] = _verdict(problem, completion, "error", ", ".join(ran) or completion.note)
                continue
            if value is not None and (not ran or ran[-1] == "ok"):
                values[place] = value
            elif failed is None and completion.finish_reason == "length":
                failed = "truncated"
            if solution.conclusion.strip():
                asked.append((place, (problem, replace(completion, text=solution.conclusion))))
            else:
                verdicts[place] = _verdict(problem, completion, failed or "no_answer", ", ".join(ran))
        self._conclude(asked, verdicts)
        self._compute(pairs, verdicts, values)
        return [verdicts[place] for place in range(len(pairs))]

    def _conclude(self, asked: Sequence[tuple[int, tuple[Problem, Completion]]], verdicts: dict[int, Verdict]) -> None:
        made = self.inner.grade_many([pair for _, pair in asked])
        verdicts.update((place, verdict) for (place, _), verdict in zip(asked, made, strict=True))

    def _compute(
        self, pairs: Sequence[tuple[Problem, Completion]], verdicts: dict[int, Verdict], values: dict[int, str]
    ) -> None:
        """Judge by what programs gave where nothing else was said."""
        places = [place for place in values if verdicts[place].outcome in ("no_answer", "truncated")]
        shown = [_shown(*pairs[at], values[at]) for at in places]
        for place, verdict in zip(places, self.inner.grade_many(shown), strict=True):
            method = METHOD if verdict.answer is not None else verdict.method
            verdicts[place] = replace(verdict, method=method, span=None)


def _shown(problem: Problem, completion: Completion, value: str) -> tuple[Problem, Completion]:
    """What the inner grader is shown of a program's value."""
    tolerance = problem.metadata.get("tolerance")
    if tolerance is None and _FRACTION.fullmatch(value):
        problem = replace(problem, metadata={**problem.metadata, "tolerance": ROUNDING})
    return problem, replace(completion, text=f"Final answer: {value}", finish_reason="stop")


def value_of(solution: Solution) -> str | None:
    """What the last program of a solution gave: the last line of its output that is not blank."""
    output = solution.programs[-1].output if solution.programs else None
    lines = [line.strip() for line in (output or "").splitlines() if line.strip()]
    return lines[-1] if lines else None


def _verdict(problem: Problem, completion: Completion, outcome: Outcome, note: str) -> Verdict:
    score = None if outcome == "error" else 0.0
    return Verdict(completion.id, problem.id, outcome, score, None, METHOD, METHOD, note=note)
