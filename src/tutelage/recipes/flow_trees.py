"""A problem's tree while it grows: the main chain, and at each of its nodes one random rollout to a whole answer.

    at an Answer node: draw a different chunk from the same state, then run the flow to its end
    at a Stop node: take the other decision, and end there or run the flow to its end

Source: arXiv 2410.22304 section 3. Deviation: how Stop's rollouts are made is not written there; flipping the decision
is our reading. Trees grow side by side: all main chains first, then all branches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.recipes.flow_chain import Chain, Chunk, Decision, Node, ProductionFlow, State
from tutelage.recipes.flow_prompts import StopPrompter
from tutelage.records import Completion, record_id
from tutelage.sampling.flows import Flow, FlowFailed, drive
from tutelage.sampling.session import SamplerSession


@dataclass(frozen=True)
class Rollout:
    """What was put in a node's place, and the whole answer that came of it.

    Args:
        number: which of the node's rollouts, from 0.
        prompt_ids, other_ids: the node's prompt, and the tokens put in place of its output.
        other_id: the completion of those tokens.
        forced: that completion where it was not drawn but put there.
    """

    node: Node
    number: int
    prompt_ids: tuple[int, ...]
    other_ids: tuple[int, ...]
    other_id: str
    chain: Chain
    forced: Completion | None = None


@dataclass(frozen=True)
class RolloutSettings:
    """Where and how often a node is tried again.

    Args:
        per_node: rollouts of a node; 0 grows main chains only.
        min_entropy: least estimated entropy, in nats a token, at which a node is tried again (0: always).
    """

    per_node: int = 1
    min_entropy: float = 0.0


class Tree:
    """A problem's tree while it grows.

    Args:
        flow: the problem's flow.
        rollouts: where it branches.
    """

    def __init__(self, flow: ProductionFlow, rollouts: RolloutSettings) -> None:
        self.flow, self.how = flow, rollouts
        self.main: Chain | None = None
        self.rollouts: list[Rollout] = []
        self.same = self.skipped = 0

    def branches(self) -> Iterator[Flow[list[Rollout]]]:
        """A flow for every node of the main chain that is tried again."""
        if self.main is None or self.main.ended == "error" or not self.how.per_node:
            return
        for node in self.main.nodes:
            if self.how.min_entropy and surprise(node) < self.how.min_entropy:
                self.skipped += 1
            else:
                yield self._other_chunks(node) if node.role == "answer" else self._other_decision(node)

    def _other_chunks(self, node: Node) -> Flow[list[Rollout]]:
        """Different chunks from a node's state, each carried on; draws that are not different are thrown away."""
        assert isinstance(node.output, Chunk)
        settings = self.flow.settings
        known = {node.output.token_ids}
        found: list[Rollout] = []
        for index in range(1, 1 + self.how.per_node * settings.deviation_tries):
            chunk = yield from self.flow.chunk(node.state, temperature=settings.deviation_temperature, index=index)
            if chunk is None or chunk.token_ids in known:
                continue
            known.add(chunk.token_ids)
            chain = yield from self.flow.judged(node.state.plus(chunk), temperature=settings.rollout_temperature)
            found.append(Rollout(node, len(found), chunk.prompt_ids, chunk.token_ids, chunk.id, chain))
            if len(found) == self.how.per_node:
                break
        self.same += not found
        return found

    def _other_decision(self, node: Node) -> Flow[list[Rollout]]:
        """The other decision at a node: the answer ends there, or is carried on."""
        assert isinstance(node.output, Decision)
        reply = node.output.completion
        if not node.output.is_yes:
            end = Chain(node.state, (), "stop")
            forced = forced_reply(reply, self.flow.stop_prompter.yes_ids, self.flow.stop_prompter)
            return [Rollout(node, 0, reply.prompt_ids, forced.token_ids, forced.id, end, forced)]
        forced = forced_reply(reply, self.flow.stop_prompter.no_ids, self.flow.stop_prompter)
        found = []
        for number in range(self.how.per_node):
            chain = yield from self.flow.carry_on(
                node.state, temperature=self.flow.settings.rollout_temperature, index=number
            )
            found.append(Rollout(node, number, reply.prompt_ids, forced.token_ids, forced.id, chain, forced))
        return found


def forced_reply(reply: Completion, ids: tuple[int, ...], prompter: StopPrompter) -> Completion:
    """The other decision as a record: nobody drew it."""
    text = prompter.prompter.tokenizer.decode(list(ids[:-1]))
    return replace(
        reply, id=record_id(reply.stage, reply.problem_id, f"{reply.id}/forced"), token_ids=ids, text=text,
        token_logprobs=(0.0,) * len(ids), segments=((0, len(ids), "forced"),), finish_reason="stop",
        note="put in place of what Stop said",
    )  # fmt: skip


def surprise(node: Node) -> float:
    """Mean negative log-prob of a node's tokens, in nats: an estimate from one draw of the entropy a token."""
    pieces = node.output.pieces if isinstance(node.output, Chunk) else (node.output.completion,)
    count = sum(len(piece.token_ids) for piece in pieces)
    return -sum(piece.logprob for piece in pieces) / max(1, count)


def grow(trees: Sequence[Tree], session: SamplerSession) -> None:
    """Main chains of all trees together, then all their branches together.

    Raises:
        SamplerFailed: the session left requests unanswered.
    """
    chains = [tree.flow.carry_on(State(), temperature=tree.flow.settings.temperature) for tree in trees]
    for tree, main in zip(trees, _driven(chains, session), strict=True):
        tree.main = main
    branches = [(tree, branch) for tree in trees for branch in tree.branches()]
    for (tree, _), rollouts in zip(branches, _driven([flow for _, flow in branches], session), strict=True):
        tree.rollouts += rollouts


def _driven(flows: Sequence[Flow[Any]], session: SamplerSession) -> list[Any]:
    """The results of all flows in their order, whichever ended first; the failure of one is raised as it is."""
    found = dict(drive(enumerate(flows), session))
    for result in found.values():
        if isinstance(result, FlowFailed):
            raise result.error
    return [found[i] for i in range(len(flows))]
