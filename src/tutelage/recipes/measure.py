"""What every recipe measures of its weights: greedy accuracy, a majority vote, and accuracy on the dev problems."""

from __future__ import annotations

from typing import Protocol

from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.report import IterationReport
from tutelage.records import Problem, SamplingParams


class Measurement(Protocol):
    """The settings that say how to measure; every recipe's config has them."""

    seed: int
    eval_data: str | None
    eval_limit: int | None
    eval_samples: int
    eval_sample_limit: int | None
    eval_temperature: float

    @property
    def max_new_tokens(self) -> int:
        """Longest answer, in tokens."""
        ...


def measure(
    config: Measurement, bench: Bench, weights: Weights, figures: IterationReport, *, on_dev: bool = False
) -> IterationReport:
    """Fill in `figures` with the accuracy of `weights`: greedy and by vote on the test problems, greedy on dev.

    Args:
        config: how many problems, samples and tokens.
        bench: problems, prompts, grader, samplers.
        weights: what is measured.
        figures: what is filled in, and returned.
        on_dev: measure dev accuracy too, for a decision; it is the test figure where test and dev are the same.
    """
    votes = SamplingParams(temperature=config.eval_temperature, max_new_tokens=config.max_new_tokens)
    name, data = f"it{figures.iteration}", config.eval_data or "dev"

    def accuracy(problems: list[Problem], strategy: str, label: str, data: str) -> stages.StrategyResult:
        return stages.evaluate(
            bench, weights, problems, strategy, name=label, data=data, params=votes, seed=config.seed
        )

    problems = bench.test[: config.eval_limit]
    figures.greedy = accuracy(problems, "greedy", name, data)
    bench.progress.status(accuracy=f"{figures.greedy.value:.1%}")
    if config.eval_samples:
        figures.votes = accuracy(problems[: config.eval_sample_limit], f"maj@{config.eval_samples}", name, data)
    if on_dev:
        figures.dev = figures.greedy if bench.dev is bench.test else accuracy(bench.dev, "greedy", f"{name}-dev", "dev")
    return figures
