"""The mathematics of drawing one token per row: temperature, top-k, top-p, and the log-prob of what was drawn.

Tokens are drawn by inverting the cumulative distribution at a uniform number that belongs to the request and the
token's position, so a row's token depends on that row alone. Not here: where the uniform numbers are kept.
Deviation: a draw walks the distribution in vocabulary order (in order of probability where top-k or top-p cuts it),
not by Gumbel noise, so that one number a token is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from tutelage.records import SamplingParams

NUCLEUS = 1024
"""How many of the likeliest tokens are looked at before a nucleus is sought in the whole vocabulary."""
LARGEST_UNIFORM = 1.0 - 2.0**-40
"""Keeps a uniform number times a total below that total in double precision."""


class Draw(NamedTuple):
    """One token per row."""

    tokens: torch.Tensor
    """`(B,)` int64."""
    logprobs: torch.Tensor
    """`(B,)` float32, natural log, under the untempered and unfiltered distribution."""


@dataclass
class Filters:
    """The rows' temperatures and cuts, `(B,)` each, with what the host knows of them.

    Args:
        temperature: 0 for greedy rows.
        top_k: 0 for no limit.
        top_p: 1 for no limit.
        greedy, tempered, cut: whether any row is greedy; has a temperature other than 0 and 1; has a top-k or top-p.
    """

    temperature: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    greedy: bool
    tempered: bool
    cut: bool

    @classmethod
    def of(cls, params: list[SamplingParams], device: torch.device | None = None) -> Filters:
        """Filters of rows with these parameters."""
        return cls(
            temperature=torch.tensor([p.temperature for p in params], dtype=torch.float32, device=device),
            top_k=torch.tensor([p.top_k for p in params], dtype=torch.int64, device=device),
            top_p=torch.tensor([p.top_p for p in params], dtype=torch.float64, device=device),
            greedy=any(p.temperature == 0 for p in params),
            tempered=any(p.temperature not in (0, 1) for p in params),
            cut=any(p.top_k > 0 or p.top_p < 1 for p in params),
        )


def uniforms(seed: int, count: int) -> np.ndarray:
    """The numbers that a request's tokens are drawn with, in [0, 1); number t is token t's, whatever `count` is."""
    stream = np.random.Generator(np.random.Philox(key=seed & (2**64 - 1)))
    return np.minimum(stream.random(count), LARGEST_UNIFORM)


def draw(logits: torch.Tensor, filters: Filters, uniform: torch.Tensor) -> Draw:
    """Draw one token per row.

    Args:
        logits: `(B, V)` of any float dtype.
        filters: of the same `B` rows.
        uniform: `(B,)` float64 in [0, 1).
    """
    logits = logits.float()
    normaliser = torch.logsumexp(logits, dim=-1)
    if filters.tempered:
        warmth = torch.where(filters.temperature > 0, filters.temperature, 1.0)[:, None]
        probs = torch.softmax(logits / warmth, dim=-1)
    else:
        probs = torch.exp(logits - normaliser[:, None])
    tokens = invert(probs, uniform)
    if filters.cut:
        rows = ((filters.top_k > 0) | (filters.top_p < 1)).nonzero()[:, 0]
        tokens[rows] = draw_cut(probs[rows], filters.top_k[rows], filters.top_p[rows], uniform[rows])
    if filters.greedy:
        tokens = torch.where(filters.temperature > 0, tokens, logits.argmax(dim=-1))
    chosen = logits.gather(1, tokens[:, None])[:, 0]
    return Draw(tokens, chosen - normaliser)


def invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Index of the entry at which the running sum of `weights` `(B, N)` passes `uniform` `(B,)` times their total."""
    running = torch.cumsum(weights, dim=-1, dtype=torch.float64)
    target = (uniform * running[:, -1])[:, None]
    return torch.searchsorted(running, target, right=True)[:, 0].clamp_(max=weights.shape[-1] - 1)


def draw_cut(probs: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Draw within the `top_k` likeliest tokens and, of those, the smallest set that holds `top_p` of their mass.

    The token that crosses `top_p` is kept. Rows whose nucleus may be wider than `NUCLEUS` tokens are sorted whole.

    Args:
        probs: `(B, V)`, each row summing to about 1.
        top_k: `(B,)`, 0 for no limit.
        top_p: `(B,)` in (0, 1].
        uniform: `(B,)`.
    """
    vocabulary = probs.shape[-1]
    tokens = torch.empty(len(probs), dtype=torch.int64, device=probs.device)
    limit = torch.where(top_k > 0, top_k, vocabulary).clamp_(max=vocabulary)
    head = torch.topk(probs, min(NUCLEUS, vocabulary), dim=-1)
    enough = (head.values.sum(-1, dtype=torch.float64) >= top_p + 1e-4) & (top_p < 1) & (top_k == 0)
    enough |= limit <= head.values.shape[-1]
    for whole in (False, True):
        rows = (enough != whole).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        found = torch.topk(probs[rows], vocabulary, dim=-1) if whole else head
        values, order = (found.values, found.indices) if whole else (head.values[rows], head.indices[rows])
        rank = torch.arange(values.shape[-1], device=probs.device)
        values = values.double().masked_fill(rank >= limit[rows, None], 0.0)
        total = torch.where(top_k[rows] > 0, values.sum(-1), 1.0)[:, None]
        before = values.cumsum(-1) - values
        values = values.masked_fill(before >= top_p[rows, None] * total, 0.0)
        tokens[rows] = order.gather(1, invert(values, uniform[rows])[:, None])[:, 0]
    return tokens
