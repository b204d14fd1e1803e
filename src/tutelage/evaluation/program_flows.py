"""`pot-then-cot`: a program first, and prose where it does not run.

Source: MAmmoTH (arXiv 2309.05653): decode program-of-thoughts, fall back to chain-of-thought if it is not executable.
"""

from __future__ import annotations

from tutelage.evaluation.plays import ACTOR, Chain, Play, Table
from tutelage.evaluation.strategy_names import Strategy
from tutelage.sampling.flows import Flow
from tutelage.sampling.programs import solve

PROGRAMMER = "programmer"
"""The player that writes programs: the actor's model, asked for them."""


def pot_then_cot(table: Table, strategy: Strategy) -> Flow[Play]:
    """A program; where none came, or it gave no answer, the problem is solved in prose."""
    programmer, actor = table.players[PROGRAMMER], table.players[ACTOR]
    request = table.ask(PROGRAMMER, programmer.prompter.render(table.problem), role="program")
    solved = yield from solve(request, programmer.prompter.tokenizer, style="pot")
    used = [(ACTOR, piece) for piece in solved.pieces]
    is_run = solved.value is not None
    figures = {"fell_back": float(not is_run), "no_program": float(not solved.executions)}
    if is_run:
        return Play(table.problem.id, (Chain((solved.completion,)),), tuple(used), figures)
    prose = yield table.ask(ACTOR, actor.prompter.render(table.problem), role="answer")
    return Play(table.problem.id, (Chain((prose,)),), (*used, (ACTOR, prose)), figures)
