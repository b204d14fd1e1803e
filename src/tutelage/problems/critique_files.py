"""Critique data in files: rows of a question, a solution and its critique, read and written.

Three forms are read. `mathcritique` rows are the fields into which the released sample of AutoMathCritique (arXiv
2411.16579) was cut: `question`, `initial_solution`, `critique`, and what else is known. `samples` are the records that
`critique-data` keeps of a run (only those that were kept are taken). `alpaca` rows (`instruction`, `input`, `output`),
which LLaMA-Factory reads, hold question and solution in one text, so they are read only where this module wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.problems.files import Row, read_rows
from tutelage.text.critiques import CritiqueForm, CritiqueText, Unreadable, read_critique, write_critique

_INSTRUCTION = re.compile(
    r"Problem: (?P<question>.*?)\n\nSolution:\n(?P<solution>.*)\n\nCheck the solution\b.*", re.DOTALL
)
INSTRUCTION_END = (
    "Check the solution of this problem: give every step a verdict and an explanation, then the final answer."
)


@dataclass(frozen=True)
class CritiqueRow:
    """A solution and its critique.

    Args:
        id: unique in its file.
        question: as critics are shown it, options included.
        answer: the reference answer; "" where the file does not tell.
        solution: the text that was criticised.
        critique: as read.
        form: the form in which it was written.
        way, mistake, location: how the solution came about, where that is known; location is an index from 0.
        refined: a solution written after the critique; "" where there is none.
    """

    id: str
    question: str
    answer: str
    solution: str
    critique: CritiqueText
    form: CritiqueForm = "labelled"
    way: str = ""
    mistake: str = ""
    location: int | None = None
    refined: str = ""


@dataclass(frozen=True)
class UnreadableRow:
    """A row whose critique is no critique, where it stands, and why."""

    where: str
    reason: str


def read_critiques(path: Path) -> tuple[list[CritiqueRow], list[UnreadableRow]]:
    """The critiques of a file or folder, and the rows whose critique text could not be read.

    Raises:
        DataError: the file cannot be read, or a row has not the fields of any form.
    """
    rows: list[CritiqueRow] = []
    bad: list[UnreadableRow] = []
    for row in read_rows(path):
        if row.data.get("fate", "kept") != "kept":
            continue
        found = _read(row)
        (rows if isinstance(found, CritiqueRow) else bad).append(found)  # type: ignore[arg-type]
    if not rows and not bad:
        raise DataError("there are no critiques in the file", seen=str(path), expected="at least one row",
                        advice="look at the card of the run that made it: what became of its critiques")  # fmt: skip
    return rows, bad


def _read(row: Row) -> CritiqueRow | UnreadableRow:
    fields = _fields(row)
    critique_form: CritiqueForm = "primer" if fields.get("form") == "primer" else "labelled"
    critique = read_critique(fields["critique"], critique_form)
    if isinstance(critique, Unreadable):
        return UnreadableRow(row.where, critique.reason)
    location = fields.get("location")
    return CritiqueRow(
        id=str(fields.get("id") or f"{row.stem}-{row.index}"), question=fields["question"],
        answer=str(fields.get("answer") or ""), solution=fields["solution"], critique=critique, form=critique_form,
        way=str(fields.get("way") or ""), mistake=str(fields.get("mistake") or ""),
        location=location if isinstance(location, int) else None,
        refined=str(fields.get("refined_solution") or fields.get("refined") or ""),
    )  # fmt: skip


def _fields(row: Row) -> dict[str, Any]:
    data: Mapping[str, Any] = row.data
    found: dict[str, Any] | None = None
    if "initial_solution" in data:
        found = {**data, "solution": data["initial_solution"]}
    elif "solution" in data and "critique" in data:
        found = dict(data)
    elif "instruction" in data and "output" in data:
        match = _INSTRUCTION.fullmatch(str(data["instruction"]))
        found = None if match is None else {**data, **match.groupdict(), "critique": data["output"]}
    wanted = ("question", "solution", "critique")
    if found is None or not all(isinstance(found.get(key), str) and found[key].strip() for key in wanted):
        raise DataError(
            f"{row.where} is no row of critique data", seen=", ".join(data),
            expected="question, initial_solution and critique; or rows that critique-data wrote",
            advice="name a run of critique-data, a file of its dataset folder, or the released sample",
        )  # fmt: skip
    return found


def mathcritique_rows(rows: list[CritiqueRow]) -> Iterator[dict[str, Any]]:
    """Rows in the fields of the released sample, critiques in its line format."""
    for row in rows:
        yield {
            "id": row.id, "question": row.question, "answer": row.answer, "initial_solution": row.solution,
            "critique": write_critique(row.critique, "labelled"),
            "steps": [
                {"step": step.text, "label": "Correct" if step.is_correct else "Wrong"} for step in row.critique.steps
            ],
            "final_answer_label": "Correct" if row.critique.final_is_correct else "Wrong",
            "refined_solution": row.refined, "way": row.way, "mistake": row.mistake, "location": row.location,
        }  # fmt: skip


def alpaca_rows(rows: list[CritiqueRow]) -> Iterator[dict[str, Any]]:
    """Rows as LLaMA-Factory reads them without further settings; `form` tells this module how to read them back."""
    for row in rows:
        yield {"instruction": _instruction(row), "input": "", "output": write_critique(row.critique, row.form),
               "id": row.id, "answer": row.answer, "form": row.form}  # fmt: skip


def trl_rows(rows: list[CritiqueRow]) -> Iterator[dict[str, Any]]:
    """Conversations of prompt and completion, as TRL's SFTTrainer reads them."""
    for row in rows:
        yield {
            "prompt": [{"role": "user", "content": _instruction(row)}],
            "completion": [{"role": "assistant", "content": write_critique(row.critique, row.form)}],
        }  # fmt: skip


def _instruction(row: CritiqueRow) -> str:
    return f"Problem: {row.question}\n\nSolution:\n{row.solution.strip()}\n\n{INSTRUCTION_END}"
