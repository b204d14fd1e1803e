"""The strategy `flow`: Flow-DPO's production flow, Answer in the actor's seat and Stop in one of its own."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from tutelage.evaluation.plays import ACTOR, STOP, Chain, Play, Table
from tutelage.evaluation.strategy_names import Strategy
from tutelage.recipes import flow_records
from tutelage.recipes.bench import Bench
from tutelage.recipes.flow_chain import ProductionFlow, State
from tutelage.recipes.flow_config import FlowChunks
from tutelage.recipes.flow_prompts import StopPrompter
from tutelage.recipes.flow_sessions import ComparingSession
from tutelage.recipes.strategy_stage import Game, Seat
from tutelage.records import Completion, SamplingParams
from tutelage.sampling.flows import Flow
from tutelage.sampling.session import SamplerSession
from tutelage.text.prompts import tokenizer_digest


def flow_game(config: FlowChunks, stop: Bench, *, label: str, seed: int, context: int) -> Game:
    """How the strategy is played.

    Args:
        config: chunk sizes and Stop's prompt.
        stop: the bench of the Stop model.
        label: what it was named.
        seed: of the evaluation.
        context: most tokens of prompt and answer together.
    """
    seat = Seat.at(stop, SamplingParams(temperature=config.stop_temperature), label=label)

    def flow(table: Table, strategy: Strategy) -> Flow[Play]:
        actor, judge = table.players[ACTOR], table.players[STOP]
        settings = config.shape(actor.prompter, temperature=0.0, seed=seed, context=context)
        prompt = actor.prompter.render(table.problem)
        asker = StopPrompter.create(judge.prompter, config.stop_prompt)
        made = ProductionFlow(table.problem, prompt, asker, settings, actor.policy, judge.policy, table.stage)
        used: list[tuple[str, Completion]] = []
        chain = yield from seated(made.carry_on(State(), temperature=0.0), used, {"stop": judge.name})
        answer = flow_records.whole_answer(made, chain)
        chunks = float(len(chain.state.chunks))
        return Play(table.problem.id, (Chain((answer,)),), tuple(used), {"chunks": chunks})

    def comparing(session: SamplerSession) -> SamplerSession:
        said = {c.id: c for c in stop.run.read("completions", Completion) if c.role == "stop"}
        asker = StopPrompter.create(stop.prompter, config.stop_prompt)
        name = tokenizer_digest(stop.prompter.tokenizer)
        return ComparingSession(session, stop.run, said, stop_prompter=asker, tokenizer_digest=name)

    made_of = [{name: getattr(config, name) for name in FlowChunks.model_fields}, context]
    return Game(flow, {STOP: seat}, made_of, comparing if config.stop_decision == "compare" else None)


def seated(flow: Flow[Any], used: list[tuple[str, Completion]], players: dict[str, str]) -> Generator[Any, Any, Any]:
    """A flow whose single requests are sent to the players of their roles, others to the actor; answers are noted.

    Args:
        used: gets every completion with the player in whose part it was written.
        players: by role, who is asked.
    """
    answer: Completion | None = None
    while True:
        try:
            request = flow.send(answer)
        except StopIteration as end:
            return end.value
        answer = yield replace(request, player=players.get(request.role, ACTOR))
        used.append((STOP if request.role == "stop" else ACTOR, answer))
