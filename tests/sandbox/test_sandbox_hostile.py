"""Nothing of the hostile set gets through, in any tier that this machine has; the set is proved on a null sandbox."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tutelage.sandbox import Execution, Limits, SandboxServer, open_sandbox

TIERS = ("namespaces", "landlock", "bubblewrap")
HERE = Path(__file__).resolve().parent
CATEGORIES = sorted(path.stem for path in (HERE / "hostile").glob("*.txt"))
LIMITS = Limits(wall_seconds=2.0, cpu_seconds=3.0, memory_bytes=512 << 20)
GetSandbox = Callable[[str], SandboxServer]


def faults(hostile_set: ModuleType, field, sandbox: SandboxServer, case) -> list[str]:
    """What is wrong with how a case ended."""
    execution = sandbox.run(field.fill(case), LIMITS)
    found = field.damage(case, execution.stdout + (execution.value or ""), execution.stderr)
    found += unexpected(hostile_set, execution, case)
    return [f"{case.name}: {what} ({execution.status}: {execution.stderr[-200:]})" for what in found]


def unexpected(hostile_set: ModuleType, execution: Execution, case) -> list[str]:
    found = []
    if execution.status == "sandbox_error":
        found.append("the sandbox failed")
    if execution.seconds > LIMITS.wall_seconds + 1.5:
        found.append(f"ran {execution.seconds} s")
    if case.statuses and execution.status not in case.statuses | {"refused"}:
        found.append(f"ended with {execution.status}, not {sorted(case.statuses)}")
    is_told = (execution.status, execution.exit_code, execution.value) == ("error", 3, None)
    if "forges" in case.flags and not is_told and execution.status != "refused":
        found.append("forged a result")
    if len(execution.stdout) > LIMITS.output_bytes or execution.value == hostile_set.REFERENCE:
        found.append("said too much")
    return found


def applicable(hostile_set: ModuleType, tier: str, category: str) -> list:
    """The cases of a category that a tier is to hold."""
    found = hostile_set.cases(category)
    # Landlock does not hide which paths there are, see docs/sandbox.md.
    return [case for case in found if tier != "landlock" or "exists" not in case.flags]


def processes_of(sandbox: SandboxServer) -> int:
    """Processes in the sessions of this process's wardens."""
    rows = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rows.append(stat.read_text().rpartition(")")[2].split())
        except OSError:
            continue
    pids = {path.name for path in Path("/proc").glob("[0-9]*")}
    mine = {pid for pid in pids if _is_child(pid)}
    return sum(row[3] in mine for row in rows)


def _is_child(pid: str) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[1] == str(os.getpid()) and b"tutelage.sandbox" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("tier", TIERS)
def test_nothing_quick_gets_through(hostile_set: ModuleType, sandbox_of: GetSandbox, tier: str, category: str) -> None:
    sandbox = sandbox_of(tier)
    with hostile_set.open_field() as field:
        before = sandbox.run(hostile_set.AFTER).stdout
        assert before
        chosen = [case for case in applicable(hostile_set, tier, category) if "hog" not in case.flags]
        found = [fault for case in chosen for fault in faults(hostile_set, field, sandbox, case)]
        assert not found, "\n".join(found)
        assert sandbox.run(hostile_set.AFTER).stdout == before


@pytest.mark.parametrize("tier", TIERS)
def test_no_hog_gets_through(hostile_set: ModuleType, sandbox_of: GetSandbox, tier: str) -> None:
    """Programs that only use things up, several at a time; preloads nothing, so that more of them fit on a core."""
    sandbox_of(tier)
    hogs = [case for category in CATEGORIES for case in hostile_set.cases(category) if "hog" in case.flags]
    with open_sandbox(tier=tier, workers=8, preload=()) as sandbox, hostile_set.open_field() as field:
        before = sandbox.run(hostile_set.AFTER).stdout
        limits = replace(LIMITS, wall_seconds=1.5, memory_bytes=256 << 20)
        executions = sandbox.run_many([field.fill(case) for case in hogs], limits)
        assert not field.damage(hogs[0], "".join(execution.stdout for execution in executions))
        found = [
            f"{case.name}: {what} ({execution.status}: {execution.stderr[-200:]})"
            for case, execution in zip(hogs, executions, strict=True)
            for what in unexpected(hostile_set, execution, case)
        ]
        assert not found, "\n".join(found)
        assert sandbox.run(hostile_set.AFTER).stdout == before


