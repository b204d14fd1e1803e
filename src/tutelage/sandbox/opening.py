"""Opens a sandbox: tries the tiers from the strongest down, and refuses where none holds."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from tutelage.errors import InputError, SandboxUnavailable
from tutelage.sandbox import bubblewrap, containers, selftest
from tutelage.sandbox.advice import advice
from tutelage.sandbox.server import SandboxServer
from tutelage.sandbox.worker import Worker, WorkerBroken, WorkerConfig

DEFAULT_PRELOAD = (
    "math", "cmath", "fractions", "decimal", "itertools", "functools", "collections", "statistics", "random", "re",
    "json", "string", "heapq", "bisect", "operator", "datetime", "typing", "dataclasses", "numpy", "sympy",
)  # fmt: skip
"""Modules that programs find loaded; numpy and sympy where they are installed."""
AUTOMATIC = ("namespaces", "landlock", "bubblewrap")
UNSAFE = "none"
TIERS = ("auto", *AUTOMATIC, *(f"{engine}:IMAGE" for engine in containers.ENGINES), UNSAFE)


def open_sandbox(
    *,
    tier: str = "auto",
    workers: int = 1,
    preload: Sequence[str] = DEFAULT_PRELOAD,
    entries: Sequence[str] = (),
    search_path: Sequence[str] = (),
    allow_unsafe: bool = False,
) -> SandboxServer:
    """Open a sandbox that has just been seen to hold on this machine.

    Args:
        tier: "auto" takes the first of namespaces, landlock and bubblewrap that holds; or one by name; or
            "docker:IMAGE", "podman:IMAGE", "runsc:IMAGE"; or "none", which holds nothing back.
        workers: how many programs run at a time.
        preload: modules that programs find loaded; those that are not installed are left out.
        entries: trusted code for `SandboxServer.call`: "module:function", or "module:factory TEXT" for what
            `factory(TEXT)` gives.
        search_path: folders to import entries from; programs can read them.
        allow_unsafe: whether "none" may be used, by name or where nothing else holds. Every execution then says so.

    Raises:
        InputError: an unknown tier, no worker, or an entry that cannot be imported.
        SandboxUnavailable: nothing holds here; the message says what was tried and what would help.
    """
    if workers < 1:
        raise InputError("a sandbox needs a worker", seen=workers, expected="1 or more")
    config = WorkerConfig(tier, tuple(preload), tuple(entries), tuple(os.path.abspath(path) for path in search_path))
    tried: dict[str, str] = {}
    for name in _tiers(tier, allow_unsafe=allow_unsafe):
        try:
            start = _starter(replace(config, tier=name))
            return SandboxServer(name, start, config.entries, workers=workers, first=_tested(start(), name))
        except WorkerBroken as error:
            tried[name] = str(error)
    reasons = "".join(f"\n  - {name}: {why[:300]}" for name, why in tried.items())
    raise SandboxUnavailable(f"no sandbox works here, so no program is run; tried:{reasons}", advice=advice(tried))


def _tiers(tier: str, *, allow_unsafe: bool) -> list[str]:
    """The tiers to try."""
    if tier == UNSAFE and not allow_unsafe:
        raise SandboxUnavailable('the tier "none" runs programs unprotected', advice=advice({}))
    if tier != "auto":
        return [tier]
    return [*AUTOMATIC, *([UNSAFE] if allow_unsafe else [])]


def _starter(config: WorkerConfig) -> Callable[[], Worker]:
    """What starts a worker of a tier."""
    if config.tier not in TIERS and not containers.is_container(config.tier):
        raise InputError("an unknown tier of the sandbox", seen=config.tier, expected=", ".join(TIERS))
    if sys.platform != "linux":
        raise WorkerBroken(f"{config.tier} needs Linux, this is {sys.platform}")
    if containers.is_container(config.tier):
        if (engine := containers.engine_of(config.tier)) is None:
            raise WorkerBroken(f"{config.tier.partition(':')[0]} is not installed")
        variables = tuple((name, os.environ[name]) for name in containers.VARIABLES if name in os.environ)
        config = replace(config, launcher=(engine,), variables=variables)
    if config.tier == "bubblewrap":
        if (program := shutil.which("bwrap")) is None:
            raise WorkerBroken("bwrap is not installed")
        config = replace(config, launcher=bubblewrap.command(program, config.search_path))
    return lambda: Worker(config)


def _tested(worker: Worker, tier: str) -> Worker:
    if tier == UNSAFE:
        return worker
    try:
        found = selftest.faults(worker.execute)
    except BaseException:
        worker.kill()
        raise
    if found:
        worker.kill()
        raise WorkerBroken("; ".join(found))
    return worker
