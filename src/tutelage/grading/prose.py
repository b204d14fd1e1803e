r"""Sentences and scraps of text against values: a text is never a number, and a hedge is never an answer.

What it is: the reasons to call a text that is no readable answer wrong (`no idea`, `about 12`, `not 26 but 27`,
`3 cats and 4 dogs`). What it is not: a reader of sentences: a text whose one number is the right one stays undecided.
"""

from __future__ import annotations

import re
from fractions import Fraction

from tutelage.text.numerals import WORDS

Result = bool | None

_WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{3,}")
_SHORT_WORDS = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,} [A-Za-z]{2,}(?![A-Za-z])")
_HEDGE = re.compile(
    r"\b(?:not|never|nor|or|either|neither|maybe|perhaps|possibly|probably|approximately|approx|roughly|almost|nearly|"
    r"circa|wrong|incorrect|false|unknown|unclear|cannot|can't|isn't|aren't|doesn't|unless|except|but|guess|unsure|"
    r"undefined|none|nothing|instead|could|might|may|if|else|otherwise|depends|depending)\b|(?<=[0-9])-?ish\b|[不没非无约]|[大小多少高低]于|至[少多]|超过|"
    "以[上下]|左右|[或和与]者?|接近|之间",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"(?:^|.*\b)(?:about|around|between|within|than|least|most|under|over|above|below|up to|any|no|if|before|after)"
    r"\b[^0-9]*$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?")
_NUMERAL = re.compile(
    r"\b(?:" + "|".join(sorted(WORDS, key=len, reverse=True)) + r"|\w+teen|infinit\w*|once|twice|pi)\b", re.I
)
_REGION_WORDS = re.compile(
    r"\b(?:real|reals|all|any|every|positive|negative|less|greater|more|between|empty|infinit\w*|interval|none|no)\b",
    re.I,
)
_DENIAL = re.compile(
    r"\b(?:no|not|none|never|nothing|neither|nor|empty|null|void|nil|without|cannot|can't|dne)\b|n't\b|"
    r"impossible|undefined|inconsistent|contradict|exist|solution|zero",
    re.I,
)
_CODE = re.compile(r"(?<![A-Za-z\\])(?:lambda|import|print|return|def|eval|exec)(?![A-Za-z])|__[A-Za-z]+__")
"""What only a program has: a program is no answer, whatever it would print."""
_UNFINISHED = re.compile(r"\\(?:i*int|oint|sum|prod|lim|limsup|liminf)(?![A-Za-z])")
"""Operators that ask for a computation: a text with one is a question, not its answer."""


def is_prose(text: str) -> bool:
    """Whether the text has words: one of three letters that is no command, two of two, or a hedge."""
    return any(pattern.search(text) for pattern in (_WORD, _SHORT_WORDS, _HEDGE))


def is_unfinished(text: str) -> bool:
    r"""Whether an integral, sum, product or limit is left standing in the text."""
    return "\\" in text and _UNFINISHED.search(text) is not None


def against_number(text: str, value: Fraction | None) -> Result:
    """Whether a text that is no quantity can be the number.

    Args:
        text: the normalised text.
        value: the number; None for one that is not rational.

    Returns:
        False, or None where the number at its head, or its only number, may be it.
    """
    if not is_prose(text) or "\\" in text:
        return None
    head = _NUMBER.search(text)
    if _HEDGE.search(text) or _CODE.search(text) or _BOUND.match(text[: head.start()] if head else text):
        return False
    if head is None:
        return None if _NUMERAL.search(text) else False
    if value is None or (head.start() == 0 and _fraction(head.group()) == value):
        return None
    return None if {_fraction(match) for match in _NUMBER.findall(text)} == {value} else False


def against_numbers(text: str) -> Result:
    """Whether a text without digits can be a list or tuple of numbers: False, unless it says numbers."""
    return None if _NUMBER.search(text) or _NUMERAL.search(text) else False


def against_nothing(words: str) -> Result:
    """Whether a text can say that there is no solution: not without a word that denies, nor `no` alone."""
    return None if _DENIAL.search(words) and words != "no" else False


def against_structure(text: str) -> Result:
    """Whether a text can be a list, region or matrix of numbers: False, or None where its words may describe one."""
    if not is_prose(text) or "\\" in text or _REGION_WORDS.search(text):
        return None
    return None if _NUMBER.search(text) or _NUMERAL.search(text) else False


def _fraction(text: str) -> Fraction | None:
    top, _, bottom = text.replace(",", "").partition("/")
    return Fraction(top) / int(bottom) if bottom.strip("0") else Fraction(top)
