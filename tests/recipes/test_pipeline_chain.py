"""The pipeline as a chain of run folders on the built-in world: each recipe takes what the one before left.

Folders are named as they are: a run of `synthesize` means its problems, a run that trained means its last checkpoint.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli.backends import open_bench
from tutelage.problems import load_problems
from tutelage.recipes import RECIPES
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Completion, Example
from tutelage.store.run import Run

MEASURED: dict[str, Any] = dict(eval_data="primer:dev?n=4", eval_samples=0)
LEARNT: dict[str, Any] = dict(batch_size=8, max_steps=3, learning_rate=1e-4, epochs=9.0)


@pytest.mark.slow
def test_every_recipe_goes_on_from_the_folders_of_those_before(tmp_path: Path) -> None:
    def run(recipe: str, name: str, **settings: Any) -> dict[str, Any]:
        module = import_module(RECIPES[recipe].module)
        folder = tmp_path / name
        config = module.Config(**{"model": "primer", "max_new_tokens": 64, "max_batch": 64, **settings})
        with open_bench(config, recipe=recipe, folder=folder, progress=SilentProgress()) as bench:
            report: dict[str, Any] = module.run(config, bench)
        return report

    def at(name: str) -> str:
        return str(tmp_path / name)

    train = "primer:train?n=24"
    made = run("synthesize", "new", data=train, num_problems=16, max_rounds=2, asks_per_round=12, temperature=0.9,
               top_p=0.9, write_tokens=110, solve_samples=4)["synthesis"]  # fmt: skip
    new = made["solutions"]
    mixed = run("sft", "sft", data=at("new"), styles=["cot", "pot", "mixed"], **MEASURED, **LEARNT)["styles"]
    assert mixed["examples"] == {
        "cot": new["with_solution"], "pot": new["with_programs"], "mixed": new["with_programs"]
    }  # fmt: skip
    assert new["with_programs"] > 0
    assert mixed["not_converted"].get("no solution", 0) == made["kept"] - new["with_solution"] < made["kept"] / 4
    assert {c.problem_id for c in Run.open(at("sft")).read("examples", Example)} <= {
        problem.id for problem in load_problems(at("new"))
    }
    run("reward-model", "reward", model=at("sft"), data=train, num_samples=8, **MEASURED | {"eval_samples": 4},
        **LEARNT)  # fmt: skip
    run("judge", "judge", data=train, annotator="exact", reference=False, judge_tokens=128, **MEASURED,
        **LEARNT | {"learning_rate": 1e-3, "max_steps": 24})  # fmt: skip
    reward, judge = at("reward"), at("judge")
    paths = run("diverse-rft", "rft", data=at("new"), samplers=[at("sft"), "primer"], num_samples=4, temperature=1.0,
                gold=False, reward_model=reward, reward_top=2, judge=judge, judge_tokens=128,
                judge_threshold=1, **MEASURED, **LEARNT)["paths"]  # fmt: skip
    assert [part["sampler"] for part in paths["samplers"]] == ["sft", "primer"] and paths["kept"] > 0
    rft = Run.open(tmp_path / "rft")
    assert rft.header["config"]["judge_reference"] is False, "the judge is asked as its run taught it"
    assert paths["kept_per_problem"] <= 4, "the reward model lets two of each sampler's paths through"
    hard = run("hard-dpo", "hard", model=at("rft"), data=train, num_samples=6, temperature=1.0,
               diversity_samples=0, **MEASURED, **LEARNT)  # fmt: skip
    assert hard["iterations"][1]["steps"] == 3
    ppo = run("ppo", "ppo", model=at("rft"), data=at("new"), iterations=1, problems_per_iteration=8, num_samples=4,
              kl_problems=4, reward="both", reward_model=reward, **MEASURED, **LEARNT | {"max_steps": 2})  # fmt: skip
    assert ppo["iterations"][1]["reward"] is not None
    drawn = {c.problem_id for c in Run.open(tmp_path / "ppo").read("completions", Completion) if c.params.temperature}
    assert drawn and drawn <= {problem.id for problem in load_problems(at("new"))}
