"""Everybody whom a run's settings name besides its own model: found, and checked, before anything is drawn.

A name that cannot be used would otherwise be told after the run's own model was measured. What names do not show (a
model that never writes what is asked for) is told by the recipes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tutelage.cli.run import check_model_name
from tutelage.cli.seats import Seat, guest_config, guest_name, take_seat
from tutelage.cli.splits import Splits
from tutelage.errors import InputError
from tutelage.models.runs import checkpoint_of

WRITERS = ("annotator", "actor", "critic", "judge", "samplers", "smoother", "solver", "students")
"""Settings that name models that write, or lists of them."""
REWARDS = ("reward_model", "value_model")
"""Settings that name models that only read."""
SETTLED = ("model", *(key for key in (*WRITERS, *REWARDS) if key not in ("samplers", "students")))
"""Settings of one model each, whose run folder is settled to a checkpoint once: a resumed run asks the same weights."""
_TRUTHS = ("exact", "noisy")
"""Annotators that are no models: the built-in world's truth."""


@dataclass(frozen=True)
class Guests:
    """Whom the settings name.

    Args:
        seats: of those who write, by `guest_name`.
        told: a sentence for each run folder that stands for one of its checkpoints.
    """

    seats: dict[str, Seat]
    told: list[str]


def with_checkpoints(config: Any) -> tuple[Any, dict[str, str]]:
    """A config whose models, where they are run folders, are the runs' last checkpoints; what to tell, by setting.

    Raises:
        ModelError: the run has no checkpoint.
    """
    names = {key: value for key in SETTLED if isinstance(value := getattr(config, key, None), str)}
    found = {key: where for key, name in names.items() if (where := guest_name(name)) != name}
    told = {key: f"{key}={names[key]}: its last checkpoint, {where}" for key, where in found.items()}
    return config.model_copy(update=found), told


def find_guests(config: Any, seat: Seat, splits: Splits) -> Guests:
    """Everybody whom `config` names, checked: tokenizers and configs are loaded, weights are not.

    Args:
        config: a recipe's settings.
        seat: the run's own model.
        splits: the problems that guests will be asked.

    Raises:
        InputError: somebody who is named cannot be had; the setting is noted.
    """
    seats: dict[str, Seat] = {}
    told = []
    for setting, name in named(config, (*WRITERS, *REWARDS)):  # all names first: a hub is slow to say no
        with _noting(setting):
            check_model_name(name)
            where = guest_name(name)
            if where != name:
                told.append(f"{setting}={name}: its last checkpoint, {where.removeprefix('local:')}")
    for setting, name in named(config, WRITERS):
        where = guest_name(name)
        if where not in seats:
            with _noting(setting):
                seats[where] = take_seat(guest_config(config, where), splits)
    _check_rewards(config, [seats[guest_name(name)] for _, name in named(config, ("samplers",))] or [seat])
    return Guests(seats, told)


def named(config: Any, settings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each name that these settings hold, with its setting; annotators that are no models left out."""
    for setting in settings:
        value = getattr(config, setting, None)
        for name in value if isinstance(value, list) else [value]:
            if name and not (setting == "annotator" and name.partition(":")[0] in _TRUTHS):
                yield setting, name


def _check_rewards(config: Any, writers: list[Seat]) -> None:
    """Refuse a reward model that is none, or that reads other tokens than those who write give it."""
    for setting, name in named(config, REWARDS):
        from tutelage.learning.reward import check_reward_model
        from tutelage.recipes.scoring import check_tokenizer

        path = checkpoint_of(name)
        with _noting(setting):
            if setting == "reward_model":
                check_reward_model(path)
            for writer in writers:
                check_tokenizer(path, writer, what=setting.replace("_", " "))


@contextmanager
def _noting(setting: str) -> Iterator[None]:
    """A context in which an error is noted to come from a setting."""
    try:
        yield
    except InputError as error:
        error.add_note(f"named by: {setting}")
        raise
