"""Trackers that get a run's figures besides its folder: TensorBoard, Weights & Biases, trackio. Off by default.

A tracker is never needed: the run folder holds everything. A tracker that fails in mid-run is reported once and left
out from then on; it never ends a run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tutelage.errors import MissingExtra

PROJECT = "tutelage"


class Tracker(Protocol):
    """Takes figures by name and step."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record figures at an optimizer step, counted over the whole run."""
        ...

    def close(self) -> None:
        """Write out what is left."""
        ...


class NoTracker:
    """The default: figures stay in the run folder."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class TensorBoard:
    """Event files in the run folder, for `tensorboard --logdir`."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtra("tensorboard", "tensorboard", "report_to=tensorboard") from error
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One scalar for each figure."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush the event file."""
        self._writer.close()


class WandbLike:
    """A tracker with wandb's interface: wandb itself, or trackio."""

    def __init__(self, module: str, name: str, config: dict[str, Any]) -> None:
        try:
            self._module = importlib.import_module(module)
        except ImportError as error:
            raise MissingExtra(module, module, f"report_to={module}") from error
        self._module.init(project=PROJECT, name=name, config=config)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One call for all figures of a step."""
        self._module.log(dict(values), step=step)

    def close(self) -> None:
        """End the tracked run."""
        self._module.finish()


class Careful:
    """Keeps a failing tracker from ending the run: the first failure is told, the rest is left out."""

    def __init__(self, tracker: Tracker, tell: Callable[[str], None]) -> None:
        self._tracker, self._tell, self._is_broken = tracker, tell, False

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Pass figures on, unless the tracker has failed before."""
        self._try(lambda: self._tracker.log(values, step))

    def close(self) -> None:
        """Close the tracker, unless it has failed before."""
        self._try(self._tracker.close)

    def _try(self, call: Callable[[], None]) -> None:
        if self._is_broken:
            return
        try:
            call()
        except Exception as error:  # a tracker is a guest: whatever it raises must not end the run
            self._is_broken = True
            self._tell(f"the tracker failed and is left out from here on ({type(error).__name__}: {error})")


def open_tracker(name: str, folder: Path, config: dict[str, Any], tell: Callable[[str], None]) -> Tracker:
    """The tracker called `name` ("none", "tensorboard", "wandb", "trackio") for the run in `folder`.

    Raises:
        MissingExtra: its package is not installed.
    """
    if name == "none":
        return NoTracker()
    tracker = TensorBoard(folder) if name == "tensorboard" else WandbLike(name, folder.name, config)
    return Careful(tracker, tell)
