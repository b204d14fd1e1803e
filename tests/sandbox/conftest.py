"""Fixtures of the sandbox tests: a sandbox of each tier that this machine has, and the hostile set."""

from __future__ import annotations

import importlib.util
import sys
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


@pytest.fixture
def sandbox(sandbox_of: Callable[[str], SandboxServer]) -> SandboxServer:
    """The sandbox that this machine gives by itself."""
    return sandbox_of("auto")
