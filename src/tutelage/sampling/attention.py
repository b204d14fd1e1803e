"""Attention of a single new token per row on a CPU, by two batched products for each group of rows.

transformers' `sdpa` takes a tiled kernel for this, which on a CPU spends most of its time starting matrix products of
one row; a batched product starts once. Measured on one thread, 64 rows of 4 heads of 32 over 128 keys, four layers in
turn: 0.36 ms a layer against 0.68. Rows of about the same length look at keys together (`grouping`), so that short rows
do not pay for long ones. Longer inputs go to the library's own `sdpa`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tutelage.sampling.cache import Run
from tutelage.sampling.grouping import RowSpan

NAME = "tutelage_decode"
LEAST_WIDTH = 32
"""Narrower heads go to `sdpa`: there a batched product's bits depend on how many keys it has."""
UNUSUAL = ("softcap", "s_aux", "position_bias")
_spans: ContextVar[tuple[RowSpan, ...]] = ContextVar("spans of the rows that are decoded now", default=())


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
    scale = width**-0.5 if scaling is None else scaling
    spans = _spans.get() or (RowSpan(0, rows, key.shape[2]),)
    mixed = [
        attend(shared[a:b], key[a:b, :, :n], value[a:b, :, :n], mask=attention_mask[a:b, ..., :n], scaling=scale)
        for a, b, n in spans
    ]
    together = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
    return together.reshape(rows, 1, heads, value.shape[-1]), None


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, mask: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Softmax attention of one new token a row.

    Args:
        query: `(B, key_heads, heads per key head, D)`.
        key, value: `(B, key_heads, S, D)`.
        mask: additive, `(B, 1, 1, S)`.
        scaling: factor of the products.

    Returns:
        Of the query's shape.
    """
    scores = torch.matmul(query, key.transpose(2, 3)).mul_(scaling).add_(mask)
    return torch.matmul(torch.softmax(scores, dim=-1), value)


def attend_runs(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    runs: Sequence[Run],
    *,
    mask: torch.Tensor,
    scaling: float,
) -> torch.Tensor:
    """Softmax attention of many tokens of few sequences, with the bits that `attend` gives for each token by itself.

    A kernel rounds products of one row otherwise than those of many, so each token has a product of its own here too;
    but the products of a run share their keys, which are read from memory once.

    Args:
        query: `(tokens, key_heads, heads per key head, D)`.
        key, value: `(slots, key_heads, S, D)`.
        runs: which tokens look at which slot, and how far; they cover all tokens.
        mask: additive, `(tokens, 1, 1, S)`.
        scaling: factor of the products.

    Returns:
        Of the query's shape.
    """
    mixed = torch.empty_like(query)
    key_heads, shared = query.shape[1:3]
    for slot, start, stop, length in runs:
        asked, hidden = _two_or_more(query[start:stop]), _two_or_more(mask[start:stop, 0, :, :length])
        count = len(asked)
        scores = query.new_empty((key_heads, count, shared, length))
        for head in range(key_heads):
            own = key[slot, head, :length].T.expand(count, -1, -1)
            torch.bmm(asked[:, head], own, out=scores[head])
        scores.mul_(scaling).add_(hidden)
        weights = torch.softmax(scores, dim=-1)
        for head in range(key_heads):
            own = value[slot, head, :length].expand(count, -1, -1)
            mixed[start:stop, head] = torch.bmm(weights[head], own)[: stop - start]
    return mixed


def _two_or_more(rows: torch.Tensor) -> torch.Tensor:
    """A lone row twice: a product of one alone goes to another kernel, which rounds otherwise."""
    return rows if len(rows) > 1 else rows.expand(2, *rows.shape[1:])


def is_plain(config: Any) -> bool:
    """Whether a model uses `sdpa` as it is, so that `decode_attention` may stand in for it."""
    return config._attn_implementation == "sdpa"


@contextmanager
def swapped_attention(config: Any, spans: tuple[RowSpan, ...] = ()) -> Iterator[None]:
    """The model of this config attends by `decode_attention` inside.

    Args:
        config: the model's.
        spans: how far each group of rows looks; empty where all look over all keys.
    """
    if NAME not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(NAME, decode_attention)
    before = config._attn_implementation_internal
    config._attn_implementation_internal = NAME
    token = _spans.set(spans)
    try:
        yield
    finally:
        _spans.reset(token)
        config._attn_implementation_internal = before
