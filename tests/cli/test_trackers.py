"""Trackers get the figures, and never end a run."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from tutelage.cli.trackers import open_tracker
from tutelage.errors import MissingExtra


def test_wandb_like_trackers_get_every_figure(tmp_path, monkeypatch) -> None:
    calls = []
    fake = SimpleNamespace(
        init=lambda **k: calls.append(("init", k["name"])),
        log=lambda values, step: calls.append((values, step)),
        finish=lambda: calls.append("finish"),
    )
    monkeypatch.setitem(sys.modules, "trackio", fake)
    tracker = open_tracker("trackio", tmp_path / "mine", {}, calls.append)
    tracker.log({"loss": 0.5}, 3)
    tracker.close()
    assert calls == [("init", "mine"), ({"loss": 0.5}, 3), "finish"]


def test_a_failing_tracker_is_told_once_and_left_out(tmp_path, monkeypatch) -> None:
    told = []

    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **_: None, log=fail, finish=fail))
    tracker = open_tracker("wandb", tmp_path, {}, told.append)
    tracker.log({"loss": 1.0}, 1)
    tracker.log({"loss": 1.0}, 2)
    tracker.close()
    assert len(told) == 1 and "no network" in told[0]


def test_a_missing_package_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match="wandb"):
        open_tracker("wandb", tmp_path, {}, print)
