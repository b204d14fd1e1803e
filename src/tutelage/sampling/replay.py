"""The `replay` backend: completions that were recorded before, from a file of rows.

Rows are our own completion records, or uniform rows: `question_id` or `problem_id`, `completion` (the text), and
optionally `sample`, `model`, `finish_reason`. A request gets the record with its id if there is one, else, by its
`index`, the record of its problem and role in the file's order. A text that comes without this tokenizer's ids is
tokenized again, which its note says; if tool output is in it, nothing of it enters a loss then. No record is given
for two indices: where they run out, an error says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tutelage.errors import DataError, SamplerFailed
from tutelage.problems.files import read_rows
from tutelage.records import Completion, FinishReason, Policy, SegmentKind
from tutelage.sampling.answering import AnsweringSession
from tutelage.sampling.completing import Drawn, completion_of, failed, tokenize
from tutelage.sampling.session import SampleRequest, ScoreRequest

_OWN = ("token_ids", "token_logprobs", "tokenizer_digest")


class ReplaySampler(AnsweringSession):
    """A sampler session over recorded completions; they come in the order of the requests.

    Args:
        source: a `.jsonl`, `.jsonl.gz`, `.json` or `.parquet` file, a folder of them, or rows.
        tokenizer: anything with `encode`, `eos_token_id` and `get_vocab`.
        policy: what the completions are said to come from.

    Raises:
        DataError: the file cannot be read, is empty, or has a row that is no completion.
    """

    def __init__(self, source: str | Path | Iterable[Mapping[str, Any]], tokenizer: Any, policy: Policy) -> None:
        super().__init__(tokenizer, policy)
        self._by_id: dict[str, Mapping[str, Any]] = {}
        self._by_problem: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for where, row in _rows(source):
            self._add(where, row)
        if not self._by_problem:
            raise DataError("there is nothing to replay", seen=str(source), expected="at least one recorded completion")
        for rows in self._by_problem.values():
            if all(isinstance(row.get("sample"), int) for row in rows):
                rows.sort(key=lambda row: row["sample"])

    def _add(self, where: str, row: Mapping[str, Any]) -> None:
        problem = row.get("problem_id", row.get("question_id"))
        text = row.get("text") if _is_own(row) else row.get("completion")
        if problem is None or not isinstance(text, str):
            raise DataError(
                f"{where} is not a recorded completion",
                seen=", ".join(row),
                expected="question_id or problem_id, and completion (a text); or a completion record of a run",
                advice="convert the file",
            )
        if _is_own(row) and row.get("finish_reason") == "error":
            return
        self._by_problem.setdefault((str(problem), str(row.get("role", "answer"))), []).append(row)
        if _is_own(row):
            self._by_id[str(row["id"])] = row

    def _answer(self, request: SampleRequest) -> Completion:
        rows = self._by_problem.get((request.problem_id, request.role), [])
        row = self._by_id.get(request.id) or (rows[request.index] if request.index < len(rows) else None)
        names = {"model": self._policy.model, "tokenizer_digest": self.tokenizer_digest}
        if row is None:
            note = f"{len(rows)} recorded completions of problem {request.problem_id} ({request.role}), none with index"
            return failed(request, f"{note} {request.index}", **names)
        completion = completion_of(request, self._drawn(row), **names)
        return completion if self._is_all_model(row) else replace(completion, segments=self._segments(row, completion))

    def _is_all_model(self, row: Mapping[str, Any]) -> bool:
        return not _is_own(row) or all(kind == "model" for _, _, kind in row.get("segments", ()))

    def _segments(self, row: Mapping[str, Any], completion: Completion) -> tuple[tuple[int, int, SegmentKind], ...]:
        """Who wrote what, as recorded; after tokenizing again that is lost, so then nothing may enter a loss."""
        if self._has_our_tokens(row):
            return tuple((start, end, kind) for start, end, kind in row["segments"])
        return ((0, len(completion.token_ids), "forced"),) if completion.token_ids else ()

    def _has_our_tokens(self, row: Mapping[str, Any]) -> bool:
        return _is_own(row) and row["tokenizer_digest"] == self.tokenizer_digest

    def _drawn(self, row: Mapping[str, Any]) -> Drawn:
        if self._has_our_tokens(row):
            note = "replayed" + (f"; {row['note']}" if row.get("note") else "")
            return Drawn(row["token_ids"], row["token_logprobs"], row["text"], row["finish_reason"], note)
        text = row["text"] if _is_own(row) else row["completion"]
        reason = _reason(row.get("finish_reason"))
        ids = tokenize(self.tokenizer, text, is_ended=reason == "stop")
        model = row["policy"]["model"] if _is_own(row) else row.get("model")
        origin = f" from {model}" if model else ""
        note = f"replayed{origin}; text tokenized again, log-probs unknown"
        return Drawn(ids, [0.0] * len(ids), text, reason, note)

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Not possible: a recording knows no log-probs of other tokens. Raises SamplerFailed."""
        raise SamplerFailed("a replay cannot score tokens", advice="use sampler=local")

    def publish(self, adapter: str, version: int, path: Path) -> None:
        """Nothing changes: recorded completions stay what they are."""

    def release(self, completion_id: str) -> None:
        """Nothing to do."""


def _rows(source: str | Path | Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(source, str | Path):
        for row in read_rows(Path(source)):
            yield row.where, row.data
        return
    for number, data in enumerate(source):
        yield f"row {number}", data


def _reason(said: Any) -> FinishReason:
    """A recorded reason; "stop" where none of ours is given."""
    return said if said in ("length", "pause") else "stop"


def _is_own(row: Mapping[str, Any]) -> bool:
    return all(key in row for key in _OWN)
