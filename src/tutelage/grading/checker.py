"""The checker: is a bare answer equal to the gold answer?

Tiers, cheapest first: length caps, normalised string, exact rational, structures (lists, tuples, intervals,
equations, ratios, text), multiple choice, and expressions (a normal form, prime fields, multi-precision values: see
grading/identities.py). What none of them decides is None, never a guess; a slower tier may take it from there.
Symmetric: `check(a, b)` and `check(b, a)` say the same for bare answers. Total: any two strings give a result.

Where it deviates from the usual design: an exact normal form comes before random points, and a difference is always
proved, so that neither a rounding nor an unlucky point can make a right answer wrong.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeGuard

from tutelage.grading.choices import check_choice, letters_of
from tutelage.grading.comparing import compare, fold
from tutelage.grading.identities import decide
from tutelage.grading.scalars import is_undefined, tree_of
from tutelage.records import AnswerKind, Choices
from tutelage.text.answers import UnreadableGold, rational_of, read_answer, read_gold
from tutelage.text.malformed import is_malformed
from tutelage.text.normalise import MAX_ANSWER, is_readable
from tutelage.text.pasted import bare
from tutelage.text.values import Named, Opaque, Scalar, Value

DecidedBy = Literal[
    "too_long", "string", "rational", "algebra", "modular", "numeric", "structure", "malformed", "text", "choice",
    "undecided",
]  # fmt: skip
RULES_VERSION = "4"
"""Changes whenever a verdict may change."""

_MAYBE_LETTERS = (None, "latex", "text")
_Key = tuple[str, str, AnswerKind | None, float | None, Choices | None]

parse_gold = read_gold

__all__ = ["RULES_VERSION", "Check", "Checker", "DecidedBy", "UnreadableGold", "check", "parse_gold"]


@dataclass(frozen=True, slots=True)
class Check:
    """What the checker says: `equivalent` is None where no tier decides; `decided_by` is the tier."""

    equivalent: bool | None
    decided_by: DecidedBy

    def __bool__(self) -> bool:
        return self.equivalent is True


_TOO_LONG = Check(False, "too_long")
_SAME = Check(True, "string")
_UNDECIDED = Check(None, "undecided")
_EQUAL, _DIFFERENT = Check(True, "rational"), Check(False, "rational")


class Checker:
    """`check` with a memory of its own: the latest verdicts, and through them the golds that were read.

    Safe in threads. The memory is bounded by `cache_size` verdicts; nothing in it depends on time or on a limit, so
    the same pair always has the same verdict.

    Args:
        cache_size: verdicts kept, 0 for none.
    """

    def __init__(self, cache_size: int = 65_536) -> None:
        self.cache_size = cache_size
        self._verdicts: OrderedDict[_Key, Check] = OrderedDict()
        self._lock = threading.Lock()

    def check(
        self,
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
        """
        key = (gold, answer, kind, tolerance, choices)
        with self._lock:
            known = self._verdicts.get(key)
            if known is not None:
                self._verdicts.move_to_end(key)
                return known
        result = _check(gold, answer, kind, tolerance, choices)
        # An over-long answer is not worth its place: it is refused as quickly again.
        if self.cache_size and result is not _TOO_LONG and len(gold) + len(answer) <= 2 * MAX_ANSWER:
            with self._lock:
                self._verdicts[key] = result
                if len(self._verdicts) > self.cache_size:
                    self._verdicts.popitem(last=False)
        return result

    def clear(self) -> None:
        """Forget all verdicts."""
        with self._lock:
            self._verdicts.clear()


SHARED = Checker()
"""The checker of `check`, and of graders that bring none."""


def check(
    gold: str,
    answer: str,
    *,
    kind: AnswerKind | None = None,
    tolerance: float | None = None,
    choices: Choices | None = None,
) -> Check:
    r"""Whether a bare answer equals the gold answer; see `Checker.check`, whose memory all calls share.

    Example:
        >>> check(r"\frac{5}{16}", "0.3125").equivalent
        True
    """
    return SHARED.check(gold, answer, kind=kind, tolerance=tolerance, choices=choices)


def _check(gold: str, answer: str, kind: AnswerKind | None, tolerance: float | None, choices: Choices | None) -> Check:
    if gold == answer and answer.isdecimal() and answer.isascii() and len(answer) <= MAX_ANSWER and kind == "number":
        return _SAME
    gold, answer = bare(gold), bare(answer)
    if not (is_readable(answer) and is_readable(gold)):
        return _TOO_LONG
    if kind == "choice" or choices is not None:
        result = check_choice(gold, answer, choices, is_certain=True)
        return _UNDECIDED if result is None else Check(result, "choice")
    try:
        return _compare(gold, answer, kind, tolerance)
    except RecursionError:
        # The reader's depth is bounded, but a caller deep in its own stack may leave too little of it.
        return _UNDECIDED


def _compare(gold: str, answer: str, kind: AnswerKind | None, tolerance: float | None) -> Check:
    first, second = read_answer(gold), read_answer(answer)
    if not first.text or not second.text:
        return Check(False, "string")
    if first.text == second.text:
        return _SAME
    if tolerance is None and _is_plain(first) and _is_plain(second):
        return _EQUAL if first.value == second.value else _DIFFERENT
    result = _letters(gold, answer) if kind in _MAYBE_LETTERS else None
    if result is not None:
        return Check(result, "choice")
    result = compare(first, second, None if tolerance is None else Fraction(tolerance))
    if result is None and kind == "text":
        return Check(fold(first.text) == fold(second.text), "text")
    return _UNDECIDED if result is None else Check(result, _tier(first, second))


def _is_plain(value: Value) -> TypeGuard[Scalar]:
    """Whether a value is one rational number and nothing else, as most answers are."""
    return type(value) is Scalar and value.value is not None and not value.unit and not value.percent


def _letters(gold: str, answer: str) -> bool | None:
    """The multiple-choice reading where one side is nothing but option letters."""
    if letters_of(gold) is not None:
        return check_choice(gold, answer, None, is_certain=False)
    if letters_of(answer) is not None:
        return check_choice(answer, gold, None, is_certain=False)
    return None


def _is_broken(value: Value) -> bool:
    return is_undefined(value) if isinstance(value, Scalar) else isinstance(value, Opaque) and is_malformed(value.text)


def _tier(first: Value, second: Value) -> DecidedBy:
    first, second = (value.value if isinstance(value, Named) else value for value in (first, second))
    if rational_of(first) is not None and rational_of(second) is not None:
        return "rational"
    if any(_is_broken(value) for value in (first, second)):
        return "malformed"
    if isinstance(first, Scalar) and isinstance(second, Scalar):
        return decide(tree_of(first), tree_of(second))[1]
    return "structure"
