"""What a recipe tells of itself while it runs: stages, how far each is, and figures worth watching.

A recipe takes a `Progress` and knows nothing of terminals; the command line passes one that draws a bar or prints
lines, tests and scripts pass `SilentProgress`. Nothing here measures time: the one who shows it does.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Listens to a running recipe. Calls come from one thread; none of them may raise or wait."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins, and the one before it ends.

        Args:
            name: what is being done, in words ("iteration 1: sampling").
            total: how many units `advance` will count, or None where that is not known.
        """
        ...

    def advance(self, n: int = 1) -> None:
        """`n` more units of the stage are done."""
        ...

    def note(self, text: str) -> None:
        """A line that stays on the screen: a result, a warning."""
        ...

    def status(self, **values: object) -> None:
        """Figures shown beside the bar until replaced, e.g. `accuracy=0.41`; None takes one away."""
        ...

    def end(self) -> None:
        """The last stage ends. May be called more than once."""
        ...


class SilentProgress:
    """A `Progress` that shows nothing, and remembers the notes for whoever asks.

    Attributes:
        notes: every text given to `note`, in order.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        """Ignored."""

    def advance(self, n: int = 1) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Kept in `notes`."""
        self.notes.append(text)

    def status(self, **values: object) -> None:
        """Ignored."""

    def end(self) -> None:
        """Ignored."""
