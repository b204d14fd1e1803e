"""The commands on the built-in model: run, resume, eval, compare, trace, doctor; small, but with real weights."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tutelage.cli.main import main

RUN = ["run", "iterative-rpo", "model=primer", "data=primer:train?n=24", "eval_data=primer:test?n=20", "iterations=1",
       "num_samples=4", "max_new_tokens=96", "eval_samples=2", "learning_rate=2e-4", "epochs=1", "pairs_per_problem=2",
       "temperature=1.0"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    path = tmp_path_factory.mktemp("loop") / "run"
    assert main([*RUN, f"output_dir={path}"]) == 0
    return path


@pytest.fixture(scope="module")
def measured(folder: Path) -> Path:
    """An evaluation of the run's weights."""
    path = folder.parent / "eval"
    words = ["eval", str(folder / "checkpoints" / "it1"), "--data", "primer:test?n=20", "-s", "greedy", "-s", "maj@4"]
    assert main([*words, "-s", "pass@2", "--output", str(path), "max_tokens=96"]) == 0
    return path


def test_a_run_leaves_its_settings_report_and_weights(folder: Path) -> None:
    header = json.loads((folder / "run.json").read_text())
    assert header["recipe"] == "iterative-rpo"
    assert header["config"]["num_samples"] == 4 and header["config"]["output_dir"] == str(folder)
    report = json.loads((folder / "report.json").read_text())
    assert [row["iteration"] for row in report["iterations"]] == [0, 1]
    assert (folder / "checkpoints" / "it1" / "model.safetensors").is_file()


def test_a_folder_in_use_is_refused_and_resuming_prints_the_same_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*RUN, f"output_dir={folder}"]) == 2
    assert "--resume, or choose another output_dir" in capsys.readouterr().err
    before = json.loads((folder / "report.json").read_text())["iterations"][1]["greedy"]
    assert main([*RUN, f"output_dir={folder}", "--resume"]) == 0
    shown = capsys.readouterr()
    assert f"resuming: {folder}" in shown.err
    assert "iteration 1 against iteration 0" in shown.out and f"run folder: {folder}" in " ".join(shown.out.split("\n"))
    assert json.loads((folder / "report.json").read_text())["iterations"][1]["greedy"] == before


def test_resuming_with_other_settings_names_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, f"output_dir={folder}", "--resume", "beta=0.5"]) == 2
    assert "beta: the run has 0.1, now 0.5" in capsys.readouterr().err


