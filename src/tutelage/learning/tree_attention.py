"""Attention on packed trees: every token sees its own beginning, and nothing of its neighbours on the line.

A line is packed depth first, so what a token is seen by is one stretch of the line: itself and all that continues it.
`ends` says where that stretch stops, and is all that there is of a mask: query q sees key k where `k <= q < ends[k]`.

On a CPU a line is computed in blocks of queries, each over the keys that any of its queries sees, so the work is that
of the visible keys and not of the whole line (torch's `sdpa` with an explicit mask computes every key for every query:
with a prompt of 60 and 10 chunks of 30 three times as many). On a GPU `flex_attention` skips hidden blocks by the same
rule. Either is a model's attention only inside `tree_attention`, and is handed `ends` itself, as an integer tensor in
the place of the mask: any other attention refuses a mask of that type, so none can take it for its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME, FLEX = "tutelage_tree", "flex_attention"
BLOCK, GRID = 128, 32
"""Most queries of a block on a CPU, and the places besides nodes where one may end."""
BLOCK_COST = 4096
"""Queries times keys that could be computed in the time that one more block costs; measured on one thread."""
EARLIER = np.tri(BLOCK, dtype=bool)
SEEN, UNSEEN = np.float32(0), np.float32(-np.inf)
KEPT_KEYS = 1024
"""Attention weights of blocks of up to so many keys are kept for the backward pass; others are made again.

Kept, they take up to about twice the memory of a small layer's other activations, less beside those of a large one.
"""
UNUSUAL = ("softcap", "s_aux", "position_bias")


@dataclass(frozen=True)
class Block:
    """Consecutive queries and the keys that at least one of them sees.

    Args:
        start, end: the queries, half-open.
        stretches: where the keys lie on the line, ascending half-open stretches.
        mixed: the keys from here on are not seen by all queries.
        hidden: `(queries, keys from mixed)`, 0 where a query sees a key and -inf where not.
    """

    start: int
    end: int
    stretches: tuple[tuple[int, int], ...]
    mixed: int
    hidden: Tensor

    def of(self, values: Tensor) -> Tensor:
        """The block's keys out of `(key heads, T, D)`."""
        pieces = [values[:, a:b] for a, b in self.stretches]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)

    def add_to(self, total: Tensor, values: Tensor) -> None:
        """Add `(key heads, keys, D)` to the block's keys of `(key heads, T, D)`."""
        done = 0
        for a, b in self.stretches:
            total[:, a:b].add_(values[:, done : done + b - a])  # `+=` would copy the sum onto itself
            done += b - a


def blocks_of(ends: Tensor) -> tuple[Block, ...]:
    """The blocks of one line.

    Args:
        ends: `(T,)` the tokens from a token's own place up to here are those that see it.
    """
    last = ends.numpy()
    blocks = []
    for start, end in itertools.pairwise(cuts_of(last)):
        size = end - start
        earlier = np.flatnonzero(last[:start] > start)
        keys = np.concatenate((earlier, np.arange(start, end)))
        breaks = np.flatnonzero(np.diff(keys) > 1)
        stretches = zip((int(keys[0]), *keys[breaks + 1].tolist()), (*(keys[breaks] + 1).tolist(), end), strict=True)
        partly = last[earlier] < end
        mixed = int(partly.argmax()) if partly.any() else len(earlier)
        seen = np.arange(start, end)[:, None] < last[keys[mixed:]]
        seen[:, -size:] &= EARLIER[:size, :size]
        hidden = np.where(seen, SEEN, UNSEEN)
        blocks.append(Block(start, end, tuple(stretches), mixed, torch.from_numpy(hidden)))
    return tuple(blocks)


def cuts_of(last: NDArray[np.int64]) -> list[int]:
    """Where blocks begin and end so that queries times keys, and `BLOCK_COST` for each block, add up to the least.

    A block from a to b has the keys that lie before a and are still seen there, and its own: `open + b - a`.

    Args:
        last: `(T,)` the `ends` of a line.
    """
    places = np.union1d(last, np.arange(0, len(last), GRID))
    still_seen = places - np.searchsorted(np.sort(last), places, "right")
    best, before = np.zeros(len(places)), np.zeros(len(places), dtype=np.int64)
    first = 0
    for j in range(1, len(places)):
        while places[j] - places[first] > BLOCK:
            first += 1
        sizes = places[j] - places[first:j]
        costs = best[first:j] + sizes * (still_seen[first:j] + sizes)
        before[j] = first + costs.argmin()
        best[j] = costs.min() + BLOCK_COST
    cuts = [len(places) - 1]
    while cuts[-1]:
        cuts.append(int(before[cuts[-1]]))
    return [int(places[i]) for i in reversed(cuts)]


