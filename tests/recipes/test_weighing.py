"""The dynamic loss in a run: examples weigh by the pass rate in their own style; nothing is measured twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli.backends import open_bench
from tutelage.learning.sft import SFTLearner
from tutelage.recipes import sft
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.styles import styled_examples
from tutelage.recipes.weighing import DynamicLoss, styles_of
from tutelage.records import Completion, Example, Verdict
from tutelage.sampling.executing import KIND, ProgramExecution
from tutelage.store.run import Run
from tutelage.text.programs import Style

SCRIPT = """
def write(request):
    answer, prompt = int(request.metadata["answer"]), request.prompt_text
    if "Python program" in prompt:
        return f"```python\\nprint({answer} + {request.index % 4 > 0:d})\\n```\\n"
    return f"Final answer: {answer}"
"""
"""Prose is always right; of four programs one is."""


def config_of(**changes: Any) -> sft.Config:
    settings: dict[str, Any] = dict(
        model="primer", data="primer:train?n=4", eval_data="primer:dev?n=2", styles=["cot", "pot"], dynamic_loss=True,
        max_new_tokens=96, learning_rate=3e-4, batch_size=4, epochs=2.0, eval_samples=0, max_batch=32,
        checkpoint_every=1, hardness_samples=2, program_workers=1,
    )  # fmt: skip
    return sft.Config(**{**settings, **changes})


def run(config: sft.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    with open_bench(config, recipe=sft.NAME, folder=folder, progress=SilentProgress(), resume=resume) as bench:
        return sft.run(config, bench)


def bench_of(config: sft.Config, folder: Path) -> Any:
    """An open bench."""
    return open_bench(config, recipe=sft.NAME, folder=folder, progress=SilentProgress())


def as_path(example: Example) -> Example:
    """The example as if a sampler had written it: its origin does not tell its style."""
    return dataclasses.replace(example, origin="path:small")


def test_the_style_of_an_example_is_its_origin_or_known_by_its_prompt(tmp_path: Path) -> None:
    styles: list[Style] = ["mixed", "cot", "pot"]
    with bench_of(config_of(styles=styles), tmp_path / "run") as bench:
        examples = styled_examples(bench, bench.train, styles)
        assert styles_of(examples, bench, styles) == [e.origin for e in examples] == ["mixed", "cot", "pot"] * 4
        assert styles_of([as_path(e) for e in examples], bench, styles) == [e.origin for e in examples]
        assert styles_of([as_path(e) for e in examples], bench, ["pot"]) == ["pot"] * 12, "one style needs no prompt"
        prose = sft.gold_examples(bench)
        assert {e.origin for e in prose}.isdisjoint(styles) and styles_of(prose, bench, styles) == ["cot"] * 4


@pytest.mark.parametrize("made", [lambda e: e, as_path], ids=["gold", "paths"])
def test_programs_weigh_by_programs_and_prose_by_prose(
    tmp_path: Path, tiny_model_dir: Callable[..., Path], made: Callable[[Example], Example]
) -> None:
    rows = [
        {"question": f"Ann has {a} pens and gets 3. How many has she?",
         "answer": f"She has {a}+3 = <<{a}+3={a + 3}>>{a + 3}.\n#### {a + 3}"} for a in range(2, 8)
    ]  # fmt: skip
    data, script = tmp_path / "own.jsonl", tmp_path / "writer.py"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    script.write_text(SCRIPT)
    config = config_of(
        model=str(tiny_model_dir("llama")), data=f"gsm8k:{data}", eval_data=None, dev_size=2,
        sampler=f"scripted:{script}:write", hardness_every="once", hardness_samples=4, hard_gamma=2.0,
    )  # fmt: skip
    with bench_of(config, tmp_path / "run") as bench:
        examples = [made(e) for e in styled_examples(bench, sft.convert(bench.train)[0], config.styles)]
        dynamic = DynamicLoss(config, bench, bench.base, examples, "it1")
        learner = SFTLearner.open(bench.base.model, config, seed=0, device="cpu", dtype="float32")
        weighing = dynamic.weighing(learner)
        for epoch in (0, 1):
            assert weighing.weights_of(epoch) == [1.0, 1 + 2.0 * (1 - 1 / 4)] * 4, "p is 1 in prose, 1/4 as a program"
        weighing.on_items(1, [0, 1, 3], [0.5, 2.0, 4.0])
        report = dynamic.report()
    assert report["problems_by_hardness"] == [[0, 4, 0, 0, 4]], (
        "four programs in the second bucket, four in the easiest"
    )
    assert report["loss_by_hardness"] == [{"step": 1, "nll": [None, 3.0, None, None, 0.5]}]
    folder = Run.open(tmp_path / "run")
    assert len(list(folder.read("verdicts", Verdict))) == 2 * 4 * 4, "one measurement a style, of the four problems"
    assert [e.execution.status for e in folder.read(KIND, ProgramExecution)] == ["ok"] * 16


@pytest.mark.parametrize("stop", [4, pytest.param(1, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_and_resumed_measures_nothing_twice(
    tmp_path: Path, results_of: Callable[[Path], Any], interrupted_at_rows: Any, stop: int
) -> None:
    config = config_of()
    whole = run(config, tmp_path / "whole")
    counted = whole["iterations"][1]["problems_by_hardness"]
    assert [sum(row) for row in counted] == [8, 8], "both styles of four problems, in both epochs"
    stages = {c.stage for c in Run.open(tmp_path / "whole").read("completions", Completion)}
    with interrupted_at_rows(stop, "train", "hardness"):
        run(config, tmp_path / "part")
    run(config, tmp_path / "part", resume=True)
    assert results_of(tmp_path / "part") == results_of(tmp_path / "whole")
    assert {c.stage for c in Run.open(tmp_path / "part").read("completions", Completion)} == stages
    ran = [sorted(e.id for e in Run.open(tmp_path / name).read(KIND, ProgramExecution)) for name in ("whole", "part")]
    assert ran[0] == ran[1] and ran[0]
