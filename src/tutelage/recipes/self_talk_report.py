"""What self-talk is compared on: greedy accuracy, maj@k and pass@k of each arm, and of actor and critic together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.evaluation.comparisons import compare
from tutelage.evaluation.plays import Cost
from tutelage.evaluation.strategies import Figure, StrategyResult
from tutelage.evaluation.strategy_names import parse_strategy
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.measure import Measurement
from tutelage.recipes.report import IterationReport
from tutelage.recipes.strategy_stage import Measuring, Seat, Team, run_strategies
from tutelage.records import SamplingParams


@dataclass(frozen=True)
class ArmResult:
    """An arm's accuracies: one answer, the vote over k, any of k; by the strategies' names."""

    arm: str
    greedy: StrategyResult
    vote: StrategyResult
    any_right: StrategyResult | Figure


@dataclass(frozen=True)
class Players:
    """The actor alone, and with the critic; the report's row of the actor."""

    figures: IterationReport
    alone: ArmResult
    together: ArmResult


def measure_players(config: Measurement, bench: Bench, critic: Seat) -> Players:
    """The untrained actor: alone, and two players, whose every answer is criticised and refined once."""
    k = config.eval_samples
    names = ["greedy", f"maj@{k}", f"pass@{k}", "refine", f"critic-maj@{k}"]
    greedy, vote, any_right, refined, voted = _measured(config, bench, bench.base, names, 0, Team(critic=critic))
    figures = IterationReport(0, greedy=greedy, votes=vote)
    alone = ArmResult("actor alone", greedy, vote, any_right)
    return Players(figures, alone, ArmResult("two players", refined, voted, voted.extras["pass"]))


def measure_arm(config: Measurement, bench: Bench, weights: Weights, figures: IterationReport, arm: str) -> ArmResult:
    """An arm's model, alone; fills in the report's row."""
    k = config.eval_samples
    names = ["greedy", f"maj@{k}", f"pass@{k}"]
    greedy, vote, any_right = _measured(config, bench, weights, names, figures.iteration, Team())
    figures.greedy, figures.votes = greedy, vote
    figures.details["arm"] = arm
    return ArmResult(arm, greedy, vote, any_right)


def _measured(
    config: Measurement, bench: Bench, weights: Weights, names: Sequence[str], iteration: int, team: Team
) -> list[StrategyResult]:
    params = SamplingParams(config.eval_temperature, max_new_tokens=config.max_new_tokens)
    how = Measuring(params, config.seed, f"it{iteration}", config.eval_data or "dev", prefix=f"it{iteration}-")
    found = run_strategies(
        bench, weights, bench.test[: config.eval_limit], [parse_strategy(name) for name in names], team, how
    )
    return [one.result for one in found]


def compare_arms(results: Sequence[ArmResult], seed: int) -> dict[str, Any]:
    """The table of arms, and every two of them paired by problem on one answer each (second minus first)."""
    rows = [
        {
            "arm": one.arm, "greedy": stages.interval(one.greedy), one.vote.strategy.name: stages.interval(one.vote),
            "any_of_k": {"accuracy": one.any_right.value, "low": one.any_right.low, "high": one.any_right.high},
            "tokens_per_problem": _tokens(one.greedy),
        }
        for one in results
    ]  # fmt: skip
    tests = []
    for first, second in itertools.combinations(results, 2):
        test = compare(first.greedy.per_problem, second.greedy.per_problem, seed=seed)
        figures = {key: getattr(test, key) for key in ("difference", "low", "high", "p_value", "n")}
        tests.append({"first": first.arm, "second": second.arm, **figures})
    return {"arms": rows, "comparisons": tests}


def in_words(made: Mapping[str, Any]) -> list[str]:
    """What was learnt from, and the arms, for people."""
    trains = made["trains"]
    lines = [f"{trains['learnt']} of {trains['begun']} trains of thought learnt"]
    for row in made["arms"]:
        vote = next(name for name in row if "maj@" in name)
        figures = f"{row['greedy']['accuracy']:.1%} greedy, {row[vote]['accuracy']:.1%} {vote}"
        lines.append(f"{row['arm']}: {figures}, {row['any_of_k']['accuracy']:.1%} any of them")
    return lines


def _tokens(result: StrategyResult) -> float:
    """Tokens written for one problem, by all players."""
    written = sum(result.cost().values(), Cost()).completion_tokens
    return round(written / max(1, len(result.costs)), 1)
