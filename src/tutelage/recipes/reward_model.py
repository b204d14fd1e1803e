"""A reward model: which of several answers to one problem is the best.

    1. sample N solutions of each training problem and grade them (or replay recorded ones: sampler=replay:FILE)
    2. pairs: every right one with every wrong one of its problem, at most K at random
    3. minimise -log sigmoid(r(right) - r(wrong) - m), r a scalar head at a solution's last token
    4. on problems not trained on: sample, grade, score; report
       - accuracy on pairs of one problem, and the AUC within problems against the AUC across problems
       - accuracy of the best of k by score, beside a random sample, the majority vote, and the best there is
       - how many right and wrong solutions pass when the top M of each problem are kept

Sources: arXiv 2203.02155 §3.5 (the loss); the 360 talk (2024) for what it is used for and for the two AUCs: only
differences within a problem are trained, so scores rank answers of one problem and need not compare two problems.
Deviations: the talk's model, data and settings are unpublished; everything here is the textbook's or ours.

The result, `checkpoints/it1`, loads with transformers' AutoModelForSequenceClassification. `ppo` takes the run's folder
as `reward_model=`; in Python, `RewardScorer` scores completions and `selection/filters.py` filters by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import model_validator

from tutelage.config.settings import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
    setting,
)
from tutelage.errors import NothingToLearn
from tutelage.learning.reward import RewardLearner
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.estimate import Workload
from tutelage.recipes.learn import show_steps, stage_digest, summary
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.recipes.reward_card import card_of, remarks
from tutelage.recipes.scoring import RewardReader
from tutelage.records import Completion, PreferencePair, SamplingParams, Verdict, digest, seed_of
from tutelage.selection.difficulty import make_groups
from tutelage.selection.pairs import PairingResult, PairSettings, make_pairs

NAME = "reward-model"
RLHF = "arXiv 2203.02155"


class Config(DataSettings, ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings, RunSettings):
    """Settings of a reward model."""

    num_samples: int = setting(
        16, "Solutions sampled of each training problem, N.", source=f"ours; {RLHF}: 4 to 9", ge=2
    )
    temperature: float = setting(0.8, "Sampling temperature.", gt=0, le=5)
    max_new_tokens: int = setting(512, "Longest solution.", unit="tokens", ge=1)
    pairs_per_problem: int = setting(16, "Most pairs of right and wrong of each problem, K.", ge=1)
    dedupe_pairs: bool = setting(True, "Whether equal texts of a problem count once.")
    max_pairs: int | None = setting(60_000, "Most pairs in all.", ge=1)
    margin: float = setting(
        0.0, "By how much a right solution's reward must exceed a wrong one's.", source="arXiv 2307.09288 §3.2.2", ge=0
    )
    batch_size: int = setting(32, "Pairs in one optimizer step.", source=f"{RLHF} App. C: 64 prompts", ge=1)
    epochs: float = setting(1.0, "Passes over the pairs; more overfit.", source=f"{RLHF} App. C: 1", gt=0, le=1000)
    keep_top: int = setting(2, "M of the filter that the report counts.", unit="solutions a problem", ge=1)

    @model_validator(mode="after")
    def _there_is_something_to_rank(self) -> Config:
        if self.eval_samples < 2:
            raise ValueError("eval_samples are the solutions that are ranked: it must be >= 2")
        return self

    def workload(self, num_train: int, num_test: int) -> Workload:
        """What a run does at most."""
        tested = min(num_test, self.eval_limit or num_test, self.eval_sample_limit or num_test)
        pairs = int(min(num_train * self.pairs_per_problem, self.max_pairs or math.inf))
        steps = max(1, min(self.max_steps, math.ceil(self.epochs * pairs / self.batch_size)))
        drawn = num_train * self.num_samples + tested * self.eval_samples
        return Workload(drawn, pairs, steps, self.batch_size, loss="dpo")


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        NothingToLearn: no problem had both a right and a wrong solution.
        ModelError: the model's architecture has no scalar head.
    """
    report = ReportBuilder(NAME, config, bench)
    completions, verdicts, pairing = practise(config, bench)
    report.count(verdicts.values())
    bench.progress.note(f"{len(pairing.pairs)} pairs of {pairing.counts['paired']} problems")
    weights, figures = fit(config, bench, pairing.pairs)
    figures.note_practice(pairing, make_groups(completions, verdicts), completions)
    report.add(figures)
    card = judge(config, bench, weights)
    steps = [["reward solutions with it", "tutelage run ppo model=MODEL data=DATA reward=both reward_model={folder}"]]
    whole = {**report.finish(), "reward_model": card, "remarks": remarks(card), "next_steps": steps}
    bench.run.write_report(whole)
    return whole


