"""The `local` backend: a transformers model in this process, decoded by our own loop.

What it is: the session. It keeps the queue of requests by prompt, prefills each prompt once for all its samples, keeps
the decode batch full, and answers in finishing order. Rows of different adapters are decoded in batches of their own.
On a CPU in fp32 with one thread a sample's tokens depend on its request and seed only, and so do the bits of its
log-probs from torch 2.13 on (older kernels: to 1e-5); on a GPU or in bf16 only the distribution is promised.
What it is not: it sets no thread counts (the command line does), and it keeps no keys of a finished completion: the
next chunk of a solution takes over the prefilled blocks of its prompt and prefills the rest (`prefill` says why).
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from tutelage.errors import DataError, SamplerFailed
from tutelage.models import loading
from tutelage.records import Completion, Policy
from tutelage.sampling.adapters import HeldWeights
from tutelage.sampling.completing import Drawn, completion_of, decode, failed
from tutelage.sampling.decode import DecodeBatch, FinishedRow, Row
from tutelage.sampling.forward import CachedForward, check_forward
from tutelage.sampling.prefill import Ids, Prompt, PromptStore
from tutelage.sampling.scoring import score
from tutelage.sampling.session import SampleRequest, ScoreRequest
from tutelage.sampling.stopping import StopWatch, TokenPieces, end_token_ids
from tutelage.text.prompts import tokenizer_digest

STEPS_AT_ONCE = 32
"""Steps of one adapter's batch before another's gets its turn."""
PROMPTS_AHEAD = 16
"""Waiting prompts that are prefilled along with those needed now."""
PATIENCE = 8
"""Steps that a lone new prompt may wait for others to be prefilled with it."""


class LocalSampler:
    """A sampler session on a model in this process.

    Args:
        model: a transformers causal language model, or a peft wrapper of one.
        tokenizer: its tokenizer.
        policy: what its weights are; None names the model by the path in its config.
        max_batch: rows decoded at once, per adapter.
        context: most tokens of prompt and completion together; None takes the model's.
        max_prompt_bytes: memory for prefilled prompts.
        is_ours: whether nobody else uses the model object.

    Raises:
        ModelError: the model's forward does not work with our cache.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        policy: Policy | None = None,
        max_batch: int = 64,
        context: int | None = None,
        max_prompt_bytes: int = 1 << 28,
        is_ours: bool = False,
    ) -> None:
        self._policy = policy or Policy(str(getattr(model.config, "_name_or_path", "") or "model"))
        self._weights = HeldWeights(model, self._policy, is_ours=is_ours)
        self._forward = CachedForward(self._weights.base, context=context)
        check_forward(self._forward)
        self.tokenizer, self.max_batch, self._prompt_bytes = tokenizer, max_batch, max_prompt_bytes
        self.tokenizer_digest = tokenizer_digest(tokenizer)
        self._end_ids = end_token_ids(tokenizer, getattr(self._weights.base, "generation_config", None))
        self._pieces = TokenPieces(tokenizer)
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Completion] = deque()
        self._closed = False

    @classmethod
    def open(
        cls,
        model: str | Path,
        *,
        tokenizer: Any = None,
        adapter: Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
        max_batch: int = 64,
        context: int | None = None,
        policy: Policy | None = None,
    ) -> LocalSampler:
        """Load a model and sample from it.

        Args:
            model: folder or hub name.
            tokenizer: None takes the one beside the model.
            adapter: folder of a LoRA adapter, which gets the name and version that `policy` gives ("lora", 0).
            device: "auto", or a torch device.
            dtype: "auto", "float32" or "bfloat16".
            max_batch, context, policy: see the class.

        Raises:
            ModelError: the model, its tokenizer or the adapter cannot be used.
        """
        place = loading.resolve_device(device)
        loaded = loading.load_model(model, device=place, dtype=loading.resolve_dtype(dtype, place))
        tokenizer = loading.load_tokenizer(model) if tokenizer is None else tokenizer
        policy = policy or Policy(str(model), "lora" if adapter else "")
        if adapter is not None and not policy.adapter:
            policy = Policy(policy.model, "lora", policy.version)
        session = cls(loaded, tokenizer, policy=policy, max_batch=max_batch, context=context, is_ours=True)
        if adapter is not None:
            session._weights.load(policy.adapter, policy.version, Path(adapter))
        return session

    @property
    def policy(self) -> Policy:
        """The weights that the session was opened with, at their present version."""
        name = self._policy.adapter
        return Policy(self._policy.model, name, self._weights.versions[name])

    @property
    def context(self) -> int:
        """Most tokens of prompt and completion together."""
        return self._forward.context

    def submit(self, request: SampleRequest) -> None:
        """Queue a request.

        Raises:
            SamplerFailed: the session is closed.
        """
        if self._closed:
            raise SamplerFailed("the sampler is closed", advice="open a new session")
        objection = self._objection(request)
        if objection is not None:
            self._ready.append(self._failed(request, objection))
            return
        if request.adapter not in self._lanes:
            self._lanes[request.adapter] = Lane(self._forward, self.max_batch, self._end_ids, self._prompt_bytes)
        limit = min(request.params.max_new_tokens, self._forward.context - len(request.prompt_ids))
        watch = StopWatch(self._pieces, request.params) if request.params.stop or request.params.pause else None
        self._lanes[request.adapter].put(Row(request, limit, watch))

    def _objection(self, request: SampleRequest) -> str | None:
        objection = self._weights.objection(request.adapter, request.version)
        if objection is not None:
            return objection
        length, vocabulary = len(request.prompt_ids), self._forward.config.vocab_size
        if not length:
            return "the prompt is empty"
        if length >= self._forward.context:
            return (
                f"the prompt has {length} tokens; the context of {self._forward.context} leaves no room for an answer"
            )
        if min(request.prompt_ids) < 0 or max(request.prompt_ids) >= vocabulary:
            return f"the prompt has a token outside the model's vocabulary of {vocabulary}"
        return None

    def completions(self) -> Iterator[Completion]:
        """Completions in finishing order until every submitted request is answered.

        A completion that was given out is whole; an interrupt within a step closes the session.
        """
        while not self._closed:
            while self._ready:
                yield self._ready.popleft()
            busy = [name for name, lane in self._lanes.items() if lane.is_busy]
            if not busy and not self._ready:
                return
            for name in busy:
                self._advance(name, STEPS_AT_ONCE)

    def _advance(self, adapter: str, steps: int) -> None:
        """Run an adapter's batch for some steps, or until a row is done."""
        lane = self._lanes[adapter]
        try:
            with self._weights.using(adapter), self._forward.evaluating():
                for _ in range(steps):
                    finished = lane.step()
                    if finished:
                        self._ready.extend([self._completion(row) for row in finished])
                        return
        except torch.OutOfMemoryError as error:
            self.close()
            raise SamplerFailed(
                "the device has no memory left for sampling",
                seen=str(error).splitlines()[0],
                expected=f"room for {self.max_batch} rows",
                advice="lower max_batch or max_new_tokens, then go on with --resume",
            ) from error
        except BaseException:
            # A step that was cut short leaves rows half written: nothing of them may be given out later.
            self.close()
            raise

    def _completion(self, row: FinishedRow) -> Completion:
        if not math.isfinite(sum(row.token_logprobs)):
            return self._failed(row.request, "the model gave probabilities that are not finite: its weights are broken")
        ends = self._end_ids.union(row.request.params.stop_token_ids) if row.finish_reason == "stop" else ()
        text = decode(self.tokenizer, row.token_ids, ends)
        drawn = Drawn(row.token_ids, row.token_logprobs, text, row.finish_reason)
        return completion_of(row.request, drawn, model=self._policy.model, tokenizer_digest=self.tokenizer_digest)

    def _failed(self, request: SampleRequest, note: str) -> Completion:
        return failed(request, note, model=self._policy.model, tokenizer_digest=self.tokenizer_digest)

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Log-probs (natural log, untempered) of each request's `token_ids`, one list per request, in order.

        Raises:
            DataError: a request does not fit the context, or names weights that are not in use.
        """
        results: list[list[float]] = [[] for _ in requests]
        for request in requests:
            objection = self._weights.objection(request.adapter, request.version)
            if objection is not None:
                raise DataError("tokens cannot be scored", seen=objection, advice="publish these weights first")
        for adapter in dict.fromkeys(r.adapter for r in requests):
            chosen = [i for i, r in enumerate(requests) if r.adapter == adapter]
            with self._weights.using(adapter), self._forward.evaluating():
                for index, found in zip(chosen, score(self._forward, [requests[i] for i in chosen]), strict=True):
                    results[index] = found
        return results

    def publish(self, adapter: str, version: int, path: Path) -> None:
        """Load weights from `path` as `adapter` ("" = the model itself); returns when they are in use.

        Requests submitted before are answered first, by the weights that they name.

        Raises:
            ModelError: the folder does not hold weights that fit.
            MissingExtra: an adapter needs peft, which is not installed.
        """
        self._drain(adapter)
        self._weights.load(adapter, version, Path(path))
        self._forget(adapter)

    def adopt(self, adapter: str, version: int) -> None:
        """Say that the owner of the model changed `adapter`'s weights in place, and that they are `version` now."""
        self._drain(adapter)
        self._weights.adopt(adapter, version)
        self._forget(adapter)

    def _touched(self, adapter: str) -> list[str]:
        """The adapters whose results change with `adapter`: all of them when it is the model itself."""
        return [name for name in self._lanes if not adapter or name == adapter]

    def _drain(self, adapter: str) -> None:
        for name in self._touched(adapter):
            while self._lanes[name].is_busy:
                self._advance(name, STEPS_AT_ONCE)

    def _forget(self, adapter: str) -> None:
        for name in self._touched(adapter):
            self._lanes[name].prompts.clear()

    def release(self, completion_id: str) -> None:
        """Nothing to do: kept prompts are bounded, and the least recently used go first."""

    def close(self) -> None:
        """Stop; outstanding requests are abandoned."""
        self._closed = True
        self._lanes.clear()
        self._ready.clear()


