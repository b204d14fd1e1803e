"""One decode step of the common decoder layout, without the library's bookkeeping between the operations.

What it is: the step of models that are laid out like Llama (Llama, Qwen2, Mistral): RMS norm, rotary attention, RMS
norm, gated feed-forward. While few rows are left, more than half of a small model's step on a CPU is module calls,
argument handling and small operations; this does the same arithmetic with fewer of them.
What it is not: trusted. `forward` compares it with the model's own forward when a sampler opens, and leaves it alone
where they differ or the layout is another. Prefill and scoring always use the model's own forward.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import linear, rms_norm

from tutelage.sampling.attention import attend
from tutelage.sampling.cache import SlotCache, WritePlan, attention_mask
from tutelage.sampling.grouping import RowSpan

Apply = Callable[[torch.Tensor], torch.Tensor]
LAYOUT = tuple(f"transformers.models.{name}.modeling_{name}" for name in ("llama", "qwen2", "mistral"))
"""Where the classes come from whose forward is known."""


def has_plain_layout(model: Any) -> bool:
    """Whether a model is made of the classes whose step is known, with nothing attached to them.

    Linear layers may be anything: adapters, quantized.
    """
    backbone = getattr(model, getattr(model, "base_model_prefix", ""), None)
    layers = getattr(backbone, "layers", ())
    parts = [model, backbone, *layers]
    for layer in layers:
        parts += [getattr(layer, name, None) for name in ("self_attn", "mlp")]
    return bool(layers) and all(type(p).__module__ in LAYOUT and not is_altered(p) for p in parts)


def is_altered(module: Any) -> bool:
    """Whether a module's call does more than its class's forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


class LayerParts(NamedTuple):
    """What a layer does, in order."""

    norm: Apply
    query: Apply
    key: Apply
    value: Apply
    output: Apply
    second_norm: Apply
    gate: Apply
    activation: Apply
    up: Apply
    down: Apply


class PlainStep:
    """The decode step of a model; to be made anew when modules of the model were replaced (adapters loaded).

    Args:
        model: a model for which `has_plain_layout`.
    """

    def __init__(self, model: Any) -> None:
        backbone = getattr(model, model.base_model_prefix)
        self.embed, self.rotary = applied(backbone.embed_tokens), backbone.rotary_emb
        self.norm, self.head = applied(backbone.norm), applied(model.lm_head)
        self.layers = []
        for layer in backbone.layers:
            attention, mlp = layer.self_attn, layer.mlp
            modules = (
                layer.input_layernorm, attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj,
                layer.post_attention_layernorm, mlp.gate_proj, mlp.act_fn, mlp.up_proj, mlp.down_proj,
            )  # fmt: skip
            self.layers.append(LayerParts(*map(applied, modules)))
        self.width, self.scaling = attention.head_dim, attention.scaling

    def __call__(self, ids: torch.Tensor, cache: SlotCache, plan: WritePlan) -> torch.Tensor:
        """Logits `(rows, V)` after each row's single new token; `ids` is `(rows, 1)`."""
        cache.plan = plan
        states = self.embed(ids[:, 0])
        rows, width = ids.shape[0], self.width
        cos, sin = self.rotary(states, plan.positions)
        sin[..., : width // 2].neg_()
        mask = attention_mask(plan.positions, plan.key_length, states.dtype)
        spans = plan.spans or (RowSpan(0, rows, plan.key_length),)
        for index, layer in enumerate(self.layers):
            normed = layer.norm(states)
            query = rotated(layer.query(normed).view(rows, -1, width), cos, sin)
            key = rotated(layer.key(normed).view(rows, -1, width), cos, sin)
            value = layer.value(normed).view(rows, -1, 1, width)
            keys, values = cache.update(key[:, :, None], value, index)
            query = query.view(rows, keys.shape[1], -1, width)
            mixed = [
                attend(query[a:b], keys[a:b, :, :n], values[a:b, :, :n], mask=mask[a:b, ..., :n], scaling=self.scaling)
                for a, b, n in spans
            ]
            together = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
            states = states + layer.output(together.view(rows, -1))
            normed = layer.second_norm(states)
            states = states + layer.down(layer.activation(layer.gate(normed)).mul_(layer.up(normed)))
        return self.head(self.norm(states))


def rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of `states` `(rows, heads, D)`.

    Args:
        states: queries or keys.
        cos, sin: `(rows, 1, D)`, the first half of the sines negated.
    """
    return torch.addcmul(states * cos, states.roll(states.shape[-1] // 2, -1), sin)


def applied(module: Any) -> Apply:
    """What a module does; of bare linear layers and RMS norms without the module call, with the same parameters."""
    if is_altered(module):
        return module
    if type(module) is nn.Linear:
        return partial(linear, weight=module.weight, bias=module.bias)
    if type(module).__module__ in LAYOUT and hasattr(module, "variance_epsilon"):
        weight = module.weight
        return partial(rms_norm, normalized_shape=weight.shape, weight=weight, eps=module.variance_epsilon)
    return module
