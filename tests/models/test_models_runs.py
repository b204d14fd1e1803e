"""Which checkpoint a run folder means where a model is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.errors import ModelError
from tutelage.models.runs import checkpoint_of


def make_run(folder: Path, *checkpoints: str, weights: str | None = None, recipe: str = "sft") -> str:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"recipe": recipe}))
    if weights is not None:
        (folder / "report.json").write_text(json.dumps({"weights": weights}))
    for number, name in enumerate(checkpoints):
        path = folder / "checkpoints" / name
        path.mkdir(parents=True)
        (path / ("adapter_config.json" if number % 2 else "config.json")).write_text("{}")
    return str(folder)


@pytest.mark.parametrize("name", ["primer", "org/model", "server:http://h/v1", "scripted:a.py:f", "/no/such/folder"])
def test_what_is_no_run_stays_as_it_is(name: str) -> None:
    assert checkpoint_of(name) == name


@pytest.mark.parametrize(
    ("checkpoints", "weights", "last"),
    [
        (["it1"], None, "it1"),
        (["it10", "it2", "it9"], None, "it10"),
        (["it1", "it1-dpo"], None, "it1-dpo"),
        (["it1-dpo", "it2"], None, "it2"),
        (["critic3", "it2"], None, "it2"),
        (["answer", "stop"], "answer", "answer"),
        (["answer", "stop"], None, "answer"),
        (["gold", "self"], "self", "self"),
        (["it1", "it2"], "removed", "it2"),
    ],
)
def test_the_last_is_what_the_report_names_or_the_latest_round(
    tmp_path: Path, checkpoints: list[str], weights: str | None, last: str
) -> None:
    run = make_run(tmp_path / "run", *checkpoints, weights=weights)
    assert checkpoint_of(run) == f"{run}/checkpoints/{last}"


def test_a_certain_checkpoint_can_be_asked_for(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "answer", "stop", weights="answer")
    assert checkpoint_of(run, label="stop") == f"{run}/checkpoints/stop"
    with pytest.raises(ModelError, match="no checkpoint stop"):
        checkpoint_of(make_run(tmp_path / "other", "it1"), label="stop")


def test_a_run_without_a_checkpoint_is_one_clear_message(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", recipe="synthesize")
    (tmp_path / "run" / "checkpoints" / "it1").mkdir(parents=True)  # begun, and nothing saved yet
    with pytest.raises(ModelError, match="no checkpoint") as caught:
        checkpoint_of(run)
    assert f"{run}, a run of synthesize" in str(caught.value) and "--resume" in str(caught.value)
