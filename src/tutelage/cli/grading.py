"""The work of `tutelage grade`: lines in, verdicts out, a line at a time, so that files of any size can be graded.

A line that cannot be read (no JSON object, no gold, nothing to grade) is told of by its number and left out; the others
come back in their order, undecided where the gold itself makes no sense. A field of the input that has the name of one
of ours is replaced.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import typer

from tutelage.cli.tables import outcome_words
from tutelage.errors import DataError, InputError
from tutelage.grading.checker import check
from tutelage.grading.exact import ExactGrader
from tutelage.records import OUR_OUTCOMES, AnswerKind, Choices, FinishReason, Outcome, Problem
from tutelage.text.answers import UnreadableGold, infer_kind, read_gold

KINDS = ("number", "latex", "choice", "text")
TOLD = 20
"""Bad lines that are told of one by one; the rest are only counted."""
STANDARD = "-"


class BadLine(ValueError):
    """A line that cannot be read; the message says why."""


def grade_file(file: Path, output: Path | None) -> Counter[Outcome]:
    """Grade every line of `file`.

    Args:
        file: JSON lines; `-` is stdin.
        output: where to write; None is stdout.

    Returns:
        How many lines have each outcome.

    Raises:
        InputError: the file cannot be read, both names are one file, or not one line could be read.
    """
    if output is not None and str(file) != STANDARD and output.exists() and output.samefile(file):
        raise InputError(
            "the lines cannot be written over the file they are read from", seen=str(output),
            expected="another file", advice="name another file with -o",
        )  # fmt: skip
    began, problems, counts = time.perf_counter(), _Complaints(), Counter[Outcome]()
    with _reading(file) as source, _writing(output) as target:
        for row in graded(source, problems.add):
            counts[row["outcome"]] += 1
            target.write(json.dumps(row, ensure_ascii=False) + "\n")
        _refuse_nothing(file, problems, sum(counts.values()))
    bad = f"; {problems.count} lines could not be read and were left out" if problems.count else ""
    typer.echo(
        f"{sum(counts.values())} lines in {time.perf_counter() - began:.2f} s: {outcome_words(counts)}{bad}", err=True
    )
    return counts


def graded(lines: Iterable[bytes], complain: Callable[[int, str], None]) -> Iterator[dict[str, Any]]:
    """The objects of the lines with `equivalent`, `outcome`, `answer`, `decided_by` and `seconds`.

    Args:
        lines: JSON objects as bytes; empty lines are passed over.
        complain: called with the number (from 1) of a line that cannot be read, and why.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield grade_line(line)
        except BadLine as error:
            complain(number, str(error))


def grade_line(line: bytes) -> dict[str, Any]:
    """One line's object with its verdict.

    Raises:
        BadLine: it cannot be read.
    """
    row = _object(line)
    gold, kind, choices = _gold(row)
    began = time.perf_counter()
    answer: str | None = None
    try:
        read_gold(gold, kind, choices)
    except UnreadableGold as error:
        row["note"] = f"the gold cannot be read: {error}"
        return _with_verdict(row, "undecided", answer, "gold", seconds=time.perf_counter() - began)
    if "completion" in row:
        problem = Problem("", "", gold, kind or infer_kind(gold, choices), choices=choices)
        reason: FinishReason = "length" if row.get("finish_reason") == "length" else "stop"
        found = ExactGrader().grade_text(problem, _text(row, "completion"), reason)
        outcome, answer, decided_by = found.outcome, found.answer, found.decided_by
    else:
        answer = _text(row, "prediction") or None
        outcome, decided_by = _judge(gold, answer or "", kind, choices)
    return _with_verdict(row, outcome, answer, decided_by, seconds=time.perf_counter() - began)


def _with_verdict(
    row: dict[str, Any], outcome: Outcome, answer: str | None, decided_by: str, *, seconds: float
) -> dict[str, Any]:
    # True or false where the model's doing decides it; none where we could not tell.
    equivalent = None if outcome in OUR_OUTCOMES else outcome == "correct"
    return {
        **row, "equivalent": equivalent, "outcome": outcome, "answer": answer, "decided_by": decided_by,
        "seconds": round(seconds, 6),
    }  # fmt: skip


