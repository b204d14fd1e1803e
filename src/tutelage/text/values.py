"""What an answer can be once it is read: frozen values, each with the normalised text it came from."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from tutelage.text.expressions import Tree

Brackets = Literal["list", "tuple", "square", "set"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One quantity. `value` is None where it is not rational; `tree` is None for a plain literal.

    With `percent`, the value is the number before the sign. `unit` is a canonical unit, "" for none. `too_large` marks
    a number that was not computed because it has more than about 3,000 digits.
    """

    text: str
    value: Fraction | None
    unit: str = ""
    percent: bool = False
    tree: Tree | None = None
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """Text: lower case, without articles and final stop. `is_short` marks one run of letters such as `ab`."""

    text: str
    words: str
    is_short: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Several values: a comma list or set (unordered), a tuple or square brackets (ordered)."""

    text: str
    brackets: Brackets
    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """`x = 5`, `(r, theta) = (2, pi)`: names, each one symbol, and the value they are given."""

    text: str
    names: tuple[str, ...]
    value: Value


@dataclass(frozen=True, slots=True)
class Equation:
    """Any other equation of two sides."""

    text: str
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Ratio:
    """`a:b`; `clock` is the reading as a time of day (hours, minutes, suffix), if it can be one."""

    text: str
    parts: tuple[Scalar, ...]
    clock: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Based:
    """Digits with a base subscript."""

    text: str
    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Infinite:
    """Plus or minus infinity."""

    text: str
    sign: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One interval; an end is closed or open."""

    low: Scalar | Infinite
    low_closed: bool
    high: Scalar | Infinite
    high_closed: bool


@dataclass(frozen=True, slots=True)
class Region:
    """A union of intervals of one variable; `symbol` is "" in interval notation."""

    text: str
    symbol: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix or column vector, row by row."""

    text: str
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something that is not understood here: only equal texts can be compared."""

    text: str


Value = Scalar | Words | Group | Named | Equation | Ratio | Based | Infinite | Region | Matrix | Opaque
ELLIPSIS = Opaque(r"\ldots")
EMPTY_SET = Group(r"\emptyset", "set", ())
