"""The work of `tutelage eval`: sample and grade under each strategy in a run folder that `compare` can read.

Samples are drawn once and shared: with `maj@8` and `pass@4`, eight samples of each problem serve both.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pydantic import field_validator, model_validator
from rich import box
from rich.console import Console
from rich.table import Table

from tutelage.cli.backends import assemble_with, make_bench, open_run
from tutelage.cli.progress import open_progress
from tutelage.cli.run import check_model_name, choose_folder, explain, short_name
from tutelage.cli.splits import Splits, worked_examples
from tutelage.cli.tables import outcome_words, result_console, show_accuracy, time_sentence
from tutelage.config.settings import GradingSettings, ModelSettings, SamplerSettings, setting
from tutelage.errors import InputError
from tutelage.evaluation.results import KIND, EvaluationResult
from tutelage.evaluation.strategies import Strategy, StrategyResult, parse_strategy, score_strategy
from tutelage.problems import load_problems
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench
from tutelage.recipes.progress import Progress
from tutelage.records import OUTCOMES, Completion, SamplingParams, Verdict, digest, record_id

RECIPE = "eval"


class EvalSettings(ModelSettings, SamplerSettings, GradingSettings):
    """What is measured, and how."""

    data: str = setting(..., "Problems to measure on: a name, a file, or `format:path` (the option --data).")
    data_limit: int | None = setting(None, "Most problems; none is all (the option --limit).", unit="problems", ge=1)
    strategies: list[str] = setting(["greedy"], "Ways to answer: greedy, avg@k, pass@k, maj@k (the option -s).")
    temperature: float = setting(0.8, "Sampling temperature of all strategies but greedy.", gt=0, le=5)
    top_p: float = setting(1.0, "Nucleus of sampling.", gt=0, le=1)
    max_new_tokens: int = setting(512, "Longest solution.", unit="tokens", ge=1)
    output_dir: str | None = setting(None, "Folder to keep it in; none is runs/eval-<model>-<time> (--output).")

    @field_validator("strategies")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        try:
            spelt = [parse_strategy(name).name for name in names]
        except InputError as error:
            raise ValueError(f"{error.what}: {error.seen}; expected {error.expected}") from error
        if not spelt:
            raise ValueError("name at least one strategy")
        return list(dict.fromkeys(spelt))

    @model_validator(mode="after")
    def _examples_come_from_elsewhere(self) -> EvalSettings:
        if self.num_shots and self.shots is None:
            raise ValueError("num_shots needs shots=DATA: worked examples must not come from the problems measured")
        return self


def run_evaluation(config: EvalSettings, *, words: Sequence[str], resume: bool) -> dict[str, Any]:
    """Measure, print the table, and leave a folder that `compare` reads.

    Args:
        config: what is measured.
        words: the `key=value` words that it was made from, for the command that goes on with it.
        resume: go on with the folder that is there.

    Returns:
        The report.

    Raises:
        TutelageError: as a run.
    """
    folder = choose_folder(RECIPE, config.output_dir, config.model, resume=resume)
    kept = [word for word in words if word.partition("=")[0] not in ("model", "output_dir")]
    again = ["tutelage", "eval", config.model, *kept, "--output", str(folder), "--resume"]
    check_model_name(config.model)
    progress = open_progress()
    try:
        with open_eval_bench(config, folder, progress=progress, resume=resume) as bench:
            progress.note(f"{'resuming' if resume else 'evaluation folder'}: {folder}")
            report = measure(config, bench)
    except (Exception, KeyboardInterrupt) as error:  # the named boundary: it becomes one of ours, with its cause
        raise explain(error, folder, again) from error
    finally:
        progress.end()
    print_evaluation(report, result_console(), folder=str(folder))
    return report


@contextmanager
def open_eval_bench(config: EvalSettings, folder: Path, *, progress: Progress, resume: bool) -> Iterator[Bench]:
    """The bench of an evaluation: problems to measure on, and none to practise on.

    Args:
        folder: the evaluation folder; must be new, or the one to resume.

    Raises:
        InputError: anything wrong with data, model, prompts or the folder; nothing has been written then.
    """
    problems = load_problems(config.data, limit=config.data_limit)
    pool = load_problems(config.shots) if config.num_shots and config.shots else []
    shots = worked_examples(pool, config.num_shots if pool else 0)
    parts = assemble_with(config, Splits([], [], [], problems, shots))
    with closing(open_run(config, parts, recipe=RECIPE, folder=folder, resume=resume)) as run:
        yield make_bench(run, parts, progress)


def measure(config: EvalSettings, bench: Bench) -> dict[str, Any]:
    """Every strategy's figures; per-problem results and the report go to the run folder."""
    strategies = [parse_strategy(name) for name in config.strategies]
    sampled = [strategy for strategy in strategies if strategy.kind != "greedy"]
    rows, outcomes = [], Counter(dict.fromkeys(OUTCOMES, 0))
    for group in ([s for s in strategies if s.kind == "greedy"], sampled):
        if not group:
            continue
        began = time.perf_counter()
        plan = _plan(config, group)
        completions = stages.sample(bench, bench.base, bench.test, plan)
        verdicts = stages.grade(bench, bench.test, completions, name=f"{plan.name}-grade")
        outcomes.update(verdict.outcome for verdict in verdicts.values())
        results = [
            _score(config, bench, strategy=strategy, completions=completions, verdicts=verdicts) for strategy in group
        ]
        seconds = time.perf_counter() - began
        rows += [_row(result, seconds) for result in results]
    order = {strategy.name: place for place, strategy in enumerate(strategies)}
    report = {
        "recipe": RECIPE, "model": config.model, "data": config.data, "seed": config.seed,
        "seconds": round(bench.spent.total(), 3), "strategies": sorted(rows, key=lambda row: order[row["strategy"]]),
        "outcomes": dict(outcomes), "time_spent": bench.spent.report(), "run_folder": bench.run.path.name,
    }  # fmt: skip
    bench.run.write_report(report)
    return report


