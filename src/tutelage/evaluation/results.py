"""Per-problem results of an evaluation, as the run folder keeps them, and reading them back for comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.errors import InputError, RunError
from tutelage.evaluation.plays import ACTOR
from tutelage.records import Completion, Record
from tutelage.store.run import Run

KIND = "evaluations"
"""The kind under which results are stored: `evaluations/NNNN.jsonl`."""


@dataclass(frozen=True)
class EvaluationResult(Record):
    """What one strategy made of one problem.

    Args:
        id: of this result; running the evaluation again makes the same.
        name: which weights, e.g. "it2".
        strategy: e.g. "greedy", "maj@8".
        data: name of the data.
        problem_id: the problem.
        value: in [0, 1]; 1.0 or 0.0 for strategies that end in one answer.
        completion_ids: the samples that it rests on.
        cost: what answering this problem once took: by player, prompt tokens read and tokens written. Strategies share
            samples, so this is not what was drawn. Empty in records of recipes: there it is what was drawn.
    """

    id: str
    name: str
    strategy: str
    data: str
    problem_id: str
    value: float
    completion_ids: tuple[str, ...] = ()
    cost: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """The evaluations of one folder.

    Args:
        path: the folder.
        report: its `report.json`; empty where it has none yet.
        results: all per-problem results, oldest first.
    """

    path: Path
    report: dict[str, Any]
    results: tuple[EvaluationResult, ...]

    def names(self, strategy: str | None = None) -> list[str]:
        """Names of the weights that were measured (under a strategy), oldest first."""
        return list(dict.fromkeys(r.name for r in self.results if strategy in (None, r.strategy)))

    def strategies(self, name: str | None = None) -> list[str]:
        """Strategies that were measured (of the weights called `name`), oldest first."""
        return list(dict.fromkeys(r.strategy for r in self.results if name in (None, r.name)))

    def data(self, strategy: str = "greedy", name: str | None = None) -> list[str]:
        """Names of the data on which these weights were measured under this strategy."""
        name = name or self._last(strategy)
        return list(dict.fromkeys(r.data for r in self.results if r.name == name and r.strategy == strategy))

    def values(self, strategy: str = "greedy", name: str | None = None, *, data: str | None = None) -> dict[str, float]:
        """Value by problem id.

        Args:
            strategy: which strategy.
            name: which weights; None takes the last that were measured under it.
            data: which data; None takes all.

        Raises:
            InputError: there are none such; says what there is.
        """
        name = name or self._last(strategy)
        found = {
            r.problem_id: r.value
            for r in self.results
            if r.strategy == strategy and r.name == name and data in (None, r.data)
        }
        if not found:
            there = sorted({f"{r.name} {r.strategy} on {r.data}" for r in self.results})
            raise InputError(
                f"{self.path} has no such evaluation",
                seen=" ".join(str(part) for part in (name, strategy, data) if part),
                expected="one of: " + "; ".join(there),
                advice="choose one of these, or evaluate first",
            )
        return found

    def tokens(self, strategy: str = "greedy", name: str | None = None) -> int:
        """Tokens that the models wrote for these results: what the strategy costs."""
        return sum(written for _, written in self.costs(strategy, name).values())

    def costs(self, strategy: str = "greedy", name: str | None = None) -> dict[str, tuple[int, int]]:
        """Prompt tokens read and tokens written for these results, by player; players who did neither are left out."""
        name = name or self._last(strategy)
        rows = [r for r in self.results if r.strategy == strategy and r.name == name]
        total: dict[str, tuple[int, int]] = {}
        for row in rows:
            for player, (read, written) in row.cost.items():
                known = total.get(player, (0, 0))
                total[player] = (known[0] + read, known[1] + written)
        ids = {i for row in rows if not row.cost for i in row.completion_ids}
        if ids:
            completions: Iterable[Completion] = Run.open(self.path).read("completions", Completion)
            for completion in completions:
                if completion.id in ids:
                    read, written = total.get(ACTOR, (0, 0))
                    total[ACTOR] = (read + len(completion.prompt_ids), written + sum(completion.loss_mask()))
        return total

    def _last(self, strategy: str) -> str | None:
        names = self.names(strategy)
        return names[-1] if names else None


def load_result(path: str | Path) -> Recorded:
    """The evaluations in a run folder or an evaluation folder; the run may still be going on.

    Raises:
        RunError: there is no run, or nothing was evaluated in it.
        DataError: a damaged line.
    """
    run = Run.open(path)
    results = tuple(run.read(KIND, EvaluationResult))
    if not results:
        raise RunError(
            f"{run.path} holds no evaluation",
            seen=f"a run of {run.recipe} without {KIND}/",
            expected="a run or evaluation that has measured something",
            advice="let it run further, or use `tutelage eval`",
        )
    try:
        report = run.report()
    except RunError:
        report = {}
    return Recorded(run.path, report, results)
