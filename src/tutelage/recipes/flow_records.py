"""What becomes of grown trees: whole answers, their verdicts, pairs where outcomes differ, and the records of all that.

A pair is of the node's own model: the chunk or the decision whose whole answer is right is preferred to the other.
Answers that could not be graded (`undecided`, `error`) make no pair. Trees are written last, so that a tree that is in
the run folder is whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tutelage.grading import CompletionGrader
from tutelage.recipes.flow_chain import Chain, Chunk, Node, ProductionFlow
from tutelage.recipes.flow_trees import Rollout, Tree
from tutelage.records import Completion, Outcome, PreferencePair, Problem, Record, SamplingParams, Verdict, record_id
from tutelage.sampling.completing import decode

RoleName = Literal["answer", "stop"]
ROLES: tuple[RoleName, ...] = ("answer", "stop")
RULES: dict[str, str] = {"answer": "next-chunk", "stop": "stop-decision"}
"""The `rule` of a role's pairs."""


@dataclass(frozen=True)
class FlowNode(Record):
    """An output of the main chain and one rollout beside it, as `flow_nodes` keeps them.

    `place` is the chunk that is written or judged, from 0. `completion_id` is the output itself, `other_id` what the
    rollout has in its place, `completion_ids` the whole answers of the two, main first. Outcomes are the graders'.
    """

    id: str
    problem_id: str
    role: RoleName
    place: int
    completion_id: str
    other_id: str
    completion_ids: tuple[str, ...]
    said: str
    main_outcome: Outcome
    other_outcome: Outcome
    pair_id: str = ""


@dataclass(frozen=True)
class FlowTree(Record):
    """One problem's tree, as `flow_trees` keeps it; written last, so that a tree that is there is whole.

    `outcome` is the main chain's. `unreadable` counts replies of Stop that are neither yes nor no, `same` nodes
    without a rollout because no different chunk was drawn, `skipped` nodes below the entropy threshold. Tokens are
    those drawn, by role.
    """

    id: str
    problem_id: str
    window: int
    outcome: Outcome
    ended: str
    num_chunks: int
    pair_ids: tuple[str, ...]
    answer_tokens: int
    stop_tokens: int
    unreadable: int = 0
    same: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class GrownTree:
    """Everything that a tree's growth gives to be recorded."""

    tree: FlowTree
    nodes: tuple[FlowNode, ...]
    pairs: tuple[PreferencePair, ...]


def make_records(tree: Tree, verdicts: Mapping[str, Verdict], *, window: int) -> GrownTree:
    """A tree's nodes and pairs.

    Args:
        tree: grown.
        verdicts: on the whole answers of its main chain and rollouts, by id.
        window: number of its window, from 1; kept in the pairs as their iteration.
    """
    flow = tree.flow
    assert tree.main is not None
    main = whole_answer(flow, tree.main)
    nodes, pairs = [], []
    for rollout in tree.rollouts:
        other = whole_answer(flow, rollout.chain)
        pair = make_pair(rollout, verdicts[main.id], verdicts[other.id], window=window)
        pairs += [pair] if pair is not None else []
        nodes.append(
            FlowNode(
                record_id(flow.stage, flow.problem.id, f"{rollout.node.completion.id}/node", rollout.number),
                flow.problem.id, rollout.node.role, rollout.node.place, rollout.node.completion.id, rollout.other_id,
                (main.id, other.id), _said(rollout.node), verdicts[main.id].outcome, verdicts[other.id].outcome,
                "" if pair is None else pair.id,
            )
        )  # fmt: skip
    everything = _all_nodes(tree)
    tokens = {role: sum(len(n.output.token_ids) for n in everything if n.role == role) for role in ROLES}
    tokens["answer"] += sum(len(r.other_ids) for r in tree.rollouts if r.node.role == "answer")
    return GrownTree(
        FlowTree(
            record_id(flow.stage, flow.problem.id), flow.problem.id, window, verdicts[main.id].outcome,
            tree.main.ended, len(tree.main.state.chunks), tuple(pair.id for pair in pairs),
            tokens["answer"], tokens["stop"], sum(not _said(node) for node in everything), tree.same, tree.skipped,
        ),
        tuple(nodes),
        tuple(pairs),
    )  # fmt: skip


