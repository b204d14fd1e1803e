"""The production flow of Flow-DPO as generators: Answer writes a chunk, Stop judges, from any state.

    carry_on(state):  write a chunk, then as judged(state + chunk)
    judged(state):    until there are max_chunks: ask Stop; "yes" ends the chain, otherwise write a chunk

An end token that Answer writes ends its chunk, not the chain: that is for Stop to say, and what is written after a
"no" continues the text without that token. Two things end the chain by themselves: an empty chunk, which leaves the
state as it was, so that Stop would be asked the same again, and a text that ends texts of the prompt form. Nothing
hangs on a decision after the last chunk, so it is not asked for. A reply that is neither yes nor no counts as "not
yes". Tokens in, tokens out: a chunk's tokens are kept as they were drawn; only Stop's prompt is made from text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from tutelage.recipes.flow_prompts import StopPrompter, read_decision
from tutelage.records import Completion, FinishReason, Policy, Problem, SamplingParams, record_id, seed_of
from tutelage.sampling.completing import decode
from tutelage.sampling.flows import Flow, child_request
from tutelage.sampling.session import SampleRequest
from tutelage.text.prompts import Prompt

STEP_ENDS = ("\n",)
"""Texts that end a reasoning step: a line is one, as in `text.steps`."""


@dataclass(frozen=True)
class Chunk:
    """What Answer wrote in one turn: one completion, or one for each reasoning step of the chunk.

    Args:
        pieces: the completions in order.
        kept_ids: their tokens without end tokens, which the next chunk continues.
    """

    pieces: tuple[Completion, ...]
    kept_ids: tuple[int, ...]

    @property
    def id(self) -> str:
        """The id of its last completion, from which parents lead back to the first."""
        return self.pieces[-1].id

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """What it continues: the question's prompt and the state."""
        return self.pieces[0].prompt_ids

    @cached_property
    def token_ids(self) -> tuple[int, ...]:
        """Its tokens as a target of training: those kept, and the end token if it has one."""
        return self.kept_ids + self.pieces[-1].token_ids[_num_kept(self.pieces[-1]) :]


@dataclass(frozen=True)
class State:
    """A partial answer: its chunks, and their tokens joined."""

    chunks: tuple[Chunk, ...] = ()
    ids: tuple[int, ...] = ()

    def plus(self, chunk: Chunk) -> State:
        """The state after one more chunk."""
        return State((*self.chunks, chunk), self.ids + chunk.kept_ids)


