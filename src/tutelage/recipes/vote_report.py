"""What an evaluation with a critic reports besides each strategy's figures: the votes, and critics at equal cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.evaluation.plays import Play
from tutelage.evaluation.strategies import vote_of
from tutelage.evaluation.vote_pictures import Tally, equal_cost, picture, tally
from tutelage.recipes.strategy_stage import Measured
from tutelage.records import Completion, Problem, Verdict


def vote_report(done: Sequence[Measured], problems: Sequence[Problem], *, seed: int) -> dict[str, Any]:
    """`votes`, the picture of each critic-maj@k, and `equal_cost`; empty where no strategy with a critic was measured.

    Args:
        done: all strategies of an evaluation.
        problems: what was answered.
        seed: of intervals.
    """
    by_id = {problem.id: problem for problem in problems}
    pictures = {
        one.result.strategy.name: picture(*_tallies(one, by_id)) for one in done
        if one.result.strategy.kind == "critic-maj" and one.plays
    }  # fmt: skip
    rows = equal_cost(
        {one.result.strategy: one.result.per_problem for one in done},
        {one.result.strategy: _tokens(one) for one in done},
        seed=seed,
    )
    return {**({"votes": pictures} if pictures else {}), **({"equal_cost": rows} if rows else {})}


def _tokens(measured: Measured) -> float:
    spent = sum(cost.completion_tokens for cost in measured.result.cost().values())
    return spent / max(1, len(measured.result.costs))


def _tallies(
    measured: Measured, problems: Mapping[str, Problem]
) -> tuple[dict[str, Tally], dict[str, Tally]]:  # fmt: skip
    """The votes of the first and of the last answers of all chains, by problem."""
    verdicts = {**measured.answers.verdicts, **measured.verdicts}
    plain = {play.problem_id: _count(problems, play, [c.answers[0] for c in play.chains], verdicts)
             for play in measured.plays}  # fmt: skip
    critic = {play.problem_id: _count(problems, play, [c.last for c in play.chains], verdicts)
              for play in measured.plays}  # fmt: skip
    return plain, critic


def _count(
    problems: Mapping[str, Problem], play: Play, answers: Sequence[Completion], verdicts: Mapping[str, Verdict]
) -> Tally:
    known = [verdicts[answer.id] for answer in answers if answer.id in verdicts]
    return tally([vote_of(verdict, problems[play.problem_id]) for verdict in known if verdict.outcome != "error"])
