"""Supervised fine-tuning on worked solutions: the baseline, and the first stage of most methods.

    1. one example per problem that has a solution: its prompt, and solution + final answer as the target
    2. minimise the mean negative log-likelihood of the target tokens (prompt masked)
    3. measure before and after

Deviations: none; this is the textbook method. The NLL is averaged per sequence, then over the batch, unless
`nll_average=token`.

`styles` adds programs (pot), and prose with programs (mixed), to prose (cot), as MAmmoTH (arXiv 2309.05653) and ToRA
(arXiv 2309.17452) do: one example of each style and problem, programs' output masked; every style is then measured.
Solutions in them come with the data (the built-in world), or are converted from worked solutions
(`problems/conversion.py`), those that cannot be counted by reason.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from tutelage.config.settings import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    ProgramSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
    setting,
)
from tutelage.errors import NothingToLearn
from tutelage.problems.conversion import convert
from tutelage.recipes import learn
from tutelage.recipes.bench import Bench
from tutelage.recipes.measure import measure
from tutelage.recipes.program_stage import open_runner
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.recipes.style_report import measure_styles, remarks
from tutelage.recipes.styles import styled_examples
from tutelage.recipes.weighing import DynamicLossSettings
from tutelage.records import Example, digest
from tutelage.selection import examples as selection
from tutelage.text.programs import Style

NAME = "sft"


class Config(
    DynamicLossSettings, ProgramSettings, DataSettings, ModelSettings, SamplerSettings, TrainingSettings,
    EvaluationSettings, RunSettings,
):  # fmt: skip
    """Settings of supervised fine-tuning."""

    max_new_tokens: int = setting(512, "Longest solution in evaluation.", unit="tokens", ge=1)
    epochs: float = setting(3.0, "Passes over the data; training ends at this or at `max_steps`.", gt=0, le=1000)
    styles: list[Style] = setting(
        ["cot"], "What is learnt and measured: cot (prose), pot (a program), mixed (prose with programs).",
        source="arXiv 2309.05653 §2: cot,pot",
    )  # fmt: skip
    nll_average: Literal["sequence", "token"] = setting(
        "sequence", "NLL per token of each sequence then over the batch, or over all tokens of the batch."
    )

    @field_validator("styles")
    @classmethod
    def _styles_are_distinct(cls, value: list[Style]) -> list[Style]:
        if not value or len(set(value)) < len(value):
            raise ValueError("styles are some of cot, pot, mixed, each once")
        return value


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        NothingToLearn: no problem has a worked solution.
    """
    report = ReportBuilder(NAME, config, bench)
    if config.styles != ["cot"]:
        return run_styles(config, bench, report)
    report.add(measure(config, bench, bench.base, IterationReport(0)))
    examples = gold_examples(bench)
    bench.run.append_many("examples", examples)
    weights, figures = learn.from_examples(config, bench, bench.base, examples)
    report.add(measure(config, bench, weights, figures))
    return report.finish()


def run_styles(config: Config, bench: Bench, report: ReportBuilder) -> dict[str, Any]:
    """The same with solutions in several styles; the first of them is the iteration's greedy figure."""
    problems, dropped = convert(bench.train)
    examples = styled_examples(bench, problems, config.styles)
    if not examples:
        raise NothingToLearn(
            "no training problem has a solution in these styles", seen=f"styles {', '.join(config.styles)}; {dropped}",
            expected="data with programs, or with worked solutions that can be converted",
            advice="take data=primer:train or gsm8k: files with <<calculations>>, or styles=cot",
        )  # fmt: skip
    bench.run.append_many("examples", examples)
    with open_runner(config, bench.run) as runner:
        untrained = IterationReport(0)
        rows = [measure_styles(config, bench, bench.base, runner, untrained, config.styles)]
        report.add(untrained)
        weights, figures = learn.from_examples(config, bench, bench.base, examples)
        rows.append(measure_styles(config, bench, weights, runner, figures, config.styles))
        report.add(figures)
    counts = {style: sum(example.origin == style for example in examples) for style in config.styles}
    whole = {
        **report.finish(), "styles": {"examples": counts, "not_converted": dropped, "iterations": rows},
        "remarks": remarks(*rows),
    }  # fmt: skip
    bench.run.write_report(whole)
    return whole


def gold_examples(bench: Bench) -> list[Example]:
    """One example of each training problem that has a worked solution."""
    solved = [problem for problem in bench.train if problem.solution]
    prompts = {problem.id: bench.prompter.render(problem).ids for problem in solved}
    targets = {problem.id: bench.prompter.target_ids(problem) for problem in solved}
    stage = digest(["gold", list(prompts.items()), list(targets.items())])
    examples = selection.gold_examples(prompts, targets, stage=stage)
    if not examples:
        raise NothingToLearn(
            "no training problem has a worked solution",
            seen=f"{len(bench.train)} problems without a solution",
            expected="data whose rows have a solution",
            advice="map the field that holds it (data='jsonl:FILE?solution=NAME'), or use iterative-rpo, "
            "which needs answers only",
        )
    return examples
