"""The work of `tutelage grade`: lines in, verdicts out, some hundred lines at a time, so that any file can be graded.

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
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO, get_args

import typer

from tutelage.cli.auditing import Audit
from tutelage.cli.tables import outcome_words
from tutelage.errors import DataError, InputError
from tutelage.grading.tiered import Grader, Symbolic, trouble
from tutelage.records import OUR_OUTCOMES, AnswerKind, Choices, FinishReason, Outcome, Problem, Verdict
from tutelage.text.answers import UnreadableGold, infer_kind, read_gold

KINDS = ("number", "latex", "choice", "text")
TOLD = 20
"""Bad lines that are told of one by one; the rest are only counted."""
STANDARD = "-"
LINES_AT_ONCE = 512
"""Lines graded together, so that those which need the worker share its children."""


@dataclass(frozen=True)
class GradeOptions:
    """How a file is graded; see the options of the command."""

    workers: int = 1
    symbolic: str = "auto"
    audit: bool = False
    by: str | None = None


class BadLine(ValueError):
    """A line that cannot be read; the message says why."""


@dataclass(frozen=True)
class Line:
    """A line that was read: its object, the problem that its gold makes, and what is to be graded.

    `fault` says why the gold makes no sense; then there is nothing to grade. `kind` is what the line says it is.
    """

    row: dict[str, Any]
    problem: Problem
    kind: AnswerKind | None
    text: str
    is_completion: bool
    reason: FinishReason = "stop"
    fault: str = ""


def grade_file(file: Path, output: Path | None, options: GradeOptions) -> Counter[Outcome]:
    """Grade every line of `file`.

    Args:
        file: JSON lines; `-` is stdin.
        output: where to write; None is stdout, and nowhere for an audit.
        options: see there.

    Returns:
        How many lines have each outcome.

    Raises:
        InputError: the file cannot be read, both names are one file, or not one line could be read.
    """
    _check(file, output, options)
    began, problems, counts = time.perf_counter(), _Complaints(), Counter[Outcome]()
    audit = Audit(options.by) if options.audit else None
    symbolic: Symbolic = options.symbolic  # type: ignore[assignment]
    with (
        Grader(workers=options.workers, symbolic=symbolic) as grader,
        _reading(file) as source,
        _writing(output, is_shown=audit is None) as target,
    ):
        for line, row in graded(source, grader, problems.add):
            counts[row["outcome"]] += 1
            if target is not None:
                target.write(json.dumps(row, ensure_ascii=False) + "\n")
            if audit is not None:
                audit.add(line.row, row, gold=line.problem.answer)
        _refuse_nothing(file, problems, sum(counts.values()))
    if audit is not None:
        audit.show()
    _tell(grader, counts, bad=problems.count, seconds=time.perf_counter() - began)
    return counts


def _check(file: Path, output: Path | None, options: GradeOptions) -> None:
    if output is not None and str(file) != STANDARD and output.exists() and output.samefile(file):
        raise InputError(
            "the lines cannot be written over the file they are read from", seen=str(output),
            expected="another file", advice="name another file with -o",
        )  # fmt: skip
    if options.symbolic not in get_args(Symbolic):
        raise InputError("--symbolic has no such value", seen=options.symbolic, expected=", ".join(get_args(Symbolic)))


def _tell(grader: Grader, counts: Counter[Outcome], *, bad: int, seconds: float) -> None:
    left_out = f"; {bad} lines could not be read and were left out" if bad else ""
    typer.echo(f"{counts.total()} lines in {seconds:.2f} s: {outcome_words(counts)}{left_out}", err=True)
    for warning in filter(None, [*trouble(counts), grader.absence()]):
        typer.echo(f"warning: {warning}", err=True)


def graded(
    lines: Iterable[bytes], grader: Grader, complain: Callable[[int, str], None]
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """The lines, and their objects with `equivalent`, `outcome`, `answer`, `decided_by` and `seconds`.

    Args:
        lines: JSON objects as bytes; empty lines are passed over.
        grader: grades them.
        complain: called with the number (from 1) of a line that cannot be read, and why.
    """
    numbered = enumerate(lines, start=1)
    while chunk := list(islice(numbered, LINES_AT_ONCE)):
        read: list[Line] = []
        for number, line in chunk:
            if not line.strip():
                continue
            try:
                read.append(read_line(line))
            except BadLine as error:
                complain(number, str(error))
        yield from zip(read, grade_lines(read, grader), strict=True)


def grade_lines(lines: list[Line], grader: Grader) -> list[dict[str, Any]]:
    """The lines' objects with their verdicts, in order."""
    sound = [line for line in lines if not line.fault]
    texts = [(line.problem, line.text, line.reason) for line in sound if line.is_completion]
    answers = [(line.problem, line.text, line.kind is None) for line in sound if not line.is_completion]
    from_texts, from_answers = iter(grader.grade_texts(texts)), iter(grader.check_many(answers))
    rows = []
    for line in lines:
        if line.fault:
            row = {**line.row, "note": f"the gold cannot be read: {line.fault}"}
            rows.append(_with_verdict(row, Verdict("", "", "undecided", None, decided_by="gold")))
        else:
            rows.append(_with_verdict(line.row, next(from_texts if line.is_completion else from_answers)))
    return rows


def read_line(line: bytes) -> Line:
    """One line's object and what is to be graded in it.

    Raises:
        BadLine: it cannot be read.
    """
    row = _object(line)
    gold, kind, choices = _gold(row)
    is_completion, fault = "completion" in row, ""
    text = _text(row, "completion" if is_completion else "prediction")
    try:
        read_gold(gold, kind, choices)
    except UnreadableGold as error:
        fault = str(error)
    problem = Problem("", "", gold, kind or ("text" if fault else infer_kind(gold, choices)), choices=choices)
    reason: FinishReason = "length" if row.get("finish_reason") == "length" else "stop"
    return Line(row, problem, kind, text, is_completion, reason, fault)


def _with_verdict(row: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    # True or false where the model's doing decides it; none where we could not tell.
    equivalent = None if verdict.outcome in OUR_OUTCOMES else verdict.is_correct
    return {
        **row, "equivalent": equivalent, "outcome": verdict.outcome, "answer": verdict.answer,
        "decided_by": verdict.decided_by, "seconds": round(verdict.seconds, 6),
    }  # fmt: skip


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
def _writing(output: Path | None, *, is_shown: bool) -> Iterator[TextIO | None]:
    """The target; a file appears under its name only when all of it is written. None is nowhere."""
    if output is None and not is_shown:
        yield None
        return
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
