"""Preference training: DPO, DPO + NLL (Iterative RPO), IPO, and supervised training on the chosen (STaR).

The reference is M_t, the policy as opened: its log-probs are computed once, before the first update, and handed to
`fit`. With LoRA and M_t = base + adapter, an adapter switched off is the base, not M_t; online recipes that want the
base as reference say so (`under="base"`).

Deviation from the papers: IPO takes per-token means, as TRL does on its authors' advice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Unpack

import torch

from tutelage.config.settings import TrainingSettings
from tutelage.errors import DataError, RunFailed
from tutelage.learning import adapters, alarms
from tutelage.learning.batches import Row, pair_rows
from tutelage.learning.fitting import check_not_empty, keep_items
from tutelage.learning.learner import FitOptions, Learner, Lesson
from tutelage.learning.losses import NllAverage
from tutelage.learning.objectives import Loss, Objective, PairWork, Reference
from tutelage.learning.policy import Opening, TrainablePolicy
from tutelage.learning.session import Alarm, FitResult, StepMetrics
from tutelage.records import PreferencePair, digest

FIRST_STEP_TOLERANCE = {None: 1e-4, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class PairBatch:
    """Pairs for one update, and their log-prob sums under the reference, in the same order."""

    pairs: Sequence[PreferencePair]
    reference: Sequence[Reference]


class PreferenceLearner(Learner):
    """A session that learns from preference pairs; a `LearnerSession` over `PairBatch`.

    Args:
        policy: what trains.
        objective: which loss.
    """

    def __init__(self, policy: TrainablePolicy, objective: Objective) -> None:
        objective.check()
        super().__init__(policy)
        self.objective = objective

    @classmethod
    def open(
        cls,
        policy_path: str | Path,
        settings: TrainingSettings,
        *,
        loss: Loss = "dpo_nll",
        beta: float = 0.1,
        alpha: float = 1.0,
        nll_average: NllAverage = "sequence",
        **opening: Unpack[Opening],
    ) -> PreferenceLearner:
        """Load M_t and make it ready to learn.

        Args:
            policy_path: M_t's folder where all weights train; the base model's with LoRA.
            settings: how weights are changed.
            loss: `dpo_nll`, `dpo`, `ipo` or `sft`.
            beta: strength of the tie to the reference, > 0.
            alpha: weight of the NLL term of `dpo_nll`, >= 0.
            nll_average: `sequence` or `token`.
            opening: seed, adapter, device, dtype.

        Raises:
            ModelError: the model cannot be used, or nothing of it trains.
            ConfigError: a value is out of range.
        """
        objective = Objective(loss, beta, alpha, nll_average)
        objective.check()
        return cls(TrainablePolicy.open(policy_path, settings, **opening), objective)

    def objective_digest(self) -> str:
        """Equal for equal losses and parameters of them."""
        return self.objective.digest()

    def reference_logprobs(
        self, pairs: Sequence[PreferencePair], *, under: Literal["start", "base"] = "start"
    ) -> list[Reference]:
        """Log-prob sums of chosen and rejected under the frozen reference, in evaluation mode.

        Args:
            pairs: any number of pairs.
            under: `start` is M_t, the policy before its first update; `base` is the model with its adapter off.

        Returns:
            One (chosen, rejected) a pair, natural log; NaN for pairs that `fit` will drop.

        Raises:
            RunFailed: `start` is asked for after an update: those weights are gone.
            ModelError: `base` is asked for, but all weights are trained.
        """
        items, indices, _ = keep_items(self.policy, [(pair.id, pair_rows(pair)) for pair in pairs])
        if under == "base":
            with adapters.switched_off(self.model):
                scores = self.policy.score(items)
        elif self.updates:
            raise RunFailed(
                "reference log-probs are asked for after an update",
                seen=f"{self.updates} updates",
                expected="log-probs under M_t, before its first update",
                advice="call reference_logprobs before fit or step, or open the policy of M_t again",
            )
        else:
            scores = self.policy.score(items)
        result: list[Reference] = [(math.nan, math.nan)] * len(pairs)
        for index, (chosen, rejected) in zip(indices, scores, strict=True):
            result[index] = (chosen, rejected)
        return result

    def step(self, batch: PairBatch, *, learning_rate: float | None = None) -> StepMetrics:
        """One optimizer update on a batch of pairs; none of them is dropped.

        Args:
            batch: at least one pair, and the reference log-probs.
            learning_rate: None takes the settings' peak.

        Raises:
            DataError: a pair cannot be trained on, or its reference is missing.
            RunFailed: training diverged; the weights are left as they were.
        """
        items, _, dropped = keep_items(self.policy, [(pair.id, pair_rows(pair)) for pair in batch.pairs])
        if dropped.total or not items:
            raise DataError("a batch holds pairs that cannot be trained on", seen=dropped, expected="none dropped")
        rate = self.policy.settings.learning_rate if learning_rate is None else learning_rate
        return self._step(self.updates + 1, items, batch, rate)

    def fit(
        self,
        pairs: Sequence[PreferencePair],
        reference: Sequence[Reference],
        checkpoint_dir: Path | None = None,
        **options: Unpack[FitOptions],
    ) -> FitResult:
        """Train on pairs for the settings' epochs and steps; go on from a checkpoint where there is one.

        Args:
            pairs: what to learn from; those over `max_length` or without loss tokens are dropped and counted.
            reference: what `reference_logprobs(pairs)` gave; may be empty with `sft`.
            checkpoint_dir: where resumable checkpoints go; None keeps none.
            options: see `FitOptions`.

        Raises:
            DataError: reference and pairs do not match.
            NothingToLearn: no pair is left.
            RunError: the checkpoint there belongs to another training.
            RunFailed: training diverged.
        """
        if self.objective.needs_reference and len(reference) != len(pairs):
            raise DataError("every pair needs its reference log-probs", seen=len(reference), expected=str(len(pairs)))
        items, indices, dropped = keep_items(self.policy, [(pair.id, pair_rows(pair)) for pair in pairs])
        check_not_empty(items, dropped, what="pair")
        kept = [pairs[i] for i in indices]
        known = [reference[i] for i in indices] if self.objective.needs_reference else []

        def step_on(step: int, chosen: list[int], rate: float) -> StepMetrics:
            batch = PairBatch([kept[i] for i in chosen], [known[i] for i in chosen] if known else [])
            return self._step(step, [items[i] for i in chosen], batch, rate)

        objective = digest([self.objective.digest(), digest([pair.weight for pair in kept])])
        lesson = Lesson(items, dropped, step_on, objective, lambda metrics: self._alarms(metrics, items))
        return self.run_lesson(lesson, checkpoint_dir, options)

    def _alarms(self, metrics: Sequence[StepMetrics], items: Sequence[Sequence[Row]]) -> list[Alarm]:
        if not self.objective.needs_reference:
            return []
        chosen = sum(rows[0].num_scored for rows in items) / len(items)
        rejected = sum(rows[1].num_scored for rows in items) / len(items)
        tolerance = FIRST_STEP_TOLERANCE.get(self.policy.compute_dtype, 5e-2)
        return [
            *alarms.first_step_loss(metrics, tolerance=tolerance),
            *alarms.chosen_falling(metrics),
            *alarms.length_gap(chosen, rejected),
        ]

    def _step(self, step: int, items: Sequence[Sequence[Row]], batch: PairBatch, rate: float) -> StepMetrics:
        started = time.perf_counter()
        work = PairWork(
            self.objective,
            items,
            weights=[pair.weight for pair in batch.pairs],
            reference=batch.reference,
            device=self.policy.device,
        )
        is_first = self.updates == 0 and self.objective.needs_reference
        undisturbed = self.policy.score(items) if is_first and self.policy.has_dropout else None
        stats = self.policy.update(work.rows, work.group_loss, learning_rate=rate)
        sums = torch.tensor(undisturbed, device=self.policy.device) if undisturbed else None
        gap = work.first_step_gap(sums) if is_first else None
        return StepMetrics(
            step=step,
            grad_norm=stats.grad_norm,
            learning_rate=rate,
            num_items=len(items),
            num_tokens=stats.num_tokens,
            num_padded=stats.num_padded,
            packing=stats.packing,
            first_step_gap=gap,
            **work.means(),
            seconds=time.perf_counter() - started,
        )
