"""How a CPU's matrix kernels cut long sums over keys, found out by trying: the same bits need the same cuts.

Masked keys weigh nothing, but where a kernel cuts a sum depends on how many keys it is given, masked ones included.
Two habits are known. Which one holds is tried once a process, on numbers of no meaning; where neither does, nothing is
promised of the last bits (`rule` is None), and lengths are rounded as by the first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch

from tutelage.sampling.grouping import round_up

KEY_MULTIPLE = 16
"""Key lengths are rounded up to this, so that masked tails never change the order of a reduction on a CPU."""


class KeyRule(NamedTuple):
    """How far to look so that sums over keys are cut alike whatever else is in the batch.

    Args:
        queries: query vectors that share keys from which on sums are cut.
        block: keys that are summed together.
        whole: a rest of up to this many keys is summed as it is.
        settled: from this many keys on, all blocks but the last are full ones.
    """

    queries: int
    block: int
    whole: int
    settled: int

    def span(self, length: int, shared_queries: int) -> int:
        """Key positions to look at where `length` are needed."""
        if shared_queries < self.queries or 0 < self.settled <= length:
            return round_up(length, KEY_MULTIPLE)
        done, rest = (0, length) if self.settled else divmod(length, self.block)
        if rest > self.whole:
            return self.settled or (done + 1) * self.block
        return done * self.block + round_up(rest, KEY_MULTIPLE)


HALVED = KeyRule(queries=4, block=512, whole=192, settled=0)
"""Blocks of 512; where four or more queries share keys, a block of more than 192 is halved wherever it stands. So a
longer rest is taken for a whole block: then all rows are cut at 256."""
EVEN = KeyRule(queries=2, block=384, whole=384, settled=768)
"""Blocks of 384; 385 to 767 keys are halved. So a length between is taken for 768: then all rows are cut at 384.
Seen on processors with matrix units (AMX) in MKL's strict mode."""
EVEN_FUSED = KeyRule(queries=1, block=512, whole=256, settled=0)
"""The same where the library's fused attention hands blocks of 512 on: full ones are halved, at 256."""


@lru_cache(maxsize=1)
def rule() -> KeyRule | None:
    """The habit of this process's kernels; None where neither is."""
    if _same(512, 512, 1024) and _same(500, 512, 1536):
        return HALVED
    if _same(384, 384, 768) and _same(500, 768, 1040) and _same(200, 208, 768):
        return EVEN
    return None


def _same(length: int, first: int, second: int) -> bool:
    """Whether sums over `length` keys keep their bits among `first` and `second` ones, for two and four queries."""
    numbers = torch.Generator().manual_seed(0)
    values = torch.randn(16, second, 16, generator=numbers)
    for queries in (2, 4):
        weights = torch.zeros(16, queries, second)
        weights[..., :length] = torch.rand(16, queries, length, generator=numbers)
        few = torch.matmul(weights[..., :first], values[:, :first])
        if not torch.equal(few, torch.matmul(weights, values)):
            return False
    return True


def key_span(length: int, *, shared_queries: int, is_fused: bool) -> int:
    """How many key positions a forward looks at, so that `length` of them give the same bits whatever the batch.

    Args:
        length: positions that the longest row needs.
        shared_queries: query vectors that meet the same keys: new tokens of a row, times query heads per key head where
            one token is decoded.
        is_fused: whether the library's fused attention is used, not products and a softmax.
    """
    found = rule() or HALVED
    return (EVEN_FUSED if is_fused and found == EVEN else found).span(length, shared_queries)
