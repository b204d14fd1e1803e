"""Who takes part in an evaluation besides the model that is measured: critic, reward model, Stop, programs.

The only place that turns the words of `tutelage eval` into players. What is missing is found before anything is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.cli.seats import model_limits
from tutelage.errors import InputError
from tutelage.evaluation.program_flows import PROGRAMMER, pot_then_cot
from tutelage.evaluation.strategy_names import Strategy
from tutelage.models.runs import checkpoint_of
from tutelage.recipes.bench import Bench
from tutelage.recipes.flow_config import FlowChunks
from tutelage.recipes.flow_play import flow_game
from tutelage.recipes.program_stage import open_runner, sample_styled
from tutelage.recipes.strategy_stage import Game, Scorer, Seat, Team
from tutelage.recipes.styles import styled
from tutelage.records import Completion, SamplingParams
from tutelage.sampling.executing import ProgramRunner

if TYPE_CHECKING:
    from tutelage.cli.evaluation import EvalSettings

FLOW_DPO = "flow-dpo"
LONGEST = 1 << 20
"""Tokens that no context has, where a model does not say how many it has."""


@contextmanager
def open_team(config: EvalSettings, bench: Bench, strategies: Iterable[Strategy]) -> Iterator[Team]:
    """The team of an evaluation; sandbox and models are opened when they are first needed.

    Raises:
        TutelageError: a model that is named cannot be had.
    """
    kinds = {strategy.kind for strategy in strategies}
    critiques = SamplingParams(config.critic_temperature, max_new_tokens=config.critic_tokens or config.max_new_tokens)
    critic = None
    if config.critic is not None:
        guest = bench if config.critic == config.model else bench.invite(config.critic)
        critic = Seat.at(guest, critiques, label=config.critic)
    with open_runner(config, bench.run) as runner:
        games = {}
        if "pot-then-cot" in kinds:
            games["pot-then-cot"] = program_game(config, bench, runner)
        if "flow" in kinds:
            games["flow"] = stop_game(config, bench)
        draw = None
        if config.style != "cot":
            draw = partial(
                sample_styled, bench, bench.base, style=config.style, runner=runner, max_programs=config.max_programs
            )
        scorer = _scorer(config) if config.reward_model else None
        yield Team(critic, critiques, scorer, config.reward_model or "", games, draw)


def program_game(config: EvalSettings, bench: Bench, runner: ProgramRunner) -> Game:
    """`pot-then-cot`: the actor's model sits in a second seat, where it is asked for programs."""
    params = SamplingParams(temperature=0.0, max_new_tokens=config.max_new_tokens)
    seat = Seat.at(styled(bench, "pot"), params, label="programs")
    prompts = [styled(bench, "pot").prompter.render(problem).ids for problem in bench.test]
    made_of = [runner.limits.to_json(), prompts]
    return Game(pot_then_cot, {PROGRAMMER: seat}, made_of, runner.around, has_programs=True)


def stop_game(config: EvalSettings, bench: Bench) -> Game:
    """`flow`: Stop is the model that `stop` names, or the adapter `stop` beside the model's own folder.

    Chunks are as in the run that trained the model, where they are not named.

    Raises:
        InputError: there is none.
    """
    beside = Path(config.model).parent / "stop"
    name = checkpoint_of(config.stop, label="stop") if config.stop else ""
    name = name or (str(beside) if (beside / "adapter_config.json").is_file() else "")
    if not name:
        raise InputError(
            "the strategy flow cannot be run: there is no Stop model", seen=f"no {beside}",
            expected="a folder `stop` beside the model, as in RUN/checkpoints of flow-dpo",
            advice="evaluate RUN/checkpoints/answer, or name stop=FOLDER",
        )  # fmt: skip
    context = model_limits(bench.base.model).context or LONGEST
    guest = bench if name == config.model else bench.invite(name)
    return flow_game(chunks_of(config), guest, label=name, seed=config.seed, context=context)


def chunks_of(config: EvalSettings) -> EvalSettings:
    """The settings with those of the flow-dpo run in whose checkpoints the model lies, where they were not named."""
    header = Path(config.model).parent.parent / "run.json"
    try:
        known = json.loads(header.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return config
    if known.get("recipe") != FLOW_DPO or not isinstance(known.get("config"), dict):
        return config
    kept = {name: known["config"][name] for name in FlowChunks.model_fields if name in known["config"]}
    return config.model_copy(update={name: kept[name] for name in kept.keys() - config.model_fields_set})


def _scorer(config: EvalSettings) -> Scorer:
    """Rewards of completions by the reward model in a folder; it is loaded when it is first asked."""
    from tutelage.learning.reward import RewardScorer

    path = checkpoint_of(str(config.reward_model))

    def score(completions: Sequence[Completion]) -> list[float]:
        model = RewardScorer.open(path, device=config.device, dtype=config.dtype)
        return [score.value for score in model.score(completions)]

    return score
