"""The checker: is a bare answer equal to the gold answer?

Tiers, cheapest first: length caps, normalised string, exact rational, structures (lists, tuples, intervals,
equations, ratios, text), multiple choice, exact algebra. What none of them decides is None, never a guess; a slower
tier may take it from there.
Symmetric: `check(a, b)` and `check(b, a)` say the same for bare answers. Total: any two strings give a result.

Where it deviates from the usual design: what follows the exact tiers is an exact normal form
(grading/algebra.py) instead of random points, so it has no false positives to guard against; what it cannot decide
(functions, nested roots) stays undecided.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from tutelage.grading.choices import check_choice, letters_of
from tutelage.grading.comparing import compare, fold
from tutelage.records import AnswerKind, Choices
from tutelage.text.answers import UnreadableGold, rational_of, read_answer, read_gold
from tutelage.text.normalise import is_readable, normalise
from tutelage.text.values import Scalar, Value

DecidedBy = Literal["too_long", "string", "rational", "algebra", "structure", "text", "choice", "undecided"]
RULES_VERSION = "1"
"""Changes whenever a verdict may change."""

_MAYBE_LETTERS = (None, "latex", "text")

parse_gold = read_gold

__all__ = ["RULES_VERSION", "Check", "DecidedBy", "UnreadableGold", "check", "parse_gold"]


@dataclass(frozen=True, slots=True)
class Check:
    """What the checker says: `equivalent` is None where no tier decides; `decided_by` is the tier."""

    equivalent: bool | None
    decided_by: DecidedBy

    def __bool__(self) -> bool:
        return self.equivalent is True


def check(
    gold: str,
    answer: str,
    *,
    kind: AnswerKind | None = None,
    tolerance: float | None = None,
    choices: Choices | None = None,
) -> Check:
    r"""Whether a bare answer equals the gold answer.

    Args:
        gold: the gold answer.
        answer: the answer, already extracted from its completion.
        kind: what the gold is; None looks at the strings (one of them a letter A to J: multiple choice).
        tolerance: largest relative difference that counts as none, in [0, 1); None asks for exact equality.
        choices: the options of a multiple-choice question.

    Example:
        >>> check(r"\frac{5}{16}", "0.3125").equivalent
        True
    """
    if len(answer) > 400 or len(gold) > 400 or not (is_readable(answer) and is_readable(gold)):
        return Check(False, "too_long")
    return _check(gold, answer, kind, tolerance, choices)


@lru_cache(maxsize=65_536)
def _check(gold: str, answer: str, kind: AnswerKind | None, tolerance: float | None, choices: Choices | None) -> Check:
    if kind == "choice" or choices is not None:
        result = check_choice(gold, answer, choices, is_certain=True)
        return Check(result, "undecided" if result is None else "choice")
    first, second = read_answer(gold), read_answer(answer)
    if not first.text or not second.text:
        return Check(False, "string")
    if first.text == second.text:
        return Check(True, "string")
    result = _letters(gold, answer) if kind in _MAYBE_LETTERS else None
    if result is not None:
        return Check(result, "choice")
    result = compare(first, second, None if tolerance is None else Fraction(tolerance))
    if result is None and kind == "text":
        return _whole_text(first, second)
    return Check(result, "undecided" if result is None else _tier(first, second))


def _letters(gold: str, answer: str) -> bool | None:
    """The multiple-choice reading where one side is nothing but option letters."""
    if letters_of(gold) is not None:
        return check_choice(gold, answer, None, is_certain=False)
    if letters_of(answer) is not None:
        return check_choice(answer, gold, None, is_certain=False)
    return None


def _whole_text(first: Value, second: Value) -> Check:
    """Text against text: the whole string, letters and digits only."""
    return Check(fold(normalise(first.text)) == fold(normalise(second.text)), "text")


def _tier(first: Value, second: Value) -> DecidedBy:
    if rational_of(first) is not None and rational_of(second) is not None:
        return "rational"
    return "algebra" if isinstance(first, Scalar) and isinstance(second, Scalar) else "structure"
