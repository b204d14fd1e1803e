"""How passes go through a transformer, the states that are read, and whether rows may share beginnings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.learning.batches import Row
from tutelage.learning.layout import Pass
from tutelage.learning.tree_attention import mask_for, tree_attention

PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


def run_pass(module: Any, batch: Pass) -> Any:
    """What a transformers model, or its transformer alone, gives for a pass on its device."""
    if batch.ends is None:
        return module(input_ids=batch.input_ids, use_cache=False)
    with tree_attention(module):
        mask = mask_for(batch.ends)
        return module(input_ids=batch.input_ids, attention_mask=mask, position_ids=batch.position_ids, use_cache=False)


def picked(values: Tensor, batch: Pass) -> Tensor:
    """The scored positions of `(L, T, n)` values, `(P, n)`."""
    return values.reshape(-1, values.shape[-1]).index_select(0, batch.positions)


def joined(indices: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Indices into several ranges as indices into their concatenation."""
    starts = itertools.accumulate(sizes[:-1], initial=0)
    return torch.cat([index + start for index, start in zip(indices, starts, strict=True)])


def scored_tokens(values: Tensor, passes: Sequence[Pass]) -> Tensor:
    """From one value per prediction of several passes to one per scored token, `(S,)`."""
    return values.index_select(0, joined([batch.scored for batch in passes], [len(b.targets) for b in passes]))


def row_sums(values: Tensor, passes: Sequence[Pass]) -> Tensor:
    """Weighted sums of the scored tokens' values over each row, `(R,)`."""
    owners = joined([batch.owners for batch in passes], [batch.num_rows for batch in passes])
    total = torch.zeros(sum(batch.num_rows for batch in passes), dtype=torch.float32, device=values.device)
    return total.index_add(0, owners, values * torch.cat([batch.weights for batch in passes]))


def may_share_beginnings(model: nn.Module) -> bool:
    """Whether attention may follow trees: every layer looks at all that comes before, by an attention that we know.

    What an architecture makes of that is found out by a probe: states may flow on from token to token, and another
    attention may ignore what it is given.
    """
    causal: Any = model
    config = causal.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    is_full = kinds == {"full_attention"} and getattr(config, "sliding_window", None) is None
    return is_full and config is causal.config and config._attn_implementation == "sdpa"


def probe_rows(model: nn.Module) -> list[Row]:
    """Two rows with a common beginning, in the order of a line; on a GPU they are longer than a block of attention."""
    causal: Any = model
    vocab = causal.get_input_embeddings().weight.shape[0]
    common = 6 if next(model.parameters()).device.type == "cpu" else 150
    ids = [(7 * i + 3) % vocab for i in range(common + 10)]
    rows = [Row((*ids[:common], *ids[common + 4 * k :][:4]), common - 2, (1.0,) * 6) for k in range(2)]
    return sorted(rows, key=lambda row: row.ids)