def _judge(gold: str, answer: str, kind: AnswerKind | None, choices: Choices | None) -> tuple[Outcome, str]:
    if not answer.strip():
        return "no_answer", "extraction"
    result = check(gold, answer, kind=kind, choices=choices)
    if result.equivalent is None:
        return "undecided", result.decided_by
    return ("correct" if result.equivalent else "incorrect"), result.decided_by


def _object(line: bytes) -> dict[str, Any]:
    try:
        # A byte order mark is allowed at the start of a file.
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise BadLine(f"not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise BadLine("not JSON that can be read: a number too long, or nested too deep") from error
    if not isinstance(row, dict):
        raise BadLine(f"expected a JSON object, not {type(row).__name__}")
    if ("prediction" in row) == ("completion" in row):
        has = "both" if "prediction" in row else f"neither; it has {', '.join(list(row)[:8]) or 'no fields'}"
        raise BadLine(f"expected either a prediction or a completion, found {has}")
    return row


def _gold(row: dict[str, Any]) -> tuple[str, AnswerKind | None, Choices | None]:
    """The gold answer, its kind and its options."""
    if "gold" not in row:
        raise BadLine(f"there is no gold; it has {', '.join(list(row)[:8])}")
    gold, kind, choices = _text(row, "gold"), row.get("answer_kind"), _choices(row.get("choices"))
    if kind is not None and kind not in KINDS:
        raise BadLine(f"answer_kind is {kind!r}; expected one of {', '.join(KINDS)}")
    return gold, kind, choices


def _choices(value: Any) -> Choices | None:
    """The options: a list of texts, or an object with labels (label) and texts (text)."""
    if value is None:
        return None
    if isinstance(value, dict):
        labels, texts = (value.get(name, value.get(name + "s")) for name in ("label", "text"))
    else:
        texts = value
        labels = [chr(ord("A") + place) for place in range(len(value))] if isinstance(value, list) else None
    if (
        not isinstance(labels, list)
        or not isinstance(texts, list)
        or not len(labels) == len(texts) > 0
        or not all(isinstance(item, str) for item in [*labels, *texts])
    ):
        raise BadLine("choices: expected a list of texts, or an object with equally long lists label and text")
    return Choices(tuple(labels), tuple(texts))


def _text(row: dict[str, Any], name: str) -> str:
    """A text, or a number as text; a prediction or completion of null is empty."""
    value = row[name]
    if value is None and name != "gold":
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and name != "completion":
        return str(value)
    raise BadLine(f"{name} is {type(value).__name__}; expected text")


class _Complaints:
    """Tells of bad lines as they come, and counts them."""

    def __init__(self) -> None:
        self.count, self.first = 0, ""

    def add(self, number: int, why: str) -> None:
        """One more bad line."""
        self.count += 1
        text = f"line {number}: {why}"
        self.first = self.first or text
        if self.count <= TOLD:
            typer.echo(text, err=True)
        elif self.count == TOLD + 1:
            typer.echo("further bad lines are only counted", err=True)


def _refuse_nothing(file: Path, problems: _Complaints, num_graded: int) -> None:
    if not num_graded:
        source = "stdin" if str(file) == STANDARD else str(file)
        raise DataError(
            f"not one line of {source} could be read", seen=problems.first or "an empty file",
            expected='JSON lines with "gold" and "prediction", or "gold" and "completion"',
            advice="rename the fields of the file to these",
        )  # fmt: skip


def _reading(file: Path) -> AbstractContextManager[BinaryIO]:
    if str(file) == STANDARD:
        return nullcontext(sys.stdin.buffer)
    try:
        return file.open("rb")
    except OSError as error:
        raise InputError(
            "the file cannot be read", seen=f"{file}: {error.strerror}", expected="a file of JSON lines",
            advice="check the path",
        ) from error  # fmt: skip


@contextmanager
def _writing(output: Path | None) -> Iterator[TextIO]:
    """The target; a file appears under its name only when all of it is written."""
    if output is None:
        # Lone surrogates, which JSON may hold, are written as the JSON escapes that they came as.
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")
        yield sys.stdout
        return
    partial = output.with_name(f".{output.name}.partial")
    try:
        target = partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise InputError(
            "the output cannot be written", seen=f"{output}: {error.strerror}", expected="a place for a file",
            advice="name another with -o",
        ) from error  # fmt: skip
    try:
        with target:
            yield target
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
