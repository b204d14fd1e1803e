"""`tutelage exec`: a file, and JSON lines."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest

import tutelage.sandbox
from tutelage.sandbox import Limits, SandboxServer

pytest.importorskip("typer")
TUTELAGE = [sys.executable, "-m", "tutelage", "exec"]


class Done(NamedTuple):
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]):
    """A function that runs `tutelage exec` here, in the session's sandbox where it would open one like it."""
    from tutelage.cli.main import main

    really = tutelage.sandbox.open_sandbox

    def opened(*, tier: str, workers: int, **more):
        return nullcontext(sandbox) if tier == "auto" else really(tier=tier, workers=workers, **more)

    monkeypatch.setattr(tutelage.sandbox, "open_sandbox", opened)

    def call(*words: str, given: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        code = main(["exec", *words])
        out, err = capfdbinary.readouterr()
        return Done(code, out.decode(), err.decode())

    return call


def test_a_file_prints_what_it_prints(run, tmp_path: Path) -> None:
    path = tmp_path / "p.py"
    path.write_text("import sys\nprint(6 * 7)\nprint('seen', file=sys.stderr)")
    done = run(str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "seen\n")


def test_a_failing_file_exits_with_1(run, tmp_path: Path) -> None:
    path = tmp_path / "p.py"
    path.write_text("while True: pass")
    done = run(str(path), "--wall", "0.3", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["status"], told["value"]) == ("timeout", None)
    assert told["tier"] != "none"


def test_a_program_may_come_by_stdin(run) -> None:
    assert run("-", given="print(5)").stdout == "5\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "either a file or --serve"),
        (["x.py", "--serve"], "either a file or --serve"),
        (["no-such-file.py"], "cannot be read"),
        (["-", "--wall", "0"], "wall_seconds"),
        (["-", "--tier", "none"], "unprotected"),
        (["-", "--tier", "chroot"], "unknown tier"),
    ],
)
def test_wrong_input_is_told_and_exits_with_2(run, words: list[str], said: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_unsafe_tier_is_used_when_allowed_and_said(run) -> None:
    done = run("-", "--tier", "none", "--allow-unsafe-execution", "--json", given="print(5)")
    assert json.loads(done.stdout)["tier"] == "none"
    assert "no sandbox" in done.stderr


def test_serving_answers_every_line_in_order(run) -> None:
    requests = [
        '{"code": "print(1)", "id": 7, "wall": 5}',
        "no json",
        '{"code": "while True: pass", "wall": 0.3, "tag": [1, {"a": null}]}',
        '{"code": "import os; os.kill(os.getppid(), 9)"}',
        "[1]",
        '{"code": 5, "id": "x"}',
        '{"code": "print(2)", "wall": -1, "id": 8}',
        '{"code": "print(2)", "wall": 1e400}',
        '{"code": "print(2)", "wall": true}',
        '{"code": "print(\\"\\\\u4e2d\\")", "status": "mine"}',
        "[" * 100_000,
        '{"code": "print(3)"}',
    ]
    done = run("--serve", "--wall", "5", given="\n".join(requests) + "\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert len(answers) == len(requests)
    assert [answer["status"] for answer in answers] == [
        "ok", "error", "timeout", "error", "error", "error", "error", "error", "error", "ok", "error", "ok",
    ]  # fmt: skip
    assert (answers[0]["id"], answers[0]["stdout"]) == (7, "1\n")
    assert answers[2]["tag"] == [1, {"a": None}]
    assert (answers[5]["id"], answers[6]["id"]) == ("x", 8)
    assert answers[9]["stdout"] == "中\n"
    assert answers[11]["stdout"] == "3\n"
    for answer in answers:
        assert {"status", "stdout", "stderr", "seconds", "tier"} <= set(answer)
        assert "code" not in answer
    assert ["error" in answer for answer in answers] == [n in (1, 4, 5, 6, 7, 8, 10) for n in range(12)]


@pytest.mark.slow
def test_serving_answers_at_once(sandbox: SandboxServer) -> None:
    with subprocess.Popen(
        [*TUTELAGE, "--serve", "--workers", "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        for n in range(3):
            server.stdin.write(json.dumps({"code": f"print({n})"}) + "\n")
            server.stdin.flush()
            assert json.loads(server.stdout.readline())["value"] == str(n)
        server.stdin.close()
        assert server.wait(20) == 0


def test_a_program_is_read_before_a_sandbox_is_opened(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(**words: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(tutelage.sandbox, "open_sandbox", never)
    assert "cannot be read" in run(str(tmp_path)).stderr
    assert "too large" in run("/dev/zero").stderr
    (tmp_path / "p.py").write_text("print(1)")
    assert "--memory" in run(str(tmp_path / "p.py"), "--memory", "inf").stderr


def test_answers_that_cannot_be_written_end_the_server(sandbox: SandboxServer) -> None:
    from tutelage.cli.executing import serve_lines
    from tutelage.errors import RunFailed

    requests = b'{"code": ""}\n' * 200  # more than are read ahead
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(RunFailed, match="written"):
        serve_lines(sandbox, Limits(), io.BytesIO(requests), full)


@pytest.mark.parametrize("depth", range(900, 1000, 7))
def test_what_is_nested_deep_is_answered(sandbox: SandboxServer, depth: int) -> None:
    from tutelage.cli.executing import serve_lines

    sink = io.BytesIO()
    line = f'{{"code": "print(1)", "x": {"[" * depth}{"]" * depth}}}\n'
    serve_lines(sandbox, Limits(), io.BytesIO(line.encode()), sink)
    assert sink.getvalue().count(b"\n") == 1


def test_a_terminal_is_not_commanded(sandbox: SandboxServer, capsys: pytest.CaptureFixture[str]) -> None:
    from tutelage.cli import executing

    class Terminal(io.StringIO):
        encoding = "ascii"

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    executing._show("\x1b]0;title\x07 1\nä", terminal)
    assert terminal.getvalue() == "\\x1b]0;title\\x07 1\n?"


def test_libraries_that_are_loaded_late_find_their_settings(run, tmp_path: Path) -> None:
    path = tmp_path / "p.py"
    path.write_text("import os\nprint(os.environ['OPENBLAS_NUM_THREADS'], os.environ['SYMPY_GROUND_TYPES'])")
    assert run(str(path)).stdout == "1 python\n"
