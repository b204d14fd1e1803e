"""The killable process without a jail: limits, deaths, what is left behind."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tutelage.grading.process_jail import ProcessJail
from tutelage.sandbox.protocol import Limits

CODE = """
import ctypes, os, signal, subprocess, sys, time

def echo(payload, out):
    out.write(payload)
    out.flush()

def state(payload, out):
    import json
    json.changed = getattr(json, "changed", 0) + 1
    out.write(b"%d" % json.changed)
    out.flush()

def act(payload, out):
    out.write(b"begun\\n")
    out.flush()
    exec(payload.decode())
"""
LIMITS = Limits(wall_seconds=20.0, cpu_seconds=5.0, memory_bytes=1 << 28)


@pytest.fixture(scope="module")
def jail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessJail]:
    folder = tmp_path_factory.mktemp("jail")
    (folder / "jail_entries.py").write_text(CODE)
    entries = [f"jail_entries:{name}" for name in ("echo", "state", "act")]
    with ProcessJail(entries=entries, search_path=[str(folder)], workers=2) as opened:
        yield opened


def act(jail: ProcessJail, code: str, limits: Limits = LIMITS) -> tuple[str, int | None, int | None]:
    execution = jail.call("jail_entries:act", code.encode(), limits)
    assert execution.stdout.startswith("begun") or execution.status == "sandbox_error"
    return execution.status, execution.exit_code, execution.signal


def test_bytes_go_in_and_come_out(jail: ProcessJail) -> None:
    data = bytes(range(32, 127)) * 20_000
    execution = jail.call("jail_entries:echo", data, Limits(output_bytes=len(data)))
    assert (execution.status, execution.stdout.encode(), execution.tier) == ("ok", data, "process")


def test_nothing_that_a_call_changes_is_seen_by_the_next(jail: ProcessJail) -> None:
    assert [jail.call("jail_entries:state", b"", LIMITS).stdout for _ in range(3)] == ["1", "1", "1"]


def test_ways_to_end(jail: ProcessJail) -> None:
    assert act(jail, "pass")[0] == "ok"
    assert act(jail, "raise ValueError('x')") == ("error", 1, None)
    assert act(jail, "sys.exit(3)")[0] == "error"
    assert act(jail, "os._exit(27)") == ("error", 27, None)
    assert act(jail, "os.kill(os.getpid(), signal.SIGKILL)") == ("crash", None, signal.SIGKILL)
    assert act(jail, "ctypes.string_at(0)") == ("crash", None, signal.SIGSEGV)
    assert act(jail, "x = bytearray(1 << 30)")[0] == "memory"
    assert act(jail, "out.write(b'x' * 200_000)")[0] == "output_limit"
    assert act(jail, "pass")[0] == "ok"


def test_limits_end_what_does_not_end(jail: ProcessJail) -> None:
    quick = Limits(wall_seconds=1.0, cpu_seconds=1.0)
    assert act(jail, "time.sleep(60)", quick)[0] == "timeout"
    began = time.monotonic()
    assert act(jail, "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
               Limits(wall_seconds=60.0, cpu_seconds=1.0))[0] == "cpu"  # fmt: skip
    assert time.monotonic() - began < 50


def test_a_child_that_leaves_a_process_holding_the_pipe_is_not_waited_for(jail: ProcessJail, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"p = subprocess.Popen(['sleep', '300']); open({str(note)!r}, 'w').write(str(p.pid))"
    began = time.monotonic()
    assert act(jail, code)[0] == "ok"
    assert time.monotonic() - began < 60
    deadline = time.monotonic() + 10
    while _is_alive(int(note.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_alive(int(note.read_text()))


def test_a_killed_worker_is_a_sandbox_error_and_the_next_call_has_a_new_one(jail: ProcessJail) -> None:
    execution = jail.call("jail_entries:act", b"os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)", LIMITS)
    assert execution.status == "sandbox_error"
    assert act(jail, "pass")[0] == "ok"


def test_threads_share_it(jail: ProcessJail) -> None:
    found: dict[int, str] = {}

    def work(place: int) -> None:
        found[place] = jail.call("jail_entries:echo", str(place).encode(), LIMITS).stdout

    threads = [threading.Thread(target=work, args=(place,)) for place in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {place: str(place) for place in range(12)}


def test_code_that_fails_when_imported_is_a_sandbox_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken_entries.py").write_text("import sys\nsys.exit('no key')\n")
    with ProcessJail(entries=["broken_entries:f"], search_path=[str(tmp_path)]) as jail:
        execution = jail.call("broken_entries:f", b"", LIMITS)
    assert (execution.status, execution.stderr) == ("sandbox_error", "SystemExit: no key")


def test_closing_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "jail_entries.py").write_text(CODE)
    jail = ProcessJail(entries=["jail_entries:act"], search_path=[str(tmp_path)])
    pid = int(jail.call("jail_entries:act", b"out.write(b'%d' % os.getppid())", LIMITS).stdout.split()[1])
    assert _is_alive(pid)
    jail.close()
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
