"""Preference training: DPO, DPO + NLL (Iterative RPO), IPO, and supervised training on the chosen (STaR).

The reference is M_t, the policy as opened: its log-probs are computed once, before the first update, and handed to
`fit`. With LoRA and M_t = base + adapter, an adapter switched off is the base, not M_t; online recipes that want the
base as reference say so (`under="base"`).

Deviation from the papers: IPO takes per-token means, as TRL does on its authors' advice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from tutelage.config.settings import TrainingSettings
from tutelage.errors import DataError, RunFailed
from tutelage.learning import adapters, alarms, checkpoints
from tutelage.learning.batches import Row, pair_rows
from tutelage.learning.export import save_policy
from tutelage.learning.fitting import FitPlan, check_not_empty, keep_items, run_fit
from tutelage.learning.losses import NllAverage
from tutelage.learning.objectives import Loss, Objective, PairWork, Reference
from tutelage.learning.policy import TrainablePolicy
from tutelage.learning.session import Alarm, FitResult, Hooks, StepMetrics
from tutelage.records import PreferencePair, digest

FIRST_STEP_TOLERANCE = {None: 1e-4, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class PairBatch:
    """Pairs for one update, and their log-prob sums under the reference, in the same order."""

    pairs: Sequence[PreferencePair]
    reference: Sequence[Reference]


class PreferenceLearner:
    """A session that learns from preference pairs; a `LearnerSession` over `PairBatch`.

    Args:
        policy: what trains.
        objective: which loss.
    """

    def __init__(self, policy: TrainablePolicy, objective: Objective) -> None:
        objective.check()
        self.policy, self.objective = policy, objective

    @classmethod
    def open(  # noqa: PLR0913 - the one place where a recipe says everything; all but two are keywords
        cls,
        policy_path: str | Path,
        settings: TrainingSettings,
        *,
        loss: Loss = "dpo_nll",
        beta: float = 0.1,
        alpha: float = 1.0,
        nll_average: NllAverage = "sequence",
        seed: int = 0,
        adapter: Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> PreferenceLearner:
        """Load M_t and make it ready to learn.

        Args:
            policy_path: M_t's folder where all weights train; the base model's with LoRA.
            settings: how weights are changed.
            loss: `dpo_nll`, `dpo`, `ipo` or `sft`.
            beta: strength of the tie to the reference, > 0.
            alpha: weight of the NLL term of `dpo_nll`, >= 0.
            nll_average: `sequence` or `token`.
            seed: order of the data, dropout and fresh adapters derive from it.
            adapter: M_t's adapter, to be trained further; None with LoRA attaches a fresh one.
            device: torch device, or auto.
            dtype: number format to compute in, or auto.

        Raises:
            ModelError: the model cannot be used, or nothing of it trains.
            ConfigError: a value is out of range.
        """
        objective = Objective(loss, beta, alpha, nll_average)
        objective.check()
        policy = TrainablePolicy.open(policy_path, settings, seed=seed, adapter=adapter, device=device, dtype=dtype)
        return cls(policy, objective)

    @property
    def model(self) -> nn.Module:
        """The model being trained."""
        return self.policy.model

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self.policy.tokenizer

    @property
    def updates(self) -> int:
        """Optimizer updates since the session was opened, those before a restore included."""
        return self.policy.updates

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
        *,
        max_steps: int | None = None,
        on_step: Callable[[StepMetrics], None] | None = None,
        probe: Sequence[PreferencePair] | None = None,
        eval_every: int = 0,
        on_eval: Callable[[int], None] | None = None,
        resume: bool = True,
    ) -> FitResult:
        """Train on pairs for the settings' epochs and steps; go on from a checkpoint where there is one.

        Args:
            pairs: what to learn from; those over `max_length` or without loss tokens are dropped and counted.
            reference: what `reference_logprobs(pairs)` gave; may be empty with `sft`.
            checkpoint_dir: where resumable checkpoints go; None keeps none.
            max_steps: most steps of this fit, besides the settings' limit.
            on_step: called after every step.
            probe: fixed pairs, measured at step 0, every `eval_every` steps (0: about twenty times) and at the end.
            eval_every: steps between `on_eval` calls; 0 calls it at the end only.
            on_eval: called with the number of steps done, the model in evaluation mode; may sample from it.
            resume: whether to go on from a checkpoint in `checkpoint_dir`; otherwise it is removed.

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

        weights = [pair.weight for pair in kept]
        plan = FitPlan(
            items,
            self.policy.settings,
            self.policy.seed,
            max_steps,
            checkpoint_dir,
            resume,
            digest([self.objective.digest(), digest(weights)]),
        )
        hooks = Hooks(on_step, on_eval, eval_every)
        metrics, probed = run_fit(self.policy, plan, step_on, hooks=hooks, probe_pairs=probe)
        return FitResult(len(metrics), tuple(metrics), tuple(probed), dropped, tuple(self._alarms(metrics, items)))

    def checkpoint(self, folder: Path) -> None:
        """Write a checkpoint of an online session (a fit writes its own)."""
        checkpoints.write(folder, self.policy.snapshot(self.updates, {"objective": self.objective.digest()}, {}))

    def restore(self, folder: Path) -> bool:
        """Go back to the newest checkpoint that `checkpoint` wrote.

        Raises:
            RunError: it belongs to another training.
        """
        wanted = {"objective": self.objective.digest(), **self.policy.identity()}
        found = checkpoints.read_latest(folder, wanted)
        if found is not None:
            self.policy.restore(found)
        return found is not None

    def save(self, path: Path) -> None:
        """Write the policy as a folder that transformers or peft loads as it is."""
        save_policy(self.model, self.tokenizer, path)

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
            first_step_gap=gap,
            **work.means(),
            seconds=time.perf_counter() - started,
        )
