"""What a run reports: figures by iteration, the paired test of last against first, outcomes, alarms, time spent."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tutelage.evaluation.comparisons import compare
from tutelage.evaluation.strategies import StrategyResult
from tutelage.learning.alarms import degenerate_groups, length_drift
from tutelage.recipes.bench import Bench
from tutelage.recipes.stages import interval
from tutelage.records import OUR_OUTCOMES, OUTCOMES, Completion, Group, Verdict
from tutelage.selection.difficulty import difficulty_histogram
from tutelage.selection.pairs import PairingResult

MAX_OWN_FAILURES = 0.005
"""Share of our own failures among verdicts above which the run warns (design: 0.5 %)."""


class ReportedSettings(Protocol):
    """The settings that a report names."""

    model: str
    sampler: str
    seed: int


@dataclass
class IterationReport:
    """Figures of one iteration; iteration 0 is the model before any learning.

    `details` are figures of one recipe only, by the names that the report shows them under.
    `difficulty` counts training problems by pass rate, hardest fifth first; `mean_tokens` is the mean length of
    practice samples. `chosen_logprob` and `rejected_logprob` are means over a fixed probe set of pairs of the sum of
    completion-token log-probs (natural log) after learning; the `_before` ones are of the same pairs under M_t.
    `packing` counts the steps whose rows shared their beginnings (`tree`) and those where each was computed apart
    (`plain`), the tokens that the rows held and those that were computed.
    """

    iteration: int
    greedy: StrategyResult | None = None
    votes: StrategyResult | None = None
    dev: StrategyResult | None = None
    pairs: int | None = None
    steps: int | None = None
    chosen_logprob: float | None = None
    rejected_logprob: float | None = None
    chosen_logprob_before: float | None = None
    rejected_logprob_before: float | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    pairing: dict[str, int] = field(default_factory=dict)
    difficulty: list[int] = field(default_factory=list)
    mean_tokens: float | None = None
    dropped: int = 0
    alarms: list[str] = field(default_factory=list)
    chosen_step: int | None = None
    packing: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def note_practice(self, pairing: PairingResult, groups: Sequence[Group], completions: Sequence[Completion]) -> None:
        """Keep what the practice samples show: which problems were usable, how hard they are, how long answers get."""
        self.pairing = dict(pairing.counts)
        self.note_groups(groups, completions)

    def note_groups(self, groups: Sequence[Group], completions: Sequence[Completion]) -> None:
        """As `note_practice`, where nothing is paired."""
        self.difficulty = list(difficulty_histogram(groups))
        self.mean_tokens = statistics.fmean(len(c.token_ids) for c in completions)
        self.alarms += [alarm.message for alarm in degenerate_groups([group.pass_rate for group in groups])]

    def to_json(self, seconds: float) -> dict[str, Any]:
        """The iteration as `report.json` has it."""
        out: dict[str, Any] = {"iteration": self.iteration, "seconds": round(seconds, 3)}
        if self.greedy is not None:
            out["greedy"] = interval(self.greedy)
        if self.votes is not None:
            out[self.votes.strategy.name] = interval(self.votes)
        if self.dev is not None:
            out["dev"] = interval(self.dev)
        names = ("pairs", "steps", "chosen_logprob", "rejected_logprob", "chosen_logprob_before",
                 "rejected_logprob_before", "chosen_step", "difficulty", "mean_tokens")  # fmt: skip
        out |= {name: getattr(self, name) for name in names}
        out |= self.details
        return out | {"curve": self.curve, "pairing": self.pairing, "dropped": self.dropped, "alarms": self.alarms,
                      "packing": self.packing}  # fmt: skip


class ReportBuilder:
    """Collects a run's figures and writes `report.json` after every iteration."""

    def __init__(self, recipe: str, config: ReportedSettings, bench: Bench) -> None:
        self.recipe, self.config, self.bench = recipe, config, bench
        self.iterations: list[dict[str, Any]] = []
        self.results: list[IterationReport] = []
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self._seconds_before = bench.spent.earlier

    def count(self, verdicts: Iterable[Verdict]) -> None:
        """Add verdicts of practice samples to the outcome counts."""
        for verdict in verdicts:
            self.outcomes[verdict.outcome] += 1

    def add(self, figures: IterationReport) -> None:
        """Add an iteration; its seconds are those since the last one was added."""
        lengths = [r.mean_tokens for r in (*self.results, figures) if r.mean_tokens is not None]
        if figures.mean_tokens is not None:
            figures.alarms += [alarm.message for alarm in length_drift(lengths)]
        self.iterations.append(figures.to_json(self._seconds_of(figures.iteration)))
        self.results.append(figures)
        self.bench.run.metrics("time_spent", self.bench.spent.report())
        self.bench.run.write_report(self.report())
        for alarm in figures.alarms:
            self.bench.progress.note(f"alarm: {alarm}")

    def _seconds_of(self, iteration: int) -> float:
        """Seconds since the last iteration was added; what an earlier session measured where it finished this one."""
        total = self.bench.spent.total()
        measured, self._seconds_before = total - self._seconds_before, total
        recorded = self.bench.run.read_metrics("iteration")
        known = {row["where"]["iteration"]: row["values"]["seconds"] for row in recorded}
        seconds: float = known.get(iteration, measured)
        if iteration not in known:
            self.bench.run.metrics("iteration", {"seconds": seconds}, iteration=iteration)
        return seconds

    def is_saturated(self, gain: float | None) -> bool:
        """Whether the last iteration raised dev accuracy by less than `gain`; never without a `gain`."""
        if gain is None or len(self.results) < 2:
            return False
        before, after = self.results[-2].dev, self.results[-1].dev
        return before is not None and after is not None and after.value - before.value < gain

    def alarms(self) -> list[str]:
        """What looks wrong, over all iterations: our own failures first, then what the training showed."""
        raised = [f"iteration {result.iteration}: {alarm}" for result in self.results for alarm in result.alarms]
        return self._own_failures() + raised

    def _own_failures(self) -> list[str]:
        own, total = sum(self.outcomes[o] for o in OUR_OUTCOMES), sum(self.outcomes.values())
        if total and own / total > MAX_OWN_FAILURES:
            return [f"{own} of {total} samples ({own / total:.1%}) could not be graded and were left out of learning"]
        return []

    def report(self) -> dict[str, Any]:
        """The report as it stands."""
        return {
            "recipe": self.recipe,
            "model": self.config.model,
            "sampler": self.config.sampler,
            "seed": self.config.seed,
            "seconds": round(self.bench.spent.total(), 3),
            "iterations": self.iterations,
            "paired_test": self.paired_test(),
            "outcomes": self.outcomes,
            "alarms": self.alarms(),
            "time_spent": self.bench.spent.report(),
            "run_folder": self.bench.run.path.name,
        }

    def paired_test(self) -> dict[str, Any] | None:
        """Last against first iteration on the same problems; None before there are two, or with a single problem."""
        first, last = self.results[0].greedy, self.results[-1].greedy
        if len(self.results) < 2 or first is None or last is None:
            return None
        if len(first.per_problem.keys() & last.per_problem.keys()) < 2:
            return None
        test = compare(first.per_problem, last.per_problem, seed=self.config.seed)
        return {
            "difference": test.difference,
            "low": test.low,
            "high": test.high,
            "p_value": test.p_value,
            "n": test.n,
        }

    def finish(self) -> dict[str, Any]:
        """Write the final report and return it."""
        report = self.report()
        for failure in self._own_failures():
            self.bench.progress.note(f"alarm: {failure}")
        self.bench.run.write_report(report)
        return report
