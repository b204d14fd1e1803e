"""The compile comparison: equal numbers of traces from every source, models that load, tests paired by problem."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from tutelage.cli.backends import open_bench
from tutelage.errors import InputError, ModelError
from tutelage.recipes import compile as compile_recipe
from tutelage.recipes import flow_dpo
from tutelage.recipes.compile_traces import Trace, take_equally
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Completion, Example, Problem, Verdict
from tutelage.store.run import Run

SHAPE: dict[str, Any] = dict(
    model="primer", eval_data="primer:dev?n=12", chunk_tokens=8, max_chunks=6, stop_prompt="completeness", max_batch=32
)


@pytest.fixture
def run_recipe_of() -> Callable[..., dict[str, Any]]:
    """A function `(recipe module, config, folder, resume=False) -> report`."""

    def run(recipe: Any, config: Any, folder: Path, *, resume: bool = False) -> dict[str, Any]:
        with open_bench(config, recipe=recipe.NAME, folder=folder, progress=SilentProgress(), resume=resume) as bench:
            return recipe.run(config, bench)

    return run


@pytest.fixture
def flow_folder(tmp_path, run_recipe_of) -> Path:
    """Adapters of a flow that was hardly trained."""
    config = flow_dpo.Config(
        **SHAPE, data="primer:train?n=4", stream_window=4, pairs_per_update=4, learning_rate=1e-3, eval_flow=False
    )
    run_recipe_of(flow_dpo, config, tmp_path / "flow")
    return tmp_path / "flow" / "checkpoints"


def test_sources_get_equal_numbers_and_their_models_load(tmp_path, flow_folder, run_recipe_of, results_of) -> None:
    config = compile_recipe.Config(
        **SHAPE, data="primer:train?n=16", flow=str(flow_folder), learning_rate=2e-3, tries=2, batch_size=4, epochs=2.0
    )
    report = run_recipe_of(compile_recipe, config, tmp_path / "run")
    rows = {row["source"]: row for row in report["compile"]}
    assert set(rows) == {"zero-shot", "gold", "self", "flow", "format"}
    counts = {row["traces"] for source, row in rows.items() if source != "zero-shot"}
    assert len(counts) == 1 and counts.pop() > 0
    assert all(row["n"] == 12 for row in rows.values())
    assert len(report["comparisons"]) == 10
    for test in report["comparisons"]:
        gap = rows[test["second"]]["accuracy"] - rows[test["first"]]["accuracy"]
        assert test["difference"] == pytest.approx(gap) and test["n"] == 12
    run = Run.open(tmp_path / "run")
    verdicts = {v.completion_id: v for v in run.read("verdicts", Verdict)}
    completions = {c.id: c for c in run.read("completions", Completion)}
    seen: dict[str, list[str]] = {}
    for example in run.read("examples", Example):
        seen.setdefault(example.origin, []).append(example.problem_id)
        if example.origin in ("self", "flow"):
            assert verdicts[example.source_id].is_correct
        if example.origin != "gold":
            text = completions[example.source_id].token_ids
            assert example.target_ids[: len(text)] == text
    assert all(len(set(ids)) == len(ids) for ids in seen.values()), "at most one trace of a problem"
    for source in ("gold", "self", "flow", "format"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoints" / source)
    before = results_of(tmp_path / "run")
    run_recipe_of(compile_recipe, config, tmp_path / "run", resume=True)
    assert results_of(tmp_path / "run") == before


def test_a_compiled_model_goes_on_into_iterative_rpo(tmp_path, run_recipe_of, small_config, run_recipe) -> None:
    config = compile_recipe.Config(
        **SHAPE, data="primer:train?n=8", sources=["gold"], learning_rate=1e-3, batch_size=4, epochs=1.0
    )
    run_recipe_of(compile_recipe, config, tmp_path / "run")
    model = str(tmp_path / "run" / "checkpoints" / "gold")
    report = run_recipe(small_config(model=model, iterations=1, eval_samples=0), tmp_path / "further")
    assert report["iterations"][0]["greedy"]["n"] == 16


def test_what_cannot_work_is_told(tmp_path, run_recipe_of) -> None:
    with pytest.raises(ValidationError, match="gold, self, flow, format"):
        compile_recipe.Config(**SHAPE, data="primer:train?n=4", sources=["silver"])
    with pytest.raises(InputError, match="the flow's traces need its adapters"):
        run_recipe_of(compile_recipe, compile_recipe.Config(**SHAPE, data="primer:train?n=4"), tmp_path / "a")
    wrong = compile_recipe.Config(**SHAPE, data="primer:train?n=4", sources=["flow"], flow=str(tmp_path))
    with pytest.raises(ModelError, match="no adapter of the flow"):
        run_recipe_of(compile_recipe, wrong, tmp_path / "b")


def traces(*ids: str) -> dict[str, Trace]:
    return {i: Trace(i, (1,), f"c{i}") for i in ids}


def test_take_equally_by_hand() -> None:
    problems = [Problem(i, i, "1") for i in "abcde"]
    found = {"gold": traces(*"abcde"), "self": traces("e", "b"), "flow": traces("b", "c", "d")}
    count = take_equally(found, problems, match="count", limit=None)
    assert {s: [t.problem_id for t in ts] for s, ts in count.items()} == {
        "gold": ["a", "b"], "self": ["b", "e"], "flow": ["b", "c"],
    }  # fmt: skip
    same = take_equally(found, problems, match="problems", limit=None)
    assert {s: [t.problem_id for t in ts] for s, ts in same.items()} == {source: ["b"] for source in found}
    assert all(len(ts) == 1 for ts in take_equally(found, problems, match="count", limit=1).values())