def _plan(config: EvalSettings, group: list[Strategy]) -> stages.SamplingPlan:
    is_greedy = group[0].kind == "greedy"
    params = SamplingParams(
        temperature=0.0 if is_greedy else config.temperature, top_p=1.0 if is_greedy else config.top_p,
        max_new_tokens=config.max_new_tokens,
    )  # fmt: skip
    count = max(strategy.num_samples for strategy in group)
    return stages.SamplingPlan("greedy" if is_greedy else f"{count}-samples", params, count, config.seed)


def _score(
    config: EvalSettings,
    bench: Bench,
    *,
    strategy: Strategy,
    completions: list[Completion],
    verdicts: Mapping[str, Verdict],
) -> StrategyResult:
    """A strategy's result, its values by problem kept in the run folder."""
    result = score_strategy(strategy, bench.test, completions, verdicts, seed=config.seed)
    used: dict[str, list[str]] = {}
    for completion in completions:
        used.setdefault(completion.problem_id, []).append(completion.id)
    stage = digest([completions[0].stage, strategy.name])
    name = short_name(config.model)
    bench.run.append_many(
        KIND,
        (
            EvaluationResult(
                record_id(stage, problem), name, strategy.name, config.data, problem, value, tuple(used[problem])
            )
            for problem, value in result.per_problem.items()
        ),
    )
    return result


def _row(result: StrategyResult, seconds: float) -> dict[str, Any]:
    num_problems = result.n + len(result.excluded)
    return {
        "strategy": result.strategy.name, "accuracy": result.value, "low": result.low, "high": result.high,
        "n": result.n, "excluded": len(result.excluded), "outcomes": result.outcomes,
        "prompt_tokens": result.prompt_tokens, "completion_tokens": result.completion_tokens,
        "tokens_per_problem": result.completion_tokens / num_problems, "seconds": round(seconds, 3),
    }  # fmt: skip


def print_evaluation(report: Mapping[str, Any], console: Console, *, folder: str) -> None:
    """The table, the outcomes, and where it lies."""
    console.print(f"{report['model']} on {report['data']}", markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for heading in ("strategy", "accuracy (95 % interval)", "problems", "tokens/problem", "seconds"):
        table.add_column(heading, justify="left" if heading == "strategy" else "right", no_wrap=True)
    for row in report["strategies"]:
        table.add_row(
            row["strategy"], show_accuracy(row), str(row["n"]), f"{row['tokens_per_problem']:.0f}",
            f"{row['seconds']:.1f}",
        )  # fmt: skip
    console.print(table)
    excluded = max((row["excluded"] for row in report["strategies"]), default=0)
    sentences = [
        f"{sum(report['outcomes'].values())} completions: {outcome_words(report['outcomes'])}",
        f"{excluded} problems could not be scored and were left out" if excluded else "",
        time_sentence(report),
        f"evaluation folder: {folder}",
    ]
    for text in filter(None, sentences):
        console.print(text, markup=False)
    console.print("compare it with another:", markup=False)
    console.print(f"  tutelage compare {shlex.quote(folder)} OTHER", markup=False, soft_wrap=True)
