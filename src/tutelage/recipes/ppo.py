"""Policy gradients from checked answers: PPO with a value network, or GRPO / RLOO without one.

    theta = theta_ref = the model; D = the training problems, visited in seeded order
    for t = 1 .. T:
        1. sample K solutions of each of the next n problems from pi_theta
        2. score them: the grader's verdict, a reward model's opinion, or both
        3. reward of a token: -beta [log pi_theta - log pi_ref], and on the last token the solution's score
        4. advantages: GAE over a value network; or a solution's whole reward against those of the same problem (GRPO:
           over their standard deviation; RLOO: less the mean of the others)
        5. a few passes in minibatches: L = -min(rho A, clip(rho, 1 - c, 1 + c) A), and (V - R)^2, clipped likewise
        6. beta <- beta (1 + gain (KL / target - 1)): the price of KL goes up where KL is above its target
    measure every few iterations; measure KL to theta_ref on fresh samples at the end

Sources: PPO arXiv 1707.06347, GAE 1506.02438, KL in the reward and its price 1909.08593, GRPO 2402.03300, RLOO
2402.14740. The 360 talk (2024) names PPO as its last stage without any setting.
Deviations: GRPO has the KL in the reward like the others, not in the loss. Log-probs are of the untempered model, so at
temperatures other than 1 the samples are not quite the policy's. An episode ends with its last token, cut off or not. A
solution that was cut off is right for the grader only where its answer was complete, and never earns more of a reward
model than the worst one that ended: a reward model has not learnt what half a solution is worth. What could not be
graded is left out and counted, whoever scores.

Cost of the primer setting (configs/ppo_primer.toml): 2,400 samples, as many as an iteration of Iterative RPO.
Memory: policy and value network train (16 bytes a parameter each when all weights train), the reference is frozen (4).
"""

from __future__ import annotations

import math
from typing import Any, Literal

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
from tutelage.learning.batches import batch_indices
from tutelage.learning.surrogate import Episode, Surrogate
from tutelage.models.runs import checkpoint_of
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.estimate import Workload, evaluated
from tutelage.recipes.measure import measure
from tutelage.recipes.ppo_learning import PolicySession, mean_score, no_difference
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.recipes.scoring import RewardReader, check_tokenizer, open_reader
from tutelage.records import Completion, Problem, SamplingParams, Verdict

NAME = "ppo"
PPO, RLHF, GRPO = "arXiv 1707.06347", "arXiv 1909.08593", "arXiv 2402.03300"


