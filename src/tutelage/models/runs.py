"""Run folders in the place of models: which checkpoint is meant.

Everything that takes a model takes a run of a recipe that trains, and means its last checkpoint.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tutelage.errors import ModelError

_FILES = ("config.json", "adapter_config.json")
_ROUND = re.compile(r"it([0-9]+)(.*)")
_OTHERS = ("answer",)
"""Names of checkpoints that are no round's: the Answer model of flow-dpo."""


def checkpoint_of(name: str, *, label: str = "") -> str:
    """The last checkpoint of the run folder `name`; any other name (a model folder, a hub name) as it is.

    The last is what the run's report names as its weights; before it has one, that of the latest round.

    Args:
        label: the checkpoint that is wanted instead, where it must be a certain one.

    Raises:
        ModelError: the run has no checkpoint.
    """
    folder = Path(name)
    if not (folder / "run.json").is_file():
        return name
    named = label or _read(folder / "report.json").get("weights")
    rounds = [(found, path) for path in _checkpoints(folder) if (found := _ROUND.fullmatch(path.name))]
    if isinstance(named, str) and (folder / "checkpoints" / named) in _checkpoints(folder):
        return str(folder / "checkpoints" / named)
    if rounds and not label:
        return str(max(rounds, key=lambda item: (int(item[0][1]), item[0][2]))[1])
    other = next((path for path in _checkpoints(folder) if path.name in _OTHERS), None)
    if other is not None and not label:
        return str(other)
    recipe = _read(folder / "run.json").get("recipe", "an unknown recipe")
    raise ModelError(
        f"this run has no checkpoint {label}".rstrip(), seen=f"{name}, a run of {recipe}",
        expected="a run that has trained a model",
        advice="go on with it if it was stopped (--resume), or name a run of a recipe that trains, or a model",
    )  # fmt: skip


def _checkpoints(folder: Path) -> list[Path]:
    found = sorted((folder / "checkpoints").glob("*"))
    return [path for path in found if any((path / file).is_file() for file in _FILES)]


def _read(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none, or it cannot be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
