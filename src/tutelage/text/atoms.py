r"""The smallest answers: one number, infinity, a set sign, digits with a base, a word.

What it is: readers of a whole normalised text, each None where the text is something else; nothing recursive.
What it is not: arithmetic (text/expressions.py) or structures (text/answers.py).
"""

from __future__ import annotations

import re
from fractions import Fraction

from tutelage.text.expressions import FUNCTIONS, parse_expression
from tutelage.text.numerals import read_numeral
from tutelage.text.rationals import is_too_large, rational
from tutelage.text.regions import read_interval
from tutelage.text.units import canonical_unit
from tutelage.text.values import ELLIPSIS, EMPTY_SET, Based, Infinite, Region, Scalar, Value, Words

_NUMBER = re.compile(r"([+-]?)([0-9]{1,3}(?:,[0-9]{3})+|[1-9][0-9]{0,2}(?: [0-9]{3})+|[0-9]*)(?:\.([0-9]*))?")
_REPEATING = re.compile(r"([+-]?)([0-9]*)\.([0-9]*)\\(?:overline|bar|dot)\{?([0-9]+)\}?")
_GOES_ON = re.compile(r"([+-]?)([0-9]*)\.([0-9]*?)(?:([0-9])\4\4+|([0-9]{2,6}?)\5+)(?:\.{3,}|\\ldots)")
_SCIENTIFIC = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)[eE]([+-]?[0-9]{1,3})")
_MIXED = re.compile(r"([+-]?)([0-9]+)(?: | and )([0-9]+)/([0-9]+)")
_SIGNED = re.compile(r"(?:minus|negative) ?([0-9\\.(].*)", re.IGNORECASE)
_BASED = re.compile(
    r"\(?(-?[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]+)?)\)?"
    r"(?:_(?:\{\(?(?:base ?)?([0-9]{1,2}|[a-z]{3,8})\)?\}|([0-9]{1,2}))| ?\(?base ([0-9]{1,2})\)?)"
)
_WORDS = re.compile(r"[A-Za-z][A-Za-z' \-&.]*")
_ARTICLE = re.compile(r"\b(?:the|a|an)\b ?")
_LETTERS = re.compile(r"[A-Za-z]{2}")
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
          "eleven": 11, "twelve": 12, "sixteen": 16}  # fmt: skip
_REALS = frozenset((r"\reals", "all real numbers", "all reals", "real numbers", "the real numbers", "any real number"))
_NOTHING = frozenset((
    r"\emptyset", r"\{\}", "{}", "empty set", "the empty set", "no solution", "no solutions", "there is no solution",
    "there are no solutions",
))  # fmt: skip
_MAX_PERIOD = 60


def read_literal(text: str) -> Scalar | None:
    """A number written out: integer, decimal, thousands groups, repeating decimal, 1.5e3, mixed number."""
    match = _NUMBER.fullmatch(text)
    if match is not None:
        sign, whole, decimals = match.groups()
        if not whole and not decimals:
            return None
        digits = whole.replace(",", "").replace(" ", "") + (decimals or "")
        value = Fraction(int(digits), 10 ** len(decimals)) if decimals else Fraction(int(digits))
        return Scalar(text, -value if sign == "-" else value)
    match = _SCIENTIFIC.fullmatch(text)
    if match is not None:
        return Scalar(text, Fraction(match[1]) * Fraction(10) ** int(match[2]))
    match = _MIXED.fullmatch(text)
    if match is not None and int(match[3]) < int(match[4]):
        value = int(match[2]) + Fraction(int(match[3]), int(match[4]))
        return Scalar(text, -value if match[1] == "-" else value)
    match = _REPEATING.fullmatch(text) if "\\" in text else None
    if match is None and text.endswith(("...", "\\ldots")):
        match = _GOES_ON.fullmatch(text)
    if match is not None:
        sign, whole, head, *periods = match.groups()
        period = next(filter(None, periods))
        if len(period) > _MAX_PERIOD:
            return None
        value = Fraction(int((whole or "0") + head + period) - int((whole or "0") + head),
                         10 ** len(head) * (10 ** len(period) - 1))  # fmt: skip
        return Scalar(text, -value if sign == "-" else value)
    return None


