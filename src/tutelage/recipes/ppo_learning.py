"""The learn stage of `ppo`: one learner over all rounds, whose optimizer state outlives a killed process.

A round leaves its weights in `checkpoints/it<t>` and the whole state (weights, value network, moments) in scratch until
the next round is done. A round that was interrupted goes on in its middle; its trajectories, once written, are read
back rather than computed again, for the weights they were computed under are gone by then.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tutelage.errors import NothingToLearn
from tutelage.learning.advantages import adapted_beta
from tutelage.learning.ppo import PPOLearner
from tutelage.learning.session import FitResult
from tutelage.learning.surrogate import Episode
from tutelage.models.runs import checkpoint_of
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.learn import show_steps, stage_digest, summary
from tutelage.recipes.report import IterationReport
from tutelage.records import SamplingParams, Trajectory, Verdict, digest, seed_of

if TYPE_CHECKING:
    from tutelage.recipes.ppo import Config


class PolicySession:
    """The learner of a run, opened when it is first needed, in the state that the last finished round left."""

    def __init__(self, config: Config, bench: Bench) -> None:
        self.config, self.bench = config, bench
        self._learner: PPOLearner | None = None

    def learn(
        self, weights: Weights, episodes: Sequence[Episode], *, iteration: int, beta: float
    ) -> tuple[Weights, float, IterationReport]:
        """Steps 3 to 6 of a round.

        Args:
            weights: those that sampled.
            episodes: what was sampled, and what it earned.
            iteration: t, from 1.
            beta: the price of KL in this round.

        Returns:
            The new weights, the next round's price, the round's figures.
        """
        bench, config, name = self.bench, self.config, f"it{iteration}-learn"
        folder = bench.run.checkpoint_path(f"it{iteration}")
        earned = [[e.completion.id, e.score] for e in episodes]
        loss = [vars(config.surrogate()), config.value_learning_rate, config.value_model, beta]
        base = stage_digest(config, weights, iteration, [e.completion for e in episodes])
        stage = digest(["ppo", base, loss, earned])
        with bench.run.stage(name, stage) as journal, bench.spent.on("learning"):
            if not journal.is_finished:
                learner = self._opened(iteration)
                found, told = self._experience(learner, weights, episodes, name, beta=beta)
                completions = {e.completion.id: e.completion for e in episodes}
                result = learner.fit(
                    [(completions[t.completion_id], t) for t in found], bench.run.scratch_path(name),
                    on_step=show_steps(config, bench, name, len(found), None),
                )  # fmt: skip
                learner.save(folder)
                learner.checkpoint(bench.run.scratch_path(f"it{iteration}-state"))
                journal.result.update(self._figures(result, told, len(episodes)))
        bench.run.remove_scratch(name)
        bench.run.remove_scratch(f"it{iteration - 1}-state")
        if config.keep_checkpoints == "last" and iteration > 1:
            shutil.rmtree(bench.run.checkpoint_path(f"it{iteration - 1}"), ignore_errors=True)
        figures = IterationReport(iteration, **{k: v for k, v in journal.result.items() if k != "details"})
        figures.details |= {**journal.result["details"], "kl_coef": beta}
        kl = figures.details["kl"]
        price = beta if config.kl_target is None else adapted_beta(
            beta, kl, target=config.kl_target, gain=config.kl_gain
        )  # fmt: skip
        return weights.learnt(folder, stage, is_adapter=config.lora_rank > 0), price, figures

    def kl_at_the_end(self, weights: Weights, iteration: int) -> dict[str, float]:
        """KL of the last weights to the first, on fresh samples of training problems."""
        problems = self.bench.train[: self.config.kl_problems]
        params = SamplingParams(temperature=1.0, max_new_tokens=self.config.max_new_tokens)
        plan = stages.SamplingPlan(f"it{iteration}-after", params, 1, self.config.seed, round=iteration + 1)
        completions = [c for c in stages.sample(self.bench, weights, problems, plan) if c.token_ids]
        with self.bench.run.stage(f"it{iteration}-kl", digest(["kl", weights.lineage])) as journal:
            if not journal.is_finished:
                journal.result["kl_after"] = self._opened(iteration + 1).kl(completions)
        return dict(journal.result)

    def close(self) -> None:
        """Throw the resumable state away: all rounds are done."""
        self._learner = None
        self.bench.run.remove_scratch(f"it{self.config.iterations}-state")

    def _opened(self, iteration: int) -> PPOLearner:
        """The learner as round `iteration` begins."""
        if self._learner is None:
            config, base = self.config, self.bench.base
            value_rate = (config.value_learning_rate or config.learning_rate) / config.learning_rate
            self._learner = PPOLearner.open(
                base.model, config, surrogate=config.surrogate(), value_rate=value_rate,
                value_path=checkpoint_of(config.value_model) if config.value_model else None,
                seed=seed_of(config.seed, "learn"), adapter=base.adapter, device=config.device, dtype=config.dtype,
            )  # fmt: skip
            if iteration > 1:
                self._learner.restore(self.bench.run.scratch_path(f"it{iteration - 1}-state"))
        return self._learner

    def _experience(
        self, learner: PPOLearner, weights: Weights, episodes: Sequence[Episode], name: str, *, beta: float
    ) -> tuple[Sequence[Trajectory], dict[str, Any]]:
        """The round's trajectories and what they tell: from the run folder, or computed and written there."""
        run, wanted = self.bench.run, {e.completion.id for e in episodes}
        told = [row["values"] for row in run.read_metrics("experience") if row["where"]["stage"] == name]
        if told:  # written after the trajectories, so they are all there
            known = {t.completion_id: t for t in run.read("trajectories", Trajectory) if t.completion_id in wanted}
            return list(known.values()), dict(told[-1])
        self.bench.progress.stage(stages.in_words(f"{name}: advantages"), None)
        found = learner.experience(episodes, beta=beta, policy=weights.policy)
        figures = {
            "trajectories": len(found.trajectories), "kl": found.kl, "entropy": found.entropy, "reward": found.reward,
            "dropped": found.dropped.total, "value_explained": explained(found.trajectories),
        }  # fmt: skip
        run.append_many("trajectories", found.trajectories)
        run.metrics("experience", figures, stage=name)
        return found.trajectories, figures

    @staticmethod
    def _figures(result: FitResult, told: dict[str, Any], count: int) -> dict[str, Any]:
        """What the journal keeps of a round."""
        out = summary(result, count)
        last = result.metrics[-max(1, len(result.metrics) // 4) :]
        details = {key: told[key] for key in ("kl", "entropy", "reward", "value_explained")}
        for key in ("clip_fraction", "step_kl", "value_loss"):
            seen = [value for m in last if (value := getattr(m, key)) is not None]
            details[key] = statistics.fmean(seen) if seen else None
        alarms = list(out["alarms"])
        if told["dropped"]:
            alarms.append(
                f"{told['dropped']} of {count} solutions were left out: longer than max_length or the context"
            )
        return {**out, "dropped": told["dropped"], "alarms": alarms, "details": details}


def explained(trajectories: Iterable[Trajectory]) -> float | None:
    """Share of the returns' variance that values explain, 1 - Var(return - value) / Var(return); None without them."""
    values = [v for t in trajectories for v in t.values]
    if not any(values):
        return None
    errors = [a for t in trajectories for a in t.advantages]
    spread = statistics.pvariance([a + v for a, v in zip(errors, values, strict=True)])
    return 1 - statistics.pvariance(errors) / spread if spread else None


def mean_score(verdicts: Iterable[Verdict]) -> float | None:
    """Share of right ones among usable verdicts; None where there is none."""
    found = [verdict.is_correct for verdict in verdicts if verdict.is_usable]
    return sum(found) / len(found) if found else None


def no_difference(episodes: Sequence[Episode], verdicts: Iterable[Verdict]) -> NothingToLearn:
    """The error that says that all solutions earned the same, and what to try."""
    outcomes = {k: v for k, v in stages.count_outcomes(verdicts).items() if v}
    if outcomes.get("truncated", 0) > len(episodes) / 2:
        advice = "most were cut short: raise max_new_tokens, or start from a model that ends its answers"
    elif episodes and episodes[0].score > 0:
        advice = "the model solves all of these problems: give it harder ones, or raise the temperature"
    else:
        advice = (
            "the model solves none of these problems: start from a stronger or fine-tuned one (tutelage run sft), take "
            "easier problems, more of them (problems_per_iteration) or more samples (num_samples)"
        )
    return NothingToLearn(
        "all solutions of the first round earned the same, so there is nothing to learn from",
        seen=", ".join(f"{count} {name}" for name, count in outcomes.items()) or "no solution",
        expected="right and wrong solutions", advice=advice,
    )  # fmt: skip
