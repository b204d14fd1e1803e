"""The run folder: what is appended survives a killed process, a full disk and a second writer."""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tutelage.errors import DataError, RunError, StorageFull
from tutelage.records import (
    Completion,
    Group,
    Policy,
    Problem,
    Record,
    SamplingParams,
    Score,
    Verdict,
)
from tutelage.store import disk, segments
from tutelage.store.run import Run

CONFIG = {"model": "primer", "learning_rate": 1e-5, "nested": {"beta": 0.1, "names": ["a", "b"]}}


def completion(number: int, text: str = "2 + 2 = 4") -> Completion:
    return Completion(
        id=f"c{number}",
        problem_id=f"p{number % 3}",
        role="answer",
        policy=Policy("primer"),
        tokenizer_digest="t",
        prompt_ids=(1, 2),
        token_ids=(3, 4, 5),
        text=text,
        segments=((0, 2, "model"), (2, 3, "forced")),
        token_logprobs=(-0.5, -0.25, 0.0),
        finish_reason="stop",
        params=SamplingParams(stop=("\n",)),
        seed=number,
    )


def verdict(number: int, outcome: str = "correct") -> Verdict:
    return Verdict(f"c{number}", f"p{number % 3}", outcome, 1.0 if outcome == "correct" else 0.0)  # type: ignore[arg-type]


def new_run(path: Path, **changes: object) -> Run:
    return Run.create(path, recipe="iterative-rpo", config=CONFIG | changes, seed=7, clock=lambda: 1000.0)


def resumed(path: Path, **changes: object) -> Run:
    return Run.resume(path, recipe="iterative-rpo", config=CONFIG | changes)


# --- made, resumed, opened


def test_header_says_how_the_run_was_made(tmp_path: Path) -> None:
    run = Run.create(
        tmp_path / "a" / "run",
        recipe="sft",
        config={"lr": 1.0, "names": ("x", "y")},
        seed=3,
        info={"grader_version": "2", "sandbox_tier": "rlimits", "data": "gsm8k"},
        clock=lambda: 12.5,
    )
    header = json.loads((run.path / "run.json").read_text())
    assert header["recipe"] == "sft" and header["seed"] == 3 and header["started"] == 12.5
    assert header["config"] == {"lr": 1.0, "names": ["x", "y"]}
    assert (header["grader_version"], header["sandbox_tier"], header["info"]) == ("2", "rlimits", {"data": "gsm8k"})
    assert header["versions"]["python"].startswith("3.") and header["versions"]["tutelage"]
    assert header["machine"]["cores"] >= 1 and header["machine"]["memory_bytes"] > 1e8
    assert header["schema_version"] == 1
    text = (run.path / "run.json").read_text()
    assert os.uname().nodename not in text or len(os.uname().nodename) < 4