def read_special(text: str) -> Value | None:
    """Infinity, the empty set, an ellipsis, all real numbers."""
    if text.lstrip("+-") == r"\infty" and len(text) <= len(r"\infty") + 1:
        return Infinite(text, -1 if text[0] == "-" else 1)
    lower = text.lower()
    if lower in _NOTHING:
        return EMPTY_SET
    if text in (r"\ldots", "..."):
        return ELLIPSIS
    return every_number(text) if lower in _REALS else None


def every_number(text: str) -> Region | None:
    """The region of all real numbers."""
    return read_interval("(", r"-\infty", r"\infty", ")", text, read_end)


def read_based(text: str) -> Based | Scalar | None:
    """Digits with a base subscript; base ten is no base."""
    match = _BASED.fullmatch(text)
    if match is None:
        return None
    name = match[2] or match[3] or match[4]
    base = int(name) if name.isdigit() else _BASES.get(name, 0)
    if not any(char.isdigit() for char in match[1]) and not _are_digits(match[1], base):
        return None  # `a_1` is a symbol
    if base == 10 and match[1].lstrip("-").isdigit():
        return Scalar(text, Fraction(int(match[1])))
    sign, digits = match[1].startswith("-"), match[1].lstrip("-").lstrip("0").upper() or "0"
    return Based(text, "-" * sign + digits, base) if base else None


def _are_digits(letters: str, base: int) -> bool:
    """Whether several letters are a number of a base above ten; small ones only of base sixteen."""
    if len(letters) < 2 or not 10 < base <= 16 or (base != 16 and not letters.isupper()):
        return False
    return max(letters.upper()) <= "ABCDEF"[base - 11]


def read_signed(text: str) -> str | None:
    """`minus 3` as `-3`."""
    match = _SIGNED.fullmatch(text)
    return None if match is None else "-" + match[1]


def read_words(text: str) -> Value | None:
    """A text of letters: a numeral with or without a unit, or words."""
    if not text.isascii():
        return _foreign_words(text)
    if not _WORDS.fullmatch(text) or not _LETTERS.search(text):
        return None
    parts = text.split()
    if parts[0] in FUNCTIONS or parts[0] in ("pi", "sqrt"):
        return None
    numeral = _numeral(parts)
    if numeral is not None:
        value, unit = numeral
        return Scalar(text, value, unit)
    words = _ARTICLE.sub("", text.lower()).strip(" .")
    return Words(text, words or text.lower(), is_short=len(parts) == 1 and len(text) <= 3)


def read_expression(text: str) -> Scalar | None:
    """Arithmetic, with its rational value if it has one."""
    tree = parse_expression(text)
    if tree is None:
        return None
    value = rational(tree)
    return Scalar(text, value, tree=tree, too_large=value is None and is_too_large(tree))


def read_end(text: str) -> Scalar | Infinite | None:
    """An end of an interval: one quantity without unit, or infinity."""
    value = read_literal(text) or read_special(text) or read_expression(text)
    return value if isinstance(value, Scalar | Infinite) else None


def _numeral(parts: list[str]) -> tuple[Fraction, str] | None:
    """The longest numeral at the head and the unit that follows it."""
    for cut in range(min(len(parts), 12), 0, -1):
        value = read_numeral(" ".join(parts[:cut]))
        if value is None:
            continue
        if cut == len(parts):
            return value, ""
        unit = canonical_unit(" ".join(parts[cut:]))
        return None if unit is None else (value * unit[1], unit[0])
    return None


def _foreign_words(text: str) -> Value | None:
    value = read_numeral(text)
    if value is not None:
        return Scalar(text, value)
    return Words(text, text.lower()) if text.replace(" ", "").isalpha() else None
