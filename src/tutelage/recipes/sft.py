"""Supervised fine-tuning on worked solutions: the baseline, and the first stage of most methods.

    1. one example per problem that has a solution: its prompt, and solution + final answer as the target
    2. minimise the mean negative log-likelihood of the target tokens (prompt masked)
    3. measure before and after

Deviations: none; this is the textbook method. The NLL is averaged per sequence, then over the batch, unless
`nll_average=token`.
"""

from __future__ import annotations

from typing import Any, Literal

from tutelage.config.settings import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
    setting,
)
from tutelage.errors import NothingToLearn
from tutelage.recipes import learn
from tutelage.recipes.bench import Bench
from tutelage.recipes.measure import measure
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.records import Example, digest
from tutelage.selection import examples as selection

NAME = "sft"


class Config(DataSettings, ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings, RunSettings):
    """Settings of supervised fine-tuning."""

    max_new_tokens: int = setting(512, "Longest solution in evaluation.", unit="tokens", ge=1)
    epochs: float = setting(3.0, "Passes over the data; training ends at this or at `max_steps`.", gt=0, le=1000)
    nll_average: Literal["sequence", "token"] = setting(
        "sequence", "NLL per token of each sequence then over the batch, or over all tokens of the batch."
    )


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        NothingToLearn: no problem has a worked solution.
    """
    report = ReportBuilder(NAME, config, bench)
    report.add(measure(config, bench, bench.base, IterationReport(0)))
    examples = gold_examples(bench)
    bench.run.append_many("examples", examples)
    weights, figures = learn.from_examples(config, bench, bench.base, examples)
    report.add(measure(config, bench, weights, figures))
    return report.finish()


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
