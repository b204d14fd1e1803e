"""A judge rates a solution, as a flow: its analysis, then a score; a text that cannot be read is asked for again."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tutelage.evaluation.critic_flows import asked_until_read
from tutelage.evaluation.critic_prompts import judge_prompt, rating_form
from tutelage.evaluation.plays import Table
from tutelage.records import Completion
from tutelage.text.ratings import Rating, read_rating

JUDGE = "judge"


@dataclass(frozen=True)
class Opinion:
    """What came of asking for a rating of a solution.

    Args:
        solution: what was judged.
        rating: as read; None where no attempt could be.
        said: every attempt, in order; empty where no model was asked (the built-in world's truth).
        unreadable: why each attempt that could not be read could not.
    """

    solution: Completion
    rating: Rating | None
    said: tuple[Completion, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def score(self) -> int | None:
        """1 to 10; None where nothing could be read."""
        return None if self.rating is None else self.rating.score


def rate(
    table: Table, solution: Completion, *, player: str = JUDGE, tries: int = 1, reference: bool = True
) -> Generator[Any, Any, Opinion]:
    """A player's rating of a solution.

    Args:
        player: who judges.
        tries: how often it is asked until its text can be read; at least 1. Tries after a greedy one are drawn.
        reference: whether it is shown the reference answer.
    """
    prompter = table.players[player].prompter
    heard = yield from asked_until_read(
        table, solution, judge_prompt(prompter, table.problem, solution.text, reference=reference),
        partial(read_rating, form=rating_form(prompter)), player=player, role="judge", tries=tries,
    )  # fmt: skip
    return Opinion(solution, heard.read, heard.said, heard.reasons)
