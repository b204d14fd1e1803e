"""The `local` backend: a transformers model in this process, decoded by our own loop.

What it is: the session. It prefills each prompt once for all its samples, keeps the decode batches full, and answers in
finishing order. Rows of different adapters are decoded in batches of their own. A request that continues a completion
from any of its tokens takes over the keys of all before it: of a tree, no position is computed twice under one version
of an adapter while there is memory for it, and adapters never share keys.
On a CPU in fp32 with one thread a sample's tokens depend on its request and seed only, not on what else is asked for or
kept, and so do the bits of its log-probs from torch 2.13 on (older kernels: to 1e-5; processors with matrix units need
MKL's strict mode, which commands set: `MKL_CBWR=AUTO,STRICT`); on a GPU or in bf16 only the distribution is promised.
`prefill` says how, and for which models that costs some of what is kept.
What it is not: it sets no thread counts (the command line does).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tutelage.errors import DataError, SamplerFailed
from tutelage.models import loading
from tutelage.records import Completion, Policy
from tutelage.sampling.adapters import HeldWeights
from tutelage.sampling.completing import Drawn, completion_of, decode, failed
from tutelage.sampling.decode import FinishedRow, Row
from tutelage.sampling.forward import CachedForward, check_forward
from tutelage.sampling.lane import Lane, TokenCounts
from tutelage.sampling.scoring import score, score_after
from tutelage.sampling.session import SampleRequest, ScoreRequest
from tutelage.sampling.stopping import StopWatch, TokenPieces, end_token_ids
from tutelage.text.prompts import tokenizer_digest

STEPS_AT_ONCE = 32
"""Steps of one adapter's batch before another's gets its turn."""
TURNS_WAITED = 16
"""Turns of others after which an adapter's batch gets its own, however few rows it has."""
SHORT_TOKENS = 16
"""Longest tokens that are scored after the kept keys of their prompt: a judgement, an option."""


class LocalSampler:
    """A sampler session on a model in this process.

    Args:
        model: a transformers causal language model, or a peft wrapper of one.
        tokenizer: its tokenizer.
        policy: what its weights are; None names the model by the path in its config.
        max_batch: rows decoded at once, per adapter.
        context: most tokens of prompt and completion together; None takes the model's.
        max_kept_bytes: memory for the kept keys of each adapter; None takes 256 MB, on a GPU a tenth of its memory.
        keep_drawn: whether what continues a completion takes over the keys that drawing it computed. None does where
            that changes no bit, and where no bits are promised; True does so on any model, and the last bits, rarely a
            token, of a continuation then hang on what was still kept.
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
        max_kept_bytes: int | None = None,
        keep_drawn: bool | None = None,
        is_ours: bool = False,
    ) -> None:
        self._policy = policy or Policy(str(getattr(model.config, "_name_or_path", "") or "model"))
        self._weights = HeldWeights(model, self._policy, is_ours=is_ours)
        self._forward = CachedForward(self._weights.base, context=context)
        check_forward(self._forward)
        self.tokenizer, self.max_batch = tokenizer, max_batch
        self._kept_bytes = _kept_bytes(self._forward.device) if max_kept_bytes is None else max_kept_bytes
        promises_bits = self._forward.device.type == "cpu" and self._forward.dtype == torch.float32
        self.keeps_drawn = (not promises_bits or self._forward.fills_exactly) if keep_drawn is None else keep_drawn
        self.tokenizer_digest = tokenizer_digest(tokenizer)
        self._end_ids = end_token_ids(tokenizer, getattr(self._weights.base, "generation_config", None))
        self._pieces = TokenPieces(tokenizer)
        self._lanes: dict[str, Lane] = {}
        self._waited: dict[str, int] = {}
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
        limit = min(request.params.max_new_tokens, self._forward.context - len(request.prompt_ids))
        watch = StopWatch(self._pieces, request.params) if request.params.stop or request.params.pause else None
        self._lane(request.adapter).put(Row(request, limit, watch))

    def _lane(self, adapter: str) -> Lane:
        if adapter not in self._lanes:
            self._lanes[adapter] = Lane(
                self._forward, self.max_batch, self._end_ids, max_kept_bytes=self._kept_bytes,
                keeps_drawn=self.keeps_drawn,
            )  # fmt: skip
        return self._lanes[adapter]

    @property
    def token_counts(self) -> dict[str, TokenCounts]:
        """By adapter, over how many positions the model was run, and how many were taken over."""
        return {name: lane.counts for name, lane in self._lanes.items()}

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
        self._forward.forget_steps()
        while not self._closed:
            while self._ready:
                yield self._ready.popleft()
            adapter = self._next()
            if adapter is None:
                return
            self._advance(adapter, STEPS_AT_ONCE)

    def _next(self) -> str | None:
        """Whose turn it is: the adapter with the most rows, or one that has waited long; None where all is done."""
        busy = {name: lane.num_wanted for name, lane in self._lanes.items() if lane.is_busy}
        if not busy:
            return None
        late = [name for name in busy if self._waited.get(name, 0) >= TURNS_WAITED]
        chosen = late[0] if late else max(busy, key=busy.__getitem__)
        self._waited = {name: self._waited.get(name, 0) + 1 for name in busy if name != chosen}
        return chosen

    @contextmanager
    def _computing(self, adapter: str) -> Iterator[None]:
        """The model computes with `adapter` inside: by functions made for it, or switched on in the model."""
        step = self._forward.step_for(self._weights.choice(adapter))
        if step is not None:
            with self._forward.stepping(step):
                yield
            return
        with self._weights.using(adapter), self._forward.evaluating():
            yield

    def _advance(self, adapter: str, steps: int) -> None:
        """Run an adapter's batch for some steps, or until a row is done."""
        lane = self._lanes[adapter]
        try:
            with self._computing(adapter):
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
        self._forward.forget_steps()
        for adapter in dict.fromkeys(r.adapter for r in requests):
            chosen = [i for i, r in enumerate(requests) if r.adapter == adapter]
            for index, found in zip(chosen, self._score(adapter, [requests[i] for i in chosen]), strict=True):
                results[index] = found
        return results

    def _score(self, adapter: str, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Log-probs under one adapter. How a request is scored hangs on nothing but itself."""
        results: dict[int, list[float]] = {}
        can_fill = self._forward.fills_exactly and self._forward.can_step_plainly
        is_short = [can_fill and 0 < len(r.token_ids) <= SHORT_TOKENS for r in requests]
        short, long = ([i for i, s in enumerate(is_short) if s == which] for which in (True, False))
        if short:
            lane = self._lane(adapter)
            with self._computing(adapter):
                found, count = score_after(lane.prompts, [requests[i] for i in short])
            lane.num_scored += count
            results |= zip(short, found, strict=True)
        if long:
            with self._weights.using(adapter), self._forward.evaluating():
                results |= zip(long, score(self._forward, [requests[i] for i in long]), strict=True)
        return [results[i] for i in range(len(requests))]

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
            self._lanes[name].kept.clear()
        self._forward.forget_steps()

    def release(self, completion_id: str) -> None:
        """Free the kept keys that only this completion needs; without, the least recently used go first."""
        for lane in self._lanes.values():
            lane.kept.release(completion_id)

    def close(self) -> None:
        """Stop; outstanding requests are abandoned."""
        self._closed = True
        self._lanes.clear()
        self._ready.clear()


def _kept_bytes(device: torch.device) -> int:
    """Memory for the kept keys of one adapter where none is given."""
    if device.type != "cuda":
        return 1 << 28
    return int(torch.cuda.get_device_properties(device).total_memory // 10)
