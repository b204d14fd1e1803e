"""A run that was killed anywhere and resumed ends with what an uninterrupted run makes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tutelage.config.loading import load_settings
from tutelage.errors import RunError
from tutelage.recipes.iterative_rpo import Config
from tutelage.store.run import Run


class Fault(BaseException):
    """Stands in for anything that ends a process."""


class FaultyRun:
    """Counts what a run writes and fails at the chosen event."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        self.fail_at: int | None = None
        for method in ("append_many", "metrics", "write_report", "checkpoint_path", "remove_scratch"):
            monkeypatch.setattr(Run, method, self._wrapped(method, getattr(Run, method)))

    def _wrapped(self, name, original):
        def call(run, *args, **kwargs):
            self._event(f"before {name}")
            result = original(run, *args, **kwargs)
            self._event(f"after {name}")
            return result

        return call

    def _event(self, name: str) -> None:
        self.events.append(name)
        if self.fail_at == len(self.events):
            raise Fault(f"{name} ({self.fail_at})")


@pytest.mark.parametrize("moments", [4, pytest.param(25, marks=pytest.mark.slow)])
def test_faults_at_every_kind_of_moment_change_nothing(
    tmp_path, moments, monkeypatch, small_config, run_recipe, results_of
) -> None:
    config = small_config(data="primer:train?n=12", eval_data="primer:dev?n=8", eval_samples=2, batch_size=4)
    faults = FaultyRun(monkeypatch)
    run_recipe(config, tmp_path / "whole")
    expected, total = results_of(tmp_path / "whole"), len(faults.events)
    assert total > 100
    # Spread over the whole run, so that every stage of both iterations is hit, sampling, training and saving included.
    for moment in range(3, total, total // moments):
        folder = tmp_path / f"at-{moment}"
        faults.events, faults.fail_at = [], moment
        with pytest.raises(Fault):
            run_recipe(config, folder)
        faults.fail_at = None
        run_recipe(config, folder, resume=True)
        assert results_of(folder) == expected, f"differs after a fault at event {moment}"


SCRIPT = """
from pathlib import Path
from tutelage.sampling.scripted import Scripted

def answer(request):
    if request.index == 1 and not Path(__file__).with_name("mended").exists():
        return Scripted("", "error", "the sampler is ill")
    return "answer: 1" if request.index % 2 else "answer: 2"
"""


def test_samples_that_failed_in_a_finished_stage_stay_failed(tmp_path, small_config, run_recipe, monkeypatch) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    rows = [{"question": f"is it {i}?", "answer": str(1 + i % 2)} for i in range(12)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = small_config(
        data=f"jsonl:{tmp_path}/own.jsonl", eval_data=None, dev_size=4, sampler=f"scripted:{tmp_path}/script.py:answer",
        eval_samples=0,
    )  # fmt: skip
    faults = FaultyRun(monkeypatch)
    run_recipe(config, tmp_path / "whole")
    moment = 1 + next(i for i, name in enumerate(faults.events) if name == "after remove_scratch")
    faults.events, faults.fail_at = [], moment
    with pytest.raises(Fault):
        run_recipe(config, tmp_path / "run")
    faults.fail_at = None
    (tmp_path / "mended").touch()
    report = run_recipe(config, tmp_path / "run", resume=True)
    assert [row["iteration"] for row in report["iterations"]] == [0, 1, 2]
    assert report["outcomes"]["error"] == 8, "the eight problems of iteration 1, and none of iteration 2"


GRADER = """
def grade(problem, completion):
    return completion.text.endswith(problem.answer) is {verdict}
"""


def test_a_grader_that_changed_is_noticed(tmp_path, small_config, run_recipe) -> None:
    path = tmp_path / "own_grader.py"
    path.write_text(GRADER.format(verdict=True))
    config = small_config(grader=f"{path}:grade", iterations=1)
    run_recipe(config, tmp_path / "run")
    path.write_text(GRADER.format(verdict=False))
    with pytest.raises(RunError, match="grader changed"):
        run_recipe(config, tmp_path / "run", resume=True)


COMMAND = [
    "run", "iterative-rpo", "model=primer", "data=primer:train?n=24", "eval_data=primer:dev?n=16", "iterations=2",
    "num_samples=4", "temperature=1.0", "max_new_tokens=64", "pairs_per_problem=2", "learning_rate=3e-4",
    "batch_size=8", "epochs=1.0", "eval_samples=4", "eval_sample_limit=8", "max_batch=32", "checkpoint_every=1",
]  # fmt: skip


def _start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tutelage", *COMMAND, f"output_dir={folder}", *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _lines(folder: Path, kind: str) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (folder / kind).glob("*.jsonl"))


@pytest.mark.parametrize("kind, count", [("completions", 60), pytest.param("pairs", 1, marks=pytest.mark.slow)])
def test_kill_9_and_resume(tmp_path, kind, count, run_recipe, results_of) -> None:
    config = load_settings(Config, file=None, overrides=COMMAND[2:])
    run_recipe(config, tmp_path / "whole")
    folder = tmp_path / "killed"
    process = _start(folder)
    for _ in range(1200):
        if _lines(folder, kind) >= count or process.poll() is not None:
            break
        time.sleep(0.05)
    assert process.poll() is None, process.stdout.read().decode()
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = _start(folder, "--resume")
    output, _ = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, output.decode()
    assert results_of(folder) == results_of(tmp_path / "whole")
