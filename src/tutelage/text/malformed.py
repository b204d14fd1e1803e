r"""Texts made of the signs of arithmetic that are no number: broken, cut off, or several numbers in a row.

What it is: the few shapes that can be nothing else (`7 8 9`, `(7`, `7 +`, `???`), and what stands near a number
(`\\approx 7.01`, `0.66...`). What it is not: everything that the grammar does not read: a command that it does not
know, or a notation with two readings (`1/2(3)`), is no fault of the text.
"""

from __future__ import annotations

import re
from fractions import Fraction

_SIGNS = re.compile(r"(?:[0-9.,+\-*/^_=!?()\[\]{} ]|\\(?:frac|sqrt|cdot|times|div|pi)(?![A-Za-z]))+")
_NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?%?"
_BETWEEN = r"(?: |[|&#]|\.{2,}|\\\\|\\(?:cup|cap|to|sim|ldots)(?![A-Za-z]) ?)"
_ROW = re.compile(rf"{_NUMBER}(?:{_BETWEEN}{_NUMBER})+|{_NUMBER}(?:(?<=%){_NUMBER})+(?<=%)|%.*|.*%%+")
"""Several numbers between which stands nothing that makes one number of them; a percent sign out of place."""
_CUT_OFF = re.compile(r"(?:[+\-*/^_=]|\\(?:cdot|times|div|frac|sqrt))\Z|\A(?:[*/^_]|\\(?:cdot|times|div)(?![A-Za-z]))")
_NEAR = re.compile(r"(?:[A-Za-z] ?)?(?:\\approx|\\sim(?:eq)?(?![A-Za-z])|~) ?(.+)")
_GOES_ON = re.compile(r"([+-]?)([0-9]*)\.([0-9]+)(?:\.{2,}|\\ldots)")
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"))


def is_malformed(text: str) -> bool:
    """Whether a normalised text consists of the signs of numbers, and can be no number, list or interval.

    Several numbers apart by spaces, bars or dots alone, an operator without its operand, a bracket without its partner,
    a question mark, no digit at all.
    """
    if _ROW.fullmatch(text):
        return True
    if not _SIGNS.fullmatch(text):
        return False
    if "?" in text or not any(char.isdigit() or char == "\\" for char in text):
        return True
    if any(text.count(opening) != text.count(closing) for opening, closing in _PAIRS) and not _is_half_open(text):
        return True
    return bool(_CUT_OFF.search(text))


def read_near(text: str) -> str | tuple[Fraction, Fraction] | None:
    r"""What a text says a number is near to: an expression (`\\approx 7.01`), or bounds (`0.66...`); None for others.

    Bounds are closed: what goes on with nines reaches the upper one.
    """
    match = _NEAR.fullmatch(text)
    if match is not None:
        return match[1]
    match = _GOES_ON.fullmatch(text)
    if match is None:
        return None
    sign, whole, decimals = match.groups()
    low, step = Fraction(int((whole or "0") + decimals), 10 ** len(decimals)), Fraction(1, 10 ** len(decimals))
    return (-low - step, -low) if sign == "-" else (low, low + step)


def _is_half_open(text: str) -> bool:
    """`(1, 2]` and `[1, 2)`."""
    return text[:1] + text[-1:] in ("(]", "[)") and "," in text
