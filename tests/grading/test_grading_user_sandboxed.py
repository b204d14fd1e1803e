"""A user's grader in the sandbox: what it can reach, and what it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tutelage.errors import SandboxUnavailable
from tutelage.grading.batching import ItemLimits
from tutelage.grading.grader import CompletionGrader
from tutelage.grading.user import GraderOptions, load_grader
from tutelage.records import Completion, Policy, Problem, SamplingParams

PROBLEM = Problem("p", "?", "1")
COMPLETION = Completion("c", "p", "answer", Policy("m"), "", (), (), "", (), (), "stop", SamplingParams(), 0)
CODE = """
import os, socket, subprocess, sys
from pathlib import Path

GOLDS = Path(__file__).with_name("golds.txt").read_text()

def judge(problem, completion):
    return eval(completion.text)
"""


@pytest.fixture(scope="module")
def grader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompletionGrader]:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(CODE)
    (folder / "golds.txt").write_text("1")
    limits = ItemLimits(1.0, 20.0, 1 << 29)
    try:
        made = load_grader(f"{folder}/mine.py:judge", GraderOptions(isolation="sandbox", limits=limits))
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox here: {error}")
    yield made
    made.close()  # type: ignore[attr-defined]


def test_it_reaches_packages_its_own_folder_and_nothing_else(
    grader: CompletionGrader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("s")
    texts = {
        "GOLDS == '1'": "correct",
        "__import__('numpy').ones(2).sum() == 2": "correct",
        "__import__('tutelage.grading').grading.check('1/2', '0.5').equivalent": "correct",
        f"open({str(secret)!r}).read() == 's'": "error",
        f"open({str(secret)!r}, 'w').write('x')": "error",
        "open('/etc/passwd').read()": "error",
        "bool(socket.socket())": "error",
        "subprocess.run(['true']).returncode == 0": "error",
        "'TUTELAGE_SECRET' in os.environ": "incorrect",
        "os.kill(os.getppid(), 9)": "error",
        "sys.exit(0)": "error",
        "[1 for _ in iter(int, 1)]": "error",
    }
    monkeypatch.setenv("TUTELAGE_SECRET", "1")
    rows = [(PROBLEM, replace(COMPLETION, id=str(place), text=text)) for place, text in enumerate(texts)]
    verdicts = grader.grade_many(rows)
    assert {text: verdict.outcome for text, verdict in zip(texts, verdicts, strict=True)} == texts
    assert secret.read_text() == "s"
    assert [verdict.completion_id for verdict in verdicts] == [str(place) for place in range(len(texts))]
