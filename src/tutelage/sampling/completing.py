"""Make completion records from requests: one that was drawn, and one that could not be.

Needs a tokenizer with `encode(text, add_special_tokens=False)`, `decode(ids)` and `eos_token_id`; no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.records import Completion, FinishReason, Policy
from tutelage.sampling.session import SampleRequest


@dataclass(frozen=True)
class Drawn:
    """What a backend drew for a request.

    Args:
        token_ids: all new tokens, the end token included.
        token_logprobs: natural log, one per token.
        text: the tokens as text, without the end token.
        finish_reason: why it ended.
        note: anything a reader of the record must know, e.g. that the text was tokenized again.
    """

    token_ids: Sequence[int]
    token_logprobs: Sequence[float]
    text: str
    finish_reason: FinishReason
    note: str = ""


def completion_of(request: SampleRequest, drawn: Drawn, *, model: str, tokenizer_digest: str) -> Completion:
    """The record of a drawn completion; everything that names its origin is copied from the request."""
    count = len(drawn.token_ids)
    return Completion(
        id=request.id,
        problem_id=request.problem_id,
        role=request.role,
        policy=Policy(model, request.adapter, request.version),
        tokenizer_digest=tokenizer_digest,
        prompt_ids=request.prompt_ids,
        token_ids=tuple(drawn.token_ids),
        text=drawn.text,
        segments=((0, count, "model"),) if count else (),
        token_logprobs=tuple(drawn.token_logprobs),
        finish_reason=drawn.finish_reason,
        params=request.params,
        seed=request.seed,
        parent_id=request.parent_id,
        branch_position=request.branch_position,
        stage=request.stage,
        index=request.index,
        note="; ".join(note for note in (request.note, drawn.note) if note),
    )


def failed(request: SampleRequest, note: str, *, model: str, tokenizer_digest: str) -> Completion:
    """The record of a request that could not be served: no tokens, `finish_reason="error"`, the reason in `note`."""
    return completion_of(request, Drawn((), (), "", "error", note), model=model, tokenizer_digest=tokenizer_digest)


def decode(tokenizer: Any, token_ids: Sequence[int], end_ids: Sequence[int] | frozenset[int] = ()) -> str:
    """Tokens as text, special tokens shown, without a final token that is in `end_ids`."""
    ids = list(token_ids)
    if ids and ids[-1] in end_ids:
        ids.pop()
    return tokenizer.decode(ids, skip_special_tokens=False) if ids else ""


def tokenize(tokenizer: Any, text: str, *, is_ended: bool) -> list[int]:
    """A text that came without token ids as this tokenizer's tokens, with the end token where it is ended.

    Lone surrogates, which no tokenizer takes, become question marks.
    """
    clean = text.encode("utf-8", errors="replace").decode("utf-8")
    ids = list(tokenizer.encode(clean, add_special_tokens=False)) if clean else []
    end = tokenizer.eos_token_id
    if is_ended and end is not None:
        ids.append(int(end[0] if isinstance(end, Sequence) else end))
    return ids
