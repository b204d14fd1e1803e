r"""Intervals, unions of them and inequalities of one variable, all read as regions.

`(1,6]`, `1 < x \le 6`, `x \ne 5`, `(-\infty,-3] \cup [3,\infty)`. An inequality and an interval are the same thing,
both ways (rule 9 of `tutelage.grading`). The reader of an end comes in as an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tutelage.text.splitting import outer_pair
from tutelage.text.values import Infinite, Piece, Region, Scalar

EndReader = Callable[[str], "Scalar | Infinite | None"]

_RELATION = re.compile(r"\\(?:le|ge|ne)(?![A-Za-z])|[<>]")
_SYMBOL = re.compile(r"(?:\\(?!infty|pi|frac|sqrt)[A-Za-z]+|[A-Za-z])(?:_(?:\{[A-Za-z0-9]{1,8}\}|[A-Za-z0-9]))?")
_UNION = re.compile(r"\\cup(?![A-Za-z])| U ")
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": r"\ne"}
_MINUS_INFINITY = Infinite(r"-\infty", -1)
_INFINITY = Infinite(r"\infty", 1)


def has_relation(text: str) -> bool:
    """Whether the text has an inequality sign."""
    return bool(_RELATION.search(text))


def read_relation(text: str, read_end: EndReader) -> Region | None:
    """The region of an inequality of one symbol; None where it is anything else (`-x > 3`, `x < y`, `a < b`)."""
    parts = [part.strip() for part in _RELATION.split(text)]
    signs = _RELATION.findall(text)
    if len(parts) == 2:
        left, right = parts
        sign = signs[0]
        if not _SYMBOL.fullmatch(left):
            left, right, sign = right, left, _FLIPPED[sign]
        end = read_end(right)
        if not _SYMBOL.fullmatch(left) or end is None or _SYMBOL.fullmatch(right):
            return None
        return Region(text, left, _ray(sign, end))
    if len(parts) != 3 or not _SYMBOL.fullmatch(parts[1]):
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
