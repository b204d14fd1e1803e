"""Verdicts inside of flows: a completion is graded when it comes, once; what a run folder knows is not asked again."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.recipes.bench import Bench
from tutelage.recipes.stages import GRADED_AT_ONCE
from tutelage.records import Completion, Problem, Verdict


class GradingOnTheWay:
    """Grades completions one by one and records the verdicts; call `flush` at the end of the stage."""

    def __init__(self, bench: Bench, problems: Mapping[str, Problem]) -> None:
        self.bench, self.problems = bench, problems
        self.known = {v.completion_id: v for v in bench.run.read("verdicts", Verdict)}
        self._fresh: list[Verdict] = []

    def __call__(self, completion: Completion) -> Verdict:
        """The verdict on a completion; one of outcome `error` is asked for once more."""
        verdict = self.known.get(completion.id)
        if verdict is None:
            problem = self.problems[completion.problem_id]
            with self.bench.spent.on("grading"):
                verdict = self.bench.grader.grade(problem, completion)
                if verdict.outcome == "error" and completion.finish_reason != "error":
                    verdict = self.bench.grader.grade(problem, completion)
            self.known[completion.id] = verdict
            self._fresh.append(verdict)
            if len(self._fresh) >= GRADED_AT_ONCE:
                self.flush()
        return verdict

    def flush(self) -> None:
        """Write what is not yet written."""
        self.bench.run.append_many("verdicts", self._fresh)
        self._fresh = []
