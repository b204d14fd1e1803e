"""AdamW over named parameters, the learning-rate schedule, clipping, and a state that survives exactly.

Weight decay applies to matrices only (norm weights and biases are left alone), as is usual.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tutelage.config.settings import TrainingSettings
from tutelage.errors import ModelError, RunFailed

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def learning_rate(step: int, settings: TrainingSettings, *, total_steps: int) -> float:
    """The learning rate of a step.

    Args:
        step: the step, from 0.
        settings: `learning_rate` is the peak; `warmup_steps` climb linearly to it; then `schedule`.
        total_steps: steps of the whole training; linear and cosine end just above 0 at the last one.

    Returns:
        A number in (0, peak].
    """
    peak, warmup = settings.learning_rate, settings.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    left = (total_steps - step) / max(1, total_steps - warmup)
    if settings.schedule == "linear":
        return peak * left
    if settings.schedule == "cosine":
        return peak * 0.5 * (1 - math.cos(math.pi * left))
    return peak


class Optimizer:
    """AdamW over the parameters that train.

    Args:
        parameters: trainable parameters by name.
        settings: `weight_decay`, `max_grad_norm`.

    Raises:
        ModelError: there is nothing to train.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], settings: TrainingSettings) -> None:
        if not sum(parameter.numel() for parameter in parameters.values()):
            raise ModelError(
                "the model has no trainable parameter",
                seen="0 parameters",
                expected="at least one",
                advice="set lora_rank, or lora_rank=0 to train all weights; check lora_targets",
            )
        self.parameters = dict(parameters)
        self.max_grad_norm = settings.max_grad_norm
        matrices = [p for p in self.parameters.values() if p.ndim >= 2]
        others = [p for p in self.parameters.values() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        kinds = {p.device.type for p in self.parameters.values()}
        self.adamw = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=kinds <= {"cpu", "cuda"})

    def update(self, rate: float) -> float:
        """Clip the gradients, take one step, clear the gradients.

        Args:
            rate: learning rate of this step.

        Returns:
            The gradients' norm before clipping.

        Raises:
            RunFailed: a gradient is not finite; the weights are left as they were.
        """
        limit = self.max_grad_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.parameters.values(), limit))
        if not math.isfinite(norm):
            self.adamw.zero_grad(set_to_none=True)
            raise RunFailed(
                "training diverged: the gradients are not finite",
                seen=f"gradient norm {norm}",
                advice="lower learning_rate, or set max_grad_norm=1; the last checkpoint is kept",
            )
        for group in self.adamw.param_groups:
            group["lr"] = rate
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        return norm

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on besides weights and gradients, as `moment/parameter name`."""
        return {
            f"{moment}/{name}": self.adamw.state[parameter][moment]
            for name, parameter in self.parameters.items()
            if parameter in self.adamw.state
            for moment in MOMENTS
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state that `state` gave for parameters of the same names."""
        for name, parameter in self.parameters.items():
            if f"step/{name}" not in state:
                continue
            moments = {moment: state[f"{moment}/{name}"].clone() for moment in MOMENTS}
            for moment in ("exp_avg", "exp_avg_sq"):
                moments[moment] = moments[moment].to(parameter.device)
            # Fused AdamW keeps its step counter on the parameter's device.
            moments["step"] = moments["step"].to(parameter.device)
            self.adamw.state[parameter] = moments
