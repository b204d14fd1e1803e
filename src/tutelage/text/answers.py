r"""Reading an answer: from a string to a value that can be compared.

What it is: `read_answer`, from any string to a value of text/values.py, and `read_gold`, which refuses what cannot
be a gold answer. Pure strings and exact fractions; total on any input; the rules are those of `tutelage.grading`.
What it is not: a comparison (grading/checker.py) or an evaluator of functions.
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from tutelage.records import AnswerKind, Choices
from tutelage.text.atoms import (
    read_based,
    read_end,
    read_expression,
    read_literal,
    read_signed,
    read_special,
    read_words,
)
from tutelage.text.naming import SYMBOL, names_of
from tutelage.text.normalise import MAX_ANSWER, MAX_NESTING, has_balanced_braces, is_readable, nesting, normalise
from tutelage.text.pasted import bare
from tutelage.text.regions import (
    has_relation,
    intersect,
    read_exception,
    read_interval,
    read_relation,
    read_union,
    unite,
)
from tutelage.text.splitting import outer_pair, split_list, split_top
from tutelage.text.units import split_compound, split_unit
from tutelage.text.values import (
    Brackets,
    Equation,
    Group,
    Infinite,
    Matrix,
    Named,
    Opaque,
    Piece,
    Ratio,
    Region,
    Scalar,
    Value,
    Words,
)

_INTEGER = re.compile(r"[+-]?[0-9]+")
_THOUSANDS = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_PERCENT = re.compile(r"(.+?) ?(?:%|(?:percent|pct|per cent)\b)", re.IGNORECASE)
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::[0-9]{2})?(?: ?([ap])\.? ?m\.?)?", re.IGNORECASE)
_RATIO = re.compile(r"([^:]+):([^:]+)(?::([^:]+))?")
_MATRIX = re.compile(
    r"(?P<open>[(\[]?)\\begin\{(?P<name>[pbB]?matrix|array|smallmatrix)\}(?:\{[clr|]*\})?(?P<body>.*)\\end\{(?P=name)\}"
    r"(?P<close>[)\]]?)",
    re.DOTALL,
)
_TIMES = re.compile(r" ?(?:\\cdot|\\times|\*) ?\Z")
_FENCES = frozenset(("", "()", "[]"))
_BUILT = re.compile(r"\\\{ ?((?:\\[A-Za-z]+|[A-Za-z])) ?(?:\\in ?(?:\\reals) ?)?(?:\||:|\\mid) ?(.+)\\\}")
_ANGLED = re.compile(r"(?:sin|cos|tan|sec|csc|cot|cis)(?![A-Za-z])")
_TO = re.compile(r"([0-9]+) (?:to|is to) ([0-9]+)(?: (?:to|is to) ([0-9]+))?")
_PROSE = re.compile(r"(?=.*[A-Za-z]{3})[\w ',.:;!?\-]+")
_PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![A-Za-z])")
_MAX_DEPTH = 12


class UnreadableGold(ValueError):
    """A string that cannot be a gold answer; the message says why."""


@lru_cache(maxsize=32_768)
def read_answer(answer: str) -> Value:
    """The value of an answer; `Opaque` where it is not understood, also for over-long and over-deep ones."""
    if _INTEGER.fullmatch(answer) and len(answer) <= MAX_ANSWER:
        return Scalar(answer, Fraction(int(answer)))
    answer = bare(answer)
    if not is_readable(answer):
        return Opaque(answer)
    return _read(normalise(answer), 0)


def read_gold(answer: str, kind: AnswerKind | None = None, choices: Choices | None = None) -> Value:
    """The value of a gold answer.

    Args:
        answer: the gold answer.
        kind: what the data set says it is; None asks no more than that it can be read.
        choices: the options of a multiple-choice question.

    Raises:
        UnreadableGold: empty, too long or too deep, unbalanced braces, not a number where a number is promised, or
            no label of the options.
    """
    text = normalise(answer) if len(answer) <= MAX_ANSWER else answer
    if not text:
        raise UnreadableGold("it is empty")
    if len(answer) > MAX_ANSWER:
        raise UnreadableGold(f"it has {len(answer)} characters, more than {MAX_ANSWER}")
    if nesting(answer) > MAX_NESTING:
        raise UnreadableGold(f"its brackets are nested more than {MAX_NESTING} deep")
    if not has_balanced_braces(answer):
        raise UnreadableGold("its braces do not match")
    if kind == "choice":
        labels = choices.labels if choices else ()
        if labels and answer.strip().strip("()") not in labels:
            raise UnreadableGold(f"it is none of the labels {', '.join(labels)}")
    value = read_answer(answer)
    if kind == "number" and rational_of(value) is None:
        raise UnreadableGold("it is not a number")
    return value


def infer_kind(answer: str, choices: Choices | None = None) -> AnswerKind:
    """The kind of a gold answer that its data set does not name: choice, number, text or latex."""
    if choices is not None:
        return "choice"
    value = read_answer(answer)
    if rational_of(value) is not None:
        return "number"
    is_prose = isinstance(value, Opaque) and _PROSE.fullmatch(answer.strip()) is not None
    return "text" if isinstance(value, Words) or is_prose else "latex"


def rational_of(value: Value) -> Fraction | None:
    """The rational number that a value is, named or not; None for everything else."""
    if isinstance(value, Named):
        value = value.value
    return value.value if isinstance(value, Scalar) else None


def _read(text: str, depth: int) -> Value:
    if depth > _MAX_DEPTH or not text:
        return Opaque(text)
    value: Value | None = read_literal(text) or read_special(text)
    if value is not None:
        return value
    for reader in (_matrix, _built, _listed, _related, _bracketed, _plus_minus, _ratio, _based, _percent, _quantity):
        value = reader(text, depth)
        if value is not None:
            return value
    return read_words(text) or read_expression(text) or Opaque(text)


def _matrix(text: str, depth: int) -> Value | None:
    match = _MATRIX.fullmatch(text)
    if match is None and r"\begin" in text:
        return _scaled_or_named(text, depth)
    if match is None or match["open"] + match["close"] not in _FENCES:
        return Opaque(text) if r"\begin" in text else None
    rows = [row for row in match["body"].replace("\\cr", "\\\\").split("\\\\") if row.strip()]
    cells = tuple(tuple(_read(cell.strip(), depth + 1) for cell in row.split("&")) for row in rows)
    return Matrix(text, cells) if cells else None


def _scaled_or_named(text: str, depth: int) -> Value | None:
    r"""`\frac12 \begin{pmatrix}...` with its factor in every cell, and `A = \begin{pmatrix}...`."""
    before, start, rest = text.partition(r"\begin")
    name, equals, sign = before.partition("=")
    if equals and names_of(name.strip()):
        return Named(text, names_of(name.strip()), _read(sign.strip() + start + rest, depth + 1))
    factor = _TIMES.sub("", before)
    matrix = _MATRIX.fullmatch(start + rest) if factor == "-" or read_expression(factor) is not None else None
    value = _matrix(matrix.group(), depth + 1) if matrix is not None else None
    if not isinstance(value, Matrix) or not all(isinstance(cell, Scalar) for row in value.rows for cell in row):
        return Opaque(text)
    by = "-1" if factor == "-" else factor
    return Matrix(text, tuple(tuple(_read(f"({by})*({cell.text})", depth + 1) for cell in row) for row in value.rows))


def _listed(text: str, depth: int) -> Value | None:
    if " and " in text and isinstance(numeral := read_words(text), Scalar):
        return numeral  # `seven and a half`
    items, joint = split_compound(text) or split_list(_join_thousands(text))
    if len(items) < 2:
        joined = items[0]
        return _read(joined, depth + 1) if joined != text and joined else None
    values: list[Value] = []
    for item in items:
        value = _read(item, depth + 1)
        # `\pm 1, 3` lists three values.
        values.extend(
            value.items if isinstance(value, Group) and _PLUS_MINUS.search(value.text) and _is_list(value) else (value,)
        )
    regions = [value for value in values if isinstance(value, Region)]
    if joint and len(regions) == len(values) and len({region.symbol for region in regions}) == 1:
        united = unite(text, regions) if joint == "or" else intersect(text, regions)
        return united or Opaque(text)
    return Group(text, "list", tuple(values))


def _join_thousands(text: str) -> str:
    """Commas of thousands groups removed outside brackets; inside brackets a comma separates."""

    def join(match: re.Match[str]) -> str:
        before = text[: match.start()]
        is_inside = sum(before.count(c) for c in "([{") > sum(before.count(c) for c in ")]}")
        return match.group() if is_inside else match.group().replace(",", "")

    return _THOUSANDS.sub(join, text) if "," in text else text


def _join_thousands_beside_spaces(inside: str) -> str:
    """In `(1,000, 2)` the spaced comma separates, so that the other one does not; `(100,200)` is a pair."""
    is_spaced = any(part.startswith(" ") for part in split_top(inside, ",")[1:])
    return _join_thousands(inside) if is_spaced else inside


def _is_list(value: Group) -> bool:
    return value.brackets == "list"


def _built(text: str, depth: int) -> Value | None:
    r"""A set given by a condition, `\{x : x > 3\}`; by an equation, `\{x : x = \pm 3\}`, the set of its values."""
    match = _BUILT.fullmatch(text)
    if match is None:
        return read_exception(text, read_end)
    value = _read(match[2].strip(), depth + 1)
    if isinstance(value, Named) and value.names == (match[1],):
        found = value.value
        return Group(text, "set", found.items if isinstance(found, Group) and _is_list(found) else (found,))
    return value if isinstance(value, Region) and value.symbol == match[1] else Opaque(text)


def _related(text: str, depth: int) -> Value | None:
    if has_relation(text):
        return read_relation(text, read_end) or Opaque(text)
    name, separator, rest = text.partition(r"\in")
    if separator and not rest[:1].isalpha() and SYMBOL.fullmatch(name.strip()):
        value = _interval_of(_read(rest.strip(), depth + 1))
        return replace(value, text=text, symbol=name.strip()) if isinstance(value, Region) else value
    sides = split_top(text, "=")
    if len(sides) == 2 and sides[0] and sides[1]:
        return _equation(text, sides[0].strip(), sides[1].strip(), depth)
    if len(sides) > 2:
        return _chain(text, [side.strip() for side in sides], depth)
    if r"\approx" in text:
        return Opaque(text)
    if r"\cup" in text or " U " in text:
        return read_union(text, read_end) or Opaque(text)
    return None


def _interval_of(value: Value) -> Value:
    r"""`[1, 2]` and `(1, 2)` after `x \in`: the interval; anything else as it is."""
    if not isinstance(value, Group) or value.brackets not in ("tuple", "square") or len(value.items) != 2:
        return value
    (low, high), is_closed = value.items, value.brackets == "square"
    if not isinstance(low, Scalar | Infinite) or not isinstance(high, Scalar | Infinite):
        return value
    return Region(value.text, "", (Piece(low, is_closed, high, is_closed),))


def _chain(text: str, sides: list[str], depth: int) -> Value:
    """`x = 2 + 3 = 5` is `x = 5`, but `x = 7 = 11` is a false equation."""
    values = [_read(side, depth + 1) for side in sides[1:]]
    numbers = [rational_of(value) for value in values]
    if None not in numbers and rational_of(_read(sides[0], depth + 1)) is not None:
        return Equation(text, _read(sides[0], depth + 1), values[-1])  # true or false: a calculation, no answer
    if None in numbers or not names_of(sides[0]):
        return Opaque(text)
    if len(set(numbers)) == 1:
        return Named(text, names_of(sides[0]), values[-1])
    return Equation(text, values[0], values[-1])


def _equation(text: str, left: str, right: str, depth: int) -> Value:
    names = names_of(left)
    if not names and names_of(right):
        left, right, names = right, left, names_of(right)
    if names:
        return Named(text, names, _read(right, depth + 1))
    return Equation(text, _read(left, depth + 1), _read(right, depth + 1))


def _bracketed(text: str, depth: int) -> Value | None:
    pair = outer_pair(text)
    if pair is None:
        return None
    opening, inside, closing = pair
    parts = [part.strip() for part in split_top(_join_thousands_beside_spaces(inside), ",;")]
    if {opening, closing} == {"(", "]"} or {opening, closing} == {"[", ")"} or r"\infty" in inside:
        if len(parts) != 2 or opening == r"\{":
            return Opaque(text)
        return read_interval(opening, parts[0], parts[1], closing, text, read_end) or Opaque(text)
    kinds: dict[str, Brackets] = {"()": "tuple", "[]": "square", r"\{\}": "set"}
    brackets = kinds.get(opening + closing)
    if brackets is None:
        return Opaque(text)
    if brackets != "set" and len(parts) == 1:
        return _read(inside.strip(), depth + 1) if brackets == "tuple" and inside.strip() else None
    values: list[Value] = []
    for part in parts:
        value = _read(part, depth + 1)
        is_branches = brackets == "set" and isinstance(value, Group) and _is_list(value)
        values.extend(value.items if is_branches and isinstance(value, Group) else (value,))
    return Group(text, brackets, tuple(values))


def _plus_minus(text: str, depth: int) -> Value | None:
    signs = _PLUS_MINUS.findall(text)
    if not signs:
        return None
    if len(signs) != 1:
        return Opaque(text)
    branches = [_PLUS_MINUS.sub(sign, text).replace("+ ", "+").replace("- ", "-") for sign in "+-"]
    return Group(text, "list", tuple(_read(branch, depth + 1) for branch in branches))


def _ratio(text: str, depth: int) -> Value | None:
    spoken = _TO.fullmatch(text)
    if ":" not in text and spoken is None:
        return None
    clock = _CLOCK.fullmatch(text)
    match = spoken or _RATIO.fullmatch(text)
    parts = tuple(_read(part.strip(), depth + 1) for part in match.groups() if part) if match else ()
    numbers = tuple(part for part in parts if isinstance(part, Scalar) and not part.percent and not part.unit)
    if clock is not None:
        time = (f"{int(clock[1])}:{clock[2]}", (clock[3] or "").lower())
        return Ratio(text, numbers if len(numbers) == 2 and not clock[3] else (), time)
    if not numbers or len(numbers) != len(parts):
        return Opaque(text)
    return Ratio(text, numbers)


def _based(text: str, depth: int) -> Value | None:
    signed = read_signed(text)
    return read_based(text) if signed is None else _read(signed, depth + 1)


def _percent(text: str, depth: int) -> Value | None:
    match = _PERCENT.fullmatch(text)
    if match is None:
        return None
    value = _read(match[1].strip(), depth + 1)
    if isinstance(value, Scalar) and not value.percent and not value.unit:
        return replace(value, text=text, percent=True)
    if isinstance(value, Named) and isinstance(value.value, Scalar):
        return replace(value, value=replace(value.value, percent=True))
    return Opaque(text)


def _quantity(text: str, depth: int) -> Value | None:
    if "°" in text and _ANGLED.search(text):
        return None  # the degree sign belongs to the angle of `\sin 30°`
    split = split_unit(text)
    if split is None:
        return None
    rest, unit, scale = split
    value = _read(rest, depth + 1)
    if not isinstance(value, Scalar) or value.unit or (scale != 1 and value.value is None):
        return None
    return replace(value, text=text, unit=unit, value=None if value.value is None else value.value * scale)
