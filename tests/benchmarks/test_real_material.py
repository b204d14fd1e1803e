"""What recipes are given of recorded texts: halves, recordings in order, and a judge who says what the labels say."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tutelage.problems import load_problems
from tutelage.sampling.scripted import load_script

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A scratch folder made of two models' answers to six questions; the answer to the last has another gold."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    material, outputs = import_module("real_material"), import_module("real_outputs")
    (tmp_path / "gsm8k").mkdir()
    problems = [{"id": f"gsm8k-test-{n}", "question": f"What is {n} and 1?", "answer": str(n + 1)} for n in range(6)]
    rows = [
        {"question_id": f"gsm8k-test-{n}", "gold": str(n + 1 + (n == 5)), "model": model, "correct": model == "a/b c",
         "completion": f"It is {n + 1}." if model == "a/b c" else "It is"}
        for model in ("a/b c", "d") for n in range(6)
    ]  # fmt: skip
    for name, written in (("gsm8k/test.jsonl", problems), ("outputs.jsonl", rows)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in written))
    (tmp_path / "scratch").mkdir()
    source = outputs.Source("own", ("outputs.jsonl",), "gsm8k/test.jsonl", 1)
    return material.set_scene(source, tmp_path, tmp_path / "scratch")


def test_every_model_is_a_recording_and_all_together_are_one(scene: Any) -> None:
    assert list(scene.models) == ["a-b-c", "d"] and scene.samples == 1
    pooled = [json.loads(line) for line in (scene.folder / "pooled.jsonl").read_text().splitlines()]
    assert [row["model"] for row in pooled[:2]] == ["a/b c", "d"] and len(pooled) == 10, (
        "a row with another gold is out"
    )
    assert {row["question_id"] for row in pooled[:2]} == {"gsm8k-test-0"}, "a problem's samples stand together"
    halves = [{problem.id for problem in load_problems(scene.data(name))} for name in ("learnt", "held")]
    assert len(halves[0] | halves[1]) == 5 and not halves[0] & halves[1]
    assert {problem.id for problem in load_problems(scene.data("all"))} == halves[0] | halves[1]


def test_the_judge_goes_by_the_label_of_the_longest_text_that_it_is_shown(scene: Any) -> None:
    answer = load_script(scene.labels.removeprefix("scripted:"))
    shown = SimpleNamespace(problem_id="gsm8k-test-2", prompt_text="Solution:\nIt is 3.\nAnalysis:")
    assert answer(shown).endswith("Rating: [[9]]"), "the other's text stands in it too"
    shown.prompt_text = "Solution:\nIt is\nAnalysis:"
    assert answer(shown).endswith("Rating: [[3]]")
