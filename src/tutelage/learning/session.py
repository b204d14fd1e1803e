"""The learner protocol: what every trainer promises, and what it reports.

A session holds weights and optimizer state across updates; `fit` is the loop over `step`. The reference of a
preference loss is explicit: log-probs under M_t, taken before its first update and handed back in. No sample is ever
cut; what is left out is counted. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tutelage.records import Record


@dataclass(frozen=True)
class StepMetrics(Record):
    """What one optimizer step did; log-probs are sums over a completion's scored tokens, means over the batch.

    Args:
        step: steps done in this fit, from 1.
        loss: the loss that was minimised; of a policy gradient, the policy's.
        grad_norm: norm of the gradients before clipping.
        learning_rate: of this step.
        num_items: pairs or examples in the batch.
        num_tokens: tokens fed to the model, without padding.
        num_padded: tokens computed, padding included; fewer than `num_tokens` where rows share their beginnings.
        seconds: wall time of the step.
        nll: negative log-likelihood of the chosen (or target) tokens, averaged as set; logged under every loss of
            pairs and examples.
        chosen_logprob: mean log-prob sum of chosen completions (of targets, in supervised training) before the update.
        preference_loss: mean DPO or IPO loss; None in supervised training.
        rejected_logprob: mean log-prob sum of rejected completions.
        chosen_shift: mean of policy minus reference log-prob of the chosen; negative when they lost probability.
        margin: mean margin h, in nats; of a reward model, mean difference of the rewards.
        accuracy: share of pairs with a margin above 0.
        packing: `tree` where rows shared their beginnings, `plain` where each was computed apart.
        first_step_gap: largest difference of a pair's preference loss from its value at h = 0 (ln 2 for DPO); known
            at the first update only.
        value_loss: mean loss of the value network.
        clip_fraction: share of tokens whose ratio was clipped, so that they gave no gradient.
        step_kl: KL of the weights that sampled to the present ones, estimated (k3) before the update, nats a token.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    num_items: int
    num_tokens: int
    num_padded: int
    seconds: float
    nll: float | None = None
    chosen_logprob: float | None = None
    preference_loss: float | None = None
    rejected_logprob: float | None = None
    chosen_shift: float | None = None
    margin: float | None = None
    accuracy: float | None = None
    first_step_gap: float | None = None
    packing: str | None = None
    value_loss: float | None = None
    clip_fraction: float | None = None
    step_kl: float | None = None


@dataclass(frozen=True)
class ProbeMetrics(Record):
    """A fixed set of pairs under the policy after `step` steps; log-prob sums, means over the set, natural log."""

    step: int
    chosen_logprob: float
    rejected_logprob: float
    margin: float
    accuracy: float


@dataclass(frozen=True)
class Alarm(Record):
    """Something that usually means that training goes wrong; `value` is the number that raised it."""

    name: str
    message: str
    value: float


@dataclass(frozen=True)
class Dropped(Record):
    """What was left out of training and why; `ids` are the records' ids, in order."""

    too_long: int = 0
    no_loss_tokens: int = 0
    ids: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Number of records left out."""
        return self.too_long + self.no_loss_tokens


@dataclass(frozen=True)
class FitResult:
    """What a fit did.

    Args:
        steps: optimizer steps done, those before a resume included.
        metrics: one per step.
        probe: the probe set's metrics at step 0, at every evaluation and at the end.
        dropped: records left out.
        alarms: what looks wrong.
    """

    steps: int
    metrics: tuple[StepMetrics, ...]
    probe: tuple[ProbeMetrics, ...] = ()
    dropped: Dropped = field(default_factory=Dropped)
    alarms: tuple[Alarm, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Hooks:
    """What a fit calls on its way.

    Args:
        on_step: called after every step.
        on_eval: called with the number of steps done, every `eval_every` steps and after the last; the model is in
            evaluation mode then. A resumed fit may repeat the last call before the crash.
        eval_every: steps between evaluations; 0 evaluates at the end only (the probe: about twenty times).
    """

    on_step: Callable[[StepMetrics], None] | None = None
    on_eval: Callable[[int], None] | None = None
    eval_every: int = 0


@runtime_checkable
class LearnerSession(Protocol):
    """Weights that learn; made by the `open` of a concrete learner, which refuses a model with nothing to train."""

    @property
    def model(self) -> Any:
        """The model being trained, to sample from between steps."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        ...

    @property
    def updates(self) -> int:
        """Optimizer updates since the session was opened, those before a restore included."""
        ...

    def step(self, batch: Any, *, learning_rate: float | None = None) -> StepMetrics:
        """One optimizer update on a batch; None takes the settings' peak learning rate."""
        ...

    def checkpoint(self, folder: Path) -> None:
        """Write weights, optimizer and position, from which `restore` goes on exactly."""
        ...

    def restore(self, folder: Path) -> bool:
        """Go back to the newest checkpoint in `folder`; False if there is none. Raises RunError if it is another's."""
        ...

    def save(self, path: Path) -> None:
        """Write a folder that transformers or peft loads as it is."""
        ...
