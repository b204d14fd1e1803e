"""Where the solutions that `compile` learns from come from: the data, the model alone, the flow; and the control.

At most one trace of a problem and source, in the order of the problems. What counts is the grader's verdict; the
control takes any answer that can be read, so that it teaches how answers look and nothing about which are right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tutelage.errors import ModelError
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench
from tutelage.recipes.flow_chain import FlowSettings
from tutelage.recipes.flow_prompts import Judgement, StopPrompter
from tutelage.recipes.flow_trees import RolloutSettings
from tutelage.recipes.flow_window import Grower, Models
from tutelage.records import Completion, Example, Policy, Problem, SamplingParams, digest, record_id
from tutelage.text.prompts import Prompter

Source = Literal["gold", "self", "flow", "format"]
UNLIMITED = 1 << 30


class TraceSettings(Protocol):
    """What of a config decides on the traces."""

    seed: int
    tries: int
    trace_temperature: float
    top_p: float
    stop_prompt: Judgement
    stop_decision: Literal["sample", "compare"]

    @property
    def max_new_tokens(self) -> int:
        """Longest solution, in tokens."""
        ...

    def shape(self, prompter: Prompter, *, temperature: float, seed: int, context: int) -> FlowSettings:
        """How the flow is run."""
        ...


@dataclass(frozen=True)
class Trace:
    """A solution of one problem: its tokens with the end token, and the completion that it was."""

    problem_id: str
    target_ids: tuple[int, ...]
    source_id: str


def gold_traces(bench: Bench) -> dict[str, Trace]:
    """The data's worked solutions, by problem."""
    return {
        p.id: Trace(p.id, bench.prompter.target_ids(p), f"gold:{p.id}") for p in bench.train if p.solution is not None
    }


def sampled_traces(config: TraceSettings, bench: Bench) -> tuple[dict[str, Trace], dict[str, Trace]]:
    """Right samples of the model alone, and readable ones whether right or not (the control), by problem."""
    params = SamplingParams(config.trace_temperature, config.top_p, max_new_tokens=config.max_new_tokens)
    plan = stages.SamplingPlan("traces-self", params, config.tries, config.seed)
    completions = stages.sample(bench, bench.base, bench.train, plan)
    verdicts = stages.grade(bench, bench.train, completions, name="traces-self-grade")
    right: dict[str, Trace] = {}
    readable: dict[str, Trace] = {}
    for completion in completions:
        verdict = verdicts[completion.id]
        trace = _trace(bench, completion)
        if verdict.is_correct:
            right.setdefault(trace.problem_id, trace)
        if verdict.is_usable and verdict.answer is not None and completion.finish_reason == "stop":
            readable.setdefault(trace.problem_id, trace)
    return right, readable


def flow_traces(config: TraceSettings, bench: Bench, folder: Path) -> dict[str, Trace]:
    """Right answers of the trained flow, by problem: every problem is tried until one is right, `tries` times at most.

    Args:
        config: how the flow is run.
        bench: problems, prompts, grader, sampler of the base.
        folder: holds the adapters `answer` and `stop`.
    """
    model = bench.base.policy.model
    lineage = digest([bench.base.lineage, *(_digest_of(folder / role) for role in ("answer", "stop"))])
    models = Models(Policy(model, "answer", 1), Policy(model, "stop", 1), lineage)
    found: dict[str, Trace] = {}
    with bench.open_sampler(bench.base) as session:
        for role in ("answer", "stop"):
            session.publish(role, 1, folder / role)
        settings = config.shape(
            bench.prompter, temperature=config.trace_temperature, seed=config.seed, context=UNLIMITED
        )
        grower = Grower(
            bench, session, stop_prompter=StopPrompter.create(bench.prompter, config.stop_prompt), settings=settings,
            rollouts=RolloutSettings(0), stop_decision=config.stop_decision,
        )  # fmt: skip
        for number in range(config.tries):
            left = [problem for problem in bench.train if problem.id not in found]
            if not left:
                break
            bench.progress.stage(f"traces of the flow, try {number + 1}", None)
            answers, verdicts = grower.answers(f"traces-flow-{number + 1}", left, models)
            right = [answer for answer in answers if verdicts[answer.id].is_correct]
            found |= {answer.problem_id: _trace(bench, answer) for answer in right}
    return {problem.id: found[problem.id] for problem in bench.train if problem.id in found}


def _digest_of(folder: Path) -> str:
    """A digest of an adapter's weights.

    Raises:
        ModelError: there are none.
    """
    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        raise ModelError(
            "there is no adapter of the flow here", seen=str(folder), expected=file.name,
            advice="name the folder that holds `answer` and `stop`: RUN/checkpoints of a flow-dpo run",
        )  # fmt: skip
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


def _trace(bench: Bench, completion: Completion) -> Trace:
    """A completion as a target, ended as the prompt form ends a turn."""
    ids, ends = completion.token_ids, bench.prompter.stop_token_ids
    return Trace(completion.problem_id, ids if ids and ids[-1] in ends else (*ids, ends[0]), completion.id)


def take_equally(
    traces: Mapping[Source, Mapping[str, Trace]],
    problems: Sequence[Problem],
    *,
    match: Literal["count", "problems"],
    limit: int | None,
) -> dict[Source, list[Trace]]:
    """As many traces from each source, the first ones in the order of the problems.

    Args:
        traces: by source and problem.
        problems: the pool.
        match: `problems` takes only problems that every source has a trace of.
        limit: most traces of a source; None takes all there are of the scarcest.
    """
    order = [problem.id for problem in problems]
    if match == "problems":
        order = [i for i in order if all(i in found for found in traces.values())]
    chosen = {source: [found[i] for i in order if i in found] for source, found in traces.items()}
    count = min(len(found) for found in chosen.values())
    if limit is not None:
        count = min(count, limit)
    return {source: found[:count] for source, found in chosen.items()}


def examples_of(traces: Sequence[Trace], bench: Bench, source: Source) -> list[Example]:
    """Traces as supervised examples."""
    problems = {problem.id: problem for problem in bench.train}
    stage = digest(["compile", source, [trace.source_id for trace in traces]])
    return [
        Example(
            record_id(stage, trace.problem_id, trace.source_id), trace.problem_id,
            bench.prompter.render(problems[trace.problem_id]).ids, trace.target_ids, (1.0,) * len(trace.target_ids),
            source, trace.source_id,
        )
        for trace in traces
    ]  # fmt: skip
