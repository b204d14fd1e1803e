"""Solutions whose first wrong step people have marked: rows of MR-GSM8K's kind, for measuring critics.

A row has `question`, `completion` (the solution), `gold` or `answer`, `first_error_step` (from 1), and
`solution_correct`. Steps are lines, or begin with `Step 1:` where the solution numbers them so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tutelage.errors import DataError
from tutelage.problems.files import Row, read_rows
from tutelage.records import Problem
from tutelage.text.critiques import solution_steps

_STEP = re.compile(r"^Step ([0-9]{1,3}):", re.MULTILINE)


@dataclass(frozen=True)
class LabelledSolution:
    """A solution and what people say of it.

    Args:
        problem: its problem; the id is the row's, since a problem may have several solutions.
        text: the solution.
        steps: its steps, in order.
        first_error: index, from 0, of the first wrong step; None for a right solution.
        answer_is_right: whether its final answer is; a right answer may stand on wrong steps.
    """

    problem: Problem
    text: str
    steps: tuple[str, ...]
    first_error: int | None
    answer_is_right: bool


def read_labelled(path: Path, limit: int | None = None) -> list[LabelledSolution]:
    """The labelled solutions of a file.

    Raises:
        DataError: a row lacks a field, or names a step that the solution does not have.
    """
    found: list[LabelledSolution] = []
    for row in read_rows(path):
        if limit is not None and len(found) >= limit:
            break
        found.append(_labelled(row))
    if not found:
        raise DataError("there are no labelled solutions in the file", seen=str(path), expected="at least one row")
    return found


def numbered_steps(text: str) -> tuple[str, ...]:
    """The parts of a solution that begin with `Step 1:`, `Step 2:` and so on; its lines where it has none."""
    starts = [match.start() for match in _STEP.finditer(text)]
    numbers = [int(match[1]) for match in _STEP.finditer(text)]
    if not starts or numbers != list(range(1, len(numbers) + 1)):
        return solution_steps(text)
    return tuple(text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True))


def _labelled(row: Row) -> LabelledSolution:
    data = row.data
    question, text = data.get("question"), data.get("completion")
    answer = data.get("gold", data.get("answer"))
    is_right, step = data.get("solution_correct"), data.get("first_error_step")
    steps = numbered_steps(text) if isinstance(text, str) else ()
    usable = isinstance(question, str) and isinstance(text, str) and isinstance(answer, str | int | float)
    if not usable or not isinstance(is_right, bool) or not (is_right or _is_step(step, len(steps))):
        raise DataError(
            f"{row.where} is no labelled solution",
            seen=f"{', '.join(data)}; first_error_step = {step!r}, {len(steps)} steps",
            expected="question, completion, gold, solution_correct, and first_error_step from 1 where that is false",
            advice="convert the file",
        )
    name = str(data.get("id") or f"{row.stem}-{row.index}")
    problem = Problem(name, str(question), str(answer), source="labelled")
    first = None if is_right else int(step) - 1  # type: ignore[arg-type]
    return LabelledSolution(problem, str(text), steps, first, bool(data.get("correct", is_right)))


def _is_step(step: object, count: int) -> bool:
    return isinstance(step, int) and not isinstance(step, bool) and 1 <= step <= count