class _Blocks(torch.autograd.Function):
    """Softmax attention block by block; query heads that share a key head are multiplied together."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, blocks: Any, options: Any) -> Tensor:
        scaling, dropout = options
        ctx.save_for_backward(query, key, value)
        heads, length, width = len(key), key.shape[1], value.shape[2]
        asked, key, value = _by_key_head(query, heads).mul_(scaling), key.contiguous(), value.contiguous()
        out = query.new_empty(heads, length, len(query) // heads, width)
        saved: list[tuple[Tensor | None, Tensor | None]] = []
        for block in blocks:
            keys = block.of(key)
            used = weights = _weights(asked[:, block.start : block.end], keys, block)
            dropped = functional.dropout(torch.ones_like(weights), dropout) if dropout else None
            if dropped is not None:
                used = weights * dropped
            mixed = torch.bmm(used.to(value.dtype), block.of(value))
            out[:, block.start : block.end] = mixed.view(heads, block.end - block.start, -1, width)
            if any(ctx.needs_input_grad):
                saved.append((weights if keys.shape[1] <= KEPT_KEYS else None, dropped))
        ctx.blocks, ctx.scaling, ctx.saved = blocks, scaling, saved
        return out.transpose(1, 2).reshape(len(query), length, width)

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        query, key, value = (saved.contiguous() for saved in ctx.saved_tensors)
        heads = len(key)
        asked, grad = _by_key_head(query, heads).mul_(ctx.scaling), _by_key_head(outputs[0], heads)
        sums = (torch.zeros_like(values, dtype=torch.float32) for values in (key, value))
        grads = torch.empty_like(asked), *sums
        for block, (weights, dropped) in zip(ctx.blocks, ctx.saved, strict=True):
            keys, part = block.of(key), grad[:, block.start : block.end]
            part = part.flatten(1, 2)
            own = asked[:, block.start : block.end]
            used = weights = _weights(own, keys, block) if weights is None else weights
            slopes = torch.bmm(part, block.of(value).transpose(1, 2)).float()
            if dropped is not None:
                used, slopes = weights * dropped, slopes * dropped
            block.add_to(grads[2], torch.bmm(used.to(value.dtype).transpose(1, 2), part))
            delta = torch.ops.aten._softmax_backward_data(slopes, weights, -1, torch.float32).to(key.dtype)
            grads[0][:, block.start : block.end] = torch.bmm(delta, keys).view(own.shape)
            block.add_to(grads[1], torch.bmm(delta.transpose(1, 2), own.flatten(1, 2)))
        slope = grads[0].mul_(ctx.scaling).transpose(1, 2).reshape(query.shape)
        return slope, grads[1].to(key), grads[2].to(value), None, None


def _by_key_head(values: Tensor, key_heads: int) -> Tensor:
    """A copy of `(heads, T, D)` as `(key heads, T, heads of each, D)`: a block of queries then lies in one piece."""
    heads, length, width = values.shape
    grouped = values.reshape(key_heads, heads // key_heads, length, width).transpose(1, 2)
    return grouped.clone(memory_format=torch.contiguous_format)


def _weights(queries: Tensor, keys: Tensor, block: Block) -> Tensor:
    """How much each query attends to each key of a block, `(key heads, queries * heads of each, keys)`, float32."""
    scores = torch.bmm(queries.flatten(1, 2), keys.transpose(1, 2)).float()
    scores.view(*queries.shape[:3], -1)[..., block.mixed :].add_(block.hidden[:, None])
    return torch.softmax(scores, -1)


def attend_to_beginnings(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it; anything but a packed line goes to the library's `sdpa`.

    Args:
        module: the attention layer.
        query: `(1, heads, T, D)`.
        key, value: `(1, key heads, T, D)`.
        attention_mask: `(1, 1, 1, T)` integers, the line's `ends`.
        scaling: factor of the scores, None for 1 / sqrt(D).
        dropout: share of the weights that are dropped.

    Returns:
        `(1, T, heads, D)`, and no weights.

    Raises:
        NotImplementedError: the model's attention does more than this.
    """
    if attention_mask is None or attention_mask.dtype != torch.int64:
        return cast(
            tuple[Tensor, None],
            sdpa_attention_forward(
                module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
            ),
        )
    if any(kwargs.get(name) is not None for name in UNUSUAL) or attention_mask.shape[-1] != key.shape[2]:
        raise NotImplementedError("this attention does more than a packed line can")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key = query.to(value.dtype), key.to(value.dtype)  # under autocast rotary positions leave them in float32
    mixed = _Blocks.apply(query[0], key[0], value[0], _blocks_for(attention_mask), (scale, dropout))
    return mixed.transpose(0, 1)[None], None


def _blocks_for(ends: Tensor) -> tuple[Block, ...]:
    """The blocks of a `(1, T)` or `(1, 1, 1, T)` tensor, made once for all layers and passes: they are kept with it."""
    known: tuple[Block, ...] | None = getattr(ends, "blocks", None)
    if known is None:
        known = blocks_of(ends.reshape(-1))
        ends.blocks = known  # type: ignore[attr-defined]
    return known


def sees(ends: Tensor) -> Any:
    """flex_attention's form of the mask: whether a query sees a key.

    Args:
        ends: `(T,)`, on the device of the model.
    """

    def rule(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < ends[key])

    return rule


def flex_mask(ends: Tensor) -> BlockMask:
    """The block mask of one line for flex_attention.

    Args:
        ends: `(T,)`, on the device of the model.
    """
    return create_block_mask(sees(ends), None, None, len(ends), len(ends), device=str(ends.device))


def mask_for(ends: Tensor) -> Any:
    """What a model inside `tree_attention` is given as attention mask for one line.

    Args:
        ends: `(1, T)`, on the device of the model.
    """
    if ends.device.type != "cpu":
        return flex_mask(ends[0])
    mask = ends[:, None, None]
    mask.blocks = _blocks_for(ends)  # type: ignore[attr-defined]
    return mask


@contextmanager
def tree_attention(model: Any) -> Iterator[None]:
    """The model attends along trees inside, where it is given `mask_for` a line, and as before where it is not.

    The backward pass of a model that recomputes its activations must lie inside too.

    Args:
        model: a transformers model whose attention is `sdpa`, with or without peft's wrapper.
    """
    if NAME not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(NAME, attend_to_beginnings)
    config = model.config
    before = config._attn_implementation_internal
    config._attn_implementation_internal = NAME if next(model.parameters()).device.type == "cpu" else FLEX
    try:
        yield
    finally:
        config._attn_implementation_internal = before