class Lane:
    """The queue, prompts and decode batch of one adapter.

    Args:
        forward: the model.
        max_batch: rows decoded at once.
        end_ids: tokens that end any completion.
        max_prompt_bytes: memory for prefilled prompts.
    """

    def __init__(self, forward: CachedForward, max_batch: int, end_ids: frozenset[int], max_prompt_bytes: int) -> None:
        self.prompts = PromptStore(forward, max_bytes=max_prompt_bytes)
        self.batch = DecodeBatch(forward, end_ids=end_ids, max_rows=max_batch)
        self._waiting: OrderedDict[Ids, deque[Row]] = OrderedDict()
        self._patience = PATIENCE

    @property
    def is_busy(self) -> bool:
        """Whether any request is unanswered."""
        return bool(self._waiting) or self.batch.num_rows > 0

    def put(self, row: Row) -> None:
        """Queue a row behind the others of its prompt."""
        self._waiting.setdefault(row.request.prompt_ids, deque()).append(row)

    def step(self) -> list[FinishedRow]:
        """Admit what fits, then one token for every row."""
        if self._waiting and self.batch.num_free:
            self._admit()
        return self.batch.step() if self.batch.num_rows else []

    def _admit(self) -> None:
        needed: list[Ids] = []
        free = self.batch.num_free
        for ids, rows in self._waiting.items():
            if free <= 0:
                break
            needed.append(ids)
            free -= len(rows)
        missing = sum(ids not in self.prompts for ids in needed)
        if missing and self.batch.num_rows and missing < min(PROMPTS_AHEAD, self.batch.num_rows // PATIENCE):
            self._patience -= 1
            if self._patience > 0:
                return
        self._patience = PATIENCE
        if missing:
            self.prompts.ensure(islice(self._waiting, len(needed) + PROMPTS_AHEAD))
        entering: list[tuple[Row, Prompt]] = []
        for ids in needed:
            rows = self._waiting[ids]
            prompt = self.prompts.get(ids)
            while rows and len(entering) < self.batch.num_free:
                entering.append((rows.popleft(), prompt))
            if not rows:
                del self._waiting[ids]
        self.batch.admit(entering)
