"""Flow-DPO: arXiv 2410.22304. Two models on one base write and judge a solution chunk by chunk, and learn online.

    A, S = two LoRA adapters on one frozen base
    for each window of problems, in order:
        1. main chains: A writes a chunk, S says whether to stop, up to `max_chunks`; measure them (before any update)
        2. one random rollout at every node: another chunk of A, the other decision of S, carried on to a whole answer
        3. where the two outcomes differ: a pair for the node's model, the output that led to the right answer chosen
        4. whenever a model has `pairs_per_update` pairs: one update of L = -log sigmoid(beta h), reference = the base

Our reading of what the paper leaves open: a Stop pair comes from flipping a decision; updates count pairs by role; the
reference is the base with adapters off; main chains are greedy and rollouts go on greedily after a random deviation.
Beyond the paper, off by default: an NLL term (`loss=dpo_nll`), several rollouts a node, rollouts at uncertain nodes
only (`min_entropy`), replay of recent pairs (`replay_pairs`), windows of more than one problem (`stream_window`).

Cost of the published setting: about 12 extra rollouts a problem; 36 to 48 hours on 4 A100 for Llama-3-8B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from tutelage.errors import NothingToLearn
from tutelage.learning.named_adapters import NamedAdapters
from tutelage.recipes import flow_report, stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.flow_config import Config, FlowChunks
from tutelage.recipes.flow_prompts import StopPrompter
from tutelage.recipes.flow_records import ROLES, FlowNode, FlowTree, GrownTree, RoleName
from tutelage.recipes.flow_updates import SCRATCH, FlowUpdate, Updater
from tutelage.recipes.flow_window import Grower, Models
from tutelage.recipes.measure import measure
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.records import Policy, digest
from tutelage.sampling.session import SamplerSession

NAME = "flow-dpo"

__all__ = ["NAME", "Config", "run"]


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        NothingToLearn: no node of any tree had a rollout with another outcome.
    """
    report = ReportBuilder(NAME, config, bench)
    team = open_team(config, bench)
    start = digest([bench.base.lineage, team.fingerprint])
    with sampler_on(team, bench) as session:
        grower = open_grower(config, bench, session, team.context)
        alone = bench if bench.base.adapter else replace(bench, open_sampler=lambda weights: nullcontext(session))
        before = models_at(bench, dict.fromkeys(ROLES, 0), start)
        extra = {"flow_before": evaluate_flow(config, bench, grower, before), "flow_after": None}
        report.add(measure(config, alone, bench.base, IterationReport(0)))
        after = practise(config, bench, grower, team, start)
        if config.train:
            weights = keep_weights(bench, team, after)
            extra["flow_after"] = evaluate_flow(config, bench, grower, after, name="it1")
            report.add(measure(config, alone, weights, IterationReport(1, **learnt(bench))))
    bench.run.remove_scratch(SCRATCH)
    return finish(config, bench, report, extra)


def practise(config: Config, bench: Bench, grower: Grower, team: NamedAdapters, start: str) -> Models:
    """The online stream: grow a window, then learn from its trees in order; the models as they are in the end.

    Raises:
        NothingToLearn: no pair came of it.
    """
    stage = digest(["flow", config.train, start, [problem.id for problem in bench.train]])
    with bench.run.stage("flow", stage) as journal:
        if not journal.is_finished:
            updater = stream(config, bench, grower, team, start)
            journal.result.update(counts=dict(updater.counts), lineage=updater.lineage, dropped=len(updater.dropped))
        else:  # another session finished it; its weights are needed only if it got no further
            team.restore(bench.run.scratch_path(SCRATCH))
    adopt(grower.session, journal.result["counts"])
    return models_at(bench, journal.result["counts"], journal.result["lineage"])


def stream(config: Config, bench: Bench, grower: Grower, team: NamedAdapters, start: str) -> Updater:
    """Every window of the stream, and the updates that come of it."""
    updater = Updater(bench, team, config.updates(), lineage=start)
    bench.progress.stage("practice", len(bench.train))
    last: GrownTree | None = None
    right = seen = 0
    for number, first in enumerate(range(0, len(bench.train), config.stream_window), start=1):
        window = bench.train[first : first + config.stream_window]
        adopt(grower.session, updater.counts)
        for last in grower.window(number, window, models_at(bench, updater.counts, updater.lineage)):
            right, seen = right + (last.tree.outcome == "correct"), seen + 1
            if config.train:
                updater.take(last)
        bench.progress.advance(len(window))
        bench.progress.status(progressive=f"{right / seen:.1%}")
    if config.train:
        updater.finish(last)
        if not updater.number:
            raise nothing_to_learn(seen, right)
    return updater


