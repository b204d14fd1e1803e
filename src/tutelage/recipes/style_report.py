"""What a model can do in each style: greedy accuracy, who solves what, what was written and how its programs ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tutelage.evaluation.results import EvaluationResult
from tutelage.evaluation.strategies import Strategy, StrategyResult, score_strategy
from tutelage.evaluation.styles import style_statistics, written_styles
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.program_stage import sample_styled
from tutelage.recipes.report import IterationReport
from tutelage.recipes.styles import styled
from tutelage.records import Problem, SamplingParams, record_id
from tutelage.sampling.executing import ProgramRunner
from tutelage.text.programs import Asked

GREEDY = Strategy("greedy")


class StyleMeasurement(Protocol):
    """The settings that say how styles are measured."""

    seed: int
    eval_data: str | None
    eval_limit: int | None
    eval_samples: int
    eval_sample_limit: int | None
    eval_temperature: float
    max_programs: int

    @property
    def max_new_tokens(self) -> int:
        """Longest solution, in tokens."""
        ...


def measure_styles(
    config: StyleMeasurement, bench: Bench, weights: Weights, runner: ProgramRunner, figures: IterationReport,
    styles: Sequence[Asked],
) -> dict[str, Any]:  # fmt: skip
    """The report's part on the styles of `weights`; the first of them is the iteration's greedy figure and vote."""
    results, written = {}, {}
    name = f"it{figures.iteration}"
    for style in styles:
        results[style], written[style] = measure_style(config, bench, weights, style, runner, name=name)
    figures.greedy = results[styles[0]]
    if config.eval_samples:
        vote = Strategy("maj", config.eval_samples)
        figures.votes, _ = measure_style(config, bench, weights, styles[0], runner, name=name, strategy=vote)
    return style_rows(results, written, bench.test)


def measure_style(
    config: StyleMeasurement,
    bench: Bench,
    weights: Weights,
    style: Asked,
    runner: ProgramRunner,
    *,
    name: str,
    strategy: Strategy = GREEDY,
) -> tuple[StrategyResult, dict[str, Any]]:
    """Accuracy in a style on the evaluation problems, and what was written; recorded as `<strategy>-<style>`.

    Args:
        name: of the weights, e.g. "it1".
        strategy: greedy, or a vote over samples, of the first `eval_sample_limit` problems.
    """
    problems, temperature = bench.test[: config.eval_limit], 0.0
    if strategy is not GREEDY:
        problems, temperature = problems[: config.eval_sample_limit], config.eval_temperature
    params = SamplingParams(temperature=temperature, max_new_tokens=config.max_new_tokens)
    label = f"{strategy.name}-{style}"
    plan = stages.SamplingPlan(f"{name}-{label}", params, strategy.num_samples, config.seed)
    completions = sample_styled(
        bench, weights, problems, plan, style=style, runner=runner, max_programs=config.max_programs
    )
    verdicts = stages.grade(styled(bench, style), problems, completions, name=f"{plan.name}-grade")
    result = score_strategy(strategy, problems, completions, verdicts)
    ids: dict[str, list[str]] = {}
    for completion in completions:
        ids.setdefault(completion.problem_id, []).append(completion.id)
    data = config.eval_data or "dev"
    bench.run.append_many(
        "evaluations",
        [
            EvaluationResult(
                record_id(completions[0].stage, key, label), name, label, data, key, value, tuple(ids.get(key, ())),
            )
            for key, value in result.per_problem.items()
        ],
    )  # fmt: skip
    return result, written_styles((c.text, c.note) for c in completions)


def style_rows(
    results: Mapping[Asked, StrategyResult], written: Mapping[Asked, dict[str, Any]], problems: Sequence[Problem]
) -> dict[str, Any]:
    """The report's part on styles: accuracy with interval, what was written, who solves what, by kind of problem."""
    kinds = {p.id: p.subject or p.level or p.source for p in problems}
    figures = style_statistics({style: result.per_problem for style, result in results.items()}, kinds)
    intervals = {style: stages.interval(result) for style, result in results.items()}
    return figures | {"accuracy": intervals, "written": dict(written)}


def remarks(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What the two measurements of `style_rows` say, in sentences."""
    told = []
    for style, now in after["accuracy"].items():
        ended = sorted(after["written"][style]["programs"].items(), key=lambda item: -item[1])
        ran = f"; programs: {', '.join(f'{count} {status}' for status, count in ended)}" if ended else ""
        told.append(f"greedy, {_ASKED[style]}: {_moved(before['accuracy'][style], now)}{ran}")
    wrong, other = (after["pairs"].get(f"cot {a}, pot {b}") for a, b in (("wrong", "right"), ("right", "wrong")))
    if wrong is not None:
        told.append(f"of {after['n']} problems {wrong} are wrong in prose and right by program, {other} the other way")
    return told


_ASKED: dict[str, str] = {
    "cot": "prose", "pot": "a program", "mixed": "prose with programs", "any": "prose's prompt, programs that come run",
}  # fmt: skip


def _moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    return f"{before['accuracy']:.1%}, then {after['accuracy']:.1%} ({after['low']:.1%} to {after['high']:.1%})"
