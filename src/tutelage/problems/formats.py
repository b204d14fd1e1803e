"""From a row to a problem: the published formats, and any row with a question and an answer.

Each format takes the data set's own field names and, beside them, the uniform ones (`question`, `answer`, `solution`,
...). Golds are checked here, so an unreadable one stops the work before it starts. Labels of options are turned into
letters A, B, ... by their place, because prompts show letters; the published labels stay in `metadata["labels"]`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from tutelage.errors import DataError
from tutelage.problems.files import Row
from tutelage.records import Choices, Problem
from tutelage.text.answers import UnreadableGold, infer_kind, read_gold
from tutelage.text.extraction import last_box

DATA_FORMATS: dict[str, str] = {
    "gsm8k": "GSM8K: question, answer (worked solution, then `#### 18`), or question, answer, solution",
    "math": "MATH and MATH-500: problem, solution (gold in its last \\boxed), level, type or subject, answer; also a "
    "folder of one .json file a problem",
    "arc": "ARC: question {stem, choices [{text, label}]} or question, choices {text, label}; answerKey",
    "metamath": "MetaMathQA: query, response (ends `The answer is: 18`), type, original_question",
    "jsonl": "any rows with question and answer (other names: `jsonl:FILE?question=prompt&answer=target`); id, "
    "solution, choices, subject, level, split, answer_kind where present",
}
FIELDS = (
    "id", "question", "answer", "solution", "subject", "level", "split", "source", "choices", "answer_kind", "metadata",
)  # fmt: skip
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_METAMATH_GOLD = re.compile(r"\bthe answer is\s*:?", re.IGNORECASE)
_KINDS = ("number", "latex", "choice", "text", "program")


def sniff(row: Mapping[str, Any]) -> str | None:
    """The format of a row by its field names; None where it has none that is known."""
    if "answer_kind" in row:
        return "jsonl"
    if "answerKey" in row or ("choices" in row and ("answer" in row or "question" in row)):
        return "arc"
    if "query" in row and "response" in row:
        return "metamath"
    if "problem" in row and ("solution" in row or "answer" in row):
        return "math"
    if "question" in row and "answer" in row:
        if "####" in str(row["answer"]) or str(row.get("id", "")).startswith("gsm8k-"):
            return "gsm8k"
        return "math" if str(row.get("id", "")).startswith("math-") else "jsonl"
    return None


def read_problem(row: Row, data_format: str, split: str | None) -> Problem:
    """The problem of a row.

    Args:
        row: the row, its fields renamed to the format's.
        data_format: a name of `DATA_FORMATS`.
        split: overrides the split that the row or its path names.

    Raises:
        DataError: no question, no answer, a gold that cannot be read, options that do not fit; each with file and line.
    """
    reader = _generic if "answer_kind" in row.data else _READERS[data_format]
    problem = reader(row)
    has_id = row.data.get("id", row.data.get("unique_id")) not in (None, "")
    number = problem.id if has_id else f"{row.stem}-{row.index}"
    problem = dataclasses.replace(
        problem,
        id=number,
        split=split or str(row.data.get("split") or row.split or "train"),
        source=str(row.data.get("source") or data_format),
    )
    try:
        read_gold(problem.answer, problem.answer_kind, problem.choices)
    except UnreadableGold as error:
        raise DataError(
            f"{row.where} has a gold answer that cannot be read: {error}",
            seen=problem.answer,
            expected=_expected(problem),
            advice="correct or remove the row",
        ) from error
    return problem


def _expected(problem: Problem) -> str:
    if problem.choices is not None:
        return f"one of the labels {', '.join(problem.choices.labels)}"
    return "a number" if problem.answer_kind == "number" else "a final answer of at most 400 characters, braces closed"


def _generic(row: Row) -> Problem:
    data = row.data
    choices = _choices(data.get("choices"), row) if data.get("choices") is not None else None
    answer = _text(row, "answer", "no answer")
    metadata = _metadata(row)
    if choices is not None:
        choices, answer, labels = _lettered(choices, answer)
        metadata |= labels
    kind = data.get("answer_kind")
    if kind is not None and kind not in _KINDS:
        raise DataError(f"{row.where} has an unknown answer_kind", seen=kind, expected=", ".join(_KINDS))
    return Problem(
        id=str(data.get("id")),
        question=_text(row, "question", "no question"),
        answer=answer,
        answer_kind=kind or infer_kind(answer, choices),
        solution=_optional(data, "solution"),
        subject=_optional(data, "subject"),
        level=_optional(data, "level"),
        choices=choices,
        metadata=metadata,
    )


def _gsm8k(row: Row) -> Problem:
    answer = _text(row, "answer", "no answer")
    solution, marker, gold = answer.rpartition("####")
    if marker and not gold.strip():
        raise _lacking(row, "no answer after its ####", "answer")
    return Problem(
        id=str(row.data.get("id")),
        question=_text(row, "question", "no question"),
        answer=gold.strip().replace(",", ""),
        answer_kind="number",
        solution=solution.strip() if marker else _optional(row.data, "solution"),
        subject=_optional(row.data, "subject"),
        level=_optional(row.data, "level"),
        metadata=_metadata(row),
    )


def _math(row: Row) -> Problem:
    data = row.data
    solution = _optional(data, "solution")
    answer = _optional(data, "answer") or last_box(solution or "")
    if not answer or not answer.strip():
        raise _lacking(row, "no answer: no field `answer` and no \\boxed{...} in its solution", "answer")
    level = data.get("level")
    return Problem(
        id=str(data.get("id", data.get("unique_id"))),
        question=_text(row, "problem" if "problem" in data else "question", "no question"),
        answer=answer.strip(),
        answer_kind=infer_kind(answer.strip()),
        solution=solution,
        subject=_optional(data, "subject") or _optional(data, "type"),
        level=f"Level {level}" if isinstance(level, int) else _optional(data, "level"),
        metadata=_metadata(row),
    )


def _arc(row: Row) -> Problem:
    data = row.data
    question: Any = data.get("question")
    options = data.get("choices")
    if isinstance(question, dict):
        question, options = question.get("stem"), question.get("choices", options)
    choices = _choices(options, row)
    key = "answerKey" if "answerKey" in data else "answer"
    choices, answer, labels = _lettered(choices, _text(row, key, "no answer"))
    if not isinstance(question, str) or not question.strip():
        raise _lacking(row, "no question", "question")
    return Problem(
        id=str(data.get("id")),
        question=question,
        answer=answer,
        answer_kind="choice",
        solution=_optional(data, "solution"),
        subject=_optional(data, "subject"),
        level=_optional(data, "level"),
        choices=choices,
        metadata=_metadata(row) | labels,
    )


def _metamath(row: Row) -> Problem:
    data = row.data
    response = _text(row, "response", "no response")
    matches = list(_METAMATH_GOLD.finditer(response))
    answer = response[matches[-1].end() :].strip().strip("$").rstrip(".").strip() if matches else ""
    if not answer:
        raise _lacking(row, "no answer: nothing after `The answer is:` in its response", "response")
    original = _optional(data, "original_question")
    return Problem(
        id=str(data.get("id")),
        question=_text(row, "query", "no question"),
        answer=answer,
        answer_kind=infer_kind(answer),
        solution=re.sub(r"\s*####[^\n]*\s*$", "", response[: matches[-1].start()]).strip(),
        subject=_optional(data, "type"),
        metadata={"original_question": original} if original else {},
    )


_READERS: dict[str, Callable[[Row], Problem]] = {
    "gsm8k": _gsm8k, "math": _math, "arc": _arc, "metamath": _metamath, "jsonl": _generic,
}  # fmt: skip


def _text(row: Row, name: str, lacking: str) -> str:
    value = row.data.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)
    # NaN is how tables write a missing number.
    if value is None or isinstance(value, float) or (isinstance(value, str) and not value.strip()):
        raise _lacking(row, lacking, name)
    if not isinstance(value, str):
        raise DataError(
            f"{row.where}: the field `{name}` is no text", seen=repr(value), expected="a string or a number"
        )
    return value


def _lacking(row: Row, what: str, name: str) -> DataError:
    present = ", ".join(row.data) or "no fields"
    return DataError(
        f"{row.where} has {what}",
        seen=f"fields {present}" if row.data.get(name) is None else repr(row.data[name])[:150],
        expected=f"a non-empty `{name}`",
        advice="correct or remove the row, or name the field: jsonl:FILE?question=NAME&answer=NAME",
    )


def _optional(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return None if value is None or value == "" else str(value)


def _metadata(row: Row) -> dict[str, Any]:
    """What else the row knows; a `tolerance` in it is what the grader will use, so it is checked here."""
    found = row.data.get("metadata") or {}
    if not isinstance(found, Mapping):
        raise DataError(f"{row.where}: the field `metadata` is no object", seen=repr(found)[:150],
                        expected='{"name": value, ...}', advice="correct the row or rename its field")  # fmt: skip
    tolerance = found.get("tolerance")
    is_number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if tolerance is not None and not (is_number and 0 <= tolerance < 1):
        raise DataError(f"{row.where}: the tolerance in `metadata` cannot be used", seen=repr(tolerance)[:150],
                        expected="a relative difference from 0 to below 1", advice="correct the row")  # fmt: skip
    return dict(found)


def _listed(value: Any) -> list[Any]:
    """The members of a list; none where it is anything else."""
    return list(value) if isinstance(value, list | tuple) else []


def _choices(options: Any, row: Row) -> Choices:
    """Options written as {label: [], text: []}, [{label, text}], {A: ...} or a plain list of texts."""
    labels: list[Any] = []
    texts: list[Any] = []
    if isinstance(options, Mapping) and "text" in options:
        texts = _listed(options["text"])
        labels = _listed(options.get("label") or options.get("labels")) or list(_LETTERS[: len(texts)])
    elif isinstance(options, Mapping) and "texts" in options:
        texts, labels = _listed(options["texts"]), _listed(options.get("labels"))
    elif isinstance(options, Mapping):
        labels, texts = list(options), list(options.values())
    elif isinstance(options, list | tuple) and all(isinstance(option, Mapping) for option in options):
        labels, texts = [option.get("label") for option in options], [option.get("text") for option in options]
    elif isinstance(options, list | tuple):
        texts, labels = list(options), list(_LETTERS[: len(options)])
    labels = [str(label) for label in labels]
    if not texts or len(labels) != len(texts) or len(texts) > len(_LETTERS) or len(set(labels)) < len(labels):
        raise DataError(f"{row.where} has no usable options", seen=repr(options)[:150],
                        expected='choices {"label": ["A", ...], "text": [...]}', advice="correct the row")  # fmt: skip
    return Choices(tuple(labels), tuple(map(str, texts)))


def _lettered(choices: Choices, answer: str) -> tuple[Choices, str, dict[str, Any]]:
    """Labels by place, the answer with them, and the published labels if they were others."""
    letters = tuple(_LETTERS[: len(choices.labels)])
    if choices.labels == letters:
        return choices, answer, {}
    answer = letters[choices.labels.index(answer)] if answer in choices.labels else answer
    return Choices(letters, choices.texts), answer, {"labels": list(choices.labels)}
