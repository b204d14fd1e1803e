"""Graders that users bring: what they return, raise, print or break, in three styles; where they are loaded from."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import InputError, SandboxUnavailable
from tutelage.grading.batching import ItemLimits
from tutelage.grading.grader import CompletionGrader, tally
from tutelage.grading.tiered import Grader
from tutelage.grading.user import GraderOptions, load_grader, read_said
from tutelage.records import Completion, Policy, Problem, SamplingParams, Verdict

PROBLEM = Problem("p", "What is 1?", "1", source="sums", split="test", metadata={"hint": "one"})
COMPLETION = Completion("c1", "p", "answer", Policy("m"), "", (), (7, 8), "text", (), (), "stop", SamplingParams(), 0)
QUICK = GraderOptions(isolation="process", limits=ItemLimits(1.0, 10.0, 1 << 29))

ODD = """
import math, os, sys, time
from tutelage.records import Verdict

def judge(problem, completion):
    assert problem.metadata["hint"] == "one" and completion.token_ids == (7, 8)
    return eval(completion.text)

def leave():
    sys.exit(0)

def patch():
    import json
    json.dumps = lambda *a, **k: '{"tag": 1}'
    return True

def spin():
    while True:
        pass
"""
REWARDS = """
import asyncio

def lengths(completions, **kwargs):
    return [float(len(c)) for c in completions]

def chat(prompts, completions, answer, **kwargs):
    assert prompts[0][0] == {"role": "user", "content": "What is 1?"}
    return [1.0 if c[0]["content"] == a else 0.0 for c, a in zip(completions, answer)]

def columns(prompts, completions, completion_ids, hint, ground_truth, solution, source):
    assert prompts[0] == "What is 1?" and completion_ids[0] == [7, 8]
    rows = zip(hint, ground_truth, solution, source)
    return [float(row == ("one", "1", "1", "sums")) for row in rows]

async def slow(completions, **kwargs):
    await asyncio.sleep(0)
    return [0.5] * len(completions)

def short(completions, **kwargs):
    return [1.0]

def one_fails(completions, **kwargs):
    if "bad" in completions:
        raise ValueError("bad text")
    return [1.0, *[None] * (len(completions) - 1)]

def no_list(completions, **kwargs):
    return 1.0

def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    assert data_source == "sums" and extra_info["split"] == "test" and extra_info["hint"] == "one"
    return {"score": float(solution_str == ground_truth), "acc": True}
