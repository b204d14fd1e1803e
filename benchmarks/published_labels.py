"""Agreement of our verdicts with the labels that published model outputs came with, and what each disagreement is.

What it is: a confusion table, Cohen's kappa, and a class for every row on which the two differ or ours is undecided.
The classes were made by reading all of those rows; `READING` says what a person finds who reads a class. What it is
not: a judge. A row that fits no class is `other`, and has to be read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tutelage.grading import check
from tutelage.grading.choices import choice_of
from tutelage.records import Problem, Verdict
from tutelage.text.answers import rational_of, read_answer

READING = {
    "label marks an equal answer wrong": "ours right",
    "label ignores the sign": "ours right",
    "label is off by a factor of 100": "ours right",
    "label takes the first of the groups of digits that spaces keep apart": "ours right",
    "label rounds to a whole number": "ours right",
    "label takes a number out of an expression": "ours right",
    "label takes a letter that the text does not end on": "ours right",
    "label takes a number in passing from a text that was cut off": "ours right",
    "last answer is empty brackets; label takes a letter from the text": "open",
    "no marked answer; label takes a number from the text": "by rule",
    "no marked answer; label takes the last letter": "by rule",
    "a time of day where the gold is a bare hour": "open",
    "ours cannot read the words after the number": "ours wrong",
    "ours reads `answer is` in a later sentence": "ours wrong",
    "undecided; wrong as the label says": "undecided",
    "other": "unread",
}
"""What a person who reads the rows of a class finds.

`ours right` and `ours wrong` are plain. `by rule`: the text states the right answer, but marks none,
and an unmarked number is no answer for a reward. `open`: readers may differ. `undecided`: ours gives no verdict on an
answer that is wrong; it is left out of learning instead of losing a pair.
"""

_ENDED = re.compile(r"[.!?)\]}$%*`\"'0-9]\s*\Z")
_LAST_LETTER = re.compile(r"\b([A-J])[.):]")
_SPACED = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")
_EMPTY = re.compile(r"answer is:?\s*\[\s*\]")
_TIME = re.compile(r"\d{1,2}:\d{2}")
_LEADING = re.compile(r"\s*\$?(-?\d[\d,]*(?:\.\d+)?)(?=[\s/.:]|\Z)")


@dataclass(frozen=True)
class Labelled:
    """A graded text and what its source says of it."""

    problem: Problem
    text: str
    verdict: Verdict
    label: bool
    prediction: str | None
    model: str

    @property
    def differs(self) -> bool:
        """Whether there is anything to explain."""
        return self.verdict.is_correct != self.label or not self.verdict.is_usable


def agreement(rows: Sequence[Labelled]) -> dict[str, Any]:
    """How far verdicts and labels agree.

    Returns:
        `confusion` (outcome -> how many labelled right, wrong), `agree` and `decided` (rows), `kappa` over the decided
        rows, `disagreements` (class -> rows), and `readings` (what a reader finds -> rows).
    """
    confusion: dict[str, list[int]] = {}
    for row in rows:
        counts = confusion.setdefault(row.verdict.outcome, [0, 0])
        counts[0 if row.label else 1] += 1
    decided = [(row.verdict.is_correct, row.label) for row in rows if row.verdict.is_usable]
    classes = Counter(explain(row) for row in rows if row.differs)
    return {
        "confusion": {outcome: {"right": right, "wrong": wrong} for outcome, (right, wrong) in confusion.items()},
        "agree": sum(ours == label for ours, label in decided),
        "decided": len(decided),
        "kappa": round(kappa(decided), 4),
        "disagreements": dict(classes.most_common()),
        "readings": dict(Counter(READING[name] for name in classes.elements())),
    }


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Cohen's kappa of two yes-no judgements of the same rows; 1.0 where they always agree.

    Source: Cohen 1960.
    """
    n = len(pairs)
    observed = sum(a == b for a, b in pairs) / n
    first, second = sum(a for a, _ in pairs) / n, sum(b for _, b in pairs) / n
    chance = first * second + (1 - first) * (1 - second)
    return 1.0 if observed == 1 else (observed - chance) / (1 - chance)


def explain(row: Labelled) -> str:
    """The class of a row that `differs`, a key of `READING`."""
    if row.verdict.is_correct:
        is_equal = row.prediction is not None and check(row.problem.answer, row.prediction).equivalent
        if is_equal:
            return "label marks an equal answer wrong"
        groups = _SPACED.split(row.verdict.answer or "")
        is_first = len(groups) > 1 and row.prediction == groups[0]
        return "label takes the first of the groups of digits that spaces keep apart" if is_first else "other"
    if not row.label:
        return "undecided; wrong as the label says"
    return _choice(row) if row.problem.choices is not None else _number(row)


def _choice(row: Labelled) -> str:
    answer = row.verdict.answer
    if answer is None and _EMPTY.search(row.text):
        return "last answer is empty brackets; label takes a letter from the text"
    if answer is None:
        letters = _LAST_LETTER.findall(row.text[-200:])
        is_gold = bool(letters) and letters[-1] == row.problem.answer
        takes = "no marked answer; label takes the last letter"
        return takes if is_gold else "label takes a letter that the text does not end on"
    if choice_of(answer, row.problem.choices) is not None:
        return "other"
    return "ours reads `answer is` in a later sentence"


def _number(row: Labelled) -> str:
    gold, ours = _rational(row.problem.answer), _rational(row.verdict.answer)
    if gold is None:
        return "other"
    if row.verdict.answer is None:
        if not _ENDED.search(row.text):
            return "label takes a number in passing from a text that was cut off"
        return "no marked answer; label takes a number from the text"
    theirs = _rational(row.prediction)
    if theirs is None:
        return "label takes a number out of an expression"
    if theirs == -gold:
        return "label ignores the sign"
    if theirs != gold:
        return "label is off by a factor of 100" if theirs in (gold / 100, gold * 100) else "other"
    if ours is not None:
        return "label rounds to a whole number" if abs(ours - gold) < 1 else "other"
    if _TIME.match(row.verdict.answer):
        return "a time of day where the gold is a bare hour"
    leading = _LEADING.match(row.verdict.answer)
    return "ours cannot read the words after the number" if leading and _rational(leading[1]) == gold else "other"


def _rational(text: str | None) -> Fraction | None:
    return None if text is None else rational_of(read_answer(text.strip()))
