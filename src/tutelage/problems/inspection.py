"""Looking at problems: what a data set holds, and whether questions of one are in another."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tutelage.records import Problem

_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Overlap:
    """A question of the test set that is in the training set too.

    `kind` is `text` (equal but for white space), `letters` (equal letters and digits; a sign may differ), or, where it
    was looked for (`evaluation.contamination`), `near` (nearly the same words, the same numbers) or `ngrams` (long runs
    of its words). `likeness`, in [0, 1], says how much of it.
    """

    train_id: str
    test_id: str
    kind: Literal["text", "letters", "near", "ngrams"]
    question: str
    likeness: float = 1.0


def describe(problems: Sequence[Problem]) -> dict[str, Any]:
    """Counts and lengths of a data set, as plain values.

    Returns:
        `problems`, `answer_kinds`, `levels`, `subjects`, `splits`, `sources` (name -> count, most frequent first),
        `with_solution`,
        `question_characters` and `solution_characters` (`mean`, `median`, `max`), `repeated_questions`.
    """
    texts = Counter(_SPACES.sub(" ", problem.question).strip() for problem in problems)
    return {
        "problems": len(problems),
        "answer_kinds": _counts(problem.answer_kind for problem in problems),
        "levels": _counts(problem.level for problem in problems),
        "subjects": _counts(problem.subject for problem in problems),
        "splits": _counts(problem.split for problem in problems),
        "sources": _counts(problem.source for problem in problems),
        "with_solution": sum(problem.solution is not None for problem in problems),
        "question_characters": _lengths([len(problem.question) for problem in problems]),
        "solution_characters": _lengths([len(problem.solution) for problem in problems if problem.solution]),
        "repeated_questions": sum(count - 1 for count in texts.values()),
    }


def check_overlap(train: Sequence[Problem], test: Sequence[Problem]) -> list[Overlap]:
    """Test questions that are in the training set, in the order of the test set, each once, by the stricter kind."""
    by_text: dict[str, str] = {}
    by_letters: dict[str, str] = {}
    for problem in train:
        by_text.setdefault(_text(problem), problem.id)
        by_letters.setdefault(letters(problem.question), problem.id)
    found: list[Overlap] = []
    for problem in test:
        text, folded = _text(problem), letters(problem.question)
        if text in by_text:
            found.append(Overlap(by_text[text], problem.id, "text", problem.question))
        elif folded and folded in by_letters:
            found.append(Overlap(by_letters[folded], problem.id, "letters", problem.question))
    return found


def letters(text: str) -> str:
    """Letters and digits of a text, lower case; nothing else counts."""
    return "".join(char for char in text.lower() if char.isalnum())


def _text(problem: Problem) -> str:
    return _SPACES.sub(" ", problem.question).strip()


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    return dict(Counter(value for value in values if value is not None).most_common())


def _lengths(values: Sequence[int]) -> dict[str, float]:
    if not values:
        return {}
    return {
        "mean": round(statistics.fmean(values), 1),
        "median": float(statistics.median(values)),
        "max": float(max(values)),
    }
