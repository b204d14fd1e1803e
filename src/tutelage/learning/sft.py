"""Supervised fine-tuning on examples: gold solutions, own correct samples (STaR), critiques, refinements.

The loss is the NLL of the target tokens with their weights; the prompt never enters it. A token's weight multiplies its
log-prob; means are over tokens with a weight other than 0, not over the sum of weights, so weights that should not
change the size of a step have mean 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor

from tutelage.config.settings import TrainingSettings
from tutelage.errors import ConfigError, DataError
from tutelage.learning import losses
from tutelage.learning.batches import Row, example_row
from tutelage.learning.dynamic_loss import mean_one
from tutelage.learning.fitting import check_not_empty, keep_items
from tutelage.learning.layout import Group
from tutelage.learning.learner import FitOptions, Learner, Lesson
from tutelage.learning.losses import NllAverage
from tutelage.learning.policy import Opening, TrainablePolicy
from tutelage.learning.session import FitResult, StepMetrics
from tutelage.records import Example, digest


@dataclass(frozen=True)
class Weighing:
    """How much each example counts, decided anew in every epoch.

    Args:
        weights_of: one weight >= 0 per example of the fit, given the epoch's number from 0; called at its start,
            and again where a fit is resumed within it, the model in evaluation mode: it may sample from it.
        on_items: called after every step with its number, the examples of its batch (places in the fit's sequence) and
            the NLL of each per unit of token weight, before the update.
        digest: equal for equal ways of weighing.
    """

    weights_of: Callable[[int], Sequence[float]]
    on_items: Callable[[int, list[int], list[float]], None]
    digest: str


class SFTLearner(Learner):
    """A session that learns from supervised examples; a `LearnerSession` over lists of `Example`.

    Args:
        policy: what trains.
        nll_average: `sequence`: a mean over each example's tokens, then over examples; `token`: one mean over all
            tokens of the batch.
    """

    def __init__(self, policy: TrainablePolicy, *, nll_average: NllAverage = "sequence") -> None:
        if nll_average not in ("sequence", "token"):
            raise ConfigError([f"nll_average={nll_average!r} is not sequence or token"])
        super().__init__(policy)
        self.nll_average = nll_average

    @classmethod
    def open(
        cls,
        policy_path: str | Path,
        settings: TrainingSettings,
        *,
        nll_average: NllAverage = "sequence",
        **opening: Unpack[Opening],
    ) -> SFTLearner:
        """Load a model and make it ready to learn.

        Args:
            policy_path: model folder where all weights train; the base model's with LoRA.
            settings: how weights are changed.
            nll_average: `sequence` or `token`.
            opening: seed, adapter, device, dtype.

        Raises:
            ModelError: the model cannot be used, or nothing of it trains.
            ConfigError: a value is out of range.
        """
        return cls(TrainablePolicy.open(policy_path, settings, **opening), nll_average=nll_average)

    def objective_digest(self) -> str:
        """Equal for equal losses and parameters of them."""
        return digest(["sft", self.nll_average])

    def step(self, batch: Sequence[Example], *, learning_rate: float | None = None) -> StepMetrics:
        """One optimizer update on a batch of examples; none of them is dropped.

        Args:
            batch: at least one example.
            learning_rate: None takes the settings' peak.

        Raises:
            DataError: an example cannot be trained on.
            RunFailed: training diverged; the weights are left as they were.
        """
        items, _, dropped = keep_items(self.policy, [(example.id, (example_row(example),)) for example in batch])
        if dropped.total or not items:
            raise DataError("a batch holds examples that cannot be trained on", seen=dropped, expected="none dropped")
        rate = self.policy.settings.learning_rate if learning_rate is None else learning_rate
        return self._step(self.updates + 1, items, rate)

    def fit(
        self,
        examples: Sequence[Example],
        checkpoint_dir: Path | None = None,
        *,
        weighing: Weighing | None = None,
        **options: Unpack[FitOptions],
    ) -> FitResult:
        """Train on examples for the settings' epochs and steps; go on from a checkpoint where there is one.

        Args:
            examples: what to learn from; those over `max_length` or without loss tokens are dropped and counted.
            checkpoint_dir: where resumable checkpoints go; None keeps none.
            weighing: the dynamic loss: weights of examples and tokens have mean 1 in every batch. None takes token
                weights as they are.
            options: see `FitOptions`.

        Raises:
            NothingToLearn: no example is left.
            RunError: the checkpoint there belongs to another training.
            RunFailed: training diverged.
        """
        named = [(example.id, (example_row(example),)) for example in examples]
        items, places, dropped = keep_items(self.policy, named)
        check_not_empty(items, dropped, what="example")
        known: dict[int, Sequence[float]] = {}

        def step_on(step: int, chosen: list[int], rate: float) -> StepMetrics:
            rows = [items[i] for i in chosen]
            if weighing is None:
                return self._step(step, rows, rate)
            epoch = (step - 1) * self.policy.settings.batch_size // len(items)
            if epoch not in known:
                self.model.eval()
                known[epoch] = weighing.weights_of(epoch)
            batch = [places[i] for i in chosen]
            seen: list[float] = []
            metrics = self._step(step, rows, rate, weights=[known[epoch][i] for i in batch], seen=seen)
            weighing.on_items(step, batch, seen)
            return metrics

        objective = digest([self.objective_digest(), weighing.digest]) if weighing else self.objective_digest()
        return self.run_lesson(Lesson(items, dropped, step_on, objective), checkpoint_dir, options)

    def _step(
        self,
        step: int,
        items: Sequence[Sequence[Row]],
        rate: float,
        *,
        weights: Sequence[float] | None = None,
        seen: list[float] | None = None,
    ) -> StepMetrics:
        started = time.perf_counter()
        device = self.policy.device
        lengths = torch.tensor([rows[0].num_scored for rows in items], dtype=torch.float32, device=device)
        token_sums = torch.tensor([sum(rows[0].weights) for rows in items], dtype=torch.float32, device=device)
        coefficients = losses.nll_coefficients(lengths, self.nll_average)
        if weights is not None:
            coefficients = mean_one(coefficients, torch.tensor(weights, device=device), token_sums)
        shares: list[Tensor] = []
        totals = torch.zeros(len(items), device=device)

        def group_loss(group: Group, sums: Tensor) -> Tensor:
            index = torch.tensor(group.items, device=device)
            share = -(coefficients[index] * sums[:, 0]).sum()
            shares.append(share.detach())
            totals[index] = sums[:, 0].detach().to(totals.dtype)
            return share

        stats = self.policy.update(items, group_loss, learning_rate=rate)
        if seen is not None:
            seen += (-totals / token_sums).tolist()
        loss = float(torch.stack(shares).sum())
        return StepMetrics(
            step=step,
            loss=loss,
            nll=loss,
            chosen_logprob=float(totals.sum()) / len(items),
            grad_norm=stats.grad_norm,
            learning_rate=rate,
            num_items=len(items),
            num_tokens=stats.num_tokens,
            num_padded=stats.num_padded,
            packing=stats.packing,
            seconds=time.perf_counter() - started,
        )
