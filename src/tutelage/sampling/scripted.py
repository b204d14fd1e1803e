"""The `scripted` backend: completions that a function of the caller's choosing writes.

For tests and rehearsals: every stage but sampling runs as it would, without torch. Texts are cut as a model's would be:
at the request's stop and pause texts, at end tokens and at `max_new_tokens`. Every log-prob is -1.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import InputError
from tutelage.records import Completion, FinishReason, Policy
from tutelage.sampling.answering import AnsweringSession
from tutelage.sampling.completing import Drawn, completion_of, decode, failed, tokenize
from tutelage.sampling.session import SampleRequest, ScoreRequest
from tutelage.sampling.stopping import StopWatch, TokenPieces, end_token_ids

LOGPROB = -1.0


@dataclass(frozen=True)
class Scripted:
    """A text with its ending given.

    Args:
        text: what is written, without an end token.
        finish_reason: taken as it is; "stop" adds the end token.
        note: note of the record.
    """

    text: str
    finish_reason: FinishReason = "stop"
    note: str = ""


Script = Callable[[SampleRequest], "str | Sequence[int] | Scripted"]


class ScriptedSampler(AnsweringSession):
    """A sampler session that asks a function; completions come in the order of the requests.

    Args:
        function: takes a request and returns a text, token ids, or a `Scripted`. If it raises, the completion is an
            error that says so.
        tokenizer: anything with `encode`, `decode`, `eos_token_id` and `get_vocab`.
        policy: what the completions are said to come from.
    """

    def __init__(self, function: Script, tokenizer: Any, policy: Policy) -> None:
        super().__init__(tokenizer, policy)
        self.function = function
        self.published: list[tuple[str, int, Path]] = []
        self.released: list[str] = []
        self._end_ids = end_token_ids(tokenizer)
        self._pieces = TokenPieces(tokenizer)

    def _answer(self, request: SampleRequest) -> Completion:
        try:
            drawn = self._drawn(request, self.function(request))
        except Exception as error:  # the boundary to the caller's function
            note = f"the script raised {type(error).__name__}: {error}"
            return failed(request, note, model=self._policy.model, tokenizer_digest=self.tokenizer_digest)
        return completion_of(request, drawn, model=self._policy.model, tokenizer_digest=self.tokenizer_digest)

    def _drawn(self, request: SampleRequest, said: str | Sequence[int] | Scripted) -> Drawn:
        if isinstance(said, Scripted):
            ids = tokenize(self.tokenizer, said.text, is_ended=said.finish_reason == "stop")
            return Drawn(ids, [LOGPROB] * len(ids), said.text, said.finish_reason, said.note)
        if said is None or isinstance(said, int | float):
            raise TypeError(f"the script returned {said!r}: expected a text, token ids, or Scripted(...)")
        ids = tokenize(self.tokenizer, said, is_ended=True) if isinstance(said, str) else [int(i) for i in said]
        ids, reason = self._cut(ids, request)
        ends = self._end_ids.union(request.params.stop_token_ids) if reason == "stop" else ()
        return Drawn(ids, [LOGPROB] * len(ids), decode(self.tokenizer, ids, ends), reason)

    def _cut(self, ids: list[int], request: SampleRequest) -> tuple[list[int], FinishReason]:
        """The tokens up to where a model's decoding would have ended, and why there."""
        watch = StopWatch(self._pieces, request.params)
        ends = self._end_ids.union(request.params.stop_token_ids)
        for count, token in enumerate(ids, start=1):
            reason = "stop" if token in ends else watch.feed(token)
            if reason is not None:
                return ids[:count], reason
            if count == request.params.max_new_tokens:
                return ids[:count], "length"
        return ids, "stop"

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """-1 for every token."""
        return [[LOGPROB] * len(r.token_ids) for r in requests]

    def publish(self, adapter: str, version: int, path: Path) -> None:
        """Noted in `published`."""
        self.published.append((adapter, version, Path(path)))

    def release(self, completion_id: str) -> None:
        """Noted in `released`."""
        self.released.append(completion_id)


def load_script(where: str) -> Script:
    """The function that `FILE.py:FUNCTION` names.

    Raises:
        InputError: the spelling is wrong, there is no such file or function, or the file cannot be imported.
    """
    name, _, function = where.rpartition(":")
    path = Path(name)
    if not name or not function.isidentifier() or path.suffix != ".py":
        raise InputError(
            "a script is named FILE.py:FUNCTION",
            seen=where,
            expected="e.g. answers.py:write",
            advice="add the function",
        )
    if not path.is_file():
        raise InputError("the script does not exist", seen=str(path), expected="a Python file", advice="check the path")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the boundary to the user's file
        raise InputError(
            "the script cannot be imported", seen=f"{path}: {type(error).__name__}: {error}", advice="run it by itself"
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        names = sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
        raise InputError(
            "the script has no such function", seen=function, expected=", ".join(names) or "a function in it",
            advice="check its name",
        )  # fmt: skip
    return found
