"""The hostile set again and again on one server, shuffled, eight programs at a time: what gets through and what grows.

Not a test: loaded by the tests, and a script that prints a line an order and the result as JSON at the end, which the
figures of docs/sandbox.md come from: `python tests/sandbox/random_orders.py --tier namespaces --orders 50`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.util
import json
import os
import random
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from tutelage.sandbox import Execution, Limits, SandboxServer, open_sandbox

HERE = Path(__file__).resolve().parent
LIMITS = Limits(wall_seconds=2.0, cpu_seconds=3.0, memory_bytes=512 << 20)
TOGETHER = 8


class MallocState(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later, all arenas together, bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """This process's memory in bytes: resident, given out by the C library, and held free by it (0 where not known)."""

    resident: int
    used: int
    free: int


@dataclass
class Orders:
    """What was found: sentences on what went wrong, and the memory after each order."""

    faults: list[str] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)


def unexpected(hostile_set: ModuleType, execution: Execution, case: Any) -> list[str]:
    """What is wrong with how a program ended, whatever it did outside."""
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


def applicable(hostile_set: ModuleType, tier: str, category: str) -> list[Any]:
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


def state(sandbox: SandboxServer) -> dict[str, int]:
    """What must not grow: processes, descriptors and mounts."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        "processes": processes_of(sandbox),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mounts": len(mounts),
    }


def memory() -> Memory:
    """This process's memory now."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return Memory(resident, 0, 0)
    mallinfo.restype = MallocState
    now = mallinfo()
    return Memory(resident, now.uordblks + now.hblkhd, now.fordblks)


def run_in_random_orders(
    hostile_set: ModuleType, tier: str, orders: int, *, hogs_every: int, is_told: bool = False
) -> Orders:
    """Run the set so many times; hogs, which only use things up, take part in every `hogs_every`-th order.

    Args:
        hostile_set: tests/sandbox/hostile_set.py.
        tier: of the sandbox.
        orders: how often.
        hogs_every: see above.
        is_told: whether to print a line after each order.
    """
    rng, limits, result = random.Random(0), replace(LIMITS, wall_seconds=1.5, memory_bytes=256 << 20), Orders()
    everything = [case for category in hostile_set.CATEGORIES for case in applicable(hostile_set, tier, category)]
    with open_sandbox(tier=tier, workers=TOGETHER) as sandbox, hostile_set.open_field() as field_of_play:
        sandbox.run_many([hostile_set.AFTER] * 32)  # so that all workers have started
        honest = sandbox.run(hostile_set.AFTER).stdout
        before = state(sandbox)
        for order in range(orders):
            cases = [case for case in everything if "hog" not in case.flags or order % hogs_every == 0]
            rng.shuffle(cases)
            found = _one_order(hostile_set, sandbox, field_of_play, cases, limits)
            after = {execution.stdout for execution in sandbox.run_many([hostile_set.AFTER] * 16)}
            found += [] if after == {honest} else [f"honest programs print {after}"]
            found += [] if state(sandbox) == before else [f"{state(sandbox)}, not {before}"]
            result.faults += [f"order {order}: {what}" for what in found]
            result.memory.append(memory())
            if is_told:
                print(order, result.memory[-1], *found, flush=True)
    return result


def _one_order(
    hostile_set: ModuleType, sandbox: SandboxServer, field_of_play: Any, cases: list[Any], limits: Limits
) -> list[str]:
    """What goes wrong when these programs run, eight at a time."""
    executions = sandbox.run_many([field_of_play.fill(case) for case in cases], limits)
    said, errors = ("".join(getattr(e, name) for e in executions) for name in ("stdout", "stderr"))
    found: list[str] = field_of_play.damage(cases[0], said, errors)
    for case, execution in zip(cases, executions, strict=True):
        found += [f"{case.name}: {what}" for what in unexpected(hostile_set, execution, case)]
    return found


def main() -> None:
    """Run the orders and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", default="namespaces")
    parser.add_argument("--orders", type=int, default=50)
    parser.add_argument("--hogs-every", type=int, default=5)
    arguments = parser.parse_args()
    spec = importlib.util.spec_from_file_location("sandbox_hostile_set", HERE / "hostile_set.py")
    assert spec is not None and spec.loader is not None
    hostile_set = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = hostile_set
    spec.loader.exec_module(hostile_set)
    orders, every = arguments.orders, arguments.hogs_every
    result = run_in_random_orders(hostile_set, arguments.tier, orders, hogs_every=every, is_told=True)
    ctypes.CDLL(None).malloc_trim(0)
    trimmed = memory()
    print(json.dumps({
        "tier": arguments.tier, "orders": orders, "hogs_every": every, "faults": result.faults,
        "memory": {str(at + 1): vars(result.memory[at]) for at in sorted({0, orders // 5, orders // 2, orders - 1})},
        "after_malloc_trim": vars(trimmed),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