class Config(DataSettings, ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings, RunSettings):
    """Settings of policy gradients."""

    iterations: int = setting(50, "Rounds of sampling and learning, T.", ge=1)
    problems_per_iteration: int = setting(128, "Problems sampled in a round, n.", unit="problems", ge=1)
    num_samples: int = setting(8, "Solutions sampled of each problem, K.", source="ours; 64 in " + GRPO, ge=1)
    temperature: float = setting(1.0, "Sampling temperature; the method is exact at 1 only.", gt=0, le=5)
    max_new_tokens: int = setting(512, "Longest solution.", unit="tokens", ge=1)
    advantage: Literal["gae", "grpo", "rloo"] = setting(
        "gae", "What a solution is compared with: a value network's prediction, or others of the same problem."
    )
    reward: Literal["grader", "reward_model", "both"] = setting("grader", "Who says what a solution earns.")
    reward_model: str | None = setting(None, "Reward model: a folder, a hub name, or a run of reward-model.")
    reward_model_weight: float = setting(
        1.0, "What one standard deviation of the first round's reward-model scores is worth.", gt=0
    )
    batch_size: int = setting(64, "Solutions in one optimizer step.", source=f"{PPO} §6.1: 64", ge=1)
    epochs: float = setting(2.0, "Passes over a round's solutions.", source=f"ours; {RLHF}: 4, {GRPO}: 1", gt=0, le=100)
    clip: float = setting(
        0.2, "How far a token's probability ratio may move in a round.", source=f"{PPO} §6.1", gt=0, lt=1
    )
    value_clip: float = setting(0.2, "How far a value may move in a round before that is not rewarded.", gt=0)
    gamma: float = setting(1.0, "Discount per token.", source=RLHF, ge=0, le=1)
    gae_lambda: float = setting(0.95, "Lambda of GAE: 0 trusts the values, 1 the rewards.", source=RLHF, ge=0, le=1)
    whiten_advantages: bool = setting(True, "Shift and scale GAE's advantages to mean 0 and deviation 1.", source=RLHF)
    loss_average: Literal["token", "sequence"] = setting(
        "token", "Losses per token of the minibatch, or per token of each solution and then over solutions.",
        source=f"ours; {GRPO}: sequence",
    )  # fmt: skip
    kl_coef: float = setting(0.05, "Price of a nat of KL to the start, beta, in the first round.", ge=0)
    kl_estimator: Literal["k1", "k3"] = setting(
        "k1", "Estimate of a token's KL in the reward: log ratio, or the one that is never negative."
    )
    kl_target: float | None = setting(
        6.0, "KL to the start that the price is steered by; none leaves the price.", unit="nats a solution",
        source=f"{RLHF} §2.2: 6 to 10", gt=0,
    )  # fmt: skip
    kl_gain: float = setting(
        0.3, "Largest relative change of the price in a round.", source=f"ours; {RLHF}: 0.02", ge=0, lt=1
    )
    value_model: str | None = setting(
        None, "What the value network starts from, e.g. a reward model; none is the model under a head of zeros."
    )
    value_learning_rate: float | None = setting(None, "Of the value network; none is `learning_rate`.", gt=0, le=1)
    keep_checkpoints: Literal["all", "last"] = setting("last", "Which rounds' weights stay on disk.")
    eval_every: int = setting(10, "Rounds between measurements; the last is always measured.", unit="rounds", ge=1)
    kl_problems: int = setting(200, "Problems of the last measurement of KL, one sample each.", unit="problems", ge=1)

    @model_validator(mode="after")
    def _parts_fit(self) -> Config:
        if (self.reward == "grader") != (self.reward_model is None):
            raise ValueError("reward=reward_model and reward=both need reward_model, reward=grader takes none")
        if self.advantage != "gae" and self.num_samples < 2:
            raise ValueError(f"advantage={self.advantage} compares solutions of one problem: num_samples must be >= 2")
        if self.sampler.startswith("server") and not self.lora_rank:
            raise ValueError("a server can be given new adapters, not new models: sampler=server needs lora_rank")
        return self

    def workload(self, num_train: int, num_test: int) -> Workload:
        """What a run does at most."""
        sampled = min(self.problems_per_iteration, num_train) * self.num_samples
        measured = 1 + -(-self.iterations // self.eval_every)
        drawn = self.iterations * sampled + measured * evaluated(self, num_test) + min(self.kl_problems, num_train)
        steps = min(self.max_steps, math.ceil(self.epochs * sampled / self.batch_size))
        return Workload(drawn, self.iterations * sampled, self.iterations * steps, self.batch_size, loss="dpo")

    def surrogate(self) -> Surrogate:
        """The loss."""
        return Surrogate(
            self.advantage, clip=self.clip, value_clip=self.value_clip, gamma=self.gamma, gae_lambda=self.gae_lambda,
            kl_estimator=self.kl_estimator, whiten=self.whiten_advantages, average=self.loss_average,
        )  # fmt: skip


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        NothingToLearn: in the first round all solutions earned the same.
        ModelError: the reward or value model cannot be used with this model.
    """
    reader = open_reader(config, bench)
    if config.value_model is not None:
        check_tokenizer(checkpoint_of(config.value_model), bench, what="value model")
    session = PolicySession(config, bench)
    report = ReportBuilder(NAME, config, bench)
    report.add(measure(config, bench, bench.base, IterationReport(0)))
    weights, beta = bench.base, config.kl_coef
    for t in range(1, config.iterations + 1):
        completions, verdicts = practise(config, bench, weights, t)
        report.count(verdicts.values())
        episodes = score(config, bench, reader, completions, verdicts, t)
        if t == 1 and len({episode.score for episode in episodes}) < 2:
            raise no_difference(episodes, verdicts.values())
        weights, beta, figures = session.learn(weights, episodes, iteration=t, beta=beta)
        figures.details["accuracy"] = mean_score(verdicts.values())
        if t == config.iterations:
            figures.details |= session.kl_at_the_end(weights, t)
        if t % config.eval_every == 0 or t == config.iterations:
            measure(config, bench, weights, figures)
        report.add(figures)
    session.close()
    whole = {**report.finish(), "remarks": remarks(config, report.results)}
    bench.run.write_report(whole)
    return whole


def practise(config: Config, bench: Bench, weights: Weights, t: int) -> tuple[list[Completion], dict[str, Verdict]]:
    """Step 1, and the grader's part of step 2."""
    problems = problems_of(config, bench.train, t)
    params = SamplingParams(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    plan = stages.SamplingPlan(f"it{t}-sample", params, config.num_samples, config.seed, round=t)
    completions = stages.sample(bench, weights, problems, plan)
    return completions, stages.grade(bench, problems, completions, name=f"it{t}-grade")


def problems_of(config: Config, train: list[Problem], t: int) -> list[Problem]:
    """The problems of round t, from 1: the next ones of an endless stream of shuffled passes."""
    size = config.problems_per_iteration
    indices = batch_indices(
        len(train), step=t - 1, batch_size=size, visits=config.iterations * size, seed=config.seed
    )  # fmt: skip
    return [train[i] for i in dict.fromkeys(indices)]


def score(
    config: Config,
    bench: Bench,
    reader: RewardReader | None,
    completions: list[Completion],
    verdicts: dict[str, Verdict],
    t: int,
) -> list[Episode]:
    """Step 2: what each solution earned; those that could not be graded are left out, whoever scores."""
    usable = [c for c in completions if verdicts[c.id].is_usable and c.token_ids]
    opinions = cut_below(reader.standardised(bench, usable, name=f"it{t}-score"), usable) if reader else {}
    episodes = []
    for completion in usable:
        graded = float(verdicts[completion.id].score or 0.0) if config.reward != "reward_model" else 0.0
        episodes.append(Episode(completion, graded + config.reward_model_weight * opinions.get(completion.id, 0.0)))
    return episodes


def cut_below(opinions: dict[str, float], completions: list[Completion]) -> dict[str, float]:
    """Opinions by completion id, those of solutions that were cut off at most the lowest of those that ended.

    Where none ended, all have the lowest: nothing is to be learnt from halves.
    """
    if not opinions:
        return {}
    cut = {c.id for c in completions if c.finish_reason == "length"}
    ended = [value for key, value in opinions.items() if key not in cut]
    lowest = min(ended or opinions.values())
    return {key: min(value, lowest) if key in cut else value for key, value in opinions.items()}


def remarks(config: Config, results: list[IterationReport]) -> list[str]:
    """What a reader should know first, in sentences."""
    first, last = results[1].details, results[-1].details
    target = f" (target {config.kl_target:g})" if config.kl_target is not None else ""
    return [
        f"practice samples: {first['accuracy']:.1%} right in the first round, {last['accuracy']:.1%} in the last",
        f"KL to the start: {last['kl_after']:.2f} nats a solution{target}; price of a nat {last['kl_coef']:.3g}; "
        f"clipped {last['clip_fraction']:.1%} of tokens in the last round",
    ]
