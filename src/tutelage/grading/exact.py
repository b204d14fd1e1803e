"""The built-in grader without its worker: extract the final answer, then check it by exact tiers (grading/checker.py).

A completion cut off by its length limit is paid only for an answer that the text itself closes (a closed box or tag,
a marked line that ended) and that no other answer of the same text contradicts; otherwise its outcome is `truncated`.
A text that goes on after such an answer does not change it. What the tiers cannot decide is `undecided`: ours, never
a score. Nothing here leaves the process; grading/tiered.py adds the tier that does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tutelage.grading.checker import RULES_VERSION, SHARED, Checker
from tutelage.records import Completion, FinishReason, Outcome, Problem, Verdict
from tutelage.text.extraction import Extraction, extract


@dataclass(frozen=True)
class ExactGrader:
    """Grades by exact comparison.

    Args:
        tolerance: largest relative difference of numbers that counts as none; a problem's `metadata["tolerance"]`
            overrides it. None is exact.
        last_number: take a text's last number where it marks no answer. Off: it can be hacked as a reward.
        checker: compares answers and remembers verdicts; graders share one unless they bring their own.
    """

    tolerance: float | None = None
    last_number: bool = False
    checker: Checker = field(default=SHARED, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name with the options that are not the default."""
        options = [f"tolerance={self.tolerance}"] if self.tolerance is not None else []
        options += ["last_number"] if self.last_number else []
        return "exact" + (f"({', '.join(options)})" if options else "")

    @property
    def version(self) -> str:
        """Version of the checker's rules."""
        return RULES_VERSION

    def grade(self, problem: Problem, completion: Completion) -> Verdict:
        """The verdict on one completion."""
        if completion.finish_reason == "error":
            return Verdict(completion.id, problem.id, "error", None, note=completion.note or "the sampler failed")
        return self.grade_text(problem, completion.text, completion.finish_reason, completion_id=completion.id)

    def grade_many(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """The verdicts on many completions, in their order."""
        return [self.grade(problem, completion) for problem, completion in pairs]

    def grade_text(
        self, problem: Problem, text: str, finish_reason: FinishReason = "stop", *, completion_id: str = ""
    ) -> Verdict:
        """The verdict on a text that is no `Completion` record.

        Args:
            problem: the problem that it answers.
            text: the completion without its prompt.
            finish_reason: why it ended; `length` makes an answer that is not complete `truncated`.
            completion_id: id for the verdict.
        """
        started = time.perf_counter()
        found = extract(text, problem.answer_kind, problem.choices, last_number=self.last_number)
        outcome, decided_by = self._judge(problem, found, finish_reason)
        score = {"correct": 1.0, "undecided": None, "error": None}.get(outcome, 0.0)
        seconds = time.perf_counter() - started
        span = None if found.answer is None else found.span
        return Verdict(
            completion_id, problem.id, outcome, score, found.answer, found.method, decided_by, seconds, span=span
        )

    def _judge(self, problem: Problem, found: Extraction, finish_reason: FinishReason) -> tuple[Outcome, str]:
        is_cut = finish_reason == "length"
        if found.answer is None:
            return ("truncated" if is_cut else "no_answer"), "extraction"
        if is_cut and not (found.is_delimited and found.num_answers <= 1):
            return "truncated", "extraction"
        result = self.checker.check(
            problem.answer,
            found.answer,
            kind=problem.answer_kind,
            tolerance=problem.metadata.get("tolerance", self.tolerance),
            choices=problem.choices,
        )
        if result.equivalent is None:
            return "undecided", result.decided_by
        return ("correct" if result.equivalent else "incorrect"), result.decided_by
