"""Supervised fine-tuning on examples: gold solutions, own correct samples (STaR), critiques, refinements.

The loss is the NLL of the target tokens with their weights; the prompt never enters it. A token's weight multiplies its
log-prob; means are over tokens with a weight other than 0, not over the sum of weights, so weights that should not
change the size of a step have mean 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.config.settings import TrainingSettings
from tutelage.errors import ConfigError, DataError
from tutelage.learning import checkpoints, losses
from tutelage.learning.batches import Row, example_row
from tutelage.learning.export import save_policy
from tutelage.learning.fitting import FitPlan, check_not_empty, keep_items, run_fit
from tutelage.learning.layout import Group
from tutelage.learning.losses import NllAverage
from tutelage.learning.policy import TrainablePolicy
from tutelage.learning.session import FitResult, Hooks, StepMetrics
from tutelage.records import Example, PreferencePair, digest


class SFTLearner:
    """A session that learns from supervised examples; a `LearnerSession` over lists of `Example`.

    Args:
        policy: what trains.
        nll_average: `sequence`: a mean over each example's tokens, then over examples; `token`: one mean over all
            tokens of the batch.
    """

    def __init__(self, policy: TrainablePolicy, *, nll_average: NllAverage = "sequence") -> None:
        if nll_average not in ("sequence", "token"):
            raise ConfigError([f"nll_average={nll_average!r} is not sequence or token"])
        self.policy, self.nll_average = policy, nll_average

    @classmethod
    def open(
        cls,
        policy_path: str | Path,
        settings: TrainingSettings,
        *,
        nll_average: NllAverage = "sequence",
        seed: int = 0,
        adapter: Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> SFTLearner:
        """Load a model and make it ready to learn.

        Args:
            policy_path: model folder where all weights train; the base model's with LoRA.
            settings: how weights are changed.
            nll_average: `sequence` or `token`.
            seed: order of the data, dropout and fresh adapters derive from it.
            adapter: an adapter to be trained further; None with LoRA attaches a fresh one.
            device: torch device, or auto.
            dtype: number format to compute in, or auto.

        Raises:
            ModelError: the model cannot be used, or nothing of it trains.
            ConfigError: a value is out of range.
        """
        policy = TrainablePolicy.open(policy_path, settings, seed=seed, adapter=adapter, device=device, dtype=dtype)
        return cls(policy, nll_average=nll_average)

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
        max_steps: int | None = None,
        on_step: Callable[[StepMetrics], None] | None = None,
        probe: Sequence[PreferencePair] | None = None,
        eval_every: int = 0,
        on_eval: Callable[[int], None] | None = None,
        resume: bool = True,
    ) -> FitResult:
        """Train on examples for the settings' epochs and steps; go on from a checkpoint where there is one.

        Args:
            examples: what to learn from; those over `max_length` or without loss tokens are dropped and counted.
            checkpoint_dir: where resumable checkpoints go; None keeps none.
            max_steps: most steps of this fit, besides the settings' limit.
            on_step: called after every step.
            probe: fixed pairs, measured at step 0, every `eval_every` steps (0: about twenty times) and at the end.
            eval_every: steps between `on_eval` calls; 0 calls it at the end only.
            on_eval: called with the number of steps done, the model in evaluation mode; may sample from it.
            resume: whether to go on from a checkpoint in `checkpoint_dir`; otherwise it is removed.

        Raises:
            NothingToLearn: no example is left.
            RunError: the checkpoint there belongs to another training.
            RunFailed: training diverged.
        """
        named = [(example.id, (example_row(example),)) for example in examples]
        items, _, dropped = keep_items(self.policy, named)
        check_not_empty(items, dropped, what="example")

        def step_on(step: int, chosen: list[int], rate: float) -> StepMetrics:
            return self._step(step, [items[i] for i in chosen], rate)

        settings, seed = self.policy.settings, self.policy.seed
        plan = FitPlan(items, settings, seed, max_steps, checkpoint_dir, resume, digest(["sft", self.nll_average]))
        hooks = Hooks(on_step, on_eval, eval_every)
        metrics, probed = run_fit(self.policy, plan, step_on, hooks=hooks, probe_pairs=probe)
        return FitResult(len(metrics), tuple(metrics), tuple(probed), dropped)

    def checkpoint(self, folder: Path) -> None:
        """Write a checkpoint of an online session (a fit writes its own)."""
        checkpoints.write(folder, self.policy.snapshot(self.updates, self._identity(), {}))

    def restore(self, folder: Path) -> bool:
        """Go back to the newest checkpoint that `checkpoint` wrote.

        Raises:
            RunError: it belongs to another training.
        """
        found = checkpoints.read_latest(folder, {**self._identity(), **self.policy.identity()})
        if found is not None:
            self.policy.restore(found)
        return found is not None

    def save(self, path: Path) -> None:
        """Write the policy as a folder that transformers or peft loads as it is."""
        save_policy(self.model, self.tokenizer, path)

    def _identity(self) -> dict[str, str]:
        return {"objective": digest(["sft", self.nll_average])}

    def _step(self, step: int, items: Sequence[Sequence[Row]], rate: float) -> StepMetrics:
        started = time.perf_counter()
        device = self.policy.device
        lengths = torch.tensor([rows[0].num_scored for rows in items], dtype=torch.float32, device=device)
        coefficients = losses.nll_coefficients(lengths, self.nll_average)
        shares: list[Tensor] = []
        totals: list[Tensor] = []

        def group_loss(group: Group, sums: Tensor) -> Tensor:
            share = -(coefficients[torch.tensor(group.items, device=device)] * sums[:, 0]).sum()
            shares.append(share.detach())
            totals.append(sums.detach().sum())
            return share

        stats = self.policy.update(items, group_loss, learning_rate=rate)
        loss = float(torch.stack(shares).sum())
        return StepMetrics(
            step=step,
            loss=loss,
            nll=loss,
            chosen_logprob=float(torch.stack(totals).sum()) / len(items),
            grad_norm=stats.grad_norm,
            learning_rate=rate,
            num_items=len(items),
            num_tokens=stats.num_tokens,
            num_padded=stats.num_padded,
            seconds=time.perf_counter() - started,
        )
