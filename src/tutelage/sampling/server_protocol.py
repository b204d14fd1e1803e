"""What is said to an OpenAI-compatible server and how its answers are read: pure functions, no network.

Servers differ: some trim the text that stopped them and some do not, some say which it was, few give token ids. What
cannot be known is written in the record's note, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from tutelage.records import FinishReason
from tutelage.sampling.completing import Drawn, decode, tokenize
from tutelage.sampling.session import SampleRequest

RETRIED = frozenset((408, 409, 425, 429))
LARGEST_SEED = 2**31 - 1
RETOKENIZED = "text tokenized again"
NOT_THE_MODELS = frozenset(("abort", "content_filter", "error"))
"""Endings that are the server's doing: such a text was cut, and says nothing of the model."""


class Malformed(Exception):
    """The server's answer is not what the protocol says."""


@dataclass(frozen=True)
class Wish:
    """How requests are put.

    Args:
        api: "chat", "completions", or "auto" for chat where a request has messages.
        with_logprobs: whether log-probs are asked for.
        extra: further fields of every body, e.g. {"return_token_ids": True} for vLLM.
    """

    api: str = "auto"
    with_logprobs: bool = True
    extra: Mapping[str, Any] | None = None


def base_url(url: str) -> str:
    """The address up to and including `/v1`."""
    address = url.strip().rstrip("/")
    for ending in ("/chat/completions", "/completions", "/models"):
        address = address.removesuffix(ending)
    if "://" not in address:
        address = f"http://{address}"
    return address if address.rsplit("/", 1)[-1] == "v1" else f"{address}/v1"


def body_of(request: SampleRequest, model: str, wish: Wish, tokenizer: Any) -> tuple[str, dict[str, Any]]:
    """The path (under `/v1`) and the JSON body of a request."""
    params = request.params
    is_chat = wish.api == "chat" or (wish.api == "auto" and request.messages is not None)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": params.max_new_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "seed": request.seed % LARGEST_SEED,
        "n": 1,
    }
    if params.top_k:
        body["top_k"] = params.top_k
    if params.stop or params.pause:
        body["stop"] = [*params.stop, *params.pause]
    if params.stop_token_ids:
        body["stop_token_ids"] = list(params.stop_token_ids)
    if wish.with_logprobs:
        body["logprobs"] = True if is_chat else 1
    if is_chat:
        text = request.prompt_text or decode(tokenizer, request.prompt_ids)
        body["messages"] = list(request.messages or ({"role": "user", "content": text},))
    else:
        body["prompt"] = request.prompt_text or decode(tokenizer, request.prompt_ids)
    return ("chat/completions" if is_chat else "completions"), {**body, **(wish.extra or {})}


def read_answer(answer: Any, request: SampleRequest, tokenizer: Any) -> Drawn:
    """The completion in a server's answer.

    Raises:
        Malformed: it has no choice with a text, was cut off by the server, or stopped in a way that the request cannot
            tell apart.
    """
    try:
        choice = answer["choices"][0]
        text = choice["message"].get("content") if "message" in choice else choice["text"]
        ended = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Malformed(f"no choice with a text in the answer: {str(answer)[:200]}") from error
    if text is not None and not isinstance(text, str):
        raise Malformed(f"the text is a {type(text).__name__}")
    if ended in NOT_THE_MODELS:
        raise Malformed(f"the server cut the text off: finish_reason {ended!r}")
    text = text or ""
    reason: FinishReason = "length" if ended == "length" else "stop"
    text, reason, note = _ending(text, reason, choice, request)
    given = choice.get("token_ids")
    if _are_ids(given):
        ids, notes = list(given), [note]
    else:
        stops_by_text = (*request.params.stop, *request.params.pause)
        is_ended = reason == "stop" and not text.endswith(stops_by_text or ("\0",))
        ids, notes = tokenize(tokenizer, text, is_ended=is_ended), [note, RETOKENIZED]
    logprobs = _logprobs(choice.get("logprobs"), ids, tokenizer)
    if logprobs is None:
        notes.append("log-probs unknown")
    return Drawn(ids, logprobs or [0.0] * len(ids), text, reason, "; ".join(n for n in notes if n))


def _ending(
    text: str, reason: FinishReason, choice: Mapping[str, Any], request: SampleRequest
) -> tuple[str, FinishReason, str]:
    """The text with the stop text that ended it, and why it ended."""
    params = request.params
    if reason == "length" or not (params.stop or params.pause):
        return text, reason, ""
    said = choice.get("stop_reason", choice.get("matched_stop"))
    known = "stop_reason" in choice or "matched_stop" in choice
    matched = said if isinstance(said, str) else next((t for t in (*params.pause, *params.stop) if t in text), None)
    if matched is not None:
        before = text.split(matched, 1)[0]
        return before + matched, ("pause" if matched in params.pause else "stop"), ""
    if known:
        return text, "stop", ""
    if params.pause:
        raise Malformed("the server does not say which text stopped it, so a pause cannot be told from an end")
    return text, "stop", "ended by a stop text or by an end token: the server does not say"


def _are_ids(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in given)


def _logprobs(given: Any, ids: list[int], tokenizer: Any) -> list[float] | None:
    """The server's log-probs where they belong to these tokens one by one; an end token it does not list gets 0."""
    if not isinstance(given, Mapping):
        return None
    if isinstance(given.get("content"), list):
        pairs = [(e.get("token"), e.get("logprob")) for e in given["content"] if isinstance(e, Mapping)]
    else:
        pairs = list(zip(given.get("tokens") or (), given.get("token_logprobs") or (), strict=False))
    values: list[Any] = [v for _, v in pairs]
    if not values or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        return None
    if len(values) not in (len(ids), len(ids) - 1):
        return None
    if any(t != decode(tokenizer, [i]) for (t, _), i in zip(pairs[: len(ids) - 1], ids, strict=False)):
        return None
    return [float(v) for v in values] + [0.0] * (len(ids) - len(values))


def wait_of(header: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for; None where it says nothing usable.

    Args:
        header: its value: seconds, or a date.
        now: seconds since the epoch.
    """
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, TypeError):
        return None
