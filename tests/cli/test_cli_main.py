"""The command line as a whole: what it imports, exit codes, and what failures look like."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tutelage.cli import main as cli
from tutelage.cli.failures import report_failure
from tutelage.errors import InputError, MissingExtra, NothingToLearn, RunError, StorageFull

HEAVY = {"torch", "transformers", "sympy", "numpy", "tokenizers", "peft"}
COMMANDS = ["demo", "run", "eval", "compare", "grade", "exec", "data", "trace", "recipes", "doctor"]


def loaded_by(*words: str) -> set[str]:
    """The top-level packages in memory after a command of a fresh process."""
    code = (
        "import sys, json; from tutelage.cli.main import main\n"
        f"main({list(words)!r})\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["run", "--help"], ["eval", "--help"], ["recipes"], ["data", "show", "--help"]]
)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    assert loaded_by(*words).isdisjoint(HEAVY)


def test_the_help_of_all_loads_no_pydantic_either() -> None:
    assert "pydantic" not in loaded_by("--help")


def test_grading_loads_no_model_library(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"gold": "1", "prediction": "1"}\n')
    assert loaded_by("grade", str(file)).isdisjoint({"torch", "transformers"})


def test_a_wrong_recipe_is_told_before_anything_is_loaded() -> None:
    assert loaded_by("run", "iterativ-rpo").isdisjoint({"torch", "transformers"})


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "tutelage", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("tutelage 0.")


def test_help_names_every_command_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f" {name} " in shown for name in COMMANDS)
    assert list(typer.main.get_command(cli.app).commands) == [*COMMANDS[:6], *COMMANDS[7:], "data"]  # type: ignore[attr-defined]


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "Usage: tutelage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evl"], "Did you mean 'eval'?"),
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "iterativerpo"], "did you mean iterative-rpo?"),
        (["recipes", "sfft"], "did you mean sft?"),
        (["demo", "--sead", "1"], "No such option"),
        (["demo", "--seed", "x"], "Invalid value for '--seed'"),
        (["compare", "only-one"], "Missing argument 'B'"),
        (["compare", "/none/a", "/none/b"], "there is no run in /none/a"),
        (["trace", "/none/a", "x"], "/none/a"),
        (["grade", "/none/a.jsonl"], "No such file"),
        (["data", "show", "gsm8"], "did you mean gsm8k?"),
        (["data", "show", "/none/a.jsonl"], "/none/a.jsonl"),
        (["data", "check", "primer"], "Missing option '--against'"),
    ],
)
def test_wrong_input_is_told_with_exit_code_two(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert message in shown.err and "Traceback" not in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2),
        (RunError("x"), 2),
        (MissingExtra("pyarrow", "parquet", "Reading parquet"), 2),
        (NothingToLearn("x"), 1),
        (StorageFull("x"), 1),
        (OSError(errno.ENOSPC, "No space left on device", "file"), 1),
        (MemoryError(), 1),
        (KeyboardInterrupt(), 1),
        (ValueError("x"), 1),
        (BrokenPipeError(), 1),
    ],
)
def test_every_failure_has_its_exit_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_failure(error) == code
    shown = capsys.readouterr()
    assert shown.out == "" and "Traceback" not in shown.err


def test_a_full_disk_and_little_memory_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    report_failure(OSError(errno.ENOSPC, "No space left on device", "/run/x"))
    report_failure(MemoryError())
    shown = capsys.readouterr().err
    assert "the disk is full" in shown and "/run/x" in shown and "--resume" in shown
    assert "token_budget" in shown


def test_the_four_parts_of_a_message_stand_on_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    error = InputError("it failed", seen="[b]x[/b]", expected="y", advice="z")
    error.add_note("and more")
    report_failure(error)
    assert capsys.readouterr().err.splitlines() == [
        "error: it failed",
        "  seen:     [b]x[/b]",
        "  expected: y",
        "  do:       z",
        "  and more",
    ]


def test_a_mistake_of_ours_shows_its_traceback_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(cli, "app", fail)
    assert cli.main(["recipes"]) == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: oh" in shown and "--debug" in shown and "Traceback" not in shown
    assert cli.main(["recipes", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"gold": "1", "prediction": "1"}\n' * 20_000)
    command = f"{sys.executable} -m tutelage grade {file} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["equivalent"] is True
    assert done.stderr == ""


def test_recipes_lists_them_and_shows_the_settings_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes"]) == 0
    assert "arXiv 2404.19733" in capsys.readouterr().out
    assert cli.main(["recipes", "sft"]) == 0
    shown = capsys.readouterr().out
    assert "learning_rate = 1e-05   (number, above 0, at most 1)" in shown
    assert "model = required" in shown


def test_without_the_packages_for_models_the_message_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(cli, "app", fail)
    assert cli.main(["demo"]) == 2
    assert "pip install 'tutelage[train]'" in capsys.readouterr().err


def test_doctor_grade_and_data_work_without_the_packages_for_models(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"gold": "1", "prediction": "1"}\n')
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'peft', 'safetensors', 'tokenizers'): sys.modules[name] = None\n"
        "from tutelage.cli.main import main\n"
        "print([main(words) for words in (['doctor'], ['grade', 'a.jsonl'], ['data', 'show', 'primer'], ['demo'])])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 2]"
    assert "missing sampling" in done.stdout and "pip install 'tutelage[train]'" in done.stderr
