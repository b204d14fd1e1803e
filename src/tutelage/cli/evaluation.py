"""The work of `tutelage eval`: answer, and grade, under each strategy in a run folder that `compare` can read.

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
from tutelage.cli.guests import with_checkpoints
from tutelage.cli.progress import open_progress
from tutelage.cli.run import check_model_name, choose_folder, explain, settled_words, short_name
from tutelage.cli.splits import Splits, worked_examples
from tutelage.cli.tables import outcome_words, result_console, show_accuracy, time_sentence
from tutelage.cli.team import open_team
from tutelage.cli.unbegun import unless_unbegun
from tutelage.config.settings import GradingSettings, ModelSettings, ProgramSettings, SamplerSettings, setting
from tutelage.errors import InputError
from tutelage.evaluation.curves import played_curve, sampled_curve
from tutelage.evaluation.strategies import KINDS, StrategyResult, parse_strategy
from tutelage.evaluation.styles import written_styles
from tutelage.problems import load_problems
from tutelage.recipes.bench import Bench
from tutelage.recipes.flow_config import FlowChunks
from tutelage.recipes.progress import Progress
from tutelage.recipes.strategy_stage import Measured, Measuring, run_strategies
from tutelage.recipes.styles import styled
from tutelage.recipes.vote_report import vote_report
from tutelage.records import OUTCOMES, SamplingParams
from tutelage.store.disk import replace_file
from tutelage.store.evaluation_charts import curves_chart, votes_chart
from tutelage.text.programs import Asked

RECIPE = "eval"


class EvalSettings(FlowChunks, ProgramSettings, ModelSettings, SamplerSettings, GradingSettings):
    """What is measured, and how."""

    data: str = setting(..., "Problems to measure on: a name, a file, or `format:path` (the option --data).")
    data_limit: int | None = setting(None, "Most problems; none is all (the option --limit).", unit="problems", ge=1)
    strategies: list[str] = setting(
        ["greedy"],
        "Ways to answer (the option -s), see docs/strategies.md: " + ", ".join(k.form for k in KINDS.values()),
    )
    temperature: float = setting(0.8, "Sampling temperature of strategies that begin from samples.", gt=0, le=5)
    top_p: float = setting(1.0, "Nucleus of sampling.", gt=0, le=1)
    max_new_tokens: int = setting(512, "Longest solution.", unit="tokens", ge=1)
    critic: str | None = setting(
        None, "Model that criticises answers (the option --critic): as `model`, or `server:URL`."
    )
    critic_temperature: float = setting(0.0, "Temperature of critiques; 0 is greedy.", ge=0, le=5)
    critic_tokens: int | None = setting(None, "Longest critique; none is max_new_tokens.", unit="tokens", ge=1)
    reward_model: str | None = setting(
        None, "Folder that the recipe reward-model made (the option --reward-model): ranks answers of one problem."
    )
    stop: str | None = setting(
        None, "Stop adapter of the strategy flow; none takes the folder `stop` beside the model's folder."
    )
    style: Asked = setting(
        "cot", "What is asked for: prose (`cot`), a program (`pot`), prose with programs (`mixed`), or as for prose "
        "with what programs come run all the same (`any`); programs run in the sandbox.",
    )  # fmt: skip
    curve: bool = setting(
        False, "Also the value for every smaller k, from the same samples, as data and drawn (the option --curve)."
    )
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
    config, taken = with_checkpoints(config)
    folder = choose_folder(RECIPE, config.output_dir, config.model, resume=resume)
    kept = [word for word in settled_words(words, config, taken, but="model") if not word.startswith("output_dir=")]
    again = ["tutelage", "eval", config.model, *kept, "--output", str(folder), "--resume"]
    check_model_name(config.model)
    progress = open_progress()
    for note in taken.values():
        progress.note(note)
    try:
        with unless_unbegun(folder), open_eval_bench(config, folder, progress=progress, resume=resume) as bench:
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
    clock, rows, curves = _Clock(), [], {}
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    judged: set[str] = set()

    def note(measured: Measured) -> None:
        rows.append(_row(measured.result, clock.lap()))
        new = [v for v in (measured.answers.verdicts | measured.verdicts).values() if v.completion_id not in judged]
        judged.update(v.completion_id for v in new)
        outcomes.update(v.outcome for v in new)
        if config.curve and (points := _curve(measured, bench, config.seed)):
            curves[measured.result.strategy.name] = points

    how = Measuring(
        SamplingParams(temperature=config.temperature, top_p=config.top_p, max_new_tokens=config.max_new_tokens),
        config.seed, short_name(config.model), config.data,
    )  # fmt: skip
    measured = styled(bench, config.style)
    with open_team(config, measured, strategies) as team:
        done = run_strategies(measured, bench.base, bench.test, strategies, team, how, on_result=note)
    report = {
        "recipe": RECIPE, "model": config.model, "data": config.data, "seed": config.seed,
        "seconds": round(bench.spent.total(), 3), "strategies": rows, **({"curves": curves} if config.curve else {}),
        **vote_report(done, bench.test, seed=config.seed), **_written(done),
        "outcomes": dict(outcomes), "time_spent": bench.spent.report(), "run_folder": bench.run.path.name,
    }  # fmt: skip
    bench.run.write_report(report)
    _draw(bench.run.path, report)
    return report


def _draw(folder: Path, report: Mapping[str, Any]) -> None:
    """The report's pictures as files of their own; the page report.html holds them too."""
    for name, drawn in (("curves", curves_chart(report.get("curves"))), ("votes", votes_chart(report.get("votes")))):
        if drawn:
            replace_file(folder / f"{name}.svg", drawn.encode())


