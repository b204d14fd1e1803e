"""Compile: arXiv 2410.22304 section 4. Right solutions from several sources, as many of each, and a model of each.

    sources:  gold    the data's worked solutions
              self    samples of the model alone
              flow    answers of the flow: Answer and Stop adapters that flow-dpo trained on the same base
              format  the control: samples of the model alone that end in an answer, right or wrong
    1. traces: right ones (of `format` any), at most one a problem, as many from each source, from the same problems
    2. from the same model, with the same settings: supervised fine-tuning on each source's traces
    3. measure each greedily, and the model before; compare all of them, paired by problem

Deviations: the paper has no control; part of what fine-tuning brings is the form of answers, and `format` teaches
nothing else. How its traces were drawn is not stated: here each source has `tries` draws a problem. `match=problems`
takes the very same problems for all, which leaves out what one of them cannot solve; `count` takes equally many from
the same pool. Weights are saved merged, so that they load as an ordinary model and may go on (`model=FOLDER`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from tutelage.config.settings import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
    setting,
)
from tutelage.errors import InputError, NothingToLearn
from tutelage.evaluation.comparisons import compare
from tutelage.evaluation.strategies import StrategyResult
from tutelage.learning.export import save_policy
from tutelage.learning.sft import SFTLearner
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.compile_traces import (
    Source,
    Trace,
    examples_of,
    flow_traces,
    gold_traces,
    sampled_traces,
    take_equally,
)
from tutelage.recipes.flow_config import FLOW, FlowShape
from tutelage.recipes.learn import stage_digest
from tutelage.recipes.measure import measure
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.records import Example, digest, seed_of

NAME = "compile"


class Config(
    FlowShape, DataSettings, ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings, RunSettings
):
    """Settings of the compile comparison."""

    flow: str | None = setting(
        None, "Folder with the adapters `answer` and `stop`, e.g. RUN/checkpoints of flow-dpo; needed for source flow."
    )
    sources: list[str] = setting(
        ["gold", "self", "flow", "format"], "What is compared: gold, self, flow, format.", source=f"{FLOW} Table 1"
    )
    num_traces: int | None = setting(
        1500, "Most traces of a source; none is as many as the scarcest has.", source=f"{FLOW} §4", ge=1
    )
    match: Literal["count", "problems"] = setting("count", "Equally many traces, or of the very same problems.")
    tries: int = setting(4, "Draws a problem and source until one is right.", ge=1, le=1000)
    trace_temperature: float = setting(0.7, "Temperature of these draws.", source="ours; not stated", ge=0, le=5)
    warmup_ratio: float = setting(0.1, "Share of the steps that warm up.", source=f"{FLOW} Table 3", ge=0, le=1)
    learning_rate: float = setting(2e-4, "Peak learning rate.", source=f"{FLOW} Table 3", gt=0, le=1)
    epochs: float = setting(3.0, "Passes over the traces.", source=f"{FLOW} Table 3", gt=0, le=1000)
    lora_rank: int = setting(16, "Rank of LoRA; 0 trains all weights.", source=f"{FLOW} Table 3", ge=0)
    lora_alpha: float | None = setting(16.0, "LoRA scale; none takes twice the rank.", source=f"{FLOW} Table 3", gt=0)
    lora_dropout: float = setting(0.05, "Dropout of LoRA inputs.", source=f"{FLOW} Table 3", ge=0, lt=1)
    nll_average: Literal["sequence", "token"] = setting("sequence", "Per token of each trace, or of the batch.")
    eval_samples: int = setting(0, "Samples a problem for the majority vote; 0 leaves it out.", ge=0)

    @field_validator("sources")
    @classmethod
    def _sources_are_known(cls, value: list[str]) -> list[str]:
        known = {"gold", "self", "flow", "format"}
        if not value or len(set(value)) < len(value) or not set(value) <= known:
            raise ValueError("sources are some of gold, self, flow, format, each once")
        return value


@dataclass(frozen=True)
class Compiled:
    """A source's model: how many traces it learnt, and its accuracy."""

    source: str
    traces: int
    greedy: StrategyResult


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the comparison; returns the report, which is also in the run folder.

    Raises:
        InputError: the flow's traces are asked for, and its adapters are not named.
        NothingToLearn: a source has no trace.
    """
    check_flow(config)
    report = ReportBuilder(NAME, config, bench)
    before = measure(config, bench, bench.base, IterationReport(0))
    report.add(before)
    assert before.greedy is not None
    models = [Compiled("zero-shot", 0, before.greedy)]
    for number, (source, traces) in enumerate(collect(config, bench).items(), start=1):
        examples = examples_of(traces, bench, source)
        bench.run.append_many("examples", examples)
        weights = fine_tune(config, bench, examples, source)
        figures = measure(config, bench, weights, IterationReport(number))
        report.add(figures)
        assert figures.greedy is not None
        models.append(Compiled(source, len(traces), figures.greedy))
    rows = [row(model) for model in models]
    whole = {
        **report.finish(), "weights": models[-1].source, "compile": rows, "comparisons": compared(config, models),
        "remarks": [
            f"iteration {i} learnt {entry['traces']} traces of source {entry['source']}"
            for i, entry in enumerate(rows) if i
        ],
    }  # fmt: skip
    bench.run.write_report(whole)
    return whole


def check_flow(config: Config) -> None:
    """Refuse source flow without its adapters."""
    if "flow" in config.sources and config.flow is None:
        raise InputError(
            "the flow's traces need its adapters", seen="flow = none", expected="a folder with `answer` and `stop`",
            advice="set flow=RUN/checkpoints of a flow-dpo run, or leave flow out of sources",
        )  # fmt: skip


def collect(config: Config, bench: Bench) -> dict[Source, list[Trace]]:
    """As many traces from each source, from the same problems."""
    found: dict[Source, dict[str, Trace]] = {}
    if {"self", "format"} & set(config.sources):
        found["self"], found["format"] = sampled_traces(config, bench)
    if "gold" in config.sources:
        found["gold"] = gold_traces(bench)
    if "flow" in config.sources and config.flow is not None:
        found["flow"] = flow_traces(config, bench, Path(config.flow))
    asked: dict[Source, dict[str, Trace]] = {s: found[s] for s in found if s in config.sources}
    taken = take_equally(asked, bench.train, match=config.match, limit=config.num_traces)
    for source, traces in taken.items():
        bench.run.metrics("traces", {"solved": len(found[source]), "taken": len(traces)}, source=source)
        if not traces:
            raise NothingToLearn(
                "there is no trace to learn from",
                seen=", ".join(f"{name}: {len(of)} problems" for name, of in asked.items()),
                expected="traces from every source",
                advice="raise tries, give it more or easier problems, or leave a source out",
            )
    return taken


def fine_tune(config: Config, bench: Bench, examples: Sequence[Example], source: str) -> Weights:
    """The model fine-tuned on a source's traces, merged and saved as `checkpoints/<source>`."""
    name, stage = f"{source}-learn", digest([stage_digest(config, bench.base, 1, examples), config.warmup_ratio])
    folder = bench.run.checkpoint_path(source)
    steps = min(config.max_steps, math.ceil(config.epochs * len(examples) / config.batch_size))
    settings = config.model_copy(update={"warmup_steps": config.warmup_steps or round(config.warmup_ratio * steps)})
    with bench.run.stage(name, stage) as journal, bench.spent.on("learning"):
        if not journal.is_finished:
            bench.progress.stage(stages.in_words(name), steps)
            learner = SFTLearner.open(
                bench.base.model, settings, adapter=bench.base.adapter, seed=seed_of(config.seed, "compile"),
                nll_average=config.nll_average, device=config.device, dtype=config.dtype,
            )  # fmt: skip
            result = learner.fit(examples, bench.run.scratch_path(name), on_step=lambda _: bench.progress.advance())
            model: Any = learner.model
            save_policy(model.merge_and_unload() if config.lora_rank else model, learner.tokenizer, folder)
            journal.result.update(steps=result.steps, loss=result.metrics[-1].loss)
    bench.run.remove_scratch(name)
    return bench.base.learnt(folder, stage, is_adapter=False)


def row(model: Compiled) -> dict[str, Any]:
    """A model as the report shows it; `unread` is the share of its answers that could not be read."""
    outcomes = model.greedy.outcomes
    unread = (outcomes["no_answer"] + outcomes["truncated"]) / max(1, sum(outcomes.values()))
    return {"source": model.source, "traces": model.traces, **stages.interval(model.greedy), "unread": round(unread, 4)}


def compared(config: Config, models: Sequence[Compiled]) -> list[dict[str, Any]]:
    """Every two models, paired by problem; differences are second minus first."""
    rows = []
    for first, second in itertools.combinations(models, 2):
        test = compare(first.greedy.per_problem, second.greedy.per_problem, seed=config.seed)
        figures = {key: getattr(test, key) for key in ("difference", "low", "high", "p_value", "n")}
        rows.append({"first": first.source, "second": second.source, **figures})
    return rows
