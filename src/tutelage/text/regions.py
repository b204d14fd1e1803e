r"""Intervals, unions of them and inequalities of one variable, all read as regions.

`(1,6]`, `1 < x \le 6`, `x \ne 5`, `(-\infty,-3] \cup [3,\infty)`. An inequality and an interval are the same thing,
both ways (rule 9 of `tutelage.grading`). The reader of an end comes in as an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from tutelage.text.expressions import parse_expression
from tutelage.text.linear import FLIPPED, Bound, solve
from tutelage.text.splitting import outer_pair
from tutelage.text.values import Infinite, Piece, Region, Scalar

EndReader = Callable[[str], "Scalar | Infinite | None"]

_RELATION = re.compile(r"\\(?:le|ge|ne)(?![A-Za-z])|[<>]")
_SYMBOL = re.compile(r"(?:\\(?!infty|pi|frac|sqrt)[A-Za-z]+|[A-Za-z])(?:_(?:\{[A-Za-z0-9]{1,8}\}|[A-Za-z0-9]))?")
_UNION = re.compile(r"\\cup(?![A-Za-z])| ?U ?(?=[(\[])")
_EXCEPT = re.compile(r"\\reals ?(?:\\setminus|\\backslash|-|\\) ?\\\{(.*)\\\}")
_MINUS_INFINITY = Infinite(r"-\infty", -1)
_INFINITY = Infinite(r"\infty", 1)
_NOTHING = Piece(_INFINITY, False, _MINUS_INFINITY, False)


def has_relation(text: str) -> bool:
    """Whether the text has an inequality sign."""
    return bool(_RELATION.search(text))


def read_relation(text: str, read_end: EndReader) -> Region | None:
    """The region of an inequality of one symbol; None where it is anything else (`x < y`, `x^2 < 4`)."""
    parts = [part.strip() for part in _RELATION.split(text)]
    signs = _RELATION.findall(text)
    if len(parts) == 2:
        left, right = parts
        sign = signs[0]
        if not _SYMBOL.fullmatch(left):
            left, right, sign = right, left, FLIPPED[sign]
        end = read_end(right)
        if not _SYMBOL.fullmatch(left) or end is None or _SYMBOL.fullmatch(right):
            return _solved(text, parts[0], signs[0], parts[1])
        return Region(text, left, _ray(sign, end))
    if len(parts) == 3 and not _SYMBOL.fullmatch(parts[1]):
        halves = (_solved(text, parts[0], signs[0], parts[1]), _solved(text, parts[1], signs[1], parts[2]))
        known = [half for half in halves if half is not None]
        return intersect(text, known) if len(known) == 2 else None
    if len(parts) != 3:
        return None
    low, high = read_end(parts[0]), read_end(parts[2])
    if low is None or high is None or {signs[0][-1], signs[1][-1]} not in ({"<"}, {">"}, {"e"}, {"<", "e"}, {">", "e"}):
        return None
    return _between(text, parts[1], low, signs, high)


def read_interval(opening: str, low: str, high: str, closing: str, text: str, read_end: EndReader) -> Region | None:
    """The region of one interval given by its brackets and ends."""
    first, second = read_end(low), read_end(high)
    if first is None or second is None:
        return None
    return Region(text, "", (Piece(first, opening == "[", second, closing == "]"),))


def read_union(text: str, read_end: EndReader) -> Region | None:
    r"""The region of intervals and points (`\{5\}`) joined by union signs."""
    pieces: list[Piece] = []
    for part in _UNION.split(text):
        pair = outer_pair(part.strip())
        if pair is None:
            return None
        opening, inside, closing = pair
        ends = [end.strip() for end in inside.split(",")]
        if opening == r"\{":
            points = [read_end(end) for end in ends]
            pieces.extend(Piece(point, True, point, True) for point in points if point is not None)
            if any(point is None for point in points):
                return None
            continue
        region = read_interval(opening, ends[0], ends[-1], closing, part, read_end) if len(ends) == 2 else None
        if region is None:
            return None
        pieces.extend(region.pieces)
    return Region(text, "", tuple(pieces))


def unite(text: str, regions: Sequence[Region]) -> Region:
    """The union of regions of the same symbol."""
    return Region(text, regions[0].symbol, tuple(piece for region in regions for piece in region.pieces))


def _ray(sign: str, end: Scalar | Infinite) -> tuple[Piece, ...]:
    below = Piece(_MINUS_INFINITY, False, end, sign == r"\le")
    above = Piece(end, sign == r"\ge", _INFINITY, False)
    if sign == r"\ne":
        return (below, above)
    return (below,) if sign in ("<", r"\le") else (above,)


def _between(
    text: str, symbol: str, low: Scalar | Infinite, signs: Sequence[str], high: Scalar | Infinite
) -> Region | None:
    if all(sign in ("<", r"\le") for sign in signs):
        return Region(text, symbol, (Piece(low, signs[0] == r"\le", high, signs[1] == r"\le"),))
    if all(sign in (">", r"\ge") for sign in signs):
        return Region(text, symbol, (Piece(high, signs[1] == r"\ge", low, signs[0] == r"\ge"),))
    return None


def intersect(text: str, regions: Sequence[Region]) -> Region | None:
    """What regions of one symbol with rational ends have in common; None for other ends, or nothing in common."""
    pieces = list(regions[0].pieces)
    for region in regions[1:]:
        met = [_meet(first, second) for first in pieces for second in region.pieces]
        pieces = [piece for piece in met if piece is not None and piece != _NOTHING]
        if None in met or not pieces:
            return None
    return Region(text, regions[0].symbol, tuple(pieces))


def read_exception(text: str, read_end: EndReader) -> Region | None:
    r"""`\reals \setminus \{3\}`: all numbers but some rational ones."""
    match = _EXCEPT.fullmatch(text)
    if match is None:
        return None
    points = [read_end(point.strip()) for point in match[1].split(",")]
    rationals = [p for p in points if isinstance(p, Scalar) and p.value is not None]
    if len(rationals) < len(points):
        return None
    ends: list[Scalar | Infinite] = [*sorted(rationals, key=lambda point: point.value or 0), _INFINITY]
    starts: list[Scalar | Infinite] = [_MINUS_INFINITY, *ends]
    return Region(text, "", tuple(Piece(low, False, high, False) for low, high in zip(starts, ends, strict=False)))


def _solved(text: str, left: str, sign: str, right: str) -> Region | None:
    """The region of an inequality that can be solved for its symbol."""
    trees = parse_expression(left), parse_expression(right)
    if trees[0] is None or trees[1] is None:
        return None
    solved = solve(trees[0], sign, trees[1])
    if solved is None:
        return None
    bounds, is_union = solved
    regions = [Region(text, bound.symbol, _ray(bound.sign, _scalar(bound))) for bound in bounds]
    if len(regions) == 1:
        return regions[0]
    return unite(text, regions) if is_union else intersect(text, regions)


def _scalar(bound: Bound) -> Scalar:
    return Scalar(str(bound.value), bound.value)


def _order(first: Scalar | Infinite, second: Scalar | Infinite) -> int | None:
    """-1, 0 or 1; None where an end is not rational."""
    keys: list[tuple[int, Fraction]] = []
    for end in (first, second):
        value = Fraction(0) if isinstance(end, Infinite) else end.value
        if value is None:
            return None
        keys.append((end.sign if isinstance(end, Infinite) else 0, value))
    return -1 if keys[0] < keys[1] else 1 if keys[0] > keys[1] else 0


def _meet(first: Piece, second: Piece) -> Piece | None:
    """What two intervals have in common, `_NOTHING` if that is empty; None where an end is not rational."""
    low, low_closed = _inner(first.low, first.low_closed, second.low, second.low_closed, side=1)
    high, high_closed = _inner(first.high, first.high_closed, second.high, second.high_closed, side=-1)
    order = None if low is None or high is None else _order(low, high)
    if low is None or high is None or order is None:
        return None
    is_empty = order == 1 or (order == 0 and not (low_closed and high_closed))
    return _NOTHING if is_empty else Piece(low, low_closed, high, high_closed)


def _inner(
    first: Scalar | Infinite, is_closed: bool, second: Scalar | Infinite, is_other_closed: bool, *, side: int
) -> tuple[Scalar | Infinite | None, bool]:
    order = _order(first, second)
    if order is None:
        return None, False
    if order == 0:
        return first, is_closed and is_other_closed
    return (first, is_closed) if order == side else (second, is_other_closed)
