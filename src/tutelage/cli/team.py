"""Who takes part in an evaluation besides the model that is measured: critic, reward model, Stop, programs.

The only place that turns the words of `tutelage eval` into players. What is missing is found before anything is drawn.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tutelage.recipes.bench import Bench
from tutelage.recipes.strategy_stage import Seat, Team
from tutelage.records import SamplingParams

if TYPE_CHECKING:
    from tutelage.cli.evaluation import EvalSettings


def team_of(config: EvalSettings, bench: Bench) -> Team:
    """The team of an evaluation.

    Raises:
        TutelageError: a model that is named cannot be had.
    """
    critiques = SamplingParams(
        temperature=config.critic_temperature, max_new_tokens=config.critic_tokens or config.max_new_tokens
    )
    critic = None
    if config.critic is not None:
        guest = bench if config.critic == config.model else bench.invite(config.critic)
        critic = Seat.at(guest, critiques, label=config.critic)
    return Team(critic=critic, self_critic=replace(critiques))