def test_header_imports_no_library(tmp_path: Path) -> None:
    code = (
        "import sys; from tutelage.store.run import Run; "
        f"Run.create({str(tmp_path / 'r')!r}, recipe='sft', config={{}}, seed=0).close(); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'transformers', 'numpy', 'pydantic'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_create_refuses_a_folder_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"not empty[\s\S]*notes\.txt[\s\S]*--resume"):
        new_run(tmp_path)
    new_run(tmp_path / "run").close()
    with pytest.raises(RunError, match="not empty"):
        new_run(tmp_path / "run")


def test_create_after_a_writer_killed_before_the_header(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("1\n")
    (tmp_path / "run" / ".run.json.partial").write_text("{")
    assert new_run(tmp_path / "run").recipe == "iterative-rpo"


def test_create_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        new_run(tmp_path / "file" / "run")


def test_open_and_resume_need_a_run(tmp_path: Path) -> None:
    for attempt in (lambda: Run.open(tmp_path), lambda: resumed(tmp_path / "none")):
        with pytest.raises(RunError, match="there is no run in"):
            attempt()


def test_resume_refuses_another_recipe_or_a_newer_schema(tmp_path: Path) -> None:
    new_run(tmp_path / "run").close()
    with pytest.raises(RunError, match=r"another recipe[\s\S]*sft[\s\S]*iterative-rpo"):
        Run.resume(tmp_path / "run", recipe="sft", config=CONFIG)
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(header | {"schema_version": 99}))
    with pytest.raises(RunError, match=r"newer tutelage[\s\S]*99"):
        Run.open(tmp_path / "run")


def test_resume_names_every_differing_key_with_both_values(tmp_path: Path) -> None:
    new_run(tmp_path / "run").close()
    with pytest.raises(RunError) as caught:
        resumed(tmp_path / "run", learning_rate=2e-5, nested={"beta": 0.5, "names": ("a", "b")}, extra=True)
    message = str(caught.value)
    assert "learning_rate: the run has 1e-05, now 2e-05" in message
    assert "nested.beta: the run has 0.1, now 0.5" in message
    assert "extra: the run has (not set), now True" in message
    assert "nested.names" not in message and "model:" not in message


def test_resume_with_keys_that_may_differ(tmp_path: Path) -> None:
    new_run(tmp_path / "run").close()
    run = Run.resume(tmp_path / "run", recipe="iterative-rpo", config=CONFIG | {"device": "cpu"}, may_differ=["device"])
    assert [e["event"] for e in run.journal()] == ["created", "resumed"]


def test_one_writer_in_this_process_and_in_others(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    with pytest.raises(RunError, match=f"open for writing already[\\s\\S]*process {os.getpid()}"):
        resumed(tmp_path / "run")
    code = (
        "from tutelage.store.run import Run; from tutelage.errors import RunError\n"
        f"try: Run.resume({str(tmp_path / 'run')!r}, recipe='iterative-rpo', config={CONFIG!r})\n"
        "except RunError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"process {os.getpid()}" in done.stdout
    run.append("verdicts", verdict(0))
    run.close()
    run.close()
    with resumed(tmp_path / "run") as again:
        assert again.ids("verdicts") == {"c0"}


def test_a_writer_that_was_forgotten_is_no_writer(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    run.append("verdicts", verdict(0))
    del run
    gc.collect()
    assert resumed(tmp_path / "run").ids("verdicts") == {"c0"}


def test_lock_is_not_kept_by_a_forked_child_that_outlives_the_writer(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from tutelage.store.run import Run\n"
        f"run = Run.create({str(tmp_path / 'run')!r}, recipe='iterative-rpo', config={CONFIG!r}, seed=7)\n"
        "child = os.fork()\n"
        "if child == 0: time.sleep(30); os._exit(0)\n"
        "print(child, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert done.stdout is not None
    child = int(done.stdout.readline())
    done.wait()
    try:
        resumed(tmp_path / "run").close()
    finally:
        os.kill(child, signal.SIGKILL)
        done.stdout.close()


def test_a_forked_child_cannot_write(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    child = os.fork()
    if child == 0:
        try:
            run.append("verdicts", verdict(0))
        except RunError:
            os._exit(42)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def test_reading_only(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    reader = Run.open(tmp_path / "run")
    assert list(reader.read("completions")) == [] and reader.ids("completions") == set()
    writer.append("completions", completion(0))
    assert reader.ids("completions") == {"c0"}
    writer.append("completions", completion(1))
    assert list(reader.read("completions")) == [completion(0), completion(1)]
    assert reader.ids("completions") == {"c0", "c1"}
    for attempt in (
        lambda: reader.append("completions", completion(2)),
        lambda: reader.metrics("train", {}),
        lambda: reader.stage("s", "d").__enter__(),
        lambda: reader.write_report({}),
        lambda: reader.flush(),
    ):
        with pytest.raises(RunError, match="not open for writing"):
            attempt()
    writer.close()
    with pytest.raises(RunError, match="not open for writing"):
        writer.append("completions", completion(2))


# --- records


def test_records_come_back_equal_and_once(tmp_path: Path) -> None:
    with new_run(tmp_path / "run") as run:
        run.append_many("completions", [completion(0), completion(1), completion(0, "again")])
        run.append("completions", completion(1, "again"))
        run.append("completions", completion(2))
        assert list(run.read("completions")) == [completion(0), completion(1), completion(2)]
    with resumed(tmp_path / "run") as run:
        run.append_many("completions", [completion(2, "again"), completion(3)])
        assert [c.text for c in run.read("completions")] == ["2 + 2 = 4"] * 4
        assert run.ids("completions") == {"c0", "c1", "c2", "c3"}


def test_what_makes_scores_and_groups_the_same(tmp_path: Path) -> None:
    scores = [Score("c0", "judge", 7.0, "a"), Score("c0", "judge", 8.0, "b"), Score("c0", "reward_model", 0.5, "a")]
    groups = [Group("p", Policy("m", version=v), 1, ("c0",), 1, 1) for v in (0, 1)]
    with new_run(tmp_path / "run") as run:
        run.append_many("scores", [*scores, Score("c0", "judge", 1.0, "a")])
        run.append_many("groups", [*groups, Group("p", Policy("m"), 1, ("c1",), 0, 1)])
    with resumed(tmp_path / "run") as run:
        run.append_many("scores", scores)
        run.append_many("groups", groups)
        assert list(run.read("scores")) == scores and run.ids("scores") == {"c0"}
        assert list(run.read("groups")) == groups


def test_hostile_text_comes_back_as_it_was(tmp_path: Path) -> None:
    texts = ["\ud800 lone", "a\u2028b\nc\r\n", '"}\n{"id": "c9"', "\x00\x1b[31m", "e\u0301 \U0001f600", "\\ud83d\\n"]
    with new_run(tmp_path / "run") as run:
        run.append_many("completions", [completion(i, text) for i, text in enumerate(texts)])
        assert [c.text for c in run.read("completions")] == texts
    with resumed(tmp_path / "run") as run:
        assert run.ids("completions") == {f"c{i}" for i in range(len(texts))}


def test_ids_with_quotes_and_other_scripts(tmp_path: Path) -> None:
    ids = ['say "hi"', "back\\slash", "задача/1", "новая\nстрока"]
    with new_run(tmp_path / "run") as run:
        run.append_many("problems", [Problem(i, "q", "1") for i in ids])
    with resumed(tmp_path / "run") as run:
        run.append_many("problems", [Problem(i, "q", "1") for i in ids])
        assert [p.id for p in run.read("problems")] == ids
        assert run.ids("problems") == set(ids)


def test_reading_only_lines_that_hold_a_text(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    records = [replace(completion(n), stage=f"stage{n % 2}") for n in range(6)]
    run.append_many("completions", records)
    assert list(run.read("completions", containing="stage1")) == records[1::2]
    assert list(run.read("completions", Completion, containing="stage9")) == []


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(disk.fcntl, "lockf", no_locks)
    with new_run(tmp_path / "run") as run:
        run.append("verdicts", verdict(0))
    assert resumed(tmp_path / "run").ids("verdicts") == {"c0"}


def test_kinds(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    with pytest.raises(TypeError, match="completions takes Completion, not Verdict"):
        run.append("completions", verdict(0))
    for kind in ("../x", "Upper", "", "checkpoints", "scratch"):
        with pytest.raises(ValueError, match="cannot name a kind"):
            run.append(kind, verdict(0))
    run.append("second_opinions", verdict(0))
    assert list(run.read("second_opinions", Verdict)) == [verdict(0)]
    with pytest.raises(ValueError, match="second_opinions"):
        run.read("second_opinions")


def test_a_number_that_is_not_finite_is_refused_and_nothing_written(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    bad = Score("c1", "judge", float("nan"), "a")
    with pytest.raises(DataError, match="c1"):
        run.append_many("scores", [Score("c0", "judge", 1.0, "a"), bad])
    assert list(run.read("scores")) == []


def test_segments_are_started_anew_when_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments.SegmentWriter.__init__, "__kwdefaults__", {"limit": 1000})
    with new_run(tmp_path / "run") as run:
        for number in range(10):
            run.append("completions", completion(number))
    with resumed(tmp_path / "run") as run:
        run.append_many("completions", [completion(n) for n in range(12)])
        names = [p.name for p in segments.segments(tmp_path / "run" / "completions")]
        assert len(names) > 3 and names[:2] == ["0001.jsonl", "0002.jsonl"]
        assert [c.id for c in run.read("completions")] == [f"c{n}" for n in range(12)]


def test_segments_sort_by_number(tmp_path: Path) -> None:
    for name in ("10000.jsonl", "9999.jsonl", "0001.jsonl", "0001.jsonl.bak", "x.jsonl"):
        (tmp_path / name).write_text("")
    assert [p.name for p in segments.segments(tmp_path)] == ["0001.jsonl", "9999.jsonl", "10000.jsonl"]


@pytest.mark.parametrize(
    "tail", [b'{"id":"c9","te', '{"id":"c9","text":"é'.encode()[:-1], b"\x00\x00\x00", b"x" * 200_000]
)
def test_a_torn_last_line_is_skipped_by_readers_and_dropped_by_the_next_writer(tmp_path: Path, tail: bytes) -> None:
    with new_run(tmp_path / "run") as run:
        run.append_many("completions", [completion(0), completion(1)])
    file = tmp_path / "run" / "completions" / "0001.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + tail)
    reader = Run.open(tmp_path / "run")
    assert [c.id for c in reader.read("completions")] == ["c0", "c1"] and reader.ids("completions") == {"c0", "c1"}
    assert file.read_bytes() == whole + tail
    with resumed(tmp_path / "run") as run:
        run.append("completions", completion(2))
    assert file.read_bytes().startswith(whole + b'{"id":"c2"')
    assert [c.id for c in reader.read("completions")] == ["c0", "c1", "c2"]


def test_a_file_that_is_one_torn_line(tmp_path: Path) -> None:
    new_run(tmp_path / "run").close()
    (tmp_path / "run" / "completions").mkdir()
    (tmp_path / "run" / "completions" / "0001.jsonl").write_bytes(b'{"id":')
    with resumed(tmp_path / "run") as run:
        run.append("completions", completion(0))
        assert list(run.read("completions")) == [completion(0)]


@pytest.mark.parametrize("bad", [b'{"id":"c5"', b"\xff\xfe", b"[1]", b'{"id":"c5"}', b"", b"[" * 100_000])
def test_a_damaged_line_in_the_middle_names_file_and_line(tmp_path: Path, bad: bytes) -> None:
    with new_run(tmp_path / "run") as run:
        run.append_many("completions", [completion(0), completion(1)])
    file = tmp_path / "run" / "completions" / "0001.jsonl"
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + bad + b"\n" + second)
    with pytest.raises(DataError, match=r"0001\.jsonl:2 cannot be read"):
        list(Run.open(tmp_path / "run").read("completions"))


def test_threads_append_whole_records(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")

    def work(first: int) -> None:
        for number in range(first, first + 50):
            run.append("completions", completion(number % 120))

    threads = [threading.Thread(target=work, args=(n * 40,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(c.id for c in run.read("completions")) == sorted(f"c{n}" for n in range(120))


# --- a full disk


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("taken", [0, 10])
def test_a_full_disk_keeps_everything_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, taken: int
) -> None:
    run = new_run(tmp_path / "run")
    run.append_many("completions", [completion(0), completion(1)])
    real = os.write
    calls: list[int] = []

    def full(fd: int, data: bytes) -> int:
        calls.append(fd)
        if taken and len(calls) == 1:
            return real(fd, bytes(data)[:taken])
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(disk.os, "write", full)
        with pytest.raises(StorageFull, match="--resume"):
            run.append_many("completions", [completion(2), completion(3)])
        with pytest.raises(StorageFull):
            run.metrics("train", {"loss": 1.0})
    assert [c.id for c in run.read("completions")] == ["c0", "c1"]
    assert run.ids("completions") == {"c0", "c1"}
    run.append_many("completions", [completion(2)])
    run.close()
    with resumed(tmp_path / "run") as again:
        assert list(again.read("completions")) == [completion(0), completion(1), completion(2)]


def test_a_full_disk_in_a_stage_is_the_error_that_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(tmp_path / "run")

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch, pytest.raises(StorageFull), run.stage("it1-sample", "d"):
        patch.setattr(disk.os, "write", full)
        run.append("completions", completion(0))
    assert [e["event"] for e in run.journal()] == ["created", "started"]


def test_a_real_limit_on_file_size(tmp_path: Path) -> None:
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[2]); from tutelage.errors import StorageFull\n"
        "from test_run_parts import completion, new_run\n"
        "run = new_run(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "n = 0\n"
        "try:\n"
        "    while True: run.append('completions', completion(n)); n += 1\n"
        "except StorageFull: print(n)"
    )
    module = tmp_path / "test_run_parts.py"
    module.write_text(Path(__file__).read_text())
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run"), str(tmp_path)], capture_output=True, text=True, check=True
    )
    written = int(done.stdout)
    assert written > 10
    with resumed(tmp_path / "run") as run:
        assert [c.id for c in run.read("completions")] == [f"c{n}" for n in range(written)]


@pytest.mark.parametrize("wait", [0.05, 0.2])
def test_kill_dash_nine_loses_nothing_that_was_appended(tmp_path: Path, wait: float) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from test_run_parts import completion, new_run\n"
        "run = new_run(sys.argv[1]); n = 0\n"
        "while True:\n"
        "    run.append('completions', completion(n)); n += 1; sys.stdout.write(f'{n}\\n'); sys.stdout.flush()"
    )
    (tmp_path / "test_run_parts.py").write_text(Path(__file__).read_text())
    output = tmp_path / "said"
    with output.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run"), str(tmp_path)], stdout=out)
        deadline = time.monotonic() + 30
        while not output.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(wait)
        process.kill()
        process.wait()
    acknowledged = len(output.read_bytes().split(b"\n")) - 1
    assert acknowledged > 0
    with resumed(tmp_path / "run") as run:
        found = [c.id for c in run.read("completions")]
        assert len(found) in (acknowledged, acknowledged + 1)
        assert found == [f"c{n}" for n in range(len(found))]
        run.append("completions", completion(len(found)))
        assert len(run.ids("completions")) == len(found) + 1


# --- journal and stages


def test_a_finished_stage_is_not_done_again(tmp_path: Path) -> None:
    ticks = iter(range(100))
    run = Run.create(tmp_path / "run", recipe="iterative-rpo", config=CONFIG, seed=0, clock=lambda: float(next(ticks)))
    with run.stage("it1-sample", "d1") as stage:
        assert not stage.is_finished and stage.result == {}
        stage.result.update(completions=3, shape=(1, 2), rate=float("inf"))
        stage.metrics("speed", {"tokens": 5}, step=1)
    assert stage.result == {"completions": 3, "shape": [1, 2], "rate": None}
    with run.stage("it1-sample", "d1") as stage:
        assert stage.is_finished
    run.close()
    run = resumed(tmp_path / "run")
    with run.stage("it1-sample", "d1") as stage:
        assert stage.is_finished and stage.result == {"completions": 3, "shape": [1, 2], "rate": None}
        stage.result.update(completions=4)
    with pytest.raises(RunError, match=r"it1-sample[\s\S]*d2[\s\S]*d1"), run.stage("it1-sample", "d2"):
        raise AssertionError
    events = [e for e in run.journal() if e["event"] not in ("created", "resumed")]
    assert [e["event"] for e in events] == ["started", "metrics", "finished"]
    assert events[2]["seconds"] > 0
    assert events[1]["where"] == {"stage": "it1-sample", "step": 1} and events[1]["values"] == {"tokens": 5}


def test_a_failed_stage_is_journalled_and_may_be_done_again(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt), run.stage("learn", "d1"):
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), run.stage("learn", "d1") as stage:
        stage.result["x"] = 1
        raise ZeroDivisionError("by zero")
    with run.stage("learn", "other inputs") as stage:
        assert not stage.is_finished and stage.result == {}
    events = [(e["event"], e.get("error")) for e in run.journal()][1:]
    assert events == [
        ("started", None),
        ("failed", "KeyboardInterrupt: "),
        ("started", None),
        ("failed", "ZeroDivisionError: by zero"),
        ("started", None),
        ("finished", None),
    ]


def test_metrics_of_a_place_count_once_the_last_time(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    run.metrics("train", {"loss": 0.9}, iteration=1, step=1)
    run.metrics("train", {"loss": 0.8}, iteration=1, step=2)
    run.metrics("eval", {"accuracy": 0.5}, iteration=1)
    run.metrics("train", {"loss": float("nan")}, step=1, iteration=1)
    lines = run.read_metrics("train")
    assert [(m["where"]["step"], m["values"]) for m in lines] == [(1, {"loss": None}), (2, {"loss": 0.8})]
    assert lines[0]["time"] == 1000.0


# --- folders and report


def test_checkpoint_and_scratch_paths(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    assert run.checkpoint_path("it1") == tmp_path / "run" / "checkpoints" / "it1"
    assert run.checkpoint_path("it1").parent.is_dir()
    state = run.scratch_path("it1-train")
    state.mkdir()
    (state / "optimizer.pt").write_bytes(b"x")
    run.remove_scratch("it1-train")
    assert not (tmp_path / "run" / "scratch").exists()
    run.remove_scratch("it1-train")
    for name in ("", "..", "a/b", "."):
        with pytest.raises(ValueError, match="cannot name"):
            run.checkpoint_path(name)


def test_report_is_whole_json_without_nan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(tmp_path / "run")
    with pytest.raises(RunError, match="no report yet"):
        run.report()
    run.write_report({"recipe": "iterative-rpo", "loss": float("nan"), "iterations": ({"iteration": 0},)})
    assert run.report() == {"recipe": "iterative-rpo", "loss": None, "iterations": [{"iteration": 0}]}
    assert "learning_rate" in (run.path / "report.html").read_text()

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch, pytest.raises(StorageFull):
        patch.setattr(disk.os, "write", full)
        run.write_report({"recipe": "lost"})
    assert run.report()["recipe"] == "iterative-rpo"
    assert not list(run.path.glob(".*partial"))


def test_records_base_class_is_accepted_for_unknown_kinds(tmp_path: Path) -> None:
    class Plain(Record):
        pass

    run = new_run(tmp_path / "run")
    with pytest.raises(TypeError):
        run.append("notes", {"id": 1})  # type: ignore[arg-type]
    assert not (run.path / "notes").exists()
