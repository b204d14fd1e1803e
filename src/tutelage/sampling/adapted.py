"""What a module computes under one adapter, as a plain function: no switch of the model, no module calls.

peft decides inside each layer which adapter is on; switching walks over all layers, which costs as much as several
decode steps of a small model, and touches the trainable flags of a learner. Here the choice is made once, when the
functions are made. They hold the very parameters, so weights that change in place are seen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

Apply = Callable[[torch.Tensor], torch.Tensor]
AS_IT_IS = None
"""In place of an adapter's name: modules do what they do, with whatever adapter is switched on in them."""
NONE = ""
"""In place of an adapter's name: no adapter."""


def is_altered(module: Any) -> bool:
    """Whether a module's call does more than its class's forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def linear_of(module: Any, adapter: str | None) -> Apply | None:
    """What a linear layer does under an adapter, or None where only a call of the module can say.

    Args:
        module: a linear layer, or peft's LoRA around one.
        adapter: an adapter's name, `NONE` or `AS_IT_IS`.
    """
    if is_altered(module):
        return None
    if type(module) is nn.Linear:
        return partial(linear, weight=module.weight, bias=module.bias)
    if adapter is AS_IT_IS or not _is_lora(module):
        return None
    base = linear_of(module.base_layer, adapter)
    if base is None or adapter not in module.lora_A:
        return base
    down, up = module.lora_A[adapter], module.lora_B[adapter]
    is_usual = all(type(part) is nn.Linear and part.bias is None and not is_altered(part) for part in (down, up))
    has_variant = adapter in getattr(module, "lora_variant", {}) or getattr(module, "use_dora", {}).get(adapter)
    if not is_usual or has_variant or down.weight.dtype != module.base_layer.weight.dtype:
        return None
    return partial(_with_lora, base=base, down=down.weight, up=up.weight, scaling=float(module.scaling[adapter]))


def _is_lora(module: Any) -> bool:
    is_peft = (type(module).__module__, type(module).__name__) == ("peft.tuners.lora.layer", "Linear")
    return is_peft and not module.merged_adapters


def _with_lora(
    states: torch.Tensor, *, base: Apply, down: torch.Tensor, up: torch.Tensor, scaling: float
) -> torch.Tensor:
    return base(states).addmm_(linear(states, down), up.t(), alpha=scaling)
