"""What is left when the caller is shot: no file, no process, whatever it was doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SELF_TEST = """
import time
from tutelage.sandbox import selftest
with selftest._bait() as bait:
    print(bait.folder, bait.decoy.pid, flush=True)
    time.sleep(60)
"""
GRADER = """
import sys, time
from tutelage.grading.user import GraderOptions, load_grader
grader = load_grader(sys.argv[1] + ":judge", GraderOptions(isolation="process"))
print("open", flush=True)
time.sleep(60)
"""


def _shot(source: str, *words: str, folder: Path) -> str:
    """The first line that a process prints before it is shot."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-c", source, *words], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    return said


def _gone(path: Path) -> bool:
    """Whether a path disappears within some seconds."""
    for _ in range(200):
        if not path.exists():
            return True
        time.sleep(0.05)
    return False


def test_a_self_test_that_is_shot_leaves_no_folder_and_no_decoy(tmp_path: Path) -> None:
    folder, decoy = _shot(SELF_TEST, folder=tmp_path).split()
    assert _gone(Path(folder))
    assert _gone(Path("/proc", decoy, "cwd"))  # a zombie without a parent to reap it has none either


def test_a_user_grader_puts_no_file_anywhere(tmp_path: Path) -> None:
    before = {path for path in Path("/var/tmp").glob("tutelage-*") if path.is_dir()}
    (tmp_path / "own.py").write_text("def judge(problem, completion):\n    return True\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert _shot(GRADER, str(tmp_path / "own.py"), folder=scratch) == "open\n"
    assert list(scratch.iterdir()) == []
    assert {path for path in Path("/var/tmp").glob("tutelage-*") if path.is_dir()} <= before
