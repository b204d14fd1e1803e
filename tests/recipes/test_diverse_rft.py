"""diverse-rft from end to end: on primer, in rehearsal on three architectures, interrupted, where nothing is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from tutelage.cli.backends import open_bench
from tutelage.errors import NothingToLearn
from tutelage.recipes import diverse_rft
from tutelage.recipes.path_drawing import labels_of
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Completion, Example
from tutelage.store.run import Run


@pytest.fixture
def rft_config() -> Callable[..., diverse_rft.Config]:
    """A function that makes the config of a small run on primer, changed by keywords."""

    def make(**changes: Any) -> diverse_rft.Config:
        settings: dict[str, Any] = dict(
            model="primer", data="primer:train?n=6", eval_data="primer:dev?n=4", samplers=["primer", "primer"],
            num_samples=4, temperature=1.0, max_new_tokens=64, batch_size=4, epochs=1.0, learning_rate=1e-4,
            eval_samples=0, checkpoint_every=1, hardness_samples=2,
        )  # fmt: skip
        return diverse_rft.Config(**{**settings, **changes})

    return make


def run(config: diverse_rft.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    with open_bench(config, recipe=diverse_rft.NAME, folder=folder, progress=SilentProgress(), resume=resume) as bench:
        return diverse_rft.run(config, bench)


def test_paths_are_few_right_and_those_of_their_samplers(tmp_path, rft_config) -> None:
    report = run(rft_config(), tmp_path / "run")
    card, store = report["paths"], Run.open(tmp_path / "run")
    completions = {c.id: c for c in store.read("completions", Completion)}
    examples = list(store.read("examples", Example))
    paths = [e for e in examples if e.origin.startswith("path:")]
    assert card["kept"] == len(paths) == card["distinct"], "the union has one path of each key"
    assert sum(part["kept"] for part in card["samplers"]) == card["kept"]
    assert [part["sampler"] for part in card["samplers"]] == ["primer", "primer#2"]
    assert [part["samples"] for part in card["samplers"]] == [24, 24]
    for example in paths:
        assert completions[example.source_id].token_ids == example.target_ids
    assert card["tokenized_again"] == 0 and card["examples"]["cot"] == 6
    assert sum(report["outcomes"].values()) == 48
    union = card["distinct_by_samples"]["union"]["points"]
    assert union[-1] == [8, pytest.approx(card["distinct"] / 6, abs=1e-4)]
    assert [row["iteration"] for row in report["iterations"]] == [0, 1]


@pytest.mark.slow
def test_baselines_keep_everything_or_ask_one_sampler(tmp_path, rft_config) -> None:
    every = run(rft_config(select="all", gold=False), tmp_path / "all")["paths"]
    assert every["kept"] == sum(part["correct"] for part in every["samplers"])
    one = run(rft_config(select="one-sampler"), tmp_path / "one")["paths"]
    assert [part["sampler"] for part in one["samplers"]] == ["primer"]
    assert one["samplers"][0]["correct"] == every["samplers"][0]["correct"], "the first sampler draws the same"


def row_of(a: int, b: int) -> dict[str, str]:
    """A problem of our own in the published GSM8K form."""
    return {"question": f"Tim has {a} pens and gets {b}. How many?", "answer": f"{a} + {b} = {a + b}.\n#### {a + b}"}


OWN = [row_of(a, b) for a in range(2, 8) for b in (3, 9)]
SCRIPT = """
def answer(request):
    a = int(request.metadata["answer"])
    if request.index == 0:
        return "It is wrong. Final answer: 1000"
    return f"First {a - request.index} + {request.index} = {a}. Final answer: {a}"
