"""Seed questions: problems whose answers are not needed, as `synthesize` starts from.

Whatever `load_problems` reads, and besides it rows without an answer: `question`, `problem`, `instruction` (with the
input of the first instance, in the format of Self-Instruct's seed tasks), `query` or `prompt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.problems.files import read_rows
from tutelage.problems.loading import data_of_run, load_problems
from tutelage.records import Problem

FIELDS = ("question", "problem", "instruction", "query", "prompt")
_ANSWERS = ("answer", "solution", "response", "answerKey")


def load_seeds(spec: str, *, limit: int | None = None) -> list[Problem]:
    """The problems that a data spelling names; those of rows without an answer have `answer` "".

    Raises:
        DataError: as `load_problems`; a row without a question.
    """
    path = Path(spec.removeprefix("jsonl:").partition("?")[0]).expanduser()
    if spec.startswith("primer") or not path.exists() or "?" in spec:
        return load_problems(spec, limit=limit)
    rows = list(islice(read_rows(data_of_run(path)), limit))
    if not rows or any(row.data.get(name) is not None for row in rows for name in _ANSWERS):
        return load_problems(spec, limit=limit)
    problems = [
        Problem(
            id=str(row.data.get("id") or f"{row.stem}-{row.index}"), question=_question(row.data, row.where), answer="",
            answer_kind="text", subject=row.data.get("subject"), source="seeds",
        )
        for row in rows
    ]  # fmt: skip
    if len({problem.id for problem in problems}) < len(problems):
        raise DataError("Two seed rows have the same id", seen=spec, expected="unique ids, or none")
    return problems


def _question(data: Mapping[str, Any], where: str) -> str:
    text = next((data[name] for name in FIELDS if isinstance(data.get(name), str) and data[name].strip()), None)
    if text is None:
        raise DataError(f"{where} has no question", seen=f"fields {', '.join(data)}", expected=" or ".join(FIELDS),
                        advice="name the field that holds it `question`")  # fmt: skip
    instances = data.get("instances")
    first = instances[0] if isinstance(instances, list) and instances else {}
    given = first.get("input", "") if isinstance(first, Mapping) else ""
    return f"{text.strip()}\n{given.strip()}" if isinstance(given, str) and given.strip() else text.strip()
