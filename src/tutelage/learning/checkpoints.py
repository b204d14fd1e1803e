"""Checkpoints that resume exactly: weights that train, optimizer moments, position, metrics so far.

Data order, dropout and adapter initialisation are functions of (seed, step), so no generator state is stored.
A checkpoint is a folder `step-000040` with weights.safetensors, optimizer.safetensors and state.json; it appears whole
or not at all. Only the newest is kept. What is loaded back is data only: nothing is unpickled.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tutelage.errors import RunError
from tutelage.learning.export import atomic_folder

FORMAT = 1
_NAME = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on as if it had never stopped.

    Args:
        step: optimizer steps done in this fit.
        weights: the weights that train, by name.
        optimizer: the optimizer's state, by `moment/name`.
        identity: digests of all that decides the result (data, settings, starting weights); must be equal to resume.
        history: the metrics so far and whatever else the loop wants back, JSON-able.
    """

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    identity: Mapping[str, str]
    history: Mapping[str, Any] = field(default_factory=dict)


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then remove older ones.

    Raises:
        StorageFull: the disk is full; older checkpoints are kept.
    """
    with atomic_folder(folder / f"step-{checkpoint.step:06d}") as draft:
        save_file({k: v.detach().contiguous() for k, v in checkpoint.weights.items()}, draft / "weights.safetensors")
        save_file({k: v.contiguous() for k, v in checkpoint.optimizer.items()}, draft / "optimizer.safetensors")
        state = {
            "format": FORMAT,
            "step": checkpoint.step,
            "identity": dict(checkpoint.identity),
            "history": dict(checkpoint.history),
        }
        (draft / "state.json").write_text(json.dumps(state), encoding="utf-8")
    for step, path in _found(folder):
        if step < checkpoint.step:
            shutil.rmtree(path, ignore_errors=True)


def read_latest(folder: Path, identity: Mapping[str, str]) -> Checkpoint | None:
    """The newest checkpoint in a folder, None if there is none.

    Args:
        folder: where `write` put them.
        identity: digests of the training that wants to go on.

    Raises:
        RunError: the checkpoint belongs to another training, or cannot be read.
    """
    found = _found(folder)
    if not found:
        return None
    _, path = found[-1]
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        check_identity(path, state["identity"], identity)
        weights = load_file(path / "weights.safetensors")
        optimizer = load_file(path / "optimizer.safetensors")
        return Checkpoint(int(state["step"]), weights, optimizer, state["identity"], state["history"])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise RunError(
            "the checkpoint cannot be read", seen=f"{path}: {error}", advice="remove its folder to train from the start"
        ) from error


def check_identity(path: Path, seen: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Refuse a checkpoint of another training.

    Raises:
        RunError: names what differs.
    """
    differing = sorted(key for key in {*seen, *wanted} if seen.get(key) != wanted.get(key))
    if differing:
        raise RunError(
            "the checkpoint belongs to another training",
            seen=f"{path}: other {', '.join(differing)}",
            expected="the same data, settings and starting weights",
            advice="resume with the settings it was started with, or choose another folder",
        )


def clear(folder: Path) -> None:
    """Remove all checkpoints in a folder, e.g. once the trained policy is saved."""
    for _, path in _found(folder):
        shutil.rmtree(path, ignore_errors=True)


def _found(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match.group(1)), path) for match, path in matches if match)
