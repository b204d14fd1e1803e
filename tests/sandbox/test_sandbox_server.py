"""What a sandbox gives back: statuses, values, limits; from threads, asyncio and after violence."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from tutelage.errors import InputError, RunFailed
from tutelage.sandbox import Execution, Limits, SandboxServer, open_sandbox

HERE = Path(__file__).resolve().parent
TIERS = ("namespaces", "landlock", "bubblewrap")
ENTRY = "sandbox_test_entry:answer"
ENTRY_CODE = """
import json, os, signal, sys
def answer(payload, out):
    request = json.loads(payload)
    print("printed")
    for item in request["items"]:
        if item == "raise":
            raise ValueError("no such item")
        if item == "spin":
            signal.setitimer(signal.ITIMER_PROF, 0.2)
            while True:
                pass
        out.write(str(item * 2).encode() + b"\\n")
        out.flush()
"""


@pytest.mark.parametrize("tier", TIERS)
def test_honest_programs_work(hostile_set: ModuleType, sandbox_of: Callable[[str], SandboxServer], tier: str) -> None:
    sandbox = sandbox_of(tier)
    wrong = []
    for head, code in hostile_set.sections(HERE / "honest.txt"):
        name, expected, needs_files = head[0], head[1], head[2:] == ["files"]
        execution = sandbox.run(code, Limits(wall_seconds=30, cpu_seconds=30))
        if needs_files and sandbox.tier != "namespaces":
            if execution.status != "refused" or "no scratch folder" not in execution.stderr:
                wrong.append(f"{name}: not refused clearly: {execution}")
        elif (execution.status, execution.value) != ("ok", expected):
            wrong.append(f"{name}: {execution}")
        assert execution.tier == sandbox.tier
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("program", "status", "value"),
    [
        ("print(6 * 7)", "ok", "42"),
        ("answer = 6 * 7", "ok", "42"),
        ("answer = 1\nprint(2)\nprint()", "ok", "2"),
        ("pass", "ok", None),
        ("print(1)\n1 / 0", "error", None),
        ("print(1)\nraise SystemExit(3)", "error", None),
        ("print(1)\nraise SystemExit", "ok", "1"),
        ("import os\nprint(1)\nos._exit(0)", "ok", None),
        ("while True: pass", "timeout", None),
        ("import time\ntime.sleep(60)", "timeout", None),
        ("x = [0] * 10**9", "memory", None),
        ("while True: print('x' * 1000)", "output_limit", None),
        ("import os\nos.abort()", "crash", None),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "crash", None),
        ("print(", "error", None),
        ("\0", "error", None),
        ("", "ok", None),
        ("'\ud800'", "error", None),
    ],
)
def test_statuses_and_values(sandbox: SandboxServer, program: str, status: str, value: str | None) -> None:
    execution = sandbox.run(program, Limits(wall_seconds=1.5))
    assert (execution.status, execution.value) == (status, value), execution


def test_a_cpu_limit_below_the_wall_limit_is_told_apart(sandbox: SandboxServer) -> None:
    execution = sandbox.run("while True: pass", Limits(wall_seconds=30, cpu_seconds=1))
    assert (execution.status, execution.signal) == ("cpu", signal.SIGXCPU)
    assert execution.cpu_seconds >= 0.9


def test_an_error_shows_the_program_and_no_path_of_the_machine(sandbox: SandboxServer) -> None:
    execution = sandbox.run("import json\n\ndef f():\n    return json.loads('{')\nf()")
    assert 'File "program.py", line 4, in f' in execution.stderr
    assert "return json.loads('{')" in execution.stderr
    assert execution.stderr.splitlines()[-1].startswith("json.decoder.JSONDecodeError")
    for path in (sys.prefix, sys.base_prefix, str(Path.home()), "sandbox/"):
        assert path in ("/usr", "/") or path not in execution.stderr


def test_output_is_cut_at_its_limit(sandbox: SandboxServer) -> None:
    execution = sandbox.run("print('x' * 5000)", Limits(output_bytes=1000))
    assert (execution.status, execution.stdout) == ("output_limit", "x" * 1000)


def test_programs_share_no_state_and_start_from_the_same_seed(sandbox: SandboxServer) -> None:
    program = "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('x'))\nopen('f', 'x').close()"
    first, second = sandbox.run(program), sandbox.run(program)
    assert first.stdout == second.stdout != ""
    assert first.status == second.status


@pytest.mark.parametrize("name", ["wall_seconds", "memory_bytes", "scratch_files"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_limits_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        Limits(**{name: value})


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory, sandbox_of):
    """A sandbox with an entry of ours, in a folder of its own."""
    tier = sandbox_of("auto").tier
    folder = tmp_path_factory.mktemp("entry")
    (folder / "sandbox_test_entry.py").write_text(ENTRY_CODE)
    with open_sandbox(tier=tier, entries=[ENTRY], search_path=[str(folder)], preload=()) as server:
        yield server


def test_a_call_gives_what_the_function_wrote(calling: SandboxServer) -> None:
    execution = calling.call(ENTRY, b'{"items": [1, 2]}')
    assert (execution.status, execution.stdout, execution.value) == ("ok", "2\n4\n", None)
    assert execution.stderr == "printed\n"


def test_a_call_that_raises_keeps_what_was_written(calling: SandboxServer) -> None:
    execution = calling.call(ENTRY, b'{"items": [1, "raise", 3]}')
    assert (execution.status, execution.stdout) == ("error", "2\n")
    assert execution.stderr.endswith("ValueError: no such item\n")


def test_a_call_may_limit_itself_by_a_timer(calling: SandboxServer) -> None:
    execution = calling.call(ENTRY, b'{"items": [1, "spin", 3]}')
    assert (execution.status, execution.signal, execution.stdout) == ("crash", signal.SIGPROF, "2\n")


def test_an_entry_must_have_been_named(calling: SandboxServer) -> None:
    with pytest.raises(InputError, match="no such entry"):
        calling.call("os:system", b"true")


def test_many_threads_get_their_own_answers(sandbox_of, tmp_path: Path) -> None:
    with open_sandbox(tier=sandbox_of("auto").tier, workers=2, preload=()) as server:
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda n: server.run(f"print({n})").value, range(24)))
        assert found == [str(n) for n in range(24)]
        programs = [f"print({n} * 2)" for n in range(6)] + ["1 / 0"]
        assert [e.value for e in server.run_many(programs)] == ["0", "2", "4", "6", "8", "10", None]


def test_it_works_from_asyncio(sandbox: SandboxServer) -> None:
    async def ask() -> list[str | None]:
        jobs = (asyncio.to_thread(sandbox.run, f"print({n})") for n in range(4))
        return [execution.value for execution in await asyncio.gather(*jobs)]

    assert asyncio.run(ask()) == ["0", "1", "2", "3"]


def test_it_works_in_a_thread_that_ends(sandbox_of) -> None:
    found: list[SandboxServer] = []
    opener = threading.Thread(target=lambda: found.append(open_sandbox(tier=sandbox_of("auto").tier, preload=())))
    opener.start()
    opener.join()
    with found[0] as server:
        assert server.run("print(1)").value == "1"


def wardens() -> list[int]:
    """Processes that this one has started for a sandbox."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[1] == str(os.getpid()) and b"tutelage.sandbox" in stat.with_name("cmdline").read_bytes():
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("who", ["warden", "zygote", "child"])
def test_killing_any_of_them_leaves_nothing_and_loses_nothing(sandbox_of, tier: str, who: str) -> None:
    sandbox_of(tier)
    before = set(wardens())
    with open_sandbox(tier=tier, preload=()) as server:
        (warden,) = set(wardens()) - before
        idle = descendants(warden)
        results: list[Execution] = []
        running = threading.Thread(target=lambda: results.append(server.run("import time\ntime.sleep(1.2)\nprint(5)")))
        running.start()
        child = new_below(warden, idle)
        time.sleep(0.2)
        os.kill({"warden": warden, "zygote": max(idle), "child": child}[who], signal.SIGKILL)
        gone = {child} if who == "child" else {child, warden, *idle}
        assert left_after(gone) == set()
        running.join()
        assert len(results) == 1
        expected = ("crash", None) if who == "child" else ("ok", "5")  # a lost zygote is replaced, and the run repeated
        assert (results[0].status, results[0].value) == expected
        assert server.run("print(6)").value == "6"


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_killing_the_broker_leaves_nothing(sandbox_of, tier: str) -> None:
    sandbox_of(tier)
    code = (
        "from tutelage.sandbox import open_sandbox, Limits\n"
        f"s = open_sandbox(tier={tier!r}, preload=())\nprint('open', flush=True)\n"
        "s.run('import time\\nwhile True: time.sleep(1)', Limits(wall_seconds=100))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as broker:
        assert broker.stdout is not None and broker.stdout.readline() == b"open\n"
        time.sleep(0.5)
        tree = descendants(broker.pid)
        assert len(tree) >= 3
        broker.kill()
        broker.wait()
        assert left_after(tree) == set()


def new_below(warden: int, known: set[int]) -> int:
    """The child that a program runs in, once it is there."""
    deadline = time.monotonic() + 20
    while not (new := descendants(warden) - known):
        assert time.monotonic() < deadline, "no child came"
        time.sleep(0.02)
    return new.pop()


def left_after(pids: set[int]) -> set[int]:
    """Which processes are still there; waits up to 5 s, as the machine may be busy (1 s is what we promise)."""
    deadline = time.monotonic() + 5
    while (left := set(filter(is_alive, pids))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that init has not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(root: int) -> set[int]:
    """All processes below one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, size = {root}, 0
    while size != len(found):
        size = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found - {root}


def test_a_closed_sandbox_says_so_and_leaves_nothing(sandbox_of) -> None:
    tier = sandbox_of("auto").tier  # opens a sandbox of its own where no test before this one did
    before = set(wardens())
    descriptors = len(os.listdir("/proc/self/fd"))
    server = open_sandbox(tier=tier, preload=())
    (warden,) = set(wardens()) - before
    server.close()
    server.close()
    assert not descendants(warden)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    with pytest.raises(RunFailed, match="closed"):
        server.run("print(1)")


def test_a_sandbox_does_not_travel(sandbox: SandboxServer) -> None:
    with pytest.raises(TypeError, match="open_sandbox"):
        pickle.dumps(sandbox)


def test_wall_limit_after_many_timeouts(sandbox: SandboxServer) -> None:
    for _ in range(5):
        execution = sandbox.run("while True: pass", Limits(wall_seconds=0.1))
        assert execution.status == "timeout"
        assert execution.seconds < 0.1 + 1.5
    assert sandbox.run("print(1)").value == "1"
