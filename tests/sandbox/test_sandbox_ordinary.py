"""What the other tests here find as root is found as an ordinary user too: the hostile set, honest programs, limits."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tutelage.sandbox import SandboxServer

HERE = Path(__file__).resolve().parent
NUM_CATEGORIES = len(list((HERE / "hostile").glob("*.txt")))
PASSED = re.compile(r"([0-9]+) passed")


@pytest.fixture(scope="module")
def ordinary() -> ModuleType:
    """tests/sandbox/ordinary.py."""
    spec = importlib.util.spec_from_file_location("sandbox_ordinary", HERE / "ordinary.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_outcome(run: subprocess.Popen[str] | None, cannot: int, *, at_least: int) -> None:
    """Wait for pytest under another user, and see that it passed, and passed something."""
    if run is None:
        pytest.skip("not root: the tests beside this one are run by an ordinary user already")
    said, _ = run.communicate(timeout=1200)
    if run.returncode == cannot:
        pytest.skip(said.strip().splitlines()[-1])
    assert run.returncode == 0, said
    passed = PASSED.search(said)
    assert passed is not None and int(passed[1]) >= at_least, said


def test_an_ordinary_user_is_held_as_well(
    ordinary_run: subprocess.Popen[str] | None,
    ordinary: ModuleType,
    sandbox_of: Callable[[str], SandboxServer],
) -> None:
    sandbox_of("auto")
    check_outcome(ordinary_run, ordinary.CANNOT, at_least=NUM_CATEGORIES)


@pytest.mark.slow
def test_an_ordinary_user_is_held_by_the_whole_set(
    whole_ordinary_run: subprocess.Popen[str] | None, ordinary: ModuleType
) -> None:
    check_outcome(whole_ordinary_run, ordinary.CANNOT, at_least=NUM_CATEGORIES)


def test_private_folders_are_found_and_left_alone(ordinary: ModuleType) -> None:
    folder = Path(tempfile.mkdtemp(prefix="tutelage-private-", dir="/tmp"))
    try:
        inner = folder / "home" / "python"
        inner.mkdir(parents=True)
        assert ordinary.private_folders([inner]) == [folder]
        (folder / "home").chmod(0o700)
        folder.chmod(0o755)
        assert ordinary.private_folders([inner]) == [folder / "home"]
        (folder / "home").chmod(0o711)
        assert ordinary.private_folders([inner, Path("/usr/lib")]) == []
    finally:
        shutil.rmtree(folder)


def test_what_is_needed_covers_the_interpreter_and_the_checkout(ordinary: ModuleType) -> None:
    needed = ordinary.needed()
    for path in (Path(os.__file__), HERE, Path(os.path.realpath(sys.executable))):
        assert any(folder in path.parents or folder == path for folder in needed)
    assert not any(first in second.parents for first in needed for second in needed)


def test_of_a_private_checkout_everything_in_it_is_needed(ordinary: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "checkout" / "tests").mkdir(parents=True)
    (tmp_path / "checkout" / "file").touch()
    (tmp_path / "checkout").chmod(0o700)
    needed = ordinary.needed(tmp_path / "checkout")
    assert {tmp_path / "checkout" / name for name in ("tests", "file")} <= set(needed)
    assert tmp_path / "checkout" not in needed
