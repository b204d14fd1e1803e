"""Numbers written as words: English (`twenty-one`, `three quarters`, `two dozen`) and Chinese (`十二`, `三分之一`).

What it is: a reader of whole phrases; a phrase with any other word in it is no numeral. What it is not: a search for
numbers inside a text.
"""

from __future__ import annotations

import re
from fractions import Fraction

_ONES = {
    word: number
    for number, word in enumerate((
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    ))
}  # fmt: skip
_TENS = {
    word: 10 * number
    for number, word in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2
    )
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
    "ninth": 9, "tenth": 10, "hundredth": 100,
}  # fmt: skip
WORDS = frozenset((*_ONES, *_TENS, *_SCALES, "hundred", "dozen", "half", "quarter", "quarters", "third", "thirds"))
"""Words that make a phrase a number."""

_MAX_WORDS = 12
_CHINESE_DIGITS = {char: i for i, char in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000}
_CHINESE_LARGE = {"万": 10**4, "亿": 10**8}
_CHINESE = re.compile(r"负?[零〇一二两三四五六七八九十百千万亿]{1,16}")
_PERCENT_HEAD = "百分之"
_CHINESE_FRACTION = re.compile(r"([零〇一二两三四五六七八九十百千]{1,8})分之([零〇一二两三四五六七八九十百千]{1,8})")


def read_numeral(phrase: str) -> Fraction | None:
    """The number that the whole phrase says; None where it is anything else."""
    if phrase and "\u4e00" <= phrase[-1] <= "\u9fff":
        return _read_chinese(phrase)
    words = phrase.lower().replace("-", " ").replace(",", " ").split()
    is_negative = bool(words) and words[0] in ("minus", "negative")
    if is_negative:
        words = words[1:]
    if not words or len(words) > _MAX_WORDS or (not WORDS.intersection(words) and words[-1].rstrip("s") not in _PARTS):
        return None
    value = _mixed(words)
    return None if value is None else -value if is_negative else value


def _mixed(words: list[str]) -> Fraction | None:
    """`three`, `three quarters`, `three and a half`."""
    if "and" in words:
        cut = len(words) - 1 - words[::-1].index("and")
        part = _part(words[cut + 1 :])
        if part is not None:
            whole = _whole(words[:cut])
            return None if whole is None or part >= 1 else whole + part
    whole = _whole(words)
    return Fraction(whole) if whole is not None else _part(words)


def _part(words: list[str]) -> Fraction | None:
    if not words:
        return None
    name = words[-1]
    bottom = _PARTS.get(name) or _PARTS.get(name.removesuffix("s"))
    if bottom is None:
        return None
    if words[:-1] in ([], ["a"], ["an"]):
        return Fraction(1, bottom) if (not name.endswith("s") and name in ("half", "quarter")) or words[:-1] else None
    top = _whole(words[:-1])
    return None if top is None else Fraction(top, bottom)


def _whole(words: list[str]) -> int | None:
    total, group, place = 0, -1, 10**15
    for index, word in enumerate(words):
        if word in ("a", "an") and index == 0 and len(words) > 1:
            group = 1
        elif word == "and" and 0 < index < len(words) - 1 and words[index - 1] in ("hundred", "thousand"):
            continue
        elif word in _ONES and (group < 0 or (group % 100 == 0 and group) or _can_follow(words, index)):
            group = max(group, 0) + _ONES[word]
        elif word in _TENS and (group < 0 or (group % 100 == 0 and group)):
            group = max(group, 0) + _TENS[word]
        elif word == "hundred" and 0 < group < 100:
            group *= 100
        elif word == "dozen" and index == len(words) - 1 and not total and abs(group) < 100:
            return 12 * (group if group > 0 else 1)
        elif word in _SCALES and _SCALES[word] < place and 0 < group < 1000:
            place = _SCALES[word]
            total, group = total + group * place, -1
        else:
            return None
    if group < 0 and not total:
        return None
    return total + max(group, 0)


def _can_follow(words: list[str], index: int) -> bool:
    """`twenty one`: a one after a ten."""
    return index > 0 and words[index - 1] in _TENS and 1 <= _ONES[words[index]] <= 9


def _read_chinese(phrase: str) -> Fraction | None:
    if phrase == "一半":
        return Fraction(1, 2)
    if phrase.startswith(_PERCENT_HEAD):
        part = _read_chinese(phrase.removeprefix(_PERCENT_HEAD))
        return None if part is None else part / 100
    match = _CHINESE_FRACTION.fullmatch(phrase)
    if match is not None:
        bottom, top = _chinese(match[1]), _chinese(match[2])
        return Fraction(top, bottom) if bottom and top is not None else None
    if not _CHINESE.fullmatch(phrase):
        return None
    value = _chinese(phrase.lstrip("负"))
    return None if value is None else Fraction(-value if phrase[0] == "负" else value)


def _chinese(text: str) -> int | None:
    if all(char in _CHINESE_DIGITS for char in text):
        return int("".join(str(_CHINESE_DIGITS[char]) for char in text))
    total = section = digit = 0
    for char in text:
        if char in _CHINESE_DIGITS:
            digit = _CHINESE_DIGITS[char]
        elif char in _CHINESE_UNITS:
            section += (digit or 1) * _CHINESE_UNITS[char]
            digit = 0
        else:
            total = (total + section + digit) * _CHINESE_LARGE[char]
            section = digit = 0
    return total + section + digit
