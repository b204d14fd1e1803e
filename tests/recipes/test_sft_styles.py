"""sft on prose, programs and both: on primer, resumed after a kill, and on real architectures with converted files."""

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
from tutelage.recipes import sft
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Completion, Example
from tutelage.sampling.executing import KIND, ProgramExecution
from tutelage.store.run import Run

SCRIPT = """
def write(request):
    answer, prompt = request.metadata["answer"], request.prompt_text
    if "```output" in request.metadata.get("written", ""):
        return f"Final answer: {answer}"
    if "Python program" in prompt:
        lead = "Add them.\\n" if "Reason in words" in prompt else ""
        return f"{lead}```python\\nprint({answer} + {request.seed % 2})\\n```\\n"
    return f"Final answer: {answer}"
"""


def config_of(**changes: Any) -> sft.Config:
    settings: dict[str, Any] = dict(
        model="primer", data="primer:train?n=12", eval_data="primer:dev?n=6", styles=["cot", "pot", "mixed"],
        max_new_tokens=96, learning_rate=3e-4, batch_size=8, max_steps=3, eval_samples=0, max_batch=32,
        checkpoint_every=1,
    )  # fmt: skip
    return sft.Config(**{**settings, **changes})


def run(config: sft.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    with open_bench(config, recipe=sft.NAME, folder=folder, progress=SilentProgress(), resume=resume) as bench:
        return sft.run(config, bench)


def test_styles_are_learnt_with_outputs_masked_and_measured(tmp_path: Path) -> None:
    report = run(config_of(), tmp_path / "run")
    folder = Run.open(tmp_path / "run")
    examples = list(folder.read("examples", Example))
    assert report["styles"]["examples"] == {"cot": 12, "pot": 12, "mixed": 12}
    assert {e.origin: 0.0 in e.weights for e in examples} == {"cot": False, "pot": False, "mixed": True}
    before, after = report["styles"]["iterations"]
    assert before["n"] == 6 and before["pairs"].keys() == after["pairs"].keys() and "by_kind" in after
    assert after["accuracy"]["cot"] == report["iterations"][1]["greedy"]
    assert after["written"]["cot"]["cot"] == 6 and after["written"]["pot"]["programs"]
    executions = list(folder.read(KIND, ProgramExecution))
    assert executions and all(e.execution.status in ("ok", "error") for e in executions)
    solved = [c for c in folder.read("completions", Completion) if c.note.startswith("programs: ok")]
    assert any(kind == "tool" for c in solved for _, _, kind in c.segments)


@pytest.mark.slow
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    tmp_path: Path, results_of: Callable[[Path], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(styles=["pot", "mixed"], eval_samples=2)
    report = run(config, tmp_path / "whole")
    assert 0 <= report["iterations"][1]["maj@2"]["accuracy"] <= 1, "the vote is of the first style, programs run"
    append = Run.append_many
    writes = {"count": 0}

    def failing(self: Run, kind: str, records: Any) -> None:
        writes["count"] += 1
        if writes["count"] == 9:
            raise KeyboardInterrupt
        append(self, kind, records)

    monkeypatch.setattr(Run, "append_many", failing)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "part")
    monkeypatch.setattr(Run, "append_many", append)
    run(config, tmp_path / "part", resume=True)
    assert results_of(tmp_path / "part") == results_of(tmp_path / "whole")
    kept = [
        sorted((e.id, e.program, e.execution.value) for e in Run.open(tmp_path / name).read(KIND, ProgramExecution))
        for name in ("whole", "part")
    ]
    assert kept[0] == kept[1] and kept[0]


@pytest.mark.parametrize(
    "kind, source",
    [
        ("llama", "own"),
        ("llama", "real"),
        pytest.param("qwen2", "real", marks=pytest.mark.slow),
        pytest.param("phi3", "real", marks=pytest.mark.slow),
    ],
)
def test_converted_files_on_a_real_architecture(
    tmp_path: Path, kind: str, source: str, request: pytest.FixtureRequest, tiny_model_dir: Callable[..., Path]
) -> None:
    rows = [
        {"question": f"Tim has {a} pens and gets {b}. How many has he?",
         "answer": f"He has {a}+{b} = <<{a}+{b}={a + b}>>{a + b} pens.\n#### {a + b}"}
        for a in range(2, 8) for b in (3, 9)
    ]  # fmt: skip
    rows.append({"question": "Tom has 2 pens. How many has he?", "answer": "He has 2.\n#### 2"})
    data, script = tmp_path / "own.jsonl", tmp_path / "writer.py"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    script.write_text(SCRIPT)
    if source == "real":
        data = request.getfixturevalue("shared_data") / "gsm8k" / "train.jsonl"
    config = config_of(
        model=str(tiny_model_dir(kind)), data=f"gsm8k:{data}", data_limit=13, eval_data=None, dev_size=3, batch_size=4,
        sampler=f"scripted:{script}:write", max_new_tokens=200,
    )  # fmt: skip
    report = run(config, tmp_path / "run")
    counts = report["styles"]["examples"]
    assert counts["pot"] == counts["mixed"] and counts["cot"] == counts["pot"] + report["styles"]["not_converted"].get(
        "no calculation", 0
    )
    assert report["iterations"][1]["steps"] == 3
    first = report["styles"]["iterations"][0]
    assert first["written"]["mixed"]["mixed"] == 3 and first["accuracy"]["mixed"]["accuracy"] == 1.0
    assert first["written"]["pot"]["programs"] == {"ok": 3}
    AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoints" / "it1")


def test_bad_styles_and_nothing_to_convert(tmp_path: Path, tiny_model_dir: Callable[..., Path]) -> None:
    for styles in ([], ["pot", "pot"], ["prose"]):
        with pytest.raises(ValidationError):
            config_of(styles=styles)
    rows = [{"question": f"What is {n}?", "answer": f"It is {n}.\n#### {n}"} for n in range(6)]
    data = tmp_path / "own.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = config_of(
        model=str(tiny_model_dir("llama")), data=f"gsm8k:{data}", eval_data=None, dev_size=2, sampler="scripted",
        styles=["pot"],
    )  # fmt: skip
    with pytest.raises(NothingToLearn, match="no calculation"):
        run(config, tmp_path / "run")