def make_pair(rollout: Rollout, main: Verdict, other: Verdict, *, window: int) -> PreferencePair | None:
    """The pair of a node and a rollout, or None where the outcomes agree or could not be told."""
    if not (main.is_usable and other.is_usable) or main.is_correct == other.is_correct:
        return None
    node = rollout.node
    sides = [(node.output.token_ids, node.completion.id), (rollout.other_ids, rollout.other_id)]
    (chosen, chosen_id), (rejected, rejected_id) = sides if main.is_correct else sides[::-1]
    stage, problem_id = node.completion.stage, node.completion.problem_id
    return PreferencePair(
        record_id(stage, problem_id, f"{node.completion.id}/pair", rollout.number), problem_id, rollout.prompt_ids,
        chosen, rejected, (1,) * len(chosen), (1,) * len(rejected), chosen_id, rejected_id, RULES[node.role],
        iteration=window,
    )  # fmt: skip


def role_of(pair: PreferencePair) -> RoleName:
    """Whose pair it is."""
    return "answer" if pair.rule == RULES["answer"] else "stop"


def _all_nodes(tree: Tree) -> list[Node]:
    assert tree.main is not None
    return [*tree.main.nodes, *(node for rollout in tree.rollouts for node in rollout.chain.nodes)]


def _said(node: Node) -> str:
    """What Stop said, "" where it could not be read; a chunk says nothing."""
    if isinstance(node.output, Chunk):
        return "chunk"
    return {True: "yes", False: "no", None: ""}[node.output.is_yes]


def whole_answer(flow: ProductionFlow, chain: Chain) -> Completion:
    """The text of a chain as one completion, for the grader: its last chunk's, with all tokens before it."""
    if not chain.state.chunks:
        return _nothing(flow, chain)
    pieces = [piece for chunk in chain.state.chunks for piece in chunk.pieces]
    counts = [len(chunk.kept_ids) for chunk in chain.state.chunks]
    logprobs = [value for chunk in chain.state.chunks for value in _joined(chunk)[: len(chunk.kept_ids)]]
    last = pieces[-1]
    text = decode(flow.stop_prompter.answers.tokenizer, chain.state.ids, ())
    return replace(
        last, id=record_id(flow.stage, flow.problem.id, f"{last.id}/answer"), role="answer",
        prompt_ids=flow.prompt.ids, token_ids=chain.state.ids, text=text, token_logprobs=tuple(logprobs),
        segments=((0, sum(counts), "model"),) if sum(counts) else (), finish_reason=chain.ended,
        parent_id=last.id, branch_position=None, note="all chunks joined",
    )  # fmt: skip


def _joined(chunk: Chunk) -> list[float]:
    return [value for piece in chunk.pieces for value in piece.token_logprobs]


def _nothing(flow: ProductionFlow, chain: Chain) -> Completion:
    """The record of a chain that has no chunk: its first sample failed, or the prompt fills the context."""
    return Completion(
        id=record_id(flow.stage, flow.problem.id, "answer"), problem_id=flow.problem.id, role="answer",
        policy=flow.answer, tokenizer_digest="", prompt_ids=flow.prompt.ids, token_ids=(), text="", segments=(),
        token_logprobs=(), finish_reason=chain.ended, params=SamplingParams(), seed=0, stage=flow.stage,
    )  # fmt: skip


def judge(grader: CompletionGrader, todo: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
    """Verdicts in order; a failure of the grader's own is asked for once more."""
    made = grader.grade_many(todo)
    again = [i for i, v in enumerate(made) if v.outcome == "error" and todo[i][1].finish_reason != "error"]
    for i, verdict in zip(again, grader.grade_many([todo[i] for i in again]), strict=True):
        made[i] = verdict
    return made