"""


@pytest.mark.parametrize("kind, source", [("llama", "own"), ("llama", "real"), ("qwen2", "real"), ("phi3", "real")])
def test_every_stage_runs_on_a_real_architecture_with_another_tokenizers_sampler(
    tmp_path, kind, source, request, tiny_model_dir, rft_config
) -> None:
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in OWN))
    (tmp_path / "script.py").write_text(SCRIPT)
    file = tmp_path / "own.jsonl"
    if source == "real":
        file = request.getfixturevalue("shared_data") / "gsm8k" / "test.jsonl"
    other = str(tiny_model_dir("qwen2" if kind == "llama" else "llama"))
    config = rft_config(
        model=str(tiny_model_dir(kind)), samplers=[str(tiny_model_dir(kind)), other], eval_data=None, dev_size=3,
        data=f"gsm8k:{file}", data_limit=12, sampler=f"scripted:{tmp_path}/script.py:answer", max_new_tokens=100,
        max_paths=2, gold=False,
    )  # fmt: skip
    report = run(config, tmp_path / "run")
    card = report["paths"]
    assert report["iterations"][1]["steps"] >= 3
    assert card["kept"] == 18 and card["kept_per_problem"] == 2
    assert card["distinct"] == 27 and card["shared_share"] == 1.0, "both samplers write the same three paths"
    examples = list(Run.open(tmp_path / "run").read("examples", Example))
    again = [e for e in examples if not e.origin.endswith(f"path:{Path(config.samplers[0]).name}")]
    assert card["tokenized_again"] == len(again)
    AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoints" / "it1")


def test_recordings_are_samplers_and_a_scripted_judge_cuts(tmp_path, tiny_model_dir, rft_config) -> None:
    problems = [{"id": f"p{a}", "question": f"{a} pens and 9 more?", "answer": str(a + 9)} for a in range(2, 8)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    texts = {
        "sums": lambda a: f"{a} + 9 = {a + 9}. Final answer: {a + 9}",
        "turned": lambda a: f"9 + {a} = {a + 9}. Final answer: {a + 9 if a % 2 else a}",
        "bluff": lambda a: f"I know it. Final answer: {a + 9}",
    }
    for name, text in texts.items():
        rows = [{"question_id": f"p{a}", "completion": text(a), "model": name} for a in range(2, 8)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judge.py").write_text(
        "def answer(request):\n    bad = 'I know it' in request.prompt_text\n"
        "    return 'Bare.\\nRating: [[3]]' if bad else 'Shown.\\nRating: [[9]]'\n"
    )
    config = rft_config(
        model=str(tiny_model_dir("llama")), data=f"jsonl:{tmp_path}/own.jsonl", num_samples=1, max_new_tokens=100,
        samplers=[f"replay:{tmp_path}/{name}.jsonl" for name in texts], gold=False, eval_limit=1,
        eval_data=f"jsonl:{tmp_path}/own.jsonl", sampler=f"replay:{tmp_path}/sums.jsonl",
        judge=f"scripted:{tmp_path}/judge.py:answer",
    )  # fmt: skip
    report = run(config, tmp_path / "run")
    card = report["paths"]
    assert [(part["sampler"], part["correct"], part["kept"]) for part in card["samplers"]] == [
        ("sums", 6, 6), ("turned", 3, 3), ("bluff", 0, 0),
    ]  # fmt: skip
    assert card["tokenized_again"] == 0 and card["kept_per_problem"] == 1.5
    (cut,) = card["left_out"]["filters"]["bluff"]
    assert (cut["right_in"], cut["right_out"]) == (6, 0), "the judge lets no bare answer through"
    assert report["remarks"][1].startswith("turned: 3 right of 6 samples, 3 distinct paths, 33.3% of all found by it")
    assert "bluff: the judge let 0 of 6 right and 0 of 0 wrong paths through" in report["remarks"]
    assert report["remarks"][-1].startswith(
        "9 distinct paths, 0.0% found by several samplers; 9 are learnt, 1.50 a prob"
    )


@pytest.mark.parametrize("stop", [4, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_and_resumed_ends_the_same(
    tmp_path, rft_config, results_of, interrupted_at_rows, stop
) -> None:
    config = rft_config(
        dynamic_loss=True, epochs=2.0, data="primer:train?n=4", eval_data="primer:dev?n=2", num_samples=2,
        samplers=["primer"],
    )  # fmt: skip
    whole = run(config, tmp_path / "whole")
    assert len(whole["iterations"][1]["problems_by_hardness"]) == 2, "hardness is measured in both epochs"
    with interrupted_at_rows(stop, "train", "hardness"):
        run(config, tmp_path / "part")
    run(config, tmp_path / "part", resume=True)
    assert results_of(tmp_path / "part") == results_of(tmp_path / "whole")


@pytest.mark.slow
def test_the_dynamic_loss_reports_curves_by_hardness(tmp_path, rft_config) -> None:
    report = run(rft_config(dynamic_loss=True, styles=["cot", "pot"], num_samples=2, samplers=[]), tmp_path / "run")
    row = report["iterations"][1]
    assert sum(row["problems_by_hardness"][0]) == 12, "six problems in two styles"
    assert [point["step"] for point in row["loss_by_hardness"]] == list(range(1, row["steps"] + 1))
    assert any(value is not None and value > 0 for point in row["loss_by_hardness"] for value in point["nll"])


def test_nothing_right_and_nothing_written_are_told(tmp_path, tiny_model_dir, rft_config) -> None:
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in OWN))
    (tmp_path / "script.py").write_text("def answer(request):\n    return ''\n")
    config = rft_config(
        model=str(tiny_model_dir("llama")), samplers=[], eval_data=None, dev_size=3, data=f"gsm8k:{tmp_path}/own.jsonl",
        sampler=f"scripted:{tmp_path}/script.py:answer",
    )  # fmt: skip
    with pytest.raises(NothingToLearn, match="no sampler wrote a right solution") as caught:
        run(config, tmp_path / "run")
    assert "check_equations" in str(caught.value)


def test_settings_are_checked(rft_config) -> None:
    assert labels_of(["a/x", "b/x", "server:http://h"]) == ["x", "x#2", "server:http://h"]
    for wrong in ({"styles": []}, {"styles": ["cot", "cot"]}, {"max_paths": 0}, {"select": "some"}):
        with pytest.raises(ValidationError):
            rft_config(**wrong)
