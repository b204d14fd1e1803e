"""Log-probs of given tokens under a causal language model, without ever holding all logits.

The transformer runs once; its output layer is applied to the scored positions only, a chunk at a time, and again in
the backward pass. So the memory of logits is bounded by `max_logits` numbers whatever the vocabulary and the batch.
Where the output layer is not a plain linear one, or the result differs from the model's own logits on a probe
(an architecture that does more than scale and soft-cap), the model's own logits are used.

All log-probs are natural logs of the untempered distribution, in float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tutelage.learning.batches import Row
from tutelage.learning.layout import FORWARD_OVERHEAD, Pass, make_pass, plan_groups

MAX_LOGITS = {"cpu": 2**22, "cuda": 2**27}
"""Logits held at once: 16 MB on a CPU (fits the caches), 512 MB on a GPU (keeps the matrix products large)."""
PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


@dataclass(frozen=True)
class Head:
    """A linear output layer followed by `logits * scale`, then `softcap * tanh(logits / softcap)` if there is one."""

    linear: nn.Linear
    scale: float
    softcap: float | None


class _ChunkedLogProbs(torch.autograd.Function):
    """Log-probs of targets from states; logits live for one chunk at a time, in both directions."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, shape: Any) -> Tensor:
        result = torch.empty(len(targets), dtype=torch.float32, device=states.device)
        normalizers = torch.empty_like(result)
        matrix = weight.to(states.dtype)
        with torch.autocast(states.device.type, enabled=False):
            for rows in shape.chunks(len(targets)):
                logits, _ = shape.logits(states[rows], matrix, bias)
                normalizers[rows] = logits.logsumexp(-1)
                result[rows] = logits.gather(1, targets[rows, None])[:, 0] - normalizers[rows]
        ctx.save_for_backward(states, weight, bias, targets, normalizers)
        ctx.shape = shape
        return result

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        (grad,) = outputs
        states, weight, bias, targets, normalizers = ctx.saved_tensors
        matrix = weight.to(states.dtype)
        grad_states = torch.empty_like(states) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        with torch.autocast(states.device.type, enabled=False):
            for rows in ctx.shape.chunks(len(targets)):
                logits, slope = ctx.shape.logits(states[rows], matrix, bias)
                # d logp(target) / d logit_v = [v = target] - p_v
                delta = logits.sub_(normalizers[rows, None]).exp_().neg_()
                delta.scatter_add_(1, targets[rows, None], torch.ones_like(delta[:, :1]))
                delta.mul_(grad[rows, None] if slope is None else grad[rows, None] * slope)
                if grad_bias is not None:
                    grad_bias += delta.sum(0).to(grad_bias.dtype)
                delta = delta.to(states.dtype)
                if grad_states is not None:
                    grad_states[rows] = delta @ matrix
                if grad_weight is not None:
                    grad_weight += (delta.T @ states[rows]).float()
        if grad_weight is not None:
            grad_weight = grad_weight.to(weight.dtype)
        return grad_states, grad_weight, grad_bias, None, None


@dataclass(frozen=True)
class _Shape:
    """How logits are made from states, and how many rows of them are made at once."""

    scale: float
    softcap: float | None
    rows: int

    def chunks(self, count: int) -> Iterator[slice]:
        for start in range(0, count, self.rows):
            yield slice(start, min(start + self.rows, count))

    def logits(self, states: Tensor, matrix: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | float | None]:
        """Float32 logits and d logit / d (output of the linear layer), None for 1."""
        raw = (states @ matrix.T).float()
        if bias is not None:
            raw = raw + bias
        if self.scale != 1.0:
            raw = raw * self.scale
        if self.softcap is None:
            return raw, None if self.scale == 1.0 else self.scale
        squashed = torch.tanh(raw / self.softcap)
        return squashed * self.softcap, self.scale * (1 - squashed**2)


