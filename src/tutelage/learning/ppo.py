"""Policy gradients: PPO with a value network, or the same clipped loss with a group's other completions as baseline.

    old log-probs, reference log-probs and values of sampled completions, before any update
    reward of a token = -beta KL, and on the last one what the completion earned          (`advantages.token_rewards`)
    advantages: GAE over the values, or the group's baseline over whole completions       (`gae`, `grpo`, `rloo`)
    a few passes in minibatches over clipped losses of policy and values                  (`losses.clipped_*`)

Old log-probs are the learner's own, taken before the first update, not the sampler's: other kernels and number formats
would make ratios differ from 1 before anything was learnt. The reference is the policy as it was opened. The KL stands
in the reward for every kind of advantage; DeepSeek's GRPO has it in the loss instead (arXiv 2402.03300, Eq. 3).

The `ValueModel` is a network of its own, as large as the policy: it predicts the return from the state before a token.
It is not a critic in the sense of this package, which is a model that writes about solutions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from tutelage.config.settings import TrainingSettings
from tutelage.learning import adapters
from tutelage.learning.batches import Row, completion_row
from tutelage.learning.fitting import Trained, check_not_empty, keep_items
from tutelage.learning.heads import open_head
from tutelage.learning.learner import FitOptions, Learner, Lesson
from tutelage.learning.policy import Opening, TrainablePolicy
from tutelage.learning.session import Dropped, FitResult, StepMetrics
from tutelage.learning.surrogate import Episode, Minibatch, Surrogate, Targets, estimate, make_targets
from tutelage.learning.together import Together
from tutelage.records import Completion, Policy, Trajectory, digest


@dataclass(frozen=True)
class Experience:
    """What an iteration learns from, and what it tells.

    Args:
        trajectories: one of each episode that is kept, in order.
        dropped: episodes that cannot be trained on.
        kl: mean KL of the policy to the reference, nats a completion, estimated by k1 on these samples.
        entropy: mean surprise of the sampled tokens, nats a token: the policy's entropy, estimated, at temperature 1.
        reward: mean score of the completions, KL aside.
    """

    trajectories: tuple[Trajectory, ...]
    dropped: Dropped
    kl: float
    entropy: float
    reward: float


class ValueModel:
    """The network that predicts the return from the state before each token that the policy writes.

    Args:
        policy: a model with a scalar head.
    """

    def __init__(self, policy: TrainablePolicy) -> None:
        self.policy = policy

    @classmethod
    def open(cls, path: str | Path, settings: TrainingSettings, **opening: Unpack[Opening]) -> ValueModel:
        """Load a language model under a head of zeros, or a reward model to start from.

        Raises:
            ModelError: the model cannot be used, or its architecture has no scalar head.
        """
        return cls(open_head(path, settings, **opening))

    def values(self, rows: Sequence[Row]) -> list[list[float]]:
        """The value of the state before every scored token of each row."""
        return self.policy.score_tokens(rows)


class PPOLearner(Learner):
    """A session that learns from trajectories; a `LearnerSession` over pairs of completions and trajectories.

    Args:
        policy: what trains.
        reference: the policy as it was opened, frozen; None where it is `policy` with its adapter off.
        value: the value network; None for the group baselines.
        surrogate: the loss.
        value_rate: learning rate of the value network over the policy's.
    """

    def __init__(
        self,
        policy: TrainablePolicy,
        reference: TrainablePolicy | None,
        value: ValueModel | None,
        surrogate: Surrogate,
        *,
        value_rate: float = 1.0,
    ) -> None:
        super().__init__(policy)
        self.reference, self.value, self.surrogate, self.value_rate = reference, value, surrogate, value_rate

    @classmethod
    def open(
        cls,
        policy_path: str | Path,
        settings: TrainingSettings,
        *,
        surrogate: Surrogate,
        value_path: str | Path | None = None,
        value_rate: float = 1.0,
        **opening: Unpack[Opening],
    ) -> PPOLearner:
        """Load the policy, its reference, and a value network where advantages need one.

        Args:
            policy_path: the policy's folder where all weights train; the base model's with LoRA.
            settings: how weights are changed.
            surrogate: the loss.
            value_path: what the value network starts from, e.g. a reward model; None takes the policy's own model.
            value_rate: learning rate of the value network over the policy's, > 0.
            opening: seed, adapter, device, dtype.

        Raises:
            ModelError: a model cannot be used.
            ConfigError: a value is out of range.
        """
        policy = TrainablePolicy.open(policy_path, settings, **opening)
        is_base = bool(settings.lora_rank) and opening.get("adapter") is None
        reference = None if is_base else TrainablePolicy.open(policy_path, settings, **opening)
        value = None
        if surrogate.advantage == "gae":
            start = opening if value_path is None else Opening(**{**opening, "adapter": None})
            value = ValueModel.open(value_path or policy_path, settings, **start)
        return cls(policy, reference, value, surrogate, value_rate=value_rate)

    @property
    def trained(self) -> Trained:
        """Policy and value network."""
        return Together({"policy": self.policy} | ({"value": self.value.policy} if self.value else {}))

    def objective_digest(self) -> str:
        """Equal for equal losses and parameters of them."""
        return digest(["ppo", vars(self.surrogate), self.value_rate])

    def experience(self, episodes: Sequence[Episode], *, beta: float, policy: Policy) -> Experience:
        """Rewards and advantages of completions that the policy, as it is now, has sampled.

        Args:
            episodes: all of an iteration; the completions of a problem are each other's baseline.
            beta: what a nat of KL costs, >= 0.
            policy: what the records say of the weights.

        Raises:
            NothingToLearn: no episode can be trained on.
        """
        named = [(e.completion.id, (completion_row(e.completion),)) for e in episodes]
        items, indices, dropped = keep_items(self.policy, named)
        check_not_empty(items, dropped, what="completion")
        rows, kept = [row for (row,) in items], [episodes[i] for i in indices]
        old = self.policy.score_tokens(rows)
        reference = self._reference(rows)
        values = self.value.values(rows) if self.value else [[0.0] * len(row) for row in old]
        found = estimate(self.surrogate, kept, old, reference, values=values, beta=beta)
        kl = sum(sum(a) - sum(b) for a, b in zip(old, reference, strict=True)) / len(old)
        tokens = [value for row in old for value in row]
        trajectories = tuple(
            Trajectory(e.completion.id, tuple(old[i]), tuple(values[i]), *found.of(i, len(old[i])), policy)
            for i, e in enumerate(kept)
        )
        scores = [e.score for e in kept]
        return Experience(trajectories, dropped, kl, -sum(tokens) / len(tokens), sum(scores) / len(scores))

    def kl(self, completions: Sequence[Completion]) -> float:
        """Mean KL of the policy as it is now to the reference, nats a completion, by k1 on its own samples."""
        items, _, _ = keep_items(self.policy, [(c.id, (completion_row(c),)) for c in completions])
        rows = [row for (row,) in items]
        pairs = zip(self.policy.score_tokens(rows), self._reference(rows), strict=True)
        return sum(sum(now) - sum(then) for now, then in pairs) / len(rows)

    def _reference(self, rows: Sequence[Row]) -> list[list[float]]:
        if self.reference is not None:
            return self.reference.score_tokens(rows)
        with adapters.switched_off(self.model):
            return self.policy.score_tokens(rows)

    def step(
        self, batch: Sequence[tuple[Completion, Trajectory]], *, learning_rate: float | None = None
    ) -> StepMetrics:
        """One optimizer update of policy and value network on a minibatch.

        Raises:
            DataError: a completion and its trajectory do not belong together.
            RunFailed: training diverged.
        """
        rate = self.policy.settings.learning_rate if learning_rate is None else learning_rate
        return self._step(self.updates + 1, make_targets(self.surrogate, batch, device=self.policy.device), rate)

    def fit(
        self,
        batch: Sequence[tuple[Completion, Trajectory]],
        checkpoint_dir: Path | None = None,
        **options: Unpack[FitOptions],
    ) -> FitResult:
        """Passes over an iteration's trajectories in minibatches; goes on from a checkpoint where there is one.

        Args:
            batch: completions with their trajectories.
            checkpoint_dir: where resumable checkpoints go; None keeps none.
            options: see `FitOptions`.

        Raises:
            DataError: a completion and its trajectory do not belong together.
            RunError: the checkpoint there belongs to another training.
            RunFailed: training diverged.
        """
        targets = make_targets(self.surrogate, batch, device=self.policy.device)
        check_not_empty(targets, Dropped(), what="trajectory")

        def step_on(step: int, chosen: list[int], rate: float) -> StepMetrics:
            return self._step(step, [targets[i] for i in chosen], rate)

        numbers = digest([[t.completion_id, t.old_logprobs, t.values, t.rewards, t.advantages] for _, t in batch])
        lesson = Lesson([(t.row,) for t in targets], Dropped(), step_on, digest([self.objective_digest(), numbers]))
        return self.run_lesson(lesson, checkpoint_dir, options)

    def _step(self, step: int, targets: Sequence[Targets], rate: float) -> StepMetrics:
        started = time.perf_counter()
        work = Minibatch(self.surrogate, targets)
        items = [(target.row,) for target in targets]
        stats = self.policy.update_on_tokens(items, work.policy_loss, learning_rate=rate)
        if self.value is not None:
            self.value.policy.update_on_tokens(items, work.value_loss, learning_rate=rate * self.value_rate)
        return StepMetrics(
            step=step,
            grad_norm=stats.grad_norm,
            learning_rate=rate,
            num_items=len(items),
            num_tokens=stats.num_tokens,
            num_padded=stats.num_padded,
            **work.means(),
            seconds=time.perf_counter() - started,
        )
