"""Log-probs of given tokens, in padded batches sorted by length; logits only where they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from tutelage.errors import DataError
from tutelage.sampling.forward import CachedForward
from tutelage.sampling.session import ScoreRequest

BATCH_TOKENS = 4096
"""Padded tokens that one forward takes."""
LOGITS_AT_ONCE = 1 << 25
"""Most logits held at once (128 MiB in fp32)."""


def score(forward: CachedForward, requests: Sequence[ScoreRequest]) -> list[list[float]]:
    """Natural log of the untempered probability of each request's tokens, in order.

    Must run inside `CachedForward.evaluating`, with the requests' weights in use.

    Raises:
        DataError: a request has an empty prompt or does not fit the model's context.
    """
    for request in requests:
        length = len(request.prompt_ids) + len(request.token_ids)
        if not request.prompt_ids or length > forward.context:
            raise DataError(
                "tokens cannot be scored",
                seen=f"{len(request.prompt_ids)} prompt tokens and {len(request.token_ids)} tokens",
                expected=f"at least one prompt token and at most {forward.context} tokens together",
                advice="leave the example out",
            )
    results: list[list[float]] = [[] for _ in requests]
    order = sorted((i for i, r in enumerate(requests) if r.token_ids), key=lambda i: _length(requests[i]))
    for batch in _batches(order, requests):
        for index, logprobs in zip(batch, _score_batch(forward, [requests[i] for i in batch]), strict=True):
            results[index] = logprobs
    return results


def _length(request: ScoreRequest) -> int:
    return len(request.prompt_ids) + len(request.token_ids)


def _batches(order: list[int], requests: Sequence[ScoreRequest]) -> Iterator[list[int]]:
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * _length(requests[index]) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _score_batch(forward: CachedForward, requests: list[ScoreRequest]) -> list[list[float]]:
    sequences = [[*r.prompt_ids, *r.token_ids] for r in requests]
    width = max(map(len, sequences))
    device = forward.device
    ids = torch.tensor([s + [0] * (width - len(s)) for s in sequences], dtype=torch.int64, device=device)
    rows: list[int] = []
    places: list[int] = []
    targets: list[int] = []
    for row, request in enumerate(requests):
        start = len(request.prompt_ids) - 1
        rows += [row] * len(request.token_ids)
        places += range(start, start + len(request.token_ids))
        targets += request.token_ids
    # Right padding needs no mask: a causal model's real tokens never see what comes after them.
    module = forward.backbone if forward.has_plain_head else forward.model
    output = module(input_ids=ids[:, :-1], use_cache=False)
    states = output.last_hidden_state if forward.has_plain_head else output.logits
    wanted = states[torch.tensor(rows, device=device), torch.tensor(places, device=device)]
    flat = _log_probs(forward, wanted, torch.tensor(targets, device=device))
    return [part.tolist() for part in flat.split([len(r.token_ids) for r in requests])]


def _log_probs(forward: CachedForward, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """`(N,)` log-probs of `targets` `(N,)`; `states` are hidden, `(N, H)`, or logits if the head is not plain."""
    size = max(1, LOGITS_AT_ONCE // forward.config.vocab_size)
    parts = []
    for some, wanted in zip(states.split(size), targets.split(size), strict=True):
        logits = (forward.model.get_output_embeddings()(some) if forward.has_plain_head else some).float()
        parts.append(logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(-1))
    return torch.cat(parts)