def chunked_logprobs(states: Tensor, targets: Tensor, *, head: Head, max_logits: int) -> Tensor:
    """Log-probs of `targets`, each predicted from one state.

    Args:
        states: `(P, H)` final hidden states (after the last norm).
        targets: `(P,)` token ids.
        head: the output layer.
        max_logits: most logits held at once, >= 1; one position's logits are always held.

    Returns:
        `(P,)` natural log-probs, float32; gradients reach `states` and the head's weights.
    """
    weight = head.linear.weight
    if torch.is_autocast_enabled(states.device.type):
        states = states.to(torch.get_autocast_dtype(states.device.type))
    rows = max(1, max_logits // weight.shape[0])
    shape = _Shape(head.scale, head.softcap, rows)
    return cast(Tensor, _ChunkedLogProbs.apply(states, weight, head.linear.bias, targets, shape))


def find_head(model: nn.Module) -> tuple[nn.Module, Head] | None:
    """The transformer without its output layer, and that layer; None where the model has no such form."""
    causal: Any = model
    if hasattr(causal, "get_base_model"):  # peft's wrapper; its adapter layers sit inside the model itself
        causal = causal.get_base_model()
    linear = causal.get_output_embeddings() if hasattr(causal, "get_output_embeddings") else None
    base = getattr(causal, "base_model", None)
    if type(linear) is not nn.Linear or base is None or base is causal:
        return None
    config = causal.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    softcap = getattr(config, "final_logit_softcapping", None)
    return base, Head(linear, scale, float(softcap) if softcap else None)


class LogProbScorer:
    """Scores passes under one model; finds out once how to.

    Args:
        model: a transformers causal language model, with or without peft's wrapper.
        compute_dtype: autocast to this type; None computes in the weights' type.
        max_logits: most logits held at once; None is `MAX_LOGITS` of the device.
    """

    def __init__(
        self, model: nn.Module, *, compute_dtype: torch.dtype | None = None, max_logits: int | None = None
    ) -> None:
        self.model = model
        self.compute_dtype = compute_dtype
        self.device = next(model.parameters()).device
        self.max_logits = max_logits or MAX_LOGITS.get(self.device.type, 2**22)
        found = find_head(model)
        self._parts = found if found is not None and self._agrees(found) else None
        self.can_share_prompts = self._may_share() and self._shares()

    @property
    def is_chunked(self) -> bool:
        """Whether logits are made in chunks; otherwise the model's own are used."""
        return self._parts is not None

    def token_logprobs(self, batch: Pass) -> Tensor:
        """Log-probs of the scored tokens of a pass, `(P,)`, float32; the pass must be on the model's device."""
        with self.autocast():
            return self._token_logprobs(batch, self._parts)

    def sums(self, batch: Pass) -> Tensor:
        """Weighted log-prob sums of a pass's rows, `(R,)`, float32."""
        logprobs = self.token_logprobs(batch)
        total = torch.zeros(batch.num_rows, dtype=torch.float32, device=logprobs.device)
        return total.index_add(0, batch.owners, logprobs * batch.weights)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The number format that the model computes in."""
        if self.compute_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.compute_dtype)

    def _token_logprobs(self, batch: Pass, parts: tuple[nn.Module, Head] | None) -> Tensor:
        inputs = {"input_ids": batch.input_ids, "use_cache": False}
        if batch.siblings is not None:
            inputs |= {"attention_mask": batch.attention_mask(), "position_ids": batch.position_ids}
        if parts is None:
            logits = self.model(**inputs).logits
            picked = logits.reshape(-1, logits.shape[-1]).index_select(0, batch.positions).float()
            return picked.gather(1, batch.targets[:, None])[:, 0] - picked.logsumexp(-1)
        base, head = parts
        hidden = base(**inputs).last_hidden_state
        states = hidden.reshape(-1, hidden.shape[-1]).index_select(0, batch.positions)
        return chunked_logprobs(states, batch.targets, head=head, max_logits=self.max_logits)

    def _agrees(self, parts: tuple[nn.Module, Head]) -> bool:
        """Whether the chunked way gives the model's own log-probs on a few tokens."""
        batch = make_pass([self._probe_rows()[:1]])
        return self._is_same(self._probe(batch, None), self._probe(batch, parts))

    def _may_share(self) -> bool:
        """Whether a prompt may be shared by a mask; measured to pay on CPUs only, and only sdpa takes such masks."""
        causal: Any = self.model
        config = causal.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        is_full = kinds == {"full_attention"} and getattr(config, "sliding_window", None) is None
        return self.device.type == "cpu" and is_full and causal.config._attn_implementation == "sdpa"

    def _shares(self) -> bool:
        """Whether two rows on one line get the log-probs that they get apart (not so where states flow on)."""
        rows = self._probe_rows()
        apart, together = make_pass([[row] for row in rows]), make_pass([rows])
        try:
            shared = self._probe(together, self._parts)
        except (RuntimeError, ValueError, TypeError):  # an architecture that takes no mask of this shape
            return False
        return self._is_same(self._probe(apart, self._parts), shared)

    def _probe_rows(self) -> list[Row]:
        causal: Any = self.model
        vocab = causal.get_input_embeddings().weight.shape[0]
        ids = [(7 * i + 3) % vocab for i in range(16)]
        return [Row((*ids[:4], *ids[4 + 6 * k : 10 + 6 * k]), 4, (1.0,) * 6) for k in range(2)]

    @torch.no_grad()
    def _probe(self, batch: Pass, parts: tuple[nn.Module, Head] | None) -> Tensor:
        was_training = self.model.training
        self.model.eval()
        try:
            with self.autocast():
                return self._token_logprobs(batch.to(self.device), parts)
        finally:
            self.model.train(was_training)

    def _is_same(self, a: Tensor, b: Tensor) -> bool:
        dtype = self.compute_dtype or next(self.model.parameters()).dtype
        return bool((a - b).abs().max() <= PROBE_TOLERANCE.get(dtype, 1e-3))


@torch.no_grad()
def sequence_logprobs(
    model: nn.Module, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], *, token_budget: int = 8192
) -> list[list[float]]:
    """Log-probs of given tokens, one list per sequence, in order.

    Args:
        model: a transformers causal language model; it is put into evaluation mode and back.
        prompts: token ids before the first scored token, at least one each.
        targets: token ids to score; may be empty.
        token_budget: most tokens, padding included, in one forward pass.

    Returns:
        For each sequence one natural log-prob per target token.

    Raises:
        ValueError: a prompt is empty, or the two lists differ in length.
    """
    if len(prompts) != len(targets) or not all(prompts):
        raise ValueError("every sequence needs a prompt of at least one token, and a target list")
    rows = [Row((*p, *t), len(p), (1.0,) * len(t)) for p, t in zip(prompts, targets, strict=True)]
    filled = [i for i, row in enumerate(rows) if row.num_scored]
    result: list[list[float]] = [[] for _ in rows]
    was_training = model.training
    model.eval()
    try:
        scorer = LogProbScorer(model)
        overhead = FORWARD_OVERHEAD.get(scorer.device.type, 64)
        for group in plan_groups([[rows[i]] for i in filled], token_budget=token_budget, overhead=overhead):
            for lines in group.passes:
                indices = [filled[item] for line in lines for item, _ in line]
                values = scorer.token_logprobs(make_pass([[rows[i]] for i in indices]).to(scorer.device)).tolist()
                for i in indices:
                    result[i], values = values[: rows[i].num_scored], values[rows[i].num_scored :]
    finally:
        model.train(was_training)
    return result