@dataclass(frozen=True)
class Decision:
    """What Stop said of a state: `is_yes` None where its reply could not be read."""

    completion: Completion
    is_yes: bool | None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Its tokens, as a target of training."""
        return self.completion.token_ids


@dataclass(frozen=True)
class Node:
    """An output of the flow and the state that it was made in: a chunk, or a decision."""

    state: State
    output: Chunk | Decision

    @property
    def role(self) -> Literal["answer", "stop"]:
        """Whose output it is."""
        return "answer" if isinstance(self.output, Chunk) else "stop"

    @property
    def place(self) -> int:
        """The chunk that it writes or judges, from 0."""
        return len(self.state.chunks) - (not isinstance(self.output, Chunk))

    @property
    def completion(self) -> Completion:
        """The last completion that it consists of."""
        return self.output.pieces[-1] if isinstance(self.output, Chunk) else self.output.completion


@dataclass(frozen=True)
class Chain:
    """A whole answer: its final state, the nodes on the way, and how it ended (`error`: a sample failed twice)."""

    state: State
    nodes: tuple[Node, ...]
    ended: FinishReason


@dataclass(frozen=True)
class FlowSettings:
    """How the flow is run; the fields of the recipe's config of the same names, and what the model and prompts give.

    Args:
        stop_token_ids, stop_texts: what ends a text of this prompt form.
        context: most tokens of prompt and answer together.
    """

    max_chunks: int
    chunk_tokens: int
    chunk_steps: int
    temperature: float
    deviation_temperature: float
    rollout_temperature: float
    top_p: float
    stop_temperature: float
    deviation_tries: int
    seed: int
    context: int
    stop_token_ids: tuple[int, ...] = ()
    stop_texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProductionFlow:
    """The flow of one problem under one version of the two models.

    Args:
        problem: the problem.
        prompt: its prompt for Answer.
        stop_prompter: makes the prompts for Stop.
        settings: chunk sizes, temperatures, limits.
        answer, stop: the two models' adapters and versions.
        stage: the stage digest; ids derive from it.
        name: what else seeds derive from, so that evaluation and practice draw differently.
    """

    problem: Problem
    prompt: Prompt
    stop_prompter: StopPrompter
    settings: FlowSettings
    answer: Policy
    stop: Policy
    stage: str
    name: str = "flow"

    def carry_on(self, state: State, *, temperature: float, index: int = 0) -> Flow[Chain]:
        """Write a chunk from a state, then go on to the end of the chain."""
        if not self.has_room(state):
            return Chain(state, (), "length")
        chunk = yield from self.chunk(state, temperature=temperature, index=index)
        if chunk is None:
            return Chain(state, (), "error")
        rest = yield from self.judged(state.plus(chunk), temperature=temperature)
        return replace(rest, nodes=(Node(state, chunk), *rest.nodes))

    def judged(self, state: State, *, temperature: float) -> Flow[Chain]:
        """Ask Stop about a state and go on to the end of the chain."""
        nodes: list[Node] = []
        while self.has_room(state):
            decision = yield from self.decision(state)
            if decision is None:
                return Chain(state, tuple(nodes), "error")
            nodes.append(Node(state, decision))
            if decision.is_yes:
                return Chain(state, tuple(nodes), "stop")
            chunk = yield from self.chunk(state, temperature=temperature)
            if chunk is None:
                return Chain(state, tuple(nodes), "error")
            nodes.append(Node(state, chunk))
            state = state.plus(chunk)
        is_ended = self._is_over(state) or has_end_token(state.chunks[-1].pieces[-1])
        return Chain(state, tuple(nodes), "stop" if is_ended else "length")

    def has_room(self, state: State) -> bool:
        """Whether another chunk may follow: no limit is reached, and there is more to be said."""
        length = len(self.prompt.ids) + len(state.ids)
        is_within = len(state.chunks) < self.settings.max_chunks and length < self.settings.context
        return is_within and not self._is_over(state)

    def _is_over(self, state: State) -> bool:
        """Whether Answer ended the text a second time, or came to where texts of this prompt form end."""
        if not state.chunks:
            return False
        last = state.chunks[-1]
        return not last.kept_ids or last.pieces[-1].text.endswith(self.settings.stop_texts or ("\0",))

    def chunk(self, state: State, *, temperature: float, index: int = 0) -> Flow[Chunk | None]:
        """The next chunk; `index` tells siblings apart. None where sampling failed twice."""
        pieces: list[Completion] = []
        ids: tuple[int, ...] = ()
        last = state.chunks[-1].pieces[-1] if state.chunks else None
        for step in range(max(1, self.settings.chunk_steps)):
            room = self.settings.chunk_tokens - len(ids)
            written = len(state.ids) + len(ids)
            later = (self.settings.max_chunks - len(state.chunks) - 1) * self.settings.chunk_tokens
            request = self._chunk_request(last, room, temperature, index if not step else 0)
            request = replace(request, metadata=self._facts(written=written, room=room + later))
            piece = yield from self._answered(request)
            if piece is None:
                return None
            pieces.append(piece)
            ids += piece.token_ids[: _num_kept(piece)]
            last = piece
            if has_end_token(piece) or piece.finish_reason == "length" or self.settings.chunk_tokens <= len(ids):
                break
            if len(self.prompt.ids) + len(state.ids) + len(ids) >= self.settings.context:
                break
        return Chunk(tuple(pieces), ids)

    def _facts(self, **facts: object) -> dict[str, object]:
        """What a script may want to know."""
        return {"question": self.problem.question, "answer": self.problem.answer, **facts}

    def _chunk_request(self, last: Completion | None, room: int, temperature: float, index: int) -> SampleRequest:
        stop = self.settings.stop_texts + (STEP_ENDS if self.settings.chunk_steps else ())
        params = SamplingParams(
            temperature, self.settings.top_p, max_new_tokens=room, stop=stop,
            stop_token_ids=self.settings.stop_token_ids,
        )  # fmt: skip
        if last is not None:
            return child_request(last, params=params, branch_position=_num_kept(last), index=index)
        return SampleRequest(
            id=record_id(self.stage, self.problem.id, None, index),
            problem_id=self.problem.id,
            prompt_ids=self.prompt.ids,
            params=params,
            seed=seed_of(self.settings.seed, self.name, self.problem.id, index),
            role="chunk",
            adapter=self.answer.adapter,
            version=self.answer.version,
            stage=self.stage,
            index=index,
            messages=self.prompt.messages,
            prompt_text=self.prompt.text,
        )

    def decision(self, state: State) -> Flow[Decision | None]:
        """What Stop says of a state that has a chunk; None where sampling failed twice."""
        text = decode(self.stop_prompter.answers.tokenizer, state.ids, ())
        prompt = self.stop_prompter.render(self.problem, text)
        params = SamplingParams(
            self.settings.stop_temperature, max_new_tokens=self.stop_prompter.max_tokens,
            stop_token_ids=self.stop_prompter.prompter.stop_token_ids,
        )  # fmt: skip
        request = child_request(
            state.chunks[-1].pieces[-1], role="stop", policy=self.stop, params=params, prompt_ids=prompt.ids
        )
        facts = self._facts(solution=text)
        reply = yield from self._answered(
            replace(request, messages=prompt.messages, prompt_text=prompt.text, metadata=facts)
        )
        return None if reply is None else Decision(reply, read_decision(reply.text))

    def _answered(self, request: SampleRequest) -> Flow[Completion | None]:
        """A request's completion; one that fails is asked for once more."""
        completion = yield request
        if completion.finish_reason != "error":
            return completion
        again = record_id(self.stage, self.problem.id, request.id, request.index, attempt=1)
        completion = yield replace(request, id=again)
        return completion if completion.finish_reason != "error" else None


def has_end_token(piece: Completion) -> bool:
    """Whether the last token ends the text: it stopped, and not at a stop text, which the text would end with."""
    is_stopped = piece.finish_reason == "stop" and bool(piece.token_ids)
    return is_stopped and not any(piece.text.endswith(text) for text in piece.params.stop)


def _num_kept(piece: Completion) -> int:
    """How many of its tokens a later chunk continues: all but an end token."""
    return len(piece.token_ids) - has_end_token(piece)