def open_team(config: Config, bench: Bench) -> NamedAdapters:
    """The base with both adapters: fresh, or the ones that the config or the model itself names."""
    named = {"answer": config.answer_adapter, "stop": config.stop_adapter}
    starts = {role: Path(name) if name else bench.base.adapter for role, name in named.items()}
    return NamedAdapters.open(
        bench.base.model, config, ROLES, seed=config.seed,
        objective=config.objective(),
        starts={role: path for role, path in starts.items() if path is not None},
        device=config.device, dtype=config.dtype,
    )  # fmt: skip


@contextmanager
def sampler_on(team: NamedAdapters, bench: Bench) -> Iterator[SamplerSession]:
    """A sampler on the very model that learns."""
    policy = replace(bench.base.policy, adapter="answer", version=0)
    with bench.sampler_of(team.model, replace(bench.base, policy=policy)) as session:
        yield session


def open_grower(config: Config, bench: Bench, session: SamplerSession, context: int) -> Grower:
    """What grows trees under the config's settings."""
    return Grower(
        bench, session, stop_prompter=StopPrompter.create(bench.prompter, config.stop_prompt),
        settings=config.flow(bench.prompter, context), rollouts=config.rollouts(), stop_decision=config.stop_decision,
    )  # fmt: skip


def models_at(bench: Bench, counts: Mapping[RoleName, int], lineage: str) -> Models:
    """The two models after so many updates."""
    model = bench.base.policy.model
    answer, stop = (Policy(model, role, counts[role]) for role in ROLES)
    return Models(answer, stop, lineage)


def adopt(session: SamplerSession, counts: Mapping[RoleName, int]) -> None:
    """Tell a sampler that works on the learner's model which versions its adapters have now."""
    tell: Callable[[str, int], None] | None = getattr(session, "adopt", None)
    if tell is not None:
        for role in ROLES:
            tell(role, counts[role])


def evaluate_flow(
    config: Config, bench: Bench, grower: Grower, models: Models, *, name: str = "it0"
) -> dict[str, Any] | None:
    """Accuracy of the flow on the evaluation problems."""
    if not config.eval_flow:
        return None
    problems = bench.test[: config.eval_limit]
    bench.progress.stage(stages.in_words(f"{name}-flow"), None)
    result = grower.evaluate(name, problems, models, data=config.eval_data or "dev")
    return stages.interval(result)


def keep_weights(bench: Bench, team: NamedAdapters, models: Models) -> Weights:
    """Save both adapters under `checkpoints`, once; the Answer model's weights, to be measured alone."""
    for role in ROLES:
        if not bench.run.checkpoint_path(role).is_dir():
            team.save(role, bench.run.checkpoint_path(role))
    return Weights(models.answer, bench.base.model, bench.run.checkpoint_path("answer"), models.lineage)


def learnt(bench: Bench) -> dict[str, Any]:
    """Pairs and updates of both models, for the report's row."""
    updates = list(bench.run.read("flow_updates", FlowUpdate))
    return {"pairs": sum(len(update.pair_ids) for update in updates), "steps": len(updates)}


def finish(config: Config, bench: Bench, report: ReportBuilder, extra: dict[str, Any]) -> dict[str, Any]:
    """The report: accuracies of Answer alone, and all that is the flow's own."""
    trees = list(bench.run.read("flow_trees", FlowTree))
    for tree in trees:
        report.outcomes[tree.outcome] += 1
    nodes = list(bench.run.read("flow_nodes", FlowNode))
    updates = list(bench.run.read("flow_updates", FlowUpdate))
    flow = {
        **extra,
        "progressive": flow_report.progressive(trees, window=config.progressive_window),
        "nodes": flow_report.node_statistics(nodes),
        **flow_report.growth(trees, updates),
    }
    made: dict[str, Any] = {}
    if config.train:
        chunks = config.model_dump(include=set(FlowChunks.model_fields), exclude_defaults=True)
        steps = flow_report.next_steps(config.model, config.data, config.eval_data or "DATA", chunks)
        made = {"weights": "answer", "next_steps": steps}
    whole = {**report.finish(), **made, "flow": flow, "remarks": flow_report.remarks(flow)}
    bench.run.write_report(whole)
    return whole


def nothing_to_learn(seen: int, right: int) -> NothingToLearn:
    """The error of a stream without a pair."""
    return NothingToLearn(
        "no rollout of any tree ended otherwise than its main chain, so there is nothing to learn from",
        seen=f"{seen} main chains, {right} of them right",
        expected="some nodes at which another chunk or decision changes the outcome",
        advice="raise deviation_temperature or max_chunks, choose chunks that can end an answer (chunk_tokens), or "
        "take easier problems or a stronger model",
    )
