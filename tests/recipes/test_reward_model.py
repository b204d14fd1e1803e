"""The recipe reward-model: the card's figures, every stage on three architectures, resume, what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoModelForSequenceClassification

from tutelage.cli.backends import open_bench
from tutelage.cli.tables import next_steps
from tutelage.errors import NothingToLearn
from tutelage.learning.reward import RewardScorer
from tutelage.recipes import reward_model
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.reward_card import card_of, remarks
from tutelage.records import Completion, Policy, PreferencePair, Problem, SamplingParams, Score, Verdict
from tutelage.store.run import Run


def config_of(**changes: Any) -> reward_model.Config:
    settings: dict[str, Any] = dict(
        model="primer", data="primer:train?n=24", eval_data="primer:dev?n=12", num_samples=6, max_new_tokens=64,
        learning_rate=3e-4, eval_samples=4, max_batch=32, checkpoint_every=1, batch_size=16,
    )  # fmt: skip
    return reward_model.Config(**{**settings, **changes})


def run_in(config: reward_model.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    with open_bench(
        config, recipe=reward_model.NAME, folder=folder, progress=SilentProgress(), resume=resume
    ) as bench:  # fmt: skip
        return reward_model.run(config, bench)


def answer(name: str) -> Completion:
    return Completion(
        name, name[0], "answer", Policy("m"), "t", (1,), (2,), name, ((0, 1, "model"),), (0.0,), "stop",
        SamplingParams(), 0, index=int(name[1]),
    )  # fmt: skip


def test_the_card_by_hand() -> None:
    """Problem a: right 3, wrong 2 and 1. Problem b: right -5, wrong -4, -6.

    Within: (3,2) (3,1) (-5,-6) won, (-5,-4) lost: 3 of 4. Across: 3 beats -4, -6; -5 loses to 2, 1: 2 of 4.
    Best of 2 (three answers): a has 3 in two of three subsets; b's -5 tops {-5,-6} only: (2/3 + 1/3) / 2.
    """
    scores = dict(a0=3.0, a1=2.0, a2=1.0, b0=-5.0, b1=-4.0, b2=-6.0)
    verdicts = {
        n: Verdict(n, n[0], "correct" if n[1] == "0" else "incorrect", 1.0 if n[1] == "0" else 0.0, answer=n)
        for n in scores
    }
    problems = [Problem("a", "", "a0"), Problem("b", "", "b0")]
    card = card_of(problems, [answer(n) for n in scores], verdicts, scores, keep_top=1, seed=0)
    assert card["pair_accuracy"]["value"] == 0.75 and card["pairs"] == 4 and card["problems_with_both"] == 2
    assert card["auc_across"]["value"] == 0.5
    assert [row["k"] for row in card["best_of"]] == [1, 2]
    assert card["best_of"][0]["best_of"]["accuracy"] == pytest.approx(1 / 3)
    assert card["best_of"][1]["best_of"]["accuracy"] == pytest.approx(0.5)
    assert card["best_of"][1]["pass"] == pytest.approx(2 / 3)
    kept = card["filter"]
    assert (kept["right_in"], kept["wrong_in"], kept["right_out"], kept["wrong_out"]) == (2, 4, 1, 1)
    assert card["mean_right"] == -1.0 and card["mean_wrong"] == -1.75
    assert any("75.0% (95 % interval" in text for text in remarks(card))
    only_right = {n: v for n, v in verdicts.items() if v.is_correct}
    told = card_of(problems, [answer(n) for n in only_right], only_right, scores, keep_top=1, seed=0)
    assert told["pair_accuracy"] is None and any("cannot be measured" in text for text in remarks(told))


def test_a_run_on_primer_and_again_after_a_kill(tmp_path: Path, results_of, monkeypatch) -> None:
    report = run_in(config_of(), tmp_path / "run")
    card = report["reward_model"]
    assert card["solutions"] == 48 and 0 <= card["auc_across"]["value"] <= 1
    assert [row["k"] for row in card["best_of"]] == [1, 2, 4]
    assert report["iterations"][0]["pairs"] == report["iterations"][0]["pairing"]["pairs"] > 0
    assert len(list(Run.open(tmp_path / "run").read("scores", Score))) == 48
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "checkpoints" / "it1")
    assert saved.config.num_labels == 1
    [(_, command)] = next_steps(report, "runs/my run", {})
    assert command.endswith("reward_model='runs/my run'")
    steps: list[Any] = []
    original = Run.metrics

    def failing(run: Run, name: str, *args: Any, **kwargs: Any) -> None:
        original(run, name, *args, **kwargs)
        steps.append(name)
        if steps.count("train") == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "metrics", failing)
    with pytest.raises(KeyboardInterrupt):
        run_in(config_of(), tmp_path / "again")
    monkeypatch.setattr(Run, "metrics", original)
    run_in(config_of(), tmp_path / "again", resume=True)
    assert results_of(tmp_path / "again") == results_of(tmp_path / "run")


@pytest.mark.parametrize("kind, rank", [("llama", 0), ("qwen2", 4), ("phi3", 0)])
def test_every_stage_runs_on_real_files(tmp_path: Path, kind, rank, shared_data, tiny_model_dir) -> None:
    config = config_of(
        model=str(tiny_model_dir(kind)), data=f"gsm8k:{shared_data}/gsm8k/test.jsonl", data_limit=24, eval_data=None,
        dev_size=6, sampler="scripted", max_new_tokens=200, lora_rank=rank, dedupe_pairs=False, pairs_per_problem=3,
    )  # fmt: skip
    report = run_in(config, tmp_path / "run")
    assert report["iterations"][0]["steps"] >= 3
    pairs = list(Run.open(tmp_path / "run").read("pairs", PreferencePair))
    assert pairs and {pair.rule for pair in pairs} == {"product_shuffle"}
    assert report["reward_model"]["solutions"] == 6 * 4
    drawn = [c for c in Run.open(tmp_path / "run").read("completions", Completion) if c.token_ids][:3]
    scores = RewardScorer.open(tmp_path / "run" / "checkpoints" / "it1").score(drawn)
    assert len(scores) == 3 and all(math.isfinite(score.value) for score in scores)


def test_no_group_with_both_is_told(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("def answer(request):\n    return 'answer: 1000000'\n")
    with pytest.raises(NothingToLearn, match="both a right and a wrong solution") as caught:
        run_in(config_of(sampler=f"scripted:{tmp_path}/script.py:answer"), tmp_path / "run")
    assert "24 all wrong" in str(caught.value)
    with pytest.raises(ValidationError, match="eval_samples"):
        config_of(eval_samples=1)
