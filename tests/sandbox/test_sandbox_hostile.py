"""Nothing of the hostile set gets through, in any tier that this machine has; the set is proved on a null sandbox."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tutelage.sandbox import SandboxServer, open_sandbox

TIERS = ("namespaces", "landlock", "bubblewrap")
HERE = Path(__file__).resolve().parent
CATEGORIES = sorted(path.stem for path in (HERE / "hostile").glob("*.txt"))
GetSandbox = Callable[[str], SandboxServer]


@pytest.fixture(scope="module")
def faults(hostile_set: ModuleType, random_orders: ModuleType) -> Callable[..., list[str]]:
    """A function (field, sandbox, case) -> what is wrong with how the case ended."""

    def find(field, sandbox: SandboxServer, case) -> list[str]:
        execution = sandbox.run(field.fill(case), random_orders.LIMITS)
        found = field.damage(case, execution.stdout + (execution.value or ""), execution.stderr)
        found += random_orders.unexpected(hostile_set, execution, case)
        return [f"{case.name}: {what} ({execution.status}: {execution.stderr[-200:]})" for what in found]

    return find


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("tier", TIERS)
def test_nothing_quick_gets_through(
    hostile_set: ModuleType, random_orders: ModuleType, faults, sandbox_of: GetSandbox, tier: str, category: str
) -> None:
    sandbox = sandbox_of(tier)
    with hostile_set.open_field() as field:
        before = sandbox.run(hostile_set.AFTER).stdout
        assert before
        chosen = [case for case in random_orders.applicable(hostile_set, tier, category) if "hog" not in case.flags]
        found = [fault for case in chosen for fault in faults(field, sandbox, case)]
        assert not found, "\n".join(found)
        assert sandbox.run(hostile_set.AFTER).stdout == before


@pytest.mark.parametrize("tier", TIERS)
def test_no_hog_gets_through(
    hostile_set: ModuleType, random_orders: ModuleType, sandbox_of: GetSandbox, tier: str
) -> None:
    """Programs that only use things up, several at a time; preloads nothing, so that more of them fit on a core."""
    sandbox_of(tier)
    hogs = [case for category in CATEGORIES for case in hostile_set.cases(category) if "hog" in case.flags]
    with open_sandbox(tier=tier, workers=8, preload=()) as sandbox, hostile_set.open_field() as field:
        before = sandbox.run(hostile_set.AFTER).stdout
        limits = replace(random_orders.LIMITS, wall_seconds=1.5, memory_bytes=256 << 20)
        executions = sandbox.run_many([field.fill(case) for case in hogs], limits)
        assert not field.damage(hogs[0], "".join(execution.stdout for execution in executions))
        found = [
            f"{case.name}: {what} ({execution.status}: {execution.stderr[-200:]})"
            for case, execution in zip(hogs, executions, strict=True)
            for what in random_orders.unexpected(hostile_set, execution, case)
        ]
        assert not found, "\n".join(found)
        assert sandbox.run(hostile_set.AFTER).stdout == before


@pytest.mark.slow
@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("tier", TIERS)
def test_nothing_gets_through_in_any_tier(
    hostile_set: ModuleType, random_orders: ModuleType, faults, sandbox_of: GetSandbox, tier: str, category: str
) -> None:
    sandbox = sandbox_of(tier)
    with hostile_set.open_field() as field:
        before = sandbox.run(hostile_set.AFTER).stdout
        assert before
        processes = random_orders.processes_of(sandbox)
        found = []
        for case in random_orders.applicable(hostile_set, tier, category):
            found += faults(field, sandbox, case)
            after = sandbox.run(hostile_set.AFTER)
            if after.stdout != before:
                found.append(f"{case.name}: the next program printed {after}")
            if random_orders.processes_of(sandbox) != processes:
                found.append(f"{case.name}: left a process")
        assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_random_orders_of_many_at_a_time_leave_nothing(
    hostile_set: ModuleType, random_orders: ModuleType, sandbox_of: GetSandbox, tier: str
) -> None:
    sandbox_of(tier)
    result = random_orders.run_in_random_orders(hostile_set, tier, 4, hogs_every=4)
    assert not result.faults, "\n".join(result.faults)
    half, end = result.memory[2], result.memory[-1]  # by then every thread has an arena of the C library
    assert end.resident < 1.05 * half.resident
    assert end.used <= 1.05 * half.used


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
