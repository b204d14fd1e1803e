"""One forward of a transformers model over a `SlotCache`: explicit positions, explicit masks, no generation code.

What it is: the only place of the sampler that calls the model. What it is not: a model; the arithmetic is the library's
own, but for common layouts on a CPU in fp32 (`plain_step`). A model whose forward does not take what is needed here
is refused by `check_forward`, with a trial run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from tutelage.errors import ModelError
from tutelage.sampling.attention import LEAST_WIDTH, is_plain, swapped_attention
from tutelage.sampling.cache import FillPlan, Run, SlotCache, WritePlan, attention_mask
from tutelage.sampling.grouping import ROW_MULTIPLE
from tutelage.sampling.kernels import HALVED, key_span
from tutelage.sampling.plain_step import PlainStep, has_plain_layout

ROPE_BY_LENGTH = ("longrope", "dynamic")
TRIAL_TOKENS = 21
CALL_NUMBERS = 128_000
"""Keys and values that a layer reads in the time of the calls that one more group of rows takes (some 30 us)."""


class CachedForward:
    """A causal language model as the sampler sees it.

    Args:
        model: a transformers `...ForCausalLM`, adapters included if it has any (not the peft wrapper around it).
        context: positions that a sequence may have; None takes the model's.

    Raises:
        ModelError: the architecture cannot be sampled from here.
    """

    def __init__(self, model: Any, *, context: int | None = None) -> None:
        self.model = model
        self.config = model.config.get_text_config(decoder=True)
        self.backbone = getattr(model, model.base_model_prefix, model)
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.kinds = layer_kinds(self.config)
        self.window = getattr(self.config, "sliding_window", None) if "sliding_attention" in self.kinds else None
        self.context = self._context(context)
        self.has_plain_head = False
        """Whether logits are the output embedding of the hidden states and nothing else; `check_forward` finds out."""
        heads = int(self.config.num_attention_heads)
        key_heads = int(getattr(self.config, "num_key_value_heads", None) or heads)
        self._sharing = heads // key_heads
        width = int(getattr(self.config, "head_dim", None) or self.config.hidden_size // heads)
        self._group_cost = max(1, CALL_NUMBERS // (2 * key_heads * width))
        can_swap = self.device.type == "cpu" and self._sharing < HALVED.queries and width >= LEAST_WIDTH
        self._can_swap = can_swap and is_plain(self.config)
        self.steps_plainly = False
        """Whether a decode step is `PlainStep` instead of the model's own forward; `check_forward` finds out."""
        self.fills_exactly = False
        """Whether `fill` gives the bits that decode steps do; `check_forward` finds out."""
        self._step: PlainStep | None = None
        self._steps: dict[str | None, PlainStep] = {}
        if self.config._attn_implementation not in ("sdpa", "eager"):
            raise ModelError(
                "this attention implementation takes no mask of the form that sampling needs",
                seen=self.config._attn_implementation,
                expected="sdpa or eager",
                advice='load the model with attn_implementation="sdpa"',
            )

    def _context(self, asked: int | None) -> int:
        own = int(getattr(self.config, "max_position_embeddings", None) or 2048)
        rope = getattr(self.config, "rope_parameters", None) or {}
        if rope.get("rope_type") in ROPE_BY_LENGTH:
            # Past this length such a model changes the rotation of every row of the batch by its longest row.
            own = int(rope.get("original_max_position_embeddings") or own)
        if asked is not None and asked > own:
            raise ModelError(
                "the context is longer than this model can sample with",
                seen=asked,
                expected=f"at most {own} tokens",
                advice="set a shorter context",
            )
        return own if asked is None else asked

    def key_span(self, length: int, *, new_tokens: int) -> int:
        """How many key positions a forward of `new_tokens` tokens a row looks at when `length` are needed."""
        queries = new_tokens if new_tokens > 1 else self._sharing
        is_fused = new_tokens > 1 or not self._can_swap
        return key_span(length, shared_queries=queries if self.device.type == "cpu" else 1, is_fused=is_fused)

    @property
    def group_cost(self) -> int | None:
        """Row-positions worth saving by one more group of rows; None where the attention takes no groups."""
        return self._group_cost if self._can_swap else None

    def new_cache(self, slots: int, capacity: int) -> SlotCache:
        """A cache of this model's layers; their positions may be passed between such caches."""
        return SlotCache(slots, capacity, layers=max(1, int(getattr(self.config, "num_hidden_layers", None) or 1)))

    def hidden(self, ids: torch.Tensor, cache: SlotCache, plan: WritePlan) -> torch.Tensor:
        """Last hidden states `(rows, new_tokens, H)` after `ids` `(rows, new_tokens)`; writes the cache as planned."""
        return self._run(self.backbone, ids, cache, plan).last_hidden_state

    def logits(self, ids: torch.Tensor, cache: SlotCache, plan: WritePlan) -> torch.Tensor:
        """Logits `(rows, V)` after each row's single new token; `ids` is `(rows, 1)`."""
        if self.steps_plainly:
            self._step = self._step or PlainStep(self.model)
            return self._step(ids, cache, plan)
        with swapped_attention(self.config, plan.spans) if self._can_swap else nullcontext():
            return self._run(self.model, ids, cache, plan).logits[:, -1]

    def fill(
        self, ids: torch.Tensor, cache: SlotCache, plan: FillPlan, *, with_states: bool = False
    ) -> torch.Tensor | None:
        """Write keys and values of `ids` `(tokens,)`, a multiple of 8, with the bits of decode steps.

        Only where `fills_exactly`. Returns the states `(tokens, H)` that `logits_of` takes, if they are asked for.
        """
        self._step = self._step or PlainStep(self.model)
        return self._step.fill(ids, cache, plan, with_states=with_states)

    def logits_of(self, states: torch.Tensor) -> torch.Tensor:
        """Logits `(rows, V)` of states that `fill` gave, `(rows, H)`, a multiple of 8."""
        assert self._step is not None, "only after a fill"
        return self._step.logits(states)

    def step_for(self, adapter: str | None) -> PlainStep | None:
        """The plain forward under an adapter (`adapted.linear_of` says which), if it needs no switch of the model."""
        if not self.steps_plainly:
            return None
        if adapter not in self._steps:
            if not self.can_step_plainly:
                return None
            self._steps[adapter] = PlainStep(self.model, adapter)
        step = self._steps[adapter]
        return step if step.is_pure else None

    def forget_steps(self) -> None:
        """Adapters may have come or gone, or hooks been put on the model."""
        self._steps.clear()

    @contextmanager
    def stepping(self, step: PlainStep) -> Iterator[None]:
        """Every forward inside is this one; no gradients."""
        before, self._step = self._step, step
        try:
            with torch.inference_mode():
                yield
        finally:
            self._step = before

    @property
    def can_step_plainly(self) -> bool:
        """Whether `PlainStep` may be tried."""
        is_suited = self._can_swap and self.dtype == torch.float32 and self.kinds == ("full_attention",)
        return is_suited and has_plain_layout(self.model)

    def _run(self, module: Any, ids: torch.Tensor, cache: SlotCache, plan: WritePlan) -> Any:
        cache.plan, positions = plan, plan.positions
        masks = {
            kind: attention_mask(
                positions, plan.key_length, self.dtype, window=self.window if kind == "sliding_attention" else None
            )
            for kind in self.kinds
        }
        mask = masks if len(masks) > 1 else next(iter(masks.values()))
        return module(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """No gradients inside, and no dropout; the model's mode is put back afterwards."""
        was_training = self.model.training
        if was_training:
            self.model.eval()
        # Adapters may have come or gone since the last time.
        self._step = None
        self.steps_plainly = self.steps_plainly and self.can_step_plainly
        self.fills_exactly = self.fills_exactly and self.steps_plainly
        try:
            with torch.inference_mode():
                yield
        finally:
            if was_training:
                self.model.train()


def layer_kinds(config: Any) -> tuple[str, ...]:
    """The kinds of attention layer that a model has, each once.

    Raises:
        ModelError: a kind that a key/value cache with masks cannot serve, e.g. a recurrent layer, or none
            at all.
    """
    kinds = tuple(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    if not kinds:
        kinds = ("sliding_attention" if getattr(config, "sliding_window", None) else "full_attention",)
    wrong = [k for k in kinds if k not in ("full_attention", "sliding_attention")]
    if getattr(config, "is_encoder_decoder", False):
        wrong.append("an encoder and a decoder")
    if not getattr(config, "num_attention_heads", None):
        wrong.append("no attention heads")
    if wrong:
        raise ModelError(
            "this architecture cannot be sampled from in this process",
            seen=f"{getattr(config, 'model_type', '?')}: {', '.join(wrong)}",
            expected="a decoder of full or sliding-window attention layers",
            advice="serve the model and use sampler=server:URL",
        )
    return kinds


def check_forward(forward: CachedForward) -> None:
    """Compare the cached forward with a plain one on a few tokens.

    Raises:
        ModelError: the cached forward fails, or gives other numbers.
    """
    vocabulary = forward.config.vocab_size
    ids = (torch.arange(TRIAL_TOKENS, device=forward.device) * 7 % vocabulary)[None]
    try:
        with forward.evaluating():
            expected = forward.model(input_ids=ids, use_cache=False).logits[0, -1].float()
            seen = _trial(forward, ids)
            forward.steps_plainly = forward.can_step_plainly
            if forward.steps_plainly:
                distance = float((_trial(forward, ids) - seen).abs().max())
                forward.steps_plainly = distance <= 1e-5 * (1 + float(seen.abs().max()))
                forward.fills_exactly = forward.steps_plainly and _fills_exactly(forward, ids[0])
            plain = forward.backbone(input_ids=ids, use_cache=False).last_hidden_state[0, -1:]
            head = forward.model.get_output_embeddings()
            forward.has_plain_head = head is not None and torch.allclose(head(plain)[0].float(), expected, atol=1e-6)
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError, LookupError) as error:
        raise _refused(forward, f"{type(error).__name__}: {error}") from error
    tolerance = 1e-3 if forward.dtype == torch.float32 else 5e-2
    distance = float((seen - expected).abs().max())
    if not distance <= tolerance * (1 + float(expected.abs().max())):
        raise _refused(forward, f"logits differ by {distance:.3g}")


def _trial(forward: CachedForward, ids: torch.Tensor) -> torch.Tensor:
    length = ids.shape[1] - 1
    positions = torch.arange(length + 1, device=ids.device)[None]
    span = forward.key_span(length + 1, new_tokens=length)
    cache = forward.new_cache(1, span)
    forward.hidden(ids[:, :length], cache, WritePlan(positions[:, :length], span))
    return forward.logits(ids[:, length:], cache, WritePlan(positions[:, length:], span))[0].float()


def _fills_exactly(forward: CachedForward, ids: torch.Tensor) -> bool:
    """Whether a fill of `ids` and one decode step a token leave the same keys and values, bit for bit."""
    count, span = len(ids) // ROW_MULTIPLE * ROW_MULTIPLE, forward.key_span(len(ids), new_tokens=1)
    filled, stepped = (forward.new_cache(ROW_MULTIPLE, span) for _ in range(2))
    positions, slots = torch.arange(count)[:, None], torch.zeros(count, dtype=torch.int64)
    forward.fill(ids[:count], filled, FillPlan(slots, positions, [Run(0, 0, count, span)]))
    for token in range(count):
        place = positions[token : token + 1].expand(ROW_MULTIPLE, 1)
        forward.logits(ids[token].expand(ROW_MULTIPLE, 1), stepped, WritePlan(place, span))
    pairs = zip(filled.written(0, 0, count), stepped.written(0, 0, count), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def _refused(forward: CachedForward, seen: str) -> ModelError:
    return ModelError(
        f"the forward of {type(forward.model).__name__} does not work with the sampler's cache",
        seen=seen,
        expected="the same logits with a cache as without",
        advice="serve the model and use sampler=server:URL",
    )
