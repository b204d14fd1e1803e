"""What a local sampler does for one adapter: the queue of requests, the kept keys, the rows that are decoded.

A lane advances when it is told to; which of several lanes goes next is for the session (`local`). Rows of different
adapters are decoded in batches of their own.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from itertools import islice

from tutelage.sampling.cache import SlotCache
from tutelage.sampling.decode import DecodeBatch, FinishedRow, Row
from tutelage.sampling.forward import CachedForward
from tutelage.sampling.kept import KeptKeys, KeptSequence
from tutelage.sampling.prefill import Prefiller
from tutelage.sampling.prefix_tree import Ids

PROMPTS_AHEAD = 16
"""Waiting prompts that are prefilled along with those needed now."""
PATIENCE = 8
"""Steps that a lone new prompt may wait for others to be prefilled with it."""


@dataclass(frozen=True)
class TokenCounts:
    """Positions that a sampler has run its model over for one adapter, and those that it did not need to.

    Args:
        asked: positions before the last token of every request's prompt: what re-prefilling would compute.
        prefilled: of these, positions computed before decoding.
        decoded: positions computed by decode steps: the last token of each prompt, and each drawn one but the last.
        scored: positions computed to score given tokens, prompts not counted.
    """

    asked: int
    prefilled: int
    decoded: int
    scored: int

    @property
    def reused(self) -> int:
        """Positions that were needed and not computed."""
        return self.asked - self.prefilled


class Lane:
    """The queue, the kept keys and the decode batch of one adapter.

    Args:
        forward: the model.
        max_batch: rows decoded at once.
        end_ids: tokens that end any completion.
        max_kept_bytes: memory for kept keys.
        keeps_drawn: whether keys that were computed by decode steps are kept, and all keys taken over to the position.
    """

    def __init__(
        self,
        forward: CachedForward,
        max_batch: int,
        end_ids: frozenset[int],
        *,
        max_kept_bytes: int,
        keeps_drawn: bool,
    ) -> None:
        self._end_ids = end_ids
        self.kept = KeptKeys(max_bytes=max_kept_bytes)
        self.prompts = Prefiller(forward, self.kept, to_the_position=keeps_drawn)
        self.batch = DecodeBatch(
            forward,
            end_ids=end_ids,
            max_rows=max_batch,
            on_leaving=self._keep if keeps_drawn and max_kept_bytes else None,
        )
        self.num_scored = self._asked = self._decoded = 0
        self._waiting: OrderedDict[Ids, deque[Row]] = OrderedDict()
        self._patience = PATIENCE

    @property
    def is_busy(self) -> bool:
        """Whether any request is unanswered."""
        return bool(self._waiting) or self.batch.num_rows > 0

    @property
    def num_wanted(self) -> int:
        """Rows that its next step would have if no prompt had to wait."""
        return min(self.batch.num_rows + sum(map(len, self._waiting.values())), self.batch.max_rows)

    @property
    def counts(self) -> TokenCounts:
        """What it has computed since it was made."""
        return TokenCounts(self._asked, self.prompts.num_tokens, self._decoded, self.num_scored)

    def put(self, row: Row) -> None:
        """Queue a row behind the others of its prompt."""
        self._asked += row.num_before
        self._waiting.setdefault(row.request.prompt_ids, deque()).append(row)

    def step(self) -> list[FinishedRow]:
        """Admit what fits, then one token for every row."""
        if self._waiting and self.batch.num_free:
            self._admit()
        self._decoded += self.batch.num_rows
        return self.batch.step() if self.batch.num_rows else []

    def _admit(self) -> None:
        needed: list[Ids] = []
        free = self.batch.num_free
        for ids, rows in self._waiting.items():
            if free <= 0:
                break
            needed.append(ids)
            free -= len(rows)
        missing = sum(not self.prompts.is_ready(ids) for ids in needed)
        if missing and self.batch.num_rows and missing < min(PROMPTS_AHEAD, self.batch.num_rows // PATIENCE):
            self._patience -= 1
            if self._patience > 0:
                return
        self._patience = PATIENCE
        if missing:
            self.prompts.ensure(islice(self._waiting, len(needed) + PROMPTS_AHEAD))
        entering: list[tuple[Row, KeptSequence | None]] = []
        for ids in needed:
            rows = self._waiting[ids]
            prompt = self.prompts.held(ids)
            while rows and len(entering) < self.batch.num_free:
                entering.append((rows.popleft(), prompt))
            if not rows:
                del self._waiting[ids]
        self.batch.admit(entering)

    def _keep(self, row: FinishedRow, cache: SlotCache, slot: int) -> None:
        """Keep the keys of a completion that may be continued: a chunk, or one that did not come to its end."""
        request, last = row.request, row.token_ids[-1]
        is_whole = last in self._end_ids or last in request.params.stop_token_ids
        if is_whole and request.role != "chunk" and request.continues is None:
            return
        ids = (*request.prompt_ids, *row.token_ids[:-1])
        self.kept.keep(ids, cache, slot, node=request.id, own_from=len(request.prompt_ids) - 1)
        self.kept.forget()