def _written(done: Sequence[Measured]) -> dict[str, Any]:
    """What was written where programs were asked for: answers by style, and how their programs ended."""
    answers = {c.id: c for one in done for c in one.answers.completions}
    answers |= {c.id: c for one in done for play in one.plays for c in play.answers}
    written = written_styles((c.text, c.note) for c in answers.values())
    return {"written": written} if written["pot"] or written["mixed"] else {}


def _curve(measured: Measured, bench: Bench, seed: int) -> list[dict[str, Any]]:
    """The strategy's value for every smaller k; empty where it has no k."""
    strategy = measured.result.strategy
    if strategy.is_flow:
        return played_curve(strategy, bench.test, measured.plays, measured.verdicts, seed=seed)
    answers = measured.answers
    return sampled_curve(strategy, bench.test, answers.completions, answers.verdicts, scores=answers.rewards, seed=seed)


class _Clock:
    """Seconds since it was last looked at."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        before, self._last = self._last, time.perf_counter()
        return self._last - before


def _row(result: StrategyResult, seconds: float) -> dict[str, Any]:
    num_problems = max(1, len(result.costs))
    cost = {
        player: {"prompt_tokens": spent.prompt_tokens, "completion_tokens": spent.completion_tokens}
        for player, spent in result.cost().items()
    }
    row: dict[str, Any] = {
        "strategy": result.strategy.name, "accuracy": result.value, "low": result.low, "high": result.high,
        "n": result.n, "excluded": len(result.excluded), "outcomes": result.outcomes,
        "prompt_tokens": result.prompt_tokens, "completion_tokens": result.completion_tokens, "cost": cost,
        "tokens_per_problem": sum(spent["completion_tokens"] for spent in cost.values()) / num_problems,
        "read_per_problem": sum(spent["prompt_tokens"] for spent in cost.values()) / num_problems,
        "seconds": round(seconds, 3),
    }  # fmt: skip
    if result.extras:
        row["figures"] = {
            name: {"value": figure.value, "low": figure.low, "high": figure.high, "n": len(figure.per_problem)}
            for name, figure in result.extras.items()
        }
    return row | ({"transitions": result.transitions} if result.transitions else {})


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
    drawn = sorted(path.name for path in Path(folder).glob("*.svg"))
    sentences = [
        f"{sum(report['outcomes'].values())} completions: {outcome_words(report['outcomes'])}",
        f"{excluded} problems could not be scored and were left out" if excluded else "",
        time_sentence(report),
        f"evaluation folder: {folder}",
        f"drawn there: {', '.join(drawn)}" if drawn else "",
    ]
    for text in filter(None, sentences):
        console.print(text, markup=False)
    console.print("compare it with another:", markup=False)
    console.print(f"  tutelage compare {shlex.quote(folder)} OTHER", markup=False, soft_wrap=True)
