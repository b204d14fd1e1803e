"""Live progress on stderr: a bar with rate and time left on a terminal, a line now and then elsewhere.

stdout is left to results. Nothing here knows what is being done; it shows the stages that a recipe tells of.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from tutelage.recipes.progress import Progress as Listener

SECONDS_BETWEEN_LINES = 10.0
LEAST_SECONDS = 0.5
"""Over less time no rate is told."""


def open_progress(stream: TextIO | None = None) -> Listener:
    """The progress that suits where it is shown.

    Args:
        stream: where to show it; None is stderr.
    """
    target = sys.stderr if stream is None else stream
    console = Console(file=target)
    if target.isatty() and not console.is_dumb_terminal:
        return RichProgress(console)
    return LineProgress(lambda line: print(line, file=target, flush=True))


class LineProgress:
    """Progress as plain lines, at least `interval` seconds apart; notes at once.

    Args:
        write: called with each line.
        clock: seconds, from any start.
        interval: seconds between two lines about progress.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        interval: float = SECONDS_BETWEEN_LINES,
    ) -> None:
        self._write, self._clock, self._interval = write, clock, interval
        self._name, self._done = "", 0
        self._total: int | None = None
        self._values: dict[str, object] = {}
        self._last = clock()
        self._since: float | None = None
        self._done_then = 0

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins; told with the next line that is due."""
        self._name, self._total, self._done, self._since = name, total, 0, None
        self._tell()

    def advance(self, n: int = 1) -> None:
        """More is done; told where a line is due."""
        self._done += n
        if self._since is None:
            # Rates count from the first advance on, not from the beginning: a resumed stage starts with a leap.
            self._since, self._done_then = self._clock(), self._done
        self._tell()

    def note(self, text: str) -> None:
        """A line at once."""
        self._write(text)

    def status(self, **values: object) -> None:
        """Figures that the next lines carry."""
        self._values = _merged(self._values, values)

    def end(self) -> None:
        """Nothing more is told of the last stage."""
        self._name = ""

    def _tell(self) -> None:
        now = self._clock()
        if not self._name or now - self._last < self._interval:
            return
        passed = now - self._since if self._since is not None else 0.0
        rate = (self._done - self._done_then) / passed if passed >= LEAST_SECONDS else 0.0
        self._write(self._line(rate))
        self._last = now
        if self._since is not None:
            self._since, self._done_then = now, self._done

    def _line(self, rate: float) -> str:
        done = f" {self._done}" if self._total is None else f" {self._done}/{self._total}"
        speed = f", {show_rate(rate)}" if rate else ""
        if rate and self._total is not None and self._done <= self._total:
            speed += f", {show_seconds((self._total - self._done) / rate)} left"
        figures = "".join(f", {name} {value}" for name, value in self._values.items())
        return f"{self._name}:{done}{speed}{figures}"


class RichProgress:
    """Progress as one live bar; finished stages leave a line.

    Args:
        console: a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._values: dict[str, object] = {}
        self._bars = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), _Counts(), TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"), console=console, refresh_per_second=4, transient=True,
        )  # fmt: skip
        self._task: Task | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        """A new bar; the one before it becomes a line."""
        self._finish()
        self._bars.start()
        number = self._bars.add_task(escape(name), total=total, figures=self._figures())
        self._task = next(task for task in self._bars.tasks if task.id == number)

    def advance(self, n: int = 1) -> None:
        """The bar grows."""
        if self._task is not None:
            self._bars.advance(self._task.id, n)

    def note(self, text: str) -> None:
        """A line above the bar that stays."""
        self._console.print(escape(text), highlight=False)

    def status(self, **values: object) -> None:
        """Figures at the end of the bar."""
        self._values = _merged(self._values, values)
        if self._task is not None:
            self._bars.update(self._task.id, figures=self._figures())

    def end(self) -> None:
        """The bar goes away, its line stays."""
        self._finish()
        self._bars.stop()

    def _finish(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        self._bars.remove_task(task.id)
        seconds = task.elapsed or 0.0
        rate = show_rate(task.completed / seconds) if seconds else ""
        self._console.print(
            f"[dim]{task.description}: {int(task.completed)} in {show_seconds(seconds)} ({rate})[/dim]", highlight=False
        )

    def _figures(self) -> str:
        return escape("  ".join(f"{name} {value}" for name, value in self._values.items()))


class _Counts(ProgressColumn):
    """done/total, rate and time left of a bar."""

    def render(self, task: Task) -> Text:
        """The column of one bar."""
        done = f"{int(task.completed)}" if task.total is None else f"{int(task.completed)}/{int(task.total)}"
        rate = f" {show_rate(task.speed)}" if task.speed else ""
        left = f" {show_seconds(task.time_remaining)} left" if task.time_remaining else ""
        return Text(f"{done}{rate}{left}")


def show_seconds(seconds: float) -> str:
    """A duration in at most two units ("0.4 s", "42 s", "3 min 5 s", "2 h 10 min")."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def show_rate(rate: float) -> str:
    """A rate as "12.3/s", or per minute where it is slow."""
    if rate >= 100:
        return f"{rate:.0f}/s"
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def _merged(old: dict[str, object], new: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**old, **new}.items() if value is not None}