def test_an_evaluation_reports_every_strategy_from_shared_samples(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads((measured / "report.json").read_text())
    rows = {row["strategy"]: row for row in report["strategies"]}
    assert list(rows) == ["greedy", "maj@4", "pass@2"]
    assert all(row["low"] <= row["accuracy"] <= row["high"] and row["n"] == 20 for row in rows.values())
    assert (
        rows["maj@4"]["completion_tokens"] == rows["pass@2"]["completion_tokens"] > rows["greedy"]["completion_tokens"]
    )
    assert sum(report["outcomes"].values()) == 20 * (1 + 4)


def test_an_evaluation_agrees_with_what_the_run_measured(
    folder: Path, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["compare", str(folder), str(measured), "-s", "greedy", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 20 and found["difference"] == 0.0 and found["p_value"] == 1.0
    assert found["sides"]["first"].endswith("run@it1")


def test_compare_tells_two_iterations_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["compare", f"{folder}@it0", f"{folder}@it1"]) == 0
    shown = capsys.readouterr().out
    assert "greedy on primer:test?n=20" in shown and "maj@2 on" in shown and "B against A:" in shown
    assert main(["compare", f"{folder}@it7", str(folder)]) == 2
    assert "one of it0, it1" in capsys.readouterr().err


def test_trace_walks_from_a_pair_to_its_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = json.loads(next((folder / "pairs").glob("*.jsonl")).read_text().splitlines()[0])
    capsys.readouterr()
    assert main(["trace", str(folder), pair["id"]]) == 0
    shown = capsys.readouterr().out
    for part in (f"pair {pair['id']}", "chosen: completion", "rejected: completion", "outcome: correct",
                 "outcome: incorrect", "prompt: ", "solve:", f"problem {pair['problem_id']}"):  # fmt: skip
        assert part in shown, part
    assert main(["trace", str(folder), pair["id"], "--json"]) == 0
    kinds = [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()]
    assert kinds[0] == "pairs" and kinds[-1] == "problems" and kinds.count("verdicts") == 2


def test_a_run_folder_is_its_last_checkpoint(
    folder: Path, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", str(folder), "--data", "primer:test?n=20", "max_tokens=96", "--output", str(tmp_path / "eval")]
    assert main(words) == 0
    assert f"its last checkpoint, {folder / 'checkpoints' / 'it1'}" in capsys.readouterr().err
    rows = [json.loads((path / "report.json").read_text())["strategies"][0] for path in (tmp_path / "eval", measured)]
    assert rows[0]["accuracy"] == rows[1]["accuracy"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["primer"], "data: required"),
        (["primer", "--data", "primer:test?n=5", "-s", "maj@x"], "there is no such strategy: maj@x"),
        (["primer", "--data", "primer:test?n=5", "num_shots=2"], "num_shots needs shots=DATA"),
        (["primerr", "--data", "primer:test?n=5"], "did you mean primer?"),
        (["primer", "--data", "primer:test?n=5", "--strategi", "greedy"], "did you mean --strategy?"),
        (["primer", "--data", "primer:test?n=5", "tempratur=1"], "did you mean temperature?"),
        (["primer", "--data", "primer:nosplit"], "nosplit"),
        (["/none/model", "--data", "primer:test?n=5"], "/none/model"),
    ],
)
def test_wrong_evaluations_are_refused_before_a_folder_is_made(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["eval", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dryrun"], "did you mean --dry-run?"),
        (["beta=0", "lerning_rate=1"], "2 settings are wrong"),
        (["model=/none/model"], "/none/model"),
        (["data=/none/data.jsonl"], "/none/data.jsonl"),
        (["-c", "/none/c.toml"], "there is no such file"),
        (["--resume"], "to resume"),
    ],
)
def test_wrong_runs_are_refused_before_a_folder_is_made(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*RUN, *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_dry_run_prints_settings_that_read_back_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*RUN, "max_batch=4", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert "# at most, from a measured warm-up:" in shown and "#   learning" in shown
    (tmp_path / "again.toml").write_text(shown)
    assert main(["run", "iterative-rpo", "-c", "again.toml", "--dry-run"]) == 0
    settings = [line for line in shown.splitlines() if not line.startswith("#")]
    again = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    assert again == settings


def test_doctor_tries_every_part_and_shows_the_stop_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for part in ("versions", "disk", "grading", "sampling", "learning", "run folder", "stop with: <eos>", "solve:"):
        assert part in shown
    assert "failed" not in shown and not list(tmp_path.iterdir())


def test_doctor_shows_the_prompt_of_a_chat_model(tiny_model_dir, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    assert main(["doctor", "--model", str(tiny_model_dir("qwen2"))]) == 0
    shown = capsys.readouterr().out
    assert "(chat form," in shown and "<|assistant|>" in shown and "stop with: <|end|>" in shown


def test_doctor_fails_for_a_model_that_cannot_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "/none/model"]) == 1
    assert "prompt failed" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_going_on_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*RUN, "data=primer:train?n=200", f"output_dir={tmp_path / 'run'}"]
    process = subprocess.Popen([sys.executable, "-m", "tutelage", *words], stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("run/completions/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "error: interrupted" in told and "Traceback" not in told
    assert "go on with: tutelage run iterative-rpo" in told and "--resume" in told
    assert main([*words, "--resume"]) == 0


def test_an_evaluation_that_fails_says_how_to_go_on_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("def judge(problem, completion):\n    raise ValueError('no')\n", encoding="utf-8")
    words = ["eval", "primer", "--data", "primer:dev?n=4", "-s", "maj@2", "max_new_tokens=8"]
    folder = tmp_path / "eval"
    assert main([*words, f"grader={tmp_path / 'mine.py'}:judge", "--output", str(folder)]) == 1
    told = capsys.readouterr().err
    again = shlex.split(told.split("go on with: ", 1)[1].splitlines()[0])
    assert again[:3] == ["tutelage", "eval", "primer"] and again[-3:] == ["--output", str(folder), "--resume"]
    assert {"data=primer:dev?n=4", "strategies=maj@2", "max_new_tokens=8"} < set(again)
    assert main(again[1:]) == 1
    assert "refused" not in capsys.readouterr().err
