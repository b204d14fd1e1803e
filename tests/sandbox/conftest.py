"""Fixtures of the sandbox tests: a sandbox of each tier that this machine has, and the hostile set."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tutelage.errors import SandboxUnavailable
from tutelage.sandbox import SandboxServer, open_sandbox

HERE = Path(__file__).resolve().parent


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"sandbox_{name}", HERE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def hostile_set() -> ModuleType:
    """tests/sandbox/hostile_set.py."""
    return _load("hostile_set")


@pytest.fixture(scope="session")
def random_orders() -> ModuleType:
    """tests/sandbox/random_orders.py."""
    return _load("random_orders")


@pytest.fixture(scope="session")
def sandbox_of() -> Iterator[Callable[[str], SandboxServer]]:
    """A function tier -> open sandbox, one of each for all tests; skips where the machine does not have the tier."""
    opened: dict[str, SandboxServer | SandboxUnavailable] = {}

    def get(tier: str) -> SandboxServer:
        if tier not in opened:
            try:
                opened[tier] = open_sandbox(tier=tier, allow_unsafe=tier == "none")
            except SandboxUnavailable as error:
                opened[tier] = error
        found = opened[tier]
        if isinstance(found, SandboxUnavailable):
            pytest.skip(f"no tier {tier} here: {found.message()}")
        return found

    yield get
    for sandbox in opened.values():
        if isinstance(sandbox, SandboxServer):
            sandbox.close()


@contextlib.contextmanager
def running_as_ordinary_user(*words: str) -> Iterator[subprocess.Popen[str] | None]:
    """The tests that words for pytest name, under way as an ordinary user; None where this is one already."""
    if os.geteuid() != 0:
        yield None
        return
    home = Path(tempfile.mkdtemp(prefix="tutelage-ordinary-", dir="/tmp"))
    python = [sys.executable, str(HERE / "ordinary.py"), str(home), sys.executable]
    command = [*python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=HERE.parents[1], process_group=0
    )
    try:
        yield run
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGINT)  # so that it cleans up
        run.communicate()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def ordinary_run() -> Iterator[subprocess.Popen[str] | None]:
    """The quick tests of what is held, under way as an ordinary user."""
    files = [str(HERE / f"test_sandbox_{name}.py") for name in ("hostile", "server")]
    with running_as_ordinary_user("-m", "not slow", *files) as run:
        yield run


@pytest.fixture
def whole_ordinary_run() -> Iterator[subprocess.Popen[str] | None]:
    """The slow tests of the same, under way as an ordinary user."""
    with running_as_ordinary_user("-m", "slow", str(HERE / "test_sandbox_hostile.py")) as run:
        yield run


@pytest.fixture
def sandbox(sandbox_of: Callable[[str], SandboxServer]) -> SandboxServer:
    """The sandbox that this machine gives by itself."""
    return sandbox_of("auto")
