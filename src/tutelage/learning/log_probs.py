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
from tutelage.learning.reading import (
    PROBE_TOLERANCE,
    may_share_beginnings,
    picked,
    probe_rows,
    row_sums,
    run_pass,
    scored_tokens,
)
from tutelage.learning.tree_attention import tree_attention

MAX_LOGITS = {"cpu": 2**22, "cuda": 2**27}
"""Logits held at once: 16 MB on a CPU (fits the caches), 512 MB on a GPU (keeps the matrix products large)."""


@dataclass(frozen=True)
class Head:
    """A linear output layer followed by `logits * scale`, then `softcap * tanh(logits / softcap)` if there is one."""

    linear: nn.Linear
    scale: float
    softcap: float | None


class _ChunkedLogProbs(torch.autograd.Function):
    """Log-probs of targets from states; logits live for one chunk at a time, in both directions.

    Where one chunk holds them all, the probabilities are kept for the backward pass; otherwise they are made again.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, shape: Any) -> Tensor:
        result = torch.empty(len(targets), dtype=torch.float32, device=states.device)
        normalizers = torch.empty_like(result)
        matrix = weight.to(states.dtype)
        keep = len(targets) <= shape.rows and shape.is_plain and any(ctx.needs_input_grad)
        kept = None
        with torch.autocast(states.device.type, enabled=False):
            for rows in shape.chunks(len(targets)):
                chunk = result[rows], normalizers[rows]
                kept = shape.score(states[rows], matrix, bias, targets[rows], out=chunk, keep=keep)
        ctx.save_for_backward(states, weight, bias, targets, normalizers, kept)
        ctx.shape = shape
        return result

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        (grad,) = outputs
        states, weight, bias, targets, normalizers, kept = ctx.saved_tensors
        matrix = weight.to(states.dtype)
        grad_states = torch.empty_like(states) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if ctx.needs_input_grad[2] else None
        with torch.autocast(states.device.type, enabled=False):
            for rows in ctx.shape.chunks(len(targets)):
                if kept is None:
                    delta = ctx.shape.delta(states[rows], matrix, bias, targets[rows], grad[rows], normalizers[rows])
                else:
                    delta = (kept * -grad[:, None]).scatter_add_(1, targets[:, None], grad[:, None])
                if grad_bias is not None:
                    grad_bias += delta.sum(0)
                delta = delta.to(states.dtype)
                if grad_states is not None:
                    torch.mm(delta, matrix, out=grad_states[rows])
                if grad_weight is not None:
                    ctx.shape.add_outer(grad_weight, delta, states[rows])
                del delta  # before the next chunk's logits are made
        if grad_weight is not None:
            grad_weight = grad_weight.to(weight.dtype)
        if grad_bias is not None:
            grad_bias = grad_bias.to(bias.dtype)
        return grad_states, grad_weight, grad_bias, None, None


@dataclass(frozen=True)
class _Shape:
    """How logits are made from states, how many rows of them at once, and where, if not in new memory each time."""

    scale: float
    softcap: float | None
    rows: int
    space: Tensor | None

    def chunks(self, count: int) -> Iterator[slice]:
        for start in range(0, count, self.rows):
            yield slice(start, min(start + self.rows, count))

    @property
    def is_plain(self) -> bool:
        """Whether logits are the linear layer's outputs."""
        return self.scale == 1.0 and self.softcap is None

    def logits(self, states: Tensor, matrix: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | float | None]:
        """Float32 logits, which may be written to, and d logit / d (output of the linear layer), None for 1.

        They last until the next call.
        """
        if self.space is not None and states.dtype == self.space.dtype:
            raw = torch.mm(states, matrix.T, out=self.space[: len(states) * len(matrix)].view(len(states), -1))
        else:
            raw = (states @ matrix.T).float()
        if bias is not None:
            raw += bias
        if self.scale != 1.0:
            raw *= self.scale
        if self.softcap is None:
            return raw, None if self.scale == 1.0 else self.scale
        squashed = torch.tanh(raw / self.softcap)
        return squashed * self.softcap, self.scale * (1 - squashed**2)

    def score(
        self,
        states: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        *,
        out: tuple[Tensor, Tensor],
        keep: bool,
    ) -> Tensor | None:
        """Write one chunk's log-probs and normalizers to `out`; the probabilities of all tokens, if wanted."""
        logits, _ = self.logits(states, matrix, bias)
        logprobs, normalizers = out
        highest = logits.amax(-1)
        picked = logits.gather(1, targets[:, None])[:, 0]
        masses = logits.sub_(highest[:, None]).exp_()
        totals = masses.sum(-1)
        torch.add(highest, totals.log(), out=normalizers)
        torch.sub(picked, normalizers, out=logprobs)
        return masses / totals[:, None] if keep else None

    def delta(
        self, states: Tensor, matrix: Tensor, bias: Tensor | None, targets: Tensor, grad: Tensor, normalizers: Tensor
    ) -> Tensor:
        """The gradient of one chunk's linear outputs: d logp(target) / d logit_v = [v = target] - p_v."""
        logits, slope = self.logits(states, matrix, bias)
        delta = logits.sub_(normalizers[:, None]).exp_().mul_(-grad[:, None])
        delta.scatter_add_(1, targets[:, None], grad[:, None])
        return delta if slope is None else delta.mul_(slope)

    def add_outer(self, total: Tensor, delta: Tensor, states: Tensor) -> None:
        """Add `delta.T @ states` to a float32 total without another tensor of the total's size."""
        if delta.dtype == total.dtype:
            total.addmm_(delta.T, states)
            return
        step = max(1, self.rows * delta.shape[1] // states.shape[1])  # as many numbers as a chunk of logits has
        for start in range(0, len(total), step):
            total[start : start + step] += delta[:, start : start + step].T @ states


def chunked_logprobs(
    states: Tensor, targets: Tensor, *, head: Head, max_logits: int, space: Tensor | None = None
) -> Tensor:
    """Log-probs of `targets`, each predicted from one state.

    Args:
        states: `(P, H)` final hidden states (after the last norm).
        targets: `(P,)` token ids.
        head: the output layer.
        max_logits: most logits held at once, >= 1; one position's logits are always held.
        space: memory for that many float32 logits; it must not be used by others before the backward pass is done.

    Returns:
        `(P,)` natural log-probs, float32; gradients reach `states` and the head's weights.
    """
    weight = head.linear.weight
    if torch.is_autocast_enabled(states.device.type):
        states = states.to(torch.get_autocast_dtype(states.device.type))
    rows = max(1, max_logits // weight.shape[0])
    shape = _Shape(head.scale, head.softcap, rows, space)
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
        self._space = torch.empty(0)
        found = find_head(model)
        self._parts = found if found is not None and self._agrees(found) else None
        self.can_share_beginnings = may_share_beginnings(model) and self._shares()

    @property
    def is_chunked(self) -> bool:
        """Whether logits are made in chunks; otherwise the model's own are used."""
        return self._parts is not None

    def token_logprobs(self, *passes: Pass) -> Tensor:
        """Log-probs of the scored tokens of passes on the model's device, one after the other, `(S,)`, float32."""
        with self.autocast():
            return self._token_logprobs(passes, self._parts)

    def sums(self, *passes: Pass) -> Tensor:
        """Weighted log-prob sums of the passes' rows, one pass after the other, `(R,)`, float32."""
        return row_sums(self.token_logprobs(*passes), passes)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The number format that the model computes in."""
        if self.compute_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.compute_dtype)

    def _token_logprobs(self, passes: Sequence[Pass], parts: tuple[nn.Module, Head] | None) -> Tensor:
        if parts is None:
            logprobs = torch.cat([self._logprobs_of_logits(batch) for batch in passes])
        else:  # the output layer runs once for all passes: each run makes a gradient of its size
            base, head = parts
            states = torch.cat([picked(run_pass(base, batch).last_hidden_state, batch) for batch in passes])
            targets = torch.cat([batch.targets for batch in passes])
            logprobs = chunked_logprobs(
                states, targets, head=head, max_logits=self.max_logits, space=self._space_for(len(targets), head)
            )
        return scored_tokens(logprobs, passes)

    def _space_for(self, count: int, head: Head) -> Tensor | None:
        """Memory for logits that is used again and again: the C allocator splits the holes that such chunks leave."""
        vocab_size = len(head.linear.weight)
        numbers = min(count, max(1, self.max_logits // vocab_size)) * vocab_size
        if self.device.type == "cpu" and len(self._space) < numbers:
            with torch.inference_mode(False):  # outside of that mode it could not be written to again
                self._space = torch.empty(numbers, dtype=torch.float32)
        return self._space if self.device.type == "cpu" else None

    def _logprobs_of_logits(self, batch: Pass) -> Tensor:
        logits = picked(run_pass(self.model, batch).logits, batch).float()
        return logits.gather(1, batch.targets[:, None])[:, 0] - logits.logsumexp(-1)

    def _agrees(self, parts: tuple[nn.Module, Head]) -> bool:
        """Whether the chunked way gives the model's own log-probs on a few tokens."""
        batch = make_pass([(probe_rows(self.model)[0],)])
        return self._is_same(self._probe(batch, None), self._probe(batch, parts))

    def _shares(self) -> bool:
        """Whether two rows on one line get the log-probs, and give the gradients, that they do apart."""
        rows = probe_rows(self.model)
        apart, together = make_pass([(row,) for row in rows]), make_pass([tuple(rows)])
        try:
            shared, slopes = self._probe(together, self._parts), self._probe_slopes(together)
        except (RuntimeError, ValueError, TypeError):  # an architecture or a compiler that takes no such mask
            return False
        if not self._is_same(self._probe(apart, self._parts), shared):
            return False
        return slopes is None or self._is_same(cast(Tensor, self._probe_slopes(apart)), slopes)

    @torch.no_grad()
    def _probe(self, batch: Pass, parts: tuple[nn.Module, Head] | None) -> Tensor:
        was_training = self.model.training
        self.model.eval()
        try:
            with self.autocast():
                return self._token_logprobs([batch.to(self.device)], parts)
        finally:
            self.model.train(was_training)

    def _probe_slopes(self, batch: Pass) -> Tensor | None:
        """The gradient of the mean log-prob for the first weights that train; None where none does."""
        weights = next((p for p in self.model.parameters() if p.requires_grad), None)
        if weights is None or not torch.is_grad_enabled():
            return None
        was_training = self.model.training
        self.model.eval()
        try:
            with self.autocast(), tree_attention(self.model) if batch.is_tree else contextlib.nullcontext():
                mean = self._token_logprobs([batch.to(self.device)], self._parts).mean()
                (slopes,) = torch.autograd.grad(mean, weights)
                return slopes.float()
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
    found: dict[Row, list[float]] = {row: [] for row in rows}
    was_training = model.training
    model.eval()
    try:
        scorer = LogProbScorer(model)
        overhead = FORWARD_OVERHEAD.get(scorer.device.type, 64)
        filled = [(row,) for row in rows if row.num_scored]
        for group in plan_groups(filled, token_budget=token_budget, overhead=overhead):
            for lines in group.passes:
                values = scorer.token_logprobs(make_pass(lines).to(scorer.device)).tolist()
                for (row,) in lines:
                    found[row], values = values[: row.num_scored], values[row.num_scored :]
    finally:
        model.train(was_training)
    return [list(found[row]) for row in rows]
