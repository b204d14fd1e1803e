"""What critique-in-the-loop reports: accuracy by round and level of difficulty, the long tail of its data, its cost.

Levels are five, by the pass rate of actor_0 over samples of their own; level 0 holds the hardest problems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tutelage.evaluation.plays import Cost
from tutelage.evaluation.strategy_names import parse_strategy
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.critique_loop_data import Harvest
from tutelage.recipes.critique_practice import Practice
from tutelage.recipes.measure import Measurement, measure
from tutelage.recipes.report import IterationReport
from tutelage.recipes.strategy_stage import Measuring, Seat, Team, run_strategies
from tutelage.records import Example, Problem, SamplingParams
from tutelage.selection.difficulty import NUM_BINS, difficulty_bin, make_groups


class LoopMeasurement(Measurement, Protocol):
    """What of the recipe's config measuring needs."""

    temperature: float
    eval_critic: bool


@dataclass(frozen=True)
class Levels:
    """Level of difficulty by problem id, 0 (hardest) to 4; empty where it was not measured."""

    train: dict[str, int] = field(default_factory=dict)
    test: dict[str, int] = field(default_factory=dict)


def actor_levels(config: LoopMeasurement, bench: Bench, actor: Weights, *, num: int) -> Levels:
    """The levels of training and evaluation problems for an actor.

    Args:
        num: samples of each problem that a level rests on; 0 measures none.
    """
    if not num:
        return Levels()
    params = SamplingParams(config.temperature, max_new_tokens=config.max_new_tokens)

    def levels(problems: Sequence[Problem], name: str) -> dict[str, int]:
        drawn = stages.sample(bench, actor, problems, stages.SamplingPlan(name, params, num, config.seed))
        verdicts = stages.grade(bench, problems, drawn, name=f"{name}-grade")
        found = {group.problem_id: difficulty_bin(group) for group in make_groups(drawn, verdicts)}
        return {problem: level for problem, level in found.items() if level is not None}

    return Levels(levels(bench.train, "it0-levels-train"), levels(bench.test[: config.eval_limit], "it0-levels-test"))


def measure_round(
    config: LoopMeasurement, bench: Bench, actor: Weights, figures: IterationReport, *, critic: Seat | None,
    levels: Levels,
) -> IterationReport:  # fmt: skip
    """Accuracy of a round's actor: alone, by level, and with the critic at test time where asked for."""
    measure(config, bench, actor, figures)
    assert figures.greedy is not None
    if levels.test:
        figures.details["test_levels"] = by_level(figures.greedy.per_problem, levels.test)
    if config.eval_critic and critic is not None:
        params = SamplingParams(config.eval_temperature, max_new_tokens=config.max_new_tokens)
        how = Measuring(params, config.seed, f"it{figures.iteration}", config.eval_data or "dev",
                        prefix=f"it{figures.iteration}-")  # fmt: skip
        (found,) = run_strategies(
            bench, actor, bench.test[: config.eval_limit], [parse_strategy("refine")], Team(critic=critic), how
        )
        figures.details["with_critic"] = stages.interval(found.result)
        if levels.test:
            figures.details["with_critic_levels"] = by_level(found.result.per_problem, levels.test)
    return figures


def by_level(values: Mapping[str, float], levels: Mapping[str, int]) -> list[dict[str, Any]]:
    """Mean value and number of problems of each level, hardest first; `accuracy` None where there are none."""
    rows = []
    for level in range(NUM_BINS):
        own = [value for problem, value in values.items() if levels.get(problem) == level]
        rows.append({"level": level, "accuracy": sum(own) / len(own) if own else None, "n": len(own)})
    return rows


def practice_figures(
    practice: Practice, crop: Harvest, start: Sequence[Example], levels: Mapping[str, int]
) -> dict[str, Any]:
    """What a round kept, of which level, how varied, what critiques did, and what it cost."""
    repairs = [repair for one in practice.problems for repair in one.repairs]
    origins = Counter(example.origin for example in crop.examples)
    solutions = [example for example in crop.examples if example.origin in ("self", "refinement")]
    kept = Counter(example.problem_id for example in solutions)
    out: dict[str, Any] = {
        "kept": {"start": len(start), "original": origins["self"], "refinement": origins["refinement"],
                 "refining": origins["refining"], "barred": sum(repair.barred for repair in repairs)},
        "critiques": {"asked": len(repairs), "unreadable": sum(r.judgement.critique is None for r in repairs),
                      "said_right": sum(r.judgement.is_right is True for r in repairs),
                      "helped": sum(bool(r.right) for r in repairs)},
        "problems_solved": len(kept),
        "problems_solved_by_repair": sum(not one.right and kept[one.problem_id] > 0 for one in practice.problems),
        "solutions_per_problem": sum(kept.values()) / len(kept) if kept else 0.0,
        "tokens": tokens_by_player(practice),
    }  # fmt: skip
    if levels:
        counted = Counter(levels[example.problem_id] for example in solutions if example.problem_id in levels)
        total = max(1, counted.total())
        out["train_levels"] = [counted[level] / total for level in range(NUM_BINS)]
    return out


def tokens_by_player(practice: Practice) -> dict[str, dict[str, int]]:
    """Tokens read and written in a round, by player."""
    total: dict[str, Cost] = {}
    for one in practice.problems:
        for player, cost in one.costs().items():
            total[player] = total.get(player, Cost()) + cost
    return {p: {"prompt": cost.prompt_tokens, "completion": cost.completion_tokens} for p, cost in total.items()}


def summary_of(iterations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rounds in one line each: accuracy, share of hard problems in the data, what was kept, tokens written."""
    rows = []
    for row in iterations:
        shares = row.get("train_levels")
        tokens = row.get("tokens") or {}
        rows.append({
            "round": row["iteration"], "accuracy": row["greedy"]["accuracy"],
            "with_critic": (row.get("with_critic") or {}).get("accuracy"),
            "kept": row.get("kept"), "hard_share": sum(shares[:2]) if shares else None,
            "tokens_written": sum(cost["completion"] for cost in tokens.values()),
        })  # fmt: skip
    return rows


def in_words(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rounds for people."""
    lines = []
    for row in summary:
        kept = row["kept"] or {}
        parts = [f"round {row['round']}: {row['accuracy']:.1%}"]
        if row["with_critic"] is not None:
            parts.append(f"{row['with_critic']:.1%} with the critic")
        if kept:
            parts.append(f"{kept['original']} solutions and {kept['refinement']} refinements learnt")
        if row["hard_share"] is not None:
            parts.append(f"{row['hard_share']:.0%} of them of the two hardest levels")
        lines.append(", ".join(parts))
    return lines
