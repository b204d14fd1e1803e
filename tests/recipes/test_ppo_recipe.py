"""Policy gradients through every stage: on primer, in rehearsal on three architectures, killed and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from tutelage.cli.backends import open_bench
from tutelage.errors import ModelError, NothingToLearn
from tutelage.recipes import ppo, reward_model
from tutelage.recipes.ppo import problems_of
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.scoring import RewardReader
from tutelage.records import (
    MODEL_OUTCOMES,
    Completion,
    Outcome,
    Policy,
    Problem,
    SamplingParams,
    Score,
    Trajectory,
    Verdict,
)
from tutelage.store.run import Run


def config_of(**changes: Any) -> ppo.Config:
    settings: dict[str, Any] = dict(
        model="primer", data="primer:train?n=24", eval_data="primer:dev?n=12", iterations=2, problems_per_iteration=8,
        num_samples=4, max_new_tokens=64, learning_rate=1e-4, batch_size=16, epochs=1.0, eval_samples=0, max_batch=32,
        checkpoint_every=1, kl_problems=8, eval_every=2,
    )  # fmt: skip
    return ppo.Config(**{**settings, **changes})


def run_in(config: Any, folder: Path, *, module: Any = ppo, resume: bool = False) -> dict[str, Any]:
    with open_bench(
        config, recipe=module.NAME, folder=folder, progress=SilentProgress(), resume=resume
    ) as bench:  # fmt: skip
        return module.run(config, bench)


def everything(results_of: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    trajectories = sorted(Run.open(folder).read("trajectories", Trajectory), key=lambda t: t.completion_id)
    return {**results_of(folder), "trajectories": trajectories}


def test_rounds_are_reported_and_trajectories_link_up(tmp_path: Path) -> None:
    report = run_in(config_of(), tmp_path / "run")
    rows = report["iterations"]
    assert [row["iteration"] for row in rows] == [0, 1, 2]
    assert [bool(row.get("greedy")) for row in rows] == [True, False, True]
    assert rows[1]["kl"] == pytest.approx(0.0, abs=1e-4) and rows[1]["kl_coef"] == 0.05
    assert rows[2]["kl_coef"] == pytest.approx(0.05 * 0.7), "KL was below its target, so its price fell by the gain"
    assert rows[2]["kl_after"] is not None and 0 <= rows[2]["accuracy"] <= 1
    assert rows[1]["steps"] == 2 and rows[1]["clip_fraction"] is not None and rows[1]["entropy"] > 0
    assert sum(report["outcomes"].values()) == 2 * 8 * 4
    assert "KL to the start" in report["remarks"][1] and report["paired_test"]["n"] == 12
    run = Run.open(tmp_path / "run")
    completions = {c.id: c for c in run.read("completions", Completion)}
    trajectories = list(run.read("trajectories", Trajectory))
    assert len(trajectories) == 64
    for trajectory in trajectories:
        completion = completions[trajectory.completion_id]
        assert trajectory.policy == completion.policy
        assert len(trajectory.advantages) == sum(completion.loss_mask())
        assert trajectory.old_logprobs == pytest.approx(completion.token_logprobs, abs=1e-3), (
            "learner and sampler agree"
        )
    assert not any((tmp_path / "run" / "scratch").glob("*")), "the resumable state goes when all is done"
    AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoints" / "it2")


class Fault(BaseException):
    """Stands in for anything that ends a process."""


@pytest.mark.parametrize("advantage", ["gae", pytest.param("grpo", marks=pytest.mark.slow)])
def test_a_run_killed_anywhere_ends_with_the_same_results(tmp_path: Path, advantage, monkeypatch, results_of) -> None:
    config = config_of(
        advantage=advantage, data="primer:train?n=12", eval_data="primer:dev?n=4", problems_per_iteration=5,
        num_samples=3, max_new_tokens=40, kl_problems=3,
    )  # fmt: skip
    events, fail_at = [], None

    def wrapped(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            events.append(name)
            if fail_at == len(events):
                raise Fault(name)
            return result

        return call

    for method in ("append_many", "metrics", "checkpoint_path", "remove_scratch"):
        monkeypatch.setattr(Run, method, wrapped(method, getattr(Run, method)))
    run_in(config, tmp_path / "whole")
    expected, total = everything(results_of, tmp_path / "whole"), len(events)
    # Right after the trajectories of a round are written, in mid-fit, between the rounds, and in the second round.
    for moment in range(9, total, total // 3):
        events, fail_at = [], moment
        folder = tmp_path / f"at-{moment}"
        with pytest.raises(Fault):
            run_in(config, folder)
        fail_at = None
        run_in(config, folder, resume=True)
        assert everything(results_of, folder) == expected, f"differs after a fault at event {moment}"


@pytest.mark.parametrize("kind, rank, advantage", [("llama", 0, "gae"), ("qwen2", 4, "gae"), ("phi3", 0, "rloo")])
def test_every_stage_runs_on_real_files(tmp_path: Path, kind, rank, advantage, shared_data, tiny_model_dir) -> None:
    config = config_of(
        model=str(tiny_model_dir(kind)), data=f"gsm8k:{shared_data}/gsm8k/test.jsonl", data_limit=24, eval_data=None,
        dev_size=4, sampler="scripted", max_new_tokens=200, iterations=1, batch_size=10, lora_rank=rank,
        advantage=advantage,
    )  # fmt: skip
    report = run_in(config, tmp_path / "run")
    assert report["iterations"][1]["steps"] >= 3
    assert report["outcomes"]["correct"] > 3 and report["outcomes"]["incorrect"] > 3
    saved = tmp_path / "run" / "checkpoints" / "it1"
    assert (saved / ("adapter_model.safetensors" if rank else "model.safetensors")).is_file()
    model = AutoModelForCausalLM.from_pretrained(saved)  # an adapter names the model under it
    assert torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all()


def test_a_reward_model_pays_alone_or_beside_the_grader(tmp_path: Path) -> None:
    small = dict(
        model="primer", data="primer:train?n=20", eval_data="primer:dev?n=8", num_samples=6, max_new_tokens=64,
        learning_rate=3e-4, eval_samples=4, max_batch=32,
    )  # fmt: skip
    run_in(reward_model.Config(**small), tmp_path / "rm", module=reward_model)
    name = str(tmp_path / "rm")
    report = run_in(
        config_of(reward="both", reward_model=name, value_model=name, iterations=1, eval_every=1), tmp_path / "both"
    )
    scores = list(Run.open(tmp_path / "both").read("scores", Score))
    assert len(scores) == 32 and {s.by for s in scores} == {name}
    share = report["iterations"][1]["accuracy"]
    assert report["iterations"][1]["reward"] == pytest.approx(share, abs=1e-6), "scores are standardised: mean 0"
    assert report["iterations"][1]["value_explained"] is not None


class ByHand(RewardReader):
    """A reward model whose scores are given."""

    def scores(self, bench: Any, completions: Any, *, name: str) -> dict[str, float]:
        return {c.id: RAW[c.id] for c in completions}


RAW = {"worst": 1.0, "best": 3.0, "liked half": 5.0, "bad half": -1.0, "undecided": 90.0, "error": -90.0}


def solution(name: str, verdict: Outcome = "incorrect") -> tuple[Completion, Verdict]:
    """A solution by name, cut off where that says so, and its verdict."""
    made = Completion(
        name, "p", "answer", Policy("m"), "t", (1,), (2,), name, ((0, 1, "model"),), (0.0,),
        "length" if "half" in name else "stop", SamplingParams(), 0,
    )  # fmt: skip
    return made, Verdict(name, "p", verdict, float(verdict == "correct") if verdict in MODEL_OUTCOMES else None)


def earned(found: list[tuple[Completion, Verdict]], **changes: Any) -> dict[str, float]:
    """What each solution earns in the first round."""
    config = config_of(reward_model="x", **changes)
    reader, none = ByHand("x", config, "x"), cast(Any, None)
    made, verdicts = [c for c, _ in found], {v.completion_id: v for _, v in found}
    return {e.completion.id: e.score for e in ppo.score(config, none, reader, made, verdicts, 1)}


def test_half_a_solution_never_earns_more_than_the_worst_whole_one_by_hand() -> None:
    # raw scores 1, 3, 5, -1: mean 2, deviation the root of 5
    unit = 5**-0.5
    found = [
        solution("worst"), solution("best", "correct"), solution("liked half", "truncated"),
        solution("bad half", "truncated"), solution("undecided", "undecided"), solution("error", "error"),
    ]  # fmt: skip
    expected = {"worst": -unit, "best": unit, "liked half": -unit, "bad half": -3 * unit}
    assert earned(found, reward="reward_model") == pytest.approx(expected), "what is our failure is left out"
    both = earned(found, reward="both", reward_model_weight=2.0)
    assert both == pytest.approx({key: 2 * value + (key == "best") for key, value in expected.items()})
    complete = [solution("worst"), solution("best"), solution("liked half", "correct")]
    assert earned(complete, reward="both")["liked half"] == pytest.approx(1 - 1.5**0.5), "its answer was there"
    halves = earned([solution("liked half"), solution("bad half")], reward="reward_model")
    assert halves == {"liked half": -1.0, "bad half": -1.0}, "where none ended, all have the lowest"


def test_bad_input_is_told(tmp_path: Path, tiny_model_dir, gsm8k_like) -> None:
    for wrong, message in (
        ({"reward": "both"}, "need reward_model"),
        ({"reward_model": "x"}, "takes none"),
        ({"advantage": "rloo", "num_samples": 1}, "num_samples must be >= 2"),
        ({"sampler": "server:http://127.0.0.1:1"}, "lora_rank"),
    ):
        with pytest.raises(ValidationError, match=message):
            config_of(**wrong)
    with pytest.raises(ModelError, match="not a reward model"):
        run_in(config_of(reward="reward_model", reward_model=str(tiny_model_dir("llama"))), tmp_path / "a")
    (tmp_path / "script.py").write_text("def answer(request):\n    return 'Final answer: 1000000'\n")
    config = config_of(
        model=str(tiny_model_dir("llama")), data=f"gsm8k:{gsm8k_like}", eval_data=None, dev_size=2,
        sampler=f"scripted:{tmp_path}/script.py:answer",
    )  # fmt: skip
    with pytest.raises(NothingToLearn, match="earned the same"):
        run_in(config, tmp_path / "b")


def test_a_reward_model_of_another_tokenizer_is_refused(tmp_path: Path, tiny_model_dir, settings_of) -> None:
    from tutelage.learning.reward import RewardLearner

    RewardLearner.open(tiny_model_dir("llama"), settings_of()).save(tmp_path / "rm")
    with pytest.raises(ModelError, match="different tokenizers"):
        run_in(config_of(reward="reward_model", reward_model=str(tmp_path / "rm")), tmp_path / "run")
    with pytest.raises(ModelError, match="value model and the model have different"):
        run_in(config_of(value_model=str(tiny_model_dir("llama"))), tmp_path / "run-2")


def test_problems_come_in_shuffled_passes() -> None:
    train = [Problem(str(i), "", "") for i in range(10)]
    config = config_of(iterations=5, problems_per_iteration=4)
    seen = [p.id for t in range(1, 6) for p in problems_of(config, train, t)]
    assert sorted(seen[:10]) == sorted(p.id for p in train), "a pass visits every problem once"
    assert [p.id for p in problems_of(config, train, 2)] == seen[4:8]
    assert len(problems_of(config_of(problems_per_iteration=25), train, 1)) == 10, "never one twice in a round"


@pytest.fixture
def settings_of() -> Callable[..., Any]:
    from tutelage.config.settings import TrainingSettings

    return TrainingSettings


@pytest.fixture
def gsm8k_like(tmp_path: Path) -> Path:
    """Eight problems of our own in the published GSM8K form."""
    import json

    path = tmp_path / "own.jsonl"
    rows = [{"question": f"Ann has {i} pens and buys {i}. How many?", "answer": f"#### {2 * i}"} for i in range(2, 10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