def practise(config: Config, bench: Bench) -> tuple[list[Completion], dict[str, Verdict], PairingResult]:
    """Steps 1 and 2."""
    params = SamplingParams(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    plan = stages.SamplingPlan("it1-sample", params, config.num_samples, config.seed, round=1)
    completions = stages.sample(bench, bench.base, bench.train, plan)
    verdicts = stages.grade(bench, bench.train, completions, name="it1-grade")
    rule = PairSettings(
        count=config.pairs_per_problem, order="product_shuffle", dedupe=config.dedupe_pairs, limit=config.max_pairs
    )  # fmt: skip
    pairing = make_pairs(bench.train, completions, verdicts, rule, seed=config.seed, iteration=1)
    if not pairing.pairs:
        raise nothing_to_rank(verdicts, pairing)
    bench.run.append_many("pairs", pairing.pairs)
    return completions, verdicts, pairing


def fit(config: Config, bench: Bench, pairs: Sequence[PreferencePair]) -> tuple[Weights, IterationReport]:
    """Step 3: the reward model, saved as `checkpoints/it1`."""
    name, base = "it1-learn", bench.base
    stage = digest([stage_digest(config, base, 1, pairs), NAME, config.margin])
    folder = bench.run.checkpoint_path("it1")
    with bench.run.stage(name, stage) as journal, bench.spent.on("learning"):
        if not journal.is_finished:
            learner = RewardLearner.open(
                base.model, config, margin=config.margin, seed=seed_of(config.seed, "learn", 1), adapter=base.adapter,
                device=config.device, dtype=config.dtype,
            )  # fmt: skip
            result = learner.fit(
                pairs, bench.run.scratch_path(name), on_step=show_steps(config, bench, name, len(pairs), None)
            )
            learner.save(folder)
            last = result.metrics[-1]
            details = {"loss": last.loss, "train_accuracy": last.accuracy, "train_margin": last.margin}
            journal.result.update(summary(result, len(pairs)), details=details)
    bench.run.remove_scratch(name)
    figures = IterationReport(1, pairs=len(pairs), **journal.result)
    return base.learnt(folder, stage, is_adapter=False), figures


def judge(config: Config, bench: Bench, weights: Weights) -> dict[str, Any]:
    """Step 4: what the reward model is worth on problems that it was not trained on, sampled from the base."""
    limit = min(config.eval_limit or len(bench.test), config.eval_sample_limit or len(bench.test))
    problems = bench.test[:limit]
    params = SamplingParams(temperature=config.eval_temperature, max_new_tokens=config.max_new_tokens)
    plan = stages.SamplingPlan("it1-eval", params, config.eval_samples, config.seed)
    completions = stages.sample(bench, bench.base, problems, plan)
    verdicts = stages.grade(bench, problems, completions, name="it1-eval-grade")
    usable = [c for c in completions if verdicts[c.id].is_usable and c.token_ids]
    scores = RewardReader(weights.model, config, name="it1").scores(bench, usable, name="it1-score")
    return card_of(problems, usable, verdicts, scores, keep_top=config.keep_top, seed=config.seed)


def nothing_to_rank(verdicts: dict[str, Verdict], pairing: PairingResult) -> NothingToLearn:
    """The error that says why there is no pair, and what to try."""
    outcomes = {name: count for name, count in stages.count_outcomes(verdicts.values()).items() if count}
    counts = pairing.counts
    return NothingToLearn(
        "no problem had both a right and a wrong solution, so there is nothing to rank",
        seen=f"{counts['problems']} problems: {counts['all_right']} all right, {counts['all_wrong']} all wrong; "
        + ", ".join(f"{count} {name}" for name, count in outcomes.items()),
        expected="some problems with a right and a wrong solution",
        advice="draw more samples (num_samples), raise the temperature, or take problems that it sometimes solves",
    )
