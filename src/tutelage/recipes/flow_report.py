"""What a Flow-DPO run reports besides accuracies: the progressive curve, what each node was worth, pairs and tokens.

Pure functions of the recorded trees, nodes and updates, so that a resumed run reports what an uninterrupted one does.
"""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tutelage.recipes.flow_records import ROLES, FlowNode, FlowTree
from tutelage.recipes.flow_updates import FlowUpdate
from tutelage.records import MODEL_OUTCOMES

CURVE_POINTS = 40


def progressive(trees: Sequence[FlowTree], *, window: int) -> dict[str, Any]:
    """The progressive validation accuracy: main chains as they were before their problem was learnt from.

    Args:
        trees: in the order of the stream; those that could not be graded are left out.
        window: problems of the windowed accuracy.

    Returns:
        `cumulative` over all problems, `windowed` over the last ones, `first` over the first ones, and `curve` with
        both after so many problems.

    Source: arXiv 2410.22304, Acc_prog(N) = (1/N) sum over i <= N of 1[Theta^(i-1)(x_i) = y_i].
    """
    values = [float(tree.outcome == "correct") for tree in trees if tree.outcome in MODEL_OUTCOMES]
    if not values:
        return {"problems": 0, "cumulative": None, "windowed": None, "first": None, "window": window, "curve": []}
    ends = sorted({round(len(values) * (i + 1) / CURVE_POINTS) for i in range(CURVE_POINTS)} - {0})
    curve = [
        {
            "problems": end,
            "cumulative": round(statistics.fmean(values[:end]), 4),
            "windowed": round(statistics.fmean(values[max(0, end - window) : end]), 4),
        }
        for end in ends
    ]
    return {
        "problems": len(values),
        "cumulative": curve[-1]["cumulative"],
        "windowed": curve[-1]["windowed"],
        "first": round(statistics.fmean(values[:window]), 4),
        "window": window,
        "curve": curve,
    }


def remarks(flow: Mapping[str, Any]) -> list[str]:
    """What a reader should know first, in sentences, from the flow's part of the report."""
    curve, stop, answer = flow["progressive"], flow["nodes"]["stop"], flow["nodes"]["answer"]
    told = []
    if curve["problems"]:
        told.append(
            f"the flow on the stream, before learning from each problem: {curve['cumulative']:.1%} of "
            f"{curve['problems']} problems, {curve['windowed']:.1%} of the last {curve['window']}"
        )
    if flow.get("flow_before"):
        after = flow.get("flow_after")
        told.append(
            f"the flow on the evaluation data: {flow['flow_before']['accuracy']:.1%}"
            + (f" before, {after['accuracy']:.1%} after" if after else " untrained")
        )
    if stop["nodes"]:
        told.append(
            f"Stop, at {stop['nodes']} decisions: {stop['too_early']} too early, {stop['too_late']} too late, "
            f"{stop['no_matter']} that did not matter"
        )
    if answer["nodes"]:
        most = max(answer["by_chunk"], key=lambda row: row["nodes"] - row["agree"])
        told.append(
            f"Answer, at {answer['nodes']} chunks that were written anew: {answer['main_right']} times only the first "
            f"way came out right, {answer['rollout_right']} times only the new one, most often at chunk "
            f"{most['chunk']}; {flow['nodes_without_another_chunk']} more chunks gave no other text"
        )
    if flow["unreadable_decisions"]:
        told.append(
            f"{flow['unreadable_decisions']} replies of Stop were neither yes nor no and counted as no: "
            "stop_decision=compare takes the likelier of the two"
        )
    return told


def next_steps(model: str, data: str, held_out: str, chunks: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What to do with a trained flow; `{folder}` stands for the run's.

    Args:
        model: the base model.
        data: the problems that were practised on.
        held_out: the problems to measure on.
        chunks: the settings of chunks and of Stop, which a later recipe must share.
    """
    shared = " ".join(f"{name}={value}" for name, value in chunks.items())
    model, data, held_out = (
        shlex.quote(word.replace("{", "{{").replace("}", "}}")) for word in (model, data, held_out)
    )
    return [
        (
            "measure Answer alone in other ways",
            f"tutelage eval {{folder}}/checkpoints/answer --data {held_out} -s maj@8",
        ),
        (
            "make one model of what the flow writes",
            f"tutelage run compile model={model} data={data} flow={{folder}}/checkpoints {shared}",
        ),
    ]


def node_statistics(nodes: Iterable[FlowNode]) -> dict[str, Any]:
    """What trying each node again showed, by role and chunk; nodes with an outcome of ours are left out.

    For Answer: at how many nodes the rollout's outcome differs, and which was right. For Stop, of its decisions:
    `too_early` (it stopped with a wrong answer, going on is right), `too_late` (it went on to a wrong answer, stopping
    there is right), `rightly_stopped`, `rightly_went_on`, and `no_matter` (both outcomes agree).
    """
    usable = [n for n in nodes if {n.main_outcome, n.other_outcome} <= MODEL_OUTCOMES]
    answers = [n for n in usable if n.role == "answer"]
    stops = [n for n in usable if n.role == "stop"]
    return {
        "answer": {"nodes": len(answers), **_disagreement(answers), "by_chunk": _by_chunk(answers, _disagreement)},
        "stop": {"nodes": len(stops), **_timing(stops), "by_chunk": _by_chunk(stops, _timing)},
    }


def _by_chunk(nodes: Sequence[FlowNode], figures: Any) -> list[dict[str, Any]]:
    places = sorted({node.place for node in nodes})
    groups = {place: [node for node in nodes if node.place == place] for place in places}
    return [{"chunk": place + 1, "nodes": len(group), **figures(group)} for place, group in groups.items()]


def _disagreement(nodes: Sequence[FlowNode]) -> dict[str, int]:
    main = sum(n.main_outcome == "correct" and n.other_outcome != "correct" for n in nodes)
    other = sum(n.main_outcome != "correct" and n.other_outcome == "correct" for n in nodes)
    return {"main_right": main, "rollout_right": other, "agree": len(nodes) - main - other}


def _timing(nodes: Sequence[FlowNode]) -> dict[str, int]:
    counts = dict.fromkeys(("too_early", "too_late", "rightly_stopped", "rightly_went_on", "no_matter"), 0)
    for node in nodes:
        main, other = node.main_outcome == "correct", node.other_outcome == "correct"
        stopped = node.said == "yes"
        if main == other:
            counts["no_matter"] += 1
        elif main:
            counts["rightly_stopped" if stopped else "rightly_went_on"] += 1
        else:
            counts["too_early" if stopped else "too_late"] += 1
    return counts


def growth(trees: Sequence[FlowTree], updates: Sequence[FlowUpdate]) -> dict[str, Any]:
    """Totals: pairs and updates by role, tokens drawn by role, how chains ended, and what was left out."""
    learnt = {role: [u for u in updates if u.role == role] for role in ROLES}
    ended = {reason: sum(t.ended == reason for t in trees) for reason in ("stop", "length", "error")}
    return {
        "pairs": {role: sum(len(u.pair_ids) for u in learnt[role]) for role in ROLES},
        "updates": {role: len(learnt[role]) for role in ROLES},
        "tokens": {"answer": sum(t.answer_tokens for t in trees), "stop": sum(t.stop_tokens for t in trees)},
        "ended": ended,
        "mean_chunks": round(statistics.fmean(t.num_chunks for t in trees), 3) if trees else None,
        "unreadable_decisions": sum(t.unreadable for t in trees),
        "nodes_without_another_chunk": sum(t.same for t in trees),
        "nodes_skipped": sum(t.skipped for t in trees),
    }
