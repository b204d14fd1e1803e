"""The forward of the common decoder layout, without the library's bookkeeping between the operations.

What it is: models that are laid out like Llama (Llama, Qwen2, Mistral): RMS norm, rotary attention, RMS norm, gated
feed-forward. While few rows are left, more than half of a small model's step on a CPU is module calls, handling of
arguments and small operations; this does the same arithmetic with fewer of them. Calling it is a decode step, one new
token of each row; `fill` takes many tokens of a sequence at once and computes for each of them the bits that decode
steps would: what a product gives a token's row does not depend on how many rows there are, and its attention is made in
products of one token.
What it is not: trusted. `forward` compares it with the model's own forward, and both ways with each other, when a
sampler opens, and leaves it alone where they differ or the layout is another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn.functional import rms_norm

from tutelage.sampling.adapted import AS_IT_IS, Apply, is_altered, linear_of
from tutelage.sampling.attention import attend, attend_runs
from tutelage.sampling.cache import FillPlan, SlotCache, WritePlan, attention_mask
from tutelage.sampling.grouping import RowSpan

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
    """The forward of a model under an adapter; to be made anew when modules were replaced (adapters loaded).

    Args:
        model: a model for which `has_plain_layout`.
        adapter: as for `adapted.linear_of`.

    Attributes:
        is_pure: whether it is the same whatever adapter is switched on, in training mode or not.
    """

    def __init__(self, model: Any, adapter: str | None = AS_IT_IS) -> None:
        self._adapter, self.is_pure = adapter, True
        backbone = getattr(model, model.base_model_prefix)
        self.embed, self.rotary = self._applied(backbone.embed_tokens), backbone.rotary_emb
        self.norm, self.head = self._applied(backbone.norm), self._applied(model.lm_head)
        self.layers = []
        for layer in backbone.layers:
            attention, mlp = layer.self_attn, layer.mlp
            modules = (
                layer.input_layernorm, attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj,
                layer.post_attention_layernorm, mlp.gate_proj, mlp.act_fn, mlp.up_proj, mlp.down_proj,
            )  # fmt: skip
            self.layers.append(LayerParts(*map(self._applied, modules)))
        self.width, self.scaling = attention.head_dim, attention.scaling

    def _applied(self, module: Any) -> Apply:
        """What a module does; of linear layers and RMS norms without the module call, with the same parameters."""
        plain = linear_of(module, self._adapter)
        if plain is not None:
            return plain
        if type(module).__module__ in LAYOUT and hasattr(module, "variance_epsilon") and not is_altered(module):
            weight = module.weight
            return partial(rms_norm, normalized_shape=weight.shape, weight=weight, eps=module.variance_epsilon)
        is_known = type(module).__module__.startswith(("torch.nn.", "transformers."))
        self.is_pure = self.is_pure and is_known and not is_altered(module)
        return module

    def __call__(self, ids: torch.Tensor, cache: SlotCache, plan: WritePlan) -> torch.Tensor:
        """Logits `(rows, V)` after each row's single new token; `ids` is `(rows, 1)`."""
        rows, scaling = ids.shape[0], self.scaling
        spans = plan.spans or (RowSpan(0, rows, plan.key_length),)

        def mixed(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            parts = [
                attend(query[a:b], keys[a:b, :, :n], values[a:b, :, :n], mask=mask[a:b, ..., :n], scaling=scaling)
                for a, b, n in spans
            ]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        return self.logits(self._through(ids[:, 0], cache, plan, mixed))

    def fill(self, ids: torch.Tensor, cache: SlotCache, plan: FillPlan, *, with_states: bool) -> torch.Tensor | None:
        """Write the keys and values of tokens `ids` `(tokens,)`, a multiple of 8 of them.

        Returns:
            The states after the last layer `(tokens, H)` if they are asked for: without, that layer is not needed.
        """

        def mixed(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return attend_runs(query, keys, values, plan.runs, mask=mask, scaling=self.scaling)

        states = self._through(ids, cache, plan, mixed, keys_only=not with_states)
        return states if with_states else None

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Logits `(rows, V)` of states after the last layer `(rows, H)`."""
        return self.head(self.norm(states))

    def _through(
        self, ids: torch.Tensor, cache: SlotCache, plan: WritePlan, mixed: Mixing, *, keys_only: bool = False
    ) -> torch.Tensor:
        """States `(rows, H)` after all layers; with `keys_only` they stop where the last layer's keys are written."""
        cache.plan = plan
        states = self.embed(ids)
        rows, width = ids.shape[0], self.width
        cos, sin = self.rotary(states, plan.positions)
        sin[..., : width // 2].neg_()
        mask = attention_mask(plan.positions, plan.key_length, states.dtype)
        for index, layer in enumerate(self.layers):
            normed = layer.norm(states)
            key = rotated(layer.key(normed).view(rows, -1, width), cos, sin)
            value = layer.value(normed).view(rows, -1, 1, width)
            keys, values = cache.update(key[:, :, None], value, index)
            if keys_only and index == len(self.layers) - 1:
                break
            query = rotated(layer.query(normed).view(rows, -1, width), cos, sin)
            together = mixed(query.view(rows, keys.shape[1], -1, width), keys, values, mask)
            states = states + layer.output(together.view(rows, -1))
            normed = layer.second_norm(states)
            states = states + layer.down(layer.activation(layer.gate(normed)).mul_(layer.up(normed)))
        return states


Mixing = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Attention of queries `(rows, key_heads, heads per key head, D)` over keys and values with a mask; of that shape."""


def rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of `states` `(rows, heads, D)`.

    Args:
        states: queries or keys.
        cos, sin: `(rows, 1, D)`, the first half of the sines negated.
    """
    return torch.addcmul(states * cos, states.roll(states.shape[-1] // 2, -1), sin)
