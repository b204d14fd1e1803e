"""Iterative RPO: arXiv 2404.19733v3, sections 2 and 3.

    M_0 = the model; D = the training problems, the same in every iteration
    for t = 0 .. T-1:
        1. sample N solutions of each problem from M_t and grade them against the gold answer
        2. pair right with wrong ones: walk both lists in step, starting again at the end of the shorter, K pairs
        3. keep at most `max_pairs`, drop over-long ones
        4. theta <- M_t, reference <- M_t; train L = -log sigmoid(beta h) - alpha s(chosen) / |chosen|
        5. optionally: choose the best step on held-out problems, then train again from M_t with their pairs too
        6. M_{t+1} = theta; measure; stop when accuracy no longer rises

Deviations: learning-rate schedule and warm-up are not stated in the paper (constant by default). Gold solutions enter
the winners only when asked for (`gold_in_winners`). Over-long pairs are dropped, and counted, after the cap. The loss
can be exchanged for the paper's baselines, plain `dpo` and `sft` on the chosen solutions (STaR), and for `ipo`. "Twice
the data in one iteration" is `pairs_per_problem` doubled with `iterations=1`.

Cost of the published setting: 7.5k problems x 30 samples and 5,000 steps of 16 pairs per iteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import field_validator, model_validator

from tutelage.config.settings import (
    IRPO,
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
    setting,
)
from tutelage.errors import NothingToLearn
from tutelage.recipes import learn, stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.measure import measure
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.records import Completion, Group, SamplingParams, Verdict
from tutelage.selection.difficulty import make_groups
from tutelage.selection.pairs import PairingResult, PairSettings, make_pairs

NAME = "iterative-rpo"


class Config(DataSettings, ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings, RunSettings):
    """Settings of Iterative RPO."""

    iterations: int = setting(4, "Rounds of practice, T.", source=f"{IRPO} §4: 4 for GSM8K, 3 for ARC and MATH", ge=1)
    num_samples: int = setting(30, "Solutions sampled of each problem, N.", source=f"{IRPO} §4: 30, MATH 20", ge=1)
    temperature: float | list[float] = setting(
        [0.8, 0.8, 1.3, 1.3], "Sampling temperature of each iteration; the last one goes on.",
        source=f"{IRPO} §4: 0.8, from iteration 3 on 1.3 (MATH 1.0)",
    )  # fmt: skip
    top_p: float = setting(1.0, "Nucleus of sampling.", gt=0, le=1)
    max_new_tokens: int = setting(512, "Longest solution.", unit="tokens", ge=1)
    pairs_per_problem: int = setting(10, "Pairs of each problem, K.", source=f"{IRPO} §4: 10, ARC 20, MATH 15", ge=1)
    pair_order: Literal["paper", "product_shuffle"] = setting(
        "paper", "How right and wrong are matched: in step with wrap-around, or shuffled combinations."
    )
    dedupe_pairs: bool = setting(False, "Drop pairs with equal texts (wrap-around repeats some).")
    score_margin: float = setting(0.0, "With scores that are not 0 or 1: by how much chosen must beat rejected.", ge=0)
    gold_in_winners: Literal["never", "always", "when_missing"] = setting(
        "never", "Whether gold solutions are among the winners.", source=f"{IRPO} §4: always for GSM8K; ours: never"
    )
    max_pairs: int | None = setting(60_000, "Most pairs of an iteration.", source=f"{IRPO} §4: about 60k", ge=1)
    loss: Literal["dpo_nll", "dpo", "ipo", "sft"] = setting(
        "dpo_nll", "The paper's loss, or a baseline: dpo, ipo, or sft on the chosen (STaR).", source=f"{IRPO} Eq. 1"
    )
    beta: float = setting(0.1, "Strength of the pull to the reference.", source=f"{IRPO} §4", gt=0)
    alpha: float = setting(1.0, "Weight of the NLL term.", source=f"{IRPO} §4 (v3: alpha is on the NLL)", ge=0)
    nll_average: Literal["sequence", "token"] = setting(
        "sequence", "NLL per token of each sequence then over the batch, or over all tokens of the batch.",
        source=f"{IRPO} Eq. 1: sequence",
    )  # fmt: skip
    choose_step_every: int | None = setting(
        None, "Steps between measurements on dev problems from which the best step is chosen; none trains to the end.",
        unit="steps", source=f"{IRPO} §4", ge=1,
    )  # fmt: skip
    stop_gain: float | None = setting(
        None, "Stop when an iteration raises dev accuracy by less than this; none never stops early.",
        source=f"{IRPO} §4: until saturation", ge=0, le=1,
    )  # fmt: skip

    @field_validator("temperature")
    @classmethod
    def _temperatures(cls, value: float | list[float]) -> float | list[float]:
        values = value if isinstance(value, list) else [value]
        if not values or any(not 0 < v <= 5 for v in values):
            raise ValueError("temperatures must lie in (0, 5], one or more")
        return value

    @model_validator(mode="after")
    def _sampler_can_follow_the_weights(self) -> Config:
        if self.choose_step_every is not None and self.sampler.split(":")[0] not in ("local", "scripted"):
            raise ValueError("choose_step_every samples from the model in mid-training: it needs sampler=local")
        if self.sampler.startswith("server") and not self.lora_rank:
            raise ValueError("a server can be given new adapters, not new models: sampler=server needs lora_rank")
        return self

    def temperature_at(self, iteration: int) -> float:
        """The sampling temperature of an iteration, counted from 1."""
        values = self.temperature if isinstance(self.temperature, list) else [self.temperature]
        return values[min(iteration, len(values)) - 1]

    def pairing(self) -> PairSettings:
        """The settings of the pairing rule."""
        return PairSettings(
            count=self.pairs_per_problem,
            order=self.pair_order,
            dedupe=self.dedupe_pairs,
            margin=self.score_margin,
            gold=self.gold_in_winners,
            limit=self.max_pairs,
        )


@dataclass(frozen=True)
class Practice:
    """What one round of sampling gave."""

    completions: list[Completion]
    verdicts: dict[str, Verdict]
    groups: list[Group]
    pairing: PairingResult


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        NothingToLearn: no problem had both a right and a wrong sample in the first iteration; in a later one that ends
            the loop, and what was learnt so far is reported.
    """
    weights = bench.base
    report = ReportBuilder(NAME, config, bench)
    on_dev = config.stop_gain is not None
    report.add(measure(config, bench, weights, IterationReport(0), on_dev=on_dev))
    for t in range(1, config.iterations + 1):
        practice = practise(config, bench, weights, t)
        report.count(practice.verdicts.values())
        if not practice.pairing.pairs:
            nothing = nothing_to_learn(practice, t)
            if t == 1:
                raise nothing
            bench.progress.note(f"stopped before iteration {t} could learn: {nothing}")
            break
        weights, figures = learn.from_pairs(config, bench, weights, practice.pairing.pairs, iteration=t)
        figures.note_practice(practice.pairing, practice.groups, practice.completions)
        report.add(measure(config, bench, weights, figures, on_dev=on_dev))
        if report.is_saturated(config.stop_gain):
            bench.progress.note(f"stopped after iteration {t}: dev accuracy rose by less than {config.stop_gain}")
            break
    return report.finish()


