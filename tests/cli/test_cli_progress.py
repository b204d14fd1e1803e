"""Progress on a terminal and without one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tutelage.cli.progress import LineProgress, RichProgress, open_progress, show_rate, show_seconds
from tutelage.recipes.progress import Progress, SilentProgress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_ten_seconds_apart_with_rate_time_left_and_figures() -> None:
    clock, lines = Clock(), []
    progress = LineProgress(lines.append, clock=clock)
    progress.stage("it1-sample", 100)
    progress.advance(0)
    clock.now = 4.0
    progress.advance(10)
    assert lines == []
    progress.status(accuracy="41.0%")
    clock.now = 10.0
    progress.advance(10)
    assert lines == ["it1-sample: 20/100, 2.0/s, 40 s left, accuracy 41.0%"]
    clock.now = 19.9
    progress.advance(60)
    assert len(lines) == 1
    clock.now = 20.0
    progress.advance(10)
    assert lines[1] == "it1-sample: 90/100, 7.0/s, 1.4 s left, accuracy 41.0%"


def test_the_rate_forgets_the_leap_of_a_resumed_stage() -> None:
    clock, lines = Clock(), []
    progress = LineProgress(lines.append, clock=clock)
    progress.stage("it1-sample", 1000)
    clock.now = 0.1
    progress.advance(900)
    clock.now = 10.1
    progress.advance(10)
    assert lines == ["it1-sample: 910/1000, 1.0/s, 1 min 30 s left"]


def test_the_rate_of_a_stage_knows_nothing_of_the_stage_before() -> None:
    clock, lines = Clock(), []
    progress = LineProgress(lines.append, clock=clock)
    progress.stage("a", 10)
    clock.now = 9.0
    progress.stage("b", 100)
    progress.advance(0)
    clock.now = 9.9
    progress.advance(9)
    clock.now = 10.0
    progress.advance(1)
    assert lines == ["b: 10/100, 10.0/s, 9.0 s left"]
    clock.now = 19.9
    progress.stage("c", 100)
    clock.now = 20.0
    progress.advance(5)
    assert lines[1] == "c: 5/100"


def test_notes_come_at_once_and_a_taken_away_figure_is_gone() -> None:
    clock, lines = Clock(), []
    progress = LineProgress(lines.append, clock=clock, interval=0.0)
    progress.status(accuracy=1, loss=2)
    progress.status(loss=None)
    progress.note("alarm")
    clock.now = 1.0
    progress.stage("learning")
    assert lines == ["alarm", "learning: 0, accuracy 1"]
    progress.end()
    clock.now = 50.0
    progress.advance()
    assert len(lines) == 2


def test_a_terminal_shows_bar_notes_and_a_line_for_what_is_done() -> None:
    target = io.StringIO()
    console = Console(file=target, force_terminal=True, width=100)
    progress = RichProgress(console)
    progress.stage("it1-[sample]", 4)
    progress.status(accuracy="50 %")
    progress.advance(4)
    progress.note("[not markup]")
    progress.stage("it1-learn")
    progress.advance()
    progress.end()
    progress.end()
    shown = target.getvalue()
    assert "it1-[sample]: 4 in" in shown and "it1-learn: 1 in" in shown
    assert "[not markup]" in shown and "accuracy 50 %" in shown


def test_without_a_terminal_there_are_no_control_characters() -> None:
    target = io.StringIO()
    progress = open_progress(target)
    progress.note("hello")
    progress.stage("x", 3)
    progress.end()
    assert isinstance(progress, LineProgress) and target.getvalue() == "hello\n"


@pytest.mark.parametrize("progress", [SilentProgress(), LineProgress(print)])
def test_all_of_them_are_progress(progress: object) -> None:
    assert isinstance(progress, Progress)


def test_silent_progress_keeps_the_notes() -> None:
    progress = SilentProgress()
    progress.stage("a")
    progress.note("b")
    assert progress.notes == ["b"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.44, "0.4 s"), (9.99, "10.0 s"), (42.4, "42 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s"), (7810, "2 h 10 min")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert show_seconds(seconds) == shown


@pytest.mark.parametrize(("rate", "shown"), [(1500.0, "1500/s"), (2.54, "2.5/s"), (0.1, "6.0/min")])
def test_rates(rate: float, shown: str) -> None:
    assert show_rate(rate) == shown