@pytest.mark.slow
@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("tier", TIERS)
def test_nothing_gets_through_in_any_tier(
    hostile_set: ModuleType, sandbox_of: GetSandbox, tier: str, category: str
) -> None:
    sandbox = sandbox_of(tier)
    with hostile_set.open_field() as field:
        before = sandbox.run(hostile_set.AFTER).stdout
        assert before
        processes = processes_of(sandbox)
        found = []
        for case in applicable(hostile_set, tier, category):
            found += faults(hostile_set, field, sandbox, case)
            after = sandbox.run(hostile_set.AFTER)
            if after.stdout != before:
                found.append(f"{case.name}: the next program printed {after}")
            if processes_of(sandbox) != processes:
                found.append(f"{case.name}: left a process")
        assert not found, "\n".join(found)


def state(sandbox: SandboxServer) -> dict[str, int]:
    """What must not grow: processes, descriptors and mounts."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        "processes": processes_of(sandbox),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mounts": len(mounts),
    }


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_in_random_orders(hostile_set: ModuleType, tier: str, orders: int, *, hogs_every: int) -> list[str]:
    """What goes wrong when the set runs again and again on one server, shuffled, eight programs at a time.

    Hogs take part in every `hogs_every`-th order.
    """
    rng, limits, found = random.Random(0), replace(LIMITS, wall_seconds=1.5, memory_bytes=256 << 20), []
    everything = [case for category in CATEGORIES for case in applicable(hostile_set, tier, category)]
    with open_sandbox(tier=tier, workers=8) as sandbox, hostile_set.open_field() as field:
        sandbox.run_many([hostile_set.AFTER] * 32)  # so that all workers have started
        honest = sandbox.run(hostile_set.AFTER).stdout
        before, size = state(sandbox), 0
        for order in range(orders):
            cases = [case for case in everything if "hog" not in case.flags or order % hogs_every == 0]
            rng.shuffle(cases)
            executions = sandbox.run_many([field.fill(case) for case in cases], limits)
            said, errors = ("".join(getattr(e, name) for e in executions) for name in ("stdout", "stderr"))
            found += [f"order {order}: {what}" for what in field.damage(cases[0], said, errors)]
            for case, execution in zip(cases, executions, strict=True):
                found += [f"order {order}: {case.name}: {what}" for what in unexpected(hostile_set, execution, case)]
            after = {execution.stdout for execution in sandbox.run_many([hostile_set.AFTER] * 16)}
            found += [] if after == {honest} else [f"order {order}: honest programs print {after}"]
            found += [] if state(sandbox) == before else [f"order {order}: {state(sandbox)}, not {before}"]
            size = resident() if order == orders // 2 else size  # by then every thread has an arena of the C library
        found += [] if resident() < 1.05 * size else [f"memory grew from {size} to {resident()}"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_random_orders_of_many_at_a_time_leave_nothing(
    hostile_set: ModuleType, sandbox_of: GetSandbox, tier: str
) -> None:
    sandbox_of(tier)
    found = run_in_random_orders(hostile_set, tier, 4, hogs_every=4)
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_the_set_gets_through_where_there_is_no_sandbox(tmp_path: Path) -> None:
    """Two thirds of what is no mere hog must succeed under subprocess + timeout: else the set detects nothing."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is needed to do this harmlessly")
    words = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child"]
    words += ["--mount-proc", sys.executable, str(HERE / "null_adapter.py")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    if "unshare" in done.stderr:
        pytest.skip(f"cannot be done harmlessly here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    through = json.loads(done.stdout.splitlines()[-1])
    names = {name for name, damage in through.items() if damage}
    held = sorted(set(through) - names)
    assert len(names) >= 2 / 3 * len(through), f"{len(names)} of {len(through)}; not: {held}"