def practise(config: Config, bench: Bench, weights: Weights, t: int) -> Practice:
    """Steps 1 to 3: sample from M_t, grade, pair."""
    params = SamplingParams(
        temperature=config.temperature_at(t), top_p=config.top_p, max_new_tokens=config.max_new_tokens
    )
    problems = bench.train + bench.held_out if config.choose_step_every else bench.train
    plan = stages.SamplingPlan(f"it{t}-sample", params, config.num_samples, config.seed, round=t)
    completions = stages.sample(bench, weights, problems, plan)
    verdicts = stages.grade(bench, problems, completions, name=f"it{t}-grade")
    pairing = make_pairs(
        problems, completions, verdicts, config.pairing(), seed=config.seed, iteration=t,
        gold_ids=bench.prompter.target_ids,
    )  # fmt: skip
    groups = make_groups(completions, verdicts, round=t)
    bench.run.append_many("groups", groups)
    bench.run.append_many("pairs", pairing.pairs)
    return Practice(completions, verdicts, groups, pairing)


def nothing_to_learn(practice: Practice, t: int) -> NothingToLearn:
    """The error that says why no pair could be made, and what to try."""
    outcomes = stages.count_outcomes(practice.verdicts.values())
    total, correct = sum(outcomes.values()), outcomes["correct"]
    shown = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count)
    if outcomes["truncated"] > total / 2:
        advice = "most samples were cut short: raise max_new_tokens, or start from a model that ends its answers"
    elif correct == 0:
        advice = (
            "the model solves none of these problems: start from a stronger or fine-tuned model (tutelage run sft), "
            "give it worked examples (num_shots=4), easier problems, more samples or a longer max_new_tokens; "
            "gold_in_winners=always pairs gold solutions with wrong samples"
        )
    elif correct == total:
        advice = "the model solves all of these problems: give it harder ones, or raise the temperature"
    else:
        advice = "draw more samples of each problem (num_samples) or raise the temperature"
    return NothingToLearn(
        f"no problem had both a right and a wrong sample in iteration {t}, so there is nothing to learn from",
        seen=f"{total} samples of {len(practice.groups)} problems: {shown}",
        expected="some problems with a right and a wrong sample",
        advice=advice,
    )
