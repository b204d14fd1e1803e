"""Where the blocks of attention on trees begin and end."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tutelage.learning import tree_attention
from tutelage.learning.batches import Row
from tutelage.learning.layout import kept_pass, longest_first, with_rows
from tutelage.learning.policy import TrainablePolicy


def line_of_branches(size: int) -> tuple[tuple[Row, ...], ...]:
    """A trunk of 3 * `size` tokens with a branch of `size` tokens at each third."""
    trunk = tuple(range(10, 10 + 3 * size))
    rows = [Row(trunk, 1, (1.0,) * (len(trunk) - 1))]
    rows += [Row((*trunk[:place], *(5,) * size), place, (1.0,) * size) for place in (size, 2 * size)]
    return (longest_first(with_rows((), rows)[0]),)


def cost(last: np.ndarray, cuts: tuple[int, ...]) -> float:
    """Queries times keys of the blocks between cuts, keys counted one by one, and the price of each block."""
    blocks = itertools.pairwise(cuts)
    return sum((b - a) * int((last[:b] > a).sum()) + tree_attention.BLOCK_COST for a, b in blocks)


@pytest.mark.parametrize("price", [0, 30, 300, 10_000])
def test_no_other_cuts_cost_less(price: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tree_attention, "BLOCK_COST", price)
    monkeypatch.setattr(tree_attention, "GRID", 8)
    monkeypatch.setattr(tree_attention, "BLOCK", 24)
    last = kept_pass(line_of_branches(11)).ends[0].numpy()
    places = sorted({*last.tolist(), *range(0, len(last), 8)})
    inner = [
        (0, *some, len(last)) for count in range(len(places)) for some in itertools.combinations(places[1:-1], count)
    ]
    allowed = [cuts for cuts in inner if max(b - a for a, b in itertools.pairwise(cuts)) <= 24]
    assert cost(last, tuple(tree_attention.cuts_of(last))) == min(cost(last, cuts) for cuts in allowed)


@pytest.mark.parametrize("size", [1, 7, 40, 129, 300])
def test_blocks_hold_each_query_once_and_every_key_that_it_sees(size: int):
    ends = kept_pass(line_of_branches(size)).ends[0]
    blocks = tree_attention.blocks_of(ends)
    assert [block.start for block in blocks[1:]] == [block.end for block in blocks[:-1]]
    assert (blocks[0].start, blocks[-1].end) == (0, len(ends))
    for block in blocks:
        assert block.end - block.start <= tree_attention.BLOCK
        keys = np.concatenate([np.arange(a, b) for a, b in block.stretches])
        hidden = torch.cat([torch.zeros(block.end - block.start, block.mixed), block.hidden], 1)
        queries = np.arange(block.start, block.end)[:, None]
        sees = (np.arange(len(ends)) <= queries) & (queries < ends.numpy())
        found = np.zeros_like(sees)
        found[:, keys] = (hidden == 0).numpy()
        assert (found == sees).all()


def test_a_line_is_laid_out_and_blocked_once():
    lines = line_of_branches(9)
    first, again = kept_pass(lines), kept_pass(line_of_branches(9))
    assert first is again
    masks = [tree_attention.mask_for(batch.ends) for batch in (first, again)]
    assert masks[0].blocks is masks[1].blocks


def test_layouts_are_forgotten_after_an_update_and_are_fit_for_gradients_whoever_asked_first(llama, settings):
    policy = TrainablePolicy.open(llama, settings())
    rows = [(Row((*range(10, 40), *(other,) * 8), 30, (1.0,) * 8),) for other in range(6)]
    kept_pass.cache_clear()
    with torch.inference_mode():
        policy.score(rows)
    made = kept_pass.cache_info()
    stats = policy.update(rows, lambda _, sums: -sums.sum(), learning_rate=0.0)
    assert stats.packing == "tree" and stats.grad_norm > 0
    assert (made.currsize, kept_pass.cache_info().currsize) == (1, 0)
