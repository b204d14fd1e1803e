"""Log-probs of given tokens: in padded batches sorted by length, or a few after prompts whose keys are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch

from tutelage.errors import DataError
from tutelage.sampling.forward import CachedForward
from tutelage.sampling.grouping import ROW_MULTIPLE
from tutelage.sampling.prefill import Opening, Prefiller, fills
from tutelage.sampling.session import ScoreRequest

BATCH_TOKENS = 4096
"""Padded tokens that one forward takes."""
ROWS_AT_ONCE = 64
"""Requests that are scored together after kept prompts."""
LOGITS_AT_ONCE = 1 << 25
"""Most logits held at once (128 MiB in fp32)."""


def score(forward: CachedForward, requests: Sequence[ScoreRequest]) -> list[list[float]]:
    """Natural log of the untempered probability of each request's tokens, in order.

    Must run inside `CachedForward.evaluating`, with the requests' weights in use.

    Raises:
        DataError: a request has an empty prompt or does not fit the model's context.
    """
    _check_fit(forward, requests)
    results: list[list[float]] = [[] for _ in requests]
    order = sorted((i for i, r in enumerate(requests) if r.token_ids), key=lambda i: _length(requests[i]))
    for batch in _batches(order, requests):
        for index, logprobs in zip(batch, _score_batch(forward, [requests[i] for i in batch]), strict=True):
            results[index] = logprobs
    return results


def _check_fit(forward: CachedForward, requests: Sequence[ScoreRequest]) -> None:
    for request in requests:
        length = len(request.prompt_ids) + len(request.token_ids)
        if not request.prompt_ids or length > forward.context:
            raise DataError(
                "tokens cannot be scored",
                seen=f"{len(request.prompt_ids)} prompt tokens and {len(request.token_ids)} tokens",
                expected=f"at least one prompt token and at most {forward.context} tokens together",
                advice="leave the example out",
            )


def score_after(prompts: Prefiller, requests: Sequence[ScoreRequest]) -> tuple[list[list[float]], int]:
    """As `score`, with the keys of prompts kept and taken from what is kept: for few tokens after long prompts.

    Only where `CachedForward.fills_exactly`; the bits hang on each request alone.

    Returns:
        The log-probs in order, and how many positions were computed besides those of prompts.

    Raises:
        DataError: as for `score`.
    """
    forward, computed = prompts.forward, 0
    _check_fit(forward, requests)
    results: list[list[float]] = []
    for first in range(0, len(requests), ROWS_AT_ONCE):
        some = requests[first : first + ROWS_AT_ONCE]
        prompts.ensure(r.prompt_ids for r in some)
        # Options of one prompt often differ in their last token only: what is before it is computed once.
        texts = list(dict.fromkeys(r.prompt_ids + r.token_ids[:-1] for r in some))
        before = {r.prompt_ids + r.token_ids[:-1]: len(r.prompt_ids) - 1 for r in some}
        openings = [Opening(text, before[text], prompts.held(text[: before[text] + 1])) for text in texts]
        states = _states(forward, openings)
        computed += sum(opening.num_new for opening in openings)
        places = dict(zip(texts, accumulate((o.num_new for o in openings), initial=0), strict=False))
        starts = [places[r.prompt_ids + r.token_ids[:-1]] for r in some]
        rows = [start + i for start, r in zip(starts, some, strict=True) for i in range(len(r.token_ids))]
        rows += rows[-1:] * (-len(rows) % ROW_MULTIPLE)
        targets = [token for r in some for token in r.token_ids]
        targets += targets[-1:] * (len(rows) - len(targets))
        flat = _log_probs(forward, states[rows], torch.tensor(targets), head=forward.logits_of)
        counts = [len(r.token_ids) for r in some]
        results += [part.tolist() for part in flat[: sum(counts)].split(counts)]
    return results, computed


def _states(forward: CachedForward, openings: list[Opening]) -> torch.Tensor:
    """States after the new tokens of each text, `(tokens, H)`, in order, then some more up to a multiple of 8."""
    cache = forward.new_cache(len(openings), forward.key_span(max(len(o.ids) for o in openings), new_tokens=1))
    for slot, opening in enumerate(openings):
        if opening.donor is not None:
            cache.load(slot, opening.donor.states, opening.start)
    parts = []
    for ids, plan, count in fills(openings, forward):
        states = forward.fill(ids, cache, plan, with_states=True)
        assert states is not None
        parts.append(states[:count])
    together = torch.cat(parts)
    padding = -len(together) % ROW_MULTIPLE
    return torch.cat([together, together[-1:].expand(padding, -1)])


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
    head = forward.model.get_output_embeddings() if forward.has_plain_head else None
    flat = _log_probs(forward, wanted, torch.tensor(targets, device=device), head=head)
    return [part.tolist() for part in flat.split([len(r.token_ids) for r in requests])]


def _log_probs(
    forward: CachedForward,
    states: torch.Tensor,
    targets: torch.Tensor,
    *,
    head: Callable[[torch.Tensor], torch.Tensor] | None,
) -> torch.Tensor:
    """`(N,)` log-probs of `targets` `(N,)` after `states` `(N, H)`, which `head` makes logits of; None: they are."""
    size = max(ROW_MULTIPLE, LOGITS_AT_ONCE // forward.config.vocab_size // ROW_MULTIPLE * ROW_MULTIPLE)
    parts = []
    for some, wanted in zip(states.split(size), targets.split(size), strict=True):
        logits = (some if head is None else head(some)).float()
        parts.append(logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(-1))
    return torch.cat(parts)
