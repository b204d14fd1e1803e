"""Every command and every Python block of docs/sandbox.md runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sandbox.md"
COMMAND = re.compile(r"^    (.*\btutelage (?:exec|doctor).*)$", re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def needs_a_sandbox(sandbox) -> None:
    """Skips where this machine has no tier."""


@pytest.mark.parametrize("command", COMMAND.findall(TEXT))
def test_commands_run(command: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("block", BLOCK.findall(TEXT))
def test_python_blocks_run(block: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_page_tells_every_limit_status_and_tier() -> None:
    import dataclasses
    import typing

    from tutelage.sandbox import ExecutionStatus, Limits
    from tutelage.sandbox.opening import TIERS

    for name in (field.name for field in dataclasses.fields(Limits)):
        assert f"| `{name}` |" in TEXT
    for status in typing.get_args(ExecutionStatus):
        assert f"| `{status}` |" in TEXT
    for tier in TIERS:
        assert f"`{tier}`" in TEXT
