"""A run that failed on the user's input before anything was sampled leaves its folder free; nothing else is touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tutelage.cli.main import main
from tutelage.cli.unbegun import unless_unbegun
from tutelage.errors import InputError, RunFailed, TutelageError
from tutelage.records import Problem
from tutelage.store.run import Run


def begun(folder: Path) -> None:
    """A new run folder, as `open_bench` leaves it to a recipe."""
    with Run.create(folder, recipe="sft", config={}, seed=0) as run:
        run.append_many("problems", [Problem("p", "What is 1?", "1")])


def fail(folder: Path, error: Exception, **files: str) -> None:
    with pytest.raises(type(error)), unless_unbegun(folder):
        begun(folder)
        for name, text in files.items():
            (folder / name).write_text(text)
        raise error


def test_a_wrong_input_takes_the_header_away(tmp_path: Path) -> None:
    fail(tmp_path / "run", InputError("bad"))
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    fail(tmp_path / "mine", InputError("bad"))
    assert (tmp_path / "mine").is_dir() and not any((tmp_path / "mine").iterdir()), "the user's folder stays"
    begun(tmp_path / "mine")


def test_what_holds_anything_else_stays(tmp_path: Path) -> None:
    fail(tmp_path / "failed", RunFailed("no memory"))
    assert (tmp_path / "failed" / "run.json").exists(), "such a run is gone on with"
    fail(tmp_path / "noted", InputError("bad"), notes="mine")
    assert (tmp_path / "noted" / "run.json").exists() and (tmp_path / "noted" / "notes").read_text() == "mine"
    begun(tmp_path / "old")
    with pytest.raises(InputError), unless_unbegun(tmp_path / "old"):
        begun(tmp_path / "old")
    assert (tmp_path / "old" / "run.json").exists(), "an earlier run's header is not this run's"


def test_a_file_in_the_folders_place_is_told_by_who_makes_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(TutelageError, match="run folder"), unless_unbegun(tmp_path / "run"):
        begun(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


def test_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "0001.jsonl").write_text("precious")
    folder = tmp_path / "run"
    with pytest.raises(InputError), unless_unbegun(folder):
        begun(folder)
        shutil.rmtree(folder / "problems", ignore_errors=True)
        (folder / "problems").symlink_to(tmp_path / "elsewhere")
        raise InputError("bad")
    assert (tmp_path / "elsewhere" / "0001.jsonl").read_text() == "precious" and (folder / "run.json").exists()


def test_a_folder_that_another_process_took_stays(tmp_path: Path) -> None:
    with pytest.raises(InputError), unless_unbegun(tmp_path / "run"):
        begun(tmp_path / "run")
        (tmp_path / "run" / ".lock").write_text("1\n")
        raise InputError("bad")
    assert (tmp_path / "run" / "run.json").exists()


def test_the_corrected_command_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    words = ["run", "synthesize", "model=primer", "data=primer:train?n=20", "num_problems=1", "max_rounds=1",
             "asks_per_round=8", "solve_samples=2", "write_tokens=110", "max_new_tokens=48", f"output_dir={folder}",
             "top_p=0.9"]  # fmt: skip
    assert main([*words, "against=gsm8k:/no/such.jsonl"]) == 2
    shown = capsys.readouterr().err
    assert "does not exist" in shown and "--resume" not in shown and f"{folder} was removed again" in shown
    assert not folder.exists()
    assert main(words) == 0
    assert json.loads((folder / "run.json").read_text())["config"]["against"] == []