"""


def said(*texts: str) -> list[tuple[Problem, Completion]]:
    return [(PROBLEM, replace(COMPLETION, id=f"c{place}", text=text)) for place, text in enumerate(texts)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("graders")
    (made / "odd.py").write_text(ODD)
    (made / "rewards.py").write_text(REWARDS)
    return made


@pytest.fixture(scope="module")
def odd(folder: Path) -> Iterator[CompletionGrader]:
    grader = load_grader(f"{folder}/odd.py:judge", QUICK)
    yield grader
    grader.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("result", "outcome", "score"),
    [
        ({"bool": True}, "correct", 1.0),
        ({"bool": False}, "incorrect", 0.0),
        ({"number": 0.7}, "correct", 0.7),
        ({"number": 0.5}, "correct", 0.5),
        ({"number": 0.49}, "incorrect", 0.49),
        ({"number": -3}, "incorrect", -3.0),
        ({"none": True}, "undecided", None),
        ({"number": math.inf}, "error", None),
        ({"number": "1"}, "error", None),
        ({"error": "why"}, "error", None),
        ({"verdict": Verdict("x", "y", "timeout", 0.0).to_json()}, "timeout", 0.0),
        ({"verdict": {"outcome": "nonsense", "score": 0.0}}, "error", None),
        ({"verdict": {"outcome": "correct", "score": math.nan}}, "error", None),
        ({"verdict": {"outcome": "correct", "score": True}}, "error", None),
        ({"verdict": {}}, "error", None),
        ([1], "error", None),
        (None, "error", None),
    ],
)
def test_what_a_worker_says_becomes_a_verdict(result: Any, outcome: str, score: float | None) -> None:
    verdict = read_said(PROBLEM, COMPLETION, result, threshold=0.5, name="mine")
    assert (verdict.outcome, verdict.score) == (outcome, score)
    assert (verdict.completion_id, verdict.problem_id, verdict.decided_by) == ("c1", "p", "mine")


def test_the_threshold_decides_numbers_and_no_bool() -> None:
    read: Callable[[Any], Verdict] = lambda one: read_said(PROBLEM, COMPLETION, one, threshold=8, name="")  # noqa: E731
    assert [read(one).outcome for one in ({"number": 7.5}, {"number": 8}, {"bool": True})] == [
        "incorrect", "correct", "correct",
    ]  # fmt: skip


def test_a_plain_function_judges_and_may_fail_in_any_way(odd: CompletionGrader) -> None:
    texts = {
        "True": "correct", "0.7": "correct", "{'score': 0.2}": "incorrect", "None": "undecided",
        "Verdict('x', 'y', 'timeout', 0.0, answer='5')": "timeout",
        "float('nan')": "error", "'good'": "error", "[1]": "error", "{'reward': 1}": "error",
        "1/0": "error", "leave()": "error", "os._exit(0)": "error", "spin()": "error", "patch()": "error",
        "bytearray(1 << 31)": "error", "print('{\"tag\": 1}') or True": "correct", "1 == 1": "correct",
    }  # fmt: skip
    verdicts = odd.grade_many(said(*texts))
    assert [verdict.outcome for verdict in verdicts] == list(texts.values())
    assert [verdict.score is None for verdict in verdicts] == [o in ("error", "undecided") for o in texts.values()]
    notes = dict(zip(texts, verdicts, strict=True))
    assert "ZeroDivisionError" in notes["1/0"].note
    assert "SystemExit" in notes["leave()"].note
    assert "time" in notes["spin()"].note
    assert notes["Verdict('x', 'y', 'timeout', 0.0, answer='5')"].answer == "5"
    assert tally(verdicts)["error"] == 10


def test_nothing_reaches_our_process(odd: CompletionGrader, capfd: pytest.CaptureFixture[str]) -> None:
    import json

    before = json.dumps
    verdicts = odd.grade_many(said("patch()", "sys.modules.__setitem__('tutelage', 5) or True", "1"))
    assert json.dumps is before and sys.modules["tutelage"] != 5
    assert [verdict.outcome for verdict in verdicts] == ["error", "correct", "correct"]
    assert capfd.readouterr().out == ""


def test_a_failed_sample_is_not_handed_to_the_function(odd: CompletionGrader) -> None:
    failed = replace(COMPLETION, finish_reason="error", note="server gone")
    verdict = odd.grade(PROBLEM, failed)
    assert (verdict.outcome, verdict.score, verdict.note) == ("error", None, "server gone")


@pytest.mark.parametrize(
    ("spec", "texts", "expected"),
    [
        ("rewards.py:lengths", ["", "abc"], [0.0, 3.0]),
        ("trl-chat:{}rewards.py:chat", ["1", "2"], [1.0, 0.0]),
        ("rewards.py:columns", ["x", "y"], [1.0, 1.0]),
        ("trl:{}rewards.py:slow", ["x"] * 40, [0.5] * 40),
        ("rewards.py:short", ["x", "y"], [None, None]),
        ("rewards.py:no_list", ["x", "y"], [None, None]),
        ("rewards.py:one_fails", ["x", "bad", "y"], [1.0, None, 1.0]),
        ("rewards.py:compute_score", ["1", "2"], [1.0, 0.0]),
        ("verl:{}rewards.py:compute_score", ["1"], [1.0]),
    ],
)
def test_reward_functions_of_others_run_unchanged(
    folder: Path, spec: str, texts: list[str], expected: list[float | None]
) -> None:
    spec = spec.format(f"{folder}/") if "{}" in spec else f"{folder}/{spec}"
    grader = load_grader(spec, QUICK)
    assert isinstance(grader, CompletionGrader)
    verdicts = grader.grade_many(said(*texts))
    assert [verdict.score for verdict in verdicts] == expected
    assert all((verdict.outcome == "error") == (verdict.score is None) for verdict in verdicts)
    grader.close()  # type: ignore[attr-defined]


def test_a_function_object_is_loaded_from_its_file(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("rewards", folder / "rewards.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert load_grader(module.lengths, QUICK).grade_many(said("ab"))[0].score == 2.0
    with pytest.raises(InputError, match="cannot be loaded by its worker"):
        load_grader(lambda problem, completion: True, QUICK)


def test_the_version_follows_the_file_and_exact_is_the_built_in_grader(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def judge(problem, completion):\n    return completion.text == 'text'\n")
    grader = load_grader(f"{file}:judge", QUICK)
    assert grader.grade(PROBLEM, COMPLETION).outcome == "correct"
    file.write_text("def judge(problem, completion):\n    return False\n")
    assert load_grader(f"{file}:judge", QUICK).version != grader.version
    assert isinstance(load_grader("exact"), Grader)


def test_doing_without_a_sandbox_is_told_once_and_refused_where_it_was_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*about: object) -> None:
        raise SandboxUnavailable("no sandbox works here")

    monkeypatch.setattr("tutelage.grading.user.open_sandboxed", refuse)
    grader = load_grader(f"{folder}/rewards.py:lengths", replace(QUICK, isolation="auto"))
    assert grader.grade(PROBLEM, COMPLETION).score == 4.0
    assert "plain process" in grader.absence() and grader.absence() is None  # type: ignore[attr-defined]
    assert load_grader(f"{folder}/rewards.py:lengths", QUICK).absence() is None  # type: ignore[attr-defined]
    with pytest.raises(SandboxUnavailable):
        load_grader(f"{folder}/rewards.py:lengths", replace(QUICK, isolation="sandbox"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("exakt", "Unknown grader"),
        ("mine.py", "Unknown grader"),
        ("grpo:{dir}/mine.py:f", "does not exist"),
        ("{dir}/none.py:f", "does not exist"),
        ("{dir}/mine.py:g", "no such function"),
        ("{dir}/broken.py:f", "fails: RuntimeError: no"),
        ("{dir}/leaves.py:f", "fails: SystemExit"),
    ],
)
def test_bad_graders_are_refused_before_work(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "mine.py").write_text("def f(problem, completion):\n    return True\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('no')\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(1)\n")
    with pytest.raises(InputError, match=message) as caught:
        load_grader(spec.format(dir=tmp_path), QUICK)
    assert caught.value.exit_code == 2
    assert "expected:" in str(caught.value)
