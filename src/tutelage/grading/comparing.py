"""Whether two read answers are the same: True, False, or None where that cannot be told here.

One function per pair of kinds of value, each symmetric; the table at the end says which. The rules are those of
`tutelage.grading`: units are never converted, lists and sets are unordered, tuples are ordered, a list is not
one of its members, an inequality is an interval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from tutelage.grading.identities import is_equal, is_proportional
from tutelage.grading.matching import is_empty, match_ordered, match_regions, match_unordered
from tutelage.grading.prose import (
    against_nothing,
    against_number,
    against_numbers,
    against_structure,
    is_unfinished,
)
from tutelage.grading.scalars import against_text, compare_scalars, is_number, is_symbol, tree_of
from tutelage.text.expressions import Tree
from tutelage.text.malformed import is_malformed
from tutelage.text.naming import is_function, product_of
from tutelage.text.regions import has_relation
from tutelage.text.values import (
    ELLIPSIS,
    Based,
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

Result = bool | None

_IN_A_ROW = "abcdefghijklmnopqrstuvwxyz"
_CAPITAL = re.compile("[A-J]")
_CAPITALS = re.compile("[A-J]{2,6}")
_INDEX = re.compile(r"_.*|'+")
_FOLD = re.compile(r"[\W_]+")


def fold(words: str) -> str:
    """Letters and digits of a text, one space between words."""
    return _FOLD.sub(" ", words.lower()).strip() or words


def compare(first: Value, second: Value, tolerance: Fraction | None = None) -> Result:
    """Whether two values are the same.

    Args:
        first: a value as `read_answer` gives it; the order of the two does not matter.
        second: the other one.
        tolerance: largest relative difference of two rational numbers that counts as none; None is exact.
    """
    if first.text == second.text and type(first) is type(second):
        return True
    function = _TABLE.get((type(first), type(second)))
    if function is not None:
        return function(first, second, tolerance)
    function = _TABLE.get((type(second), type(first)))
    if function is not None:
        return function(second, first, tolerance)
    return None


def _words(first: Words, second: Words, tolerance: Fraction | None) -> Result:
    if fold(first.words) == fold(second.words):
        # `x^2` is not `X^2`: a short run of letters may be a product of variables.
        return None if first.is_short and second.is_short and first.text.swapcase() == second.text else True
    if first.is_short and second.is_short and sorted(first.text) == sorted(second.text):
        return True if product_of(first.text) and product_of(second.text) else None
    return False


def _words_scalar(words: Words, scalar: Scalar, tolerance: Fraction | None) -> Result:
    if not is_number(scalar):
        # A short run of letters may be a product of the same symbols.
        product = product_of(words.text) if words.is_short and not scalar.unit and not scalar.percent else None
        if product is not None:
            return is_equal(product, tree_of(scalar))
        if _CAPITALS.fullmatch(words.text) and _CAPITAL.fullmatch(scalar.text):
            return False  # `BD` is neither of its letters: options, a segment or a product
        return None if words.is_short or is_symbol(scalar) else False
    return False if words.is_short else against_number(words.text, scalar.value)


def _opaque_scalar(opaque: Opaque, scalar: Scalar, tolerance: Fraction | None) -> Result:
    if is_unfinished(opaque.text) or (has_relation(opaque.text) and is_number(scalar)):
        return False
    if not is_number(scalar):
        return None
    return False if is_malformed(opaque.text) else against_text(scalar, opaque.text, tolerance)


def _opaque(opaque: Opaque, other: Value, tolerance: Fraction | None) -> Result:
    return False if is_unfinished(opaque.text) and not is_unfinished(other.text) else None


def _opaque_structure(opaque: Opaque | Words, other: Value, tolerance: Fraction | None) -> Result:
    return False if is_unfinished(opaque.text) else against_structure(opaque.text)


def _groups(first: Group, second: Group, tolerance: Fraction | None) -> Result:
    kinds = {first.brackets, second.brackets}
    if ELLIPSIS in first.items or ELLIPSIS in second.items:
        return _open_ended(first, second, tolerance)
    if kinds == {"tuple"} or kinds == {"square"}:
        return match_ordered(first.items, second.items, compare, tolerance)
    if kinds <= {"list", "set"}:
        return _unordered(first, second, tolerance)
    if kinds == {"tuple", "list"}:
        return _coordinates(*((first, second) if first.brackets == "tuple" else (second, first)), tolerance)
    if kinds == {"tuple", "square"} and len(first.items) == len(second.items) == 2:
        return False  # open and closed interval, or point and interval
    if kinds == {"tuple", "square"}:
        # `[1, 2, 3]` may be the same vector in other brackets: never equal here, different if the members are.
        return False if match_ordered(first.items, second.items, compare, tolerance) is False else None
    return False


def _coordinates(point: Group, values: Group, tolerance: Fraction | None) -> Result:
    """`x = 1, y = 2` is the point (1, 2) where the names are letters in a row; a list without names is no point."""
    named = {item.names[0]: item.value for item in values.items if isinstance(item, Named) and len(item.names) == 1}
    names = sorted(named)
    if len(named) != len(values.items) or len(named) != len(point.items):
        return False
    if "".join(names) not in _IN_A_ROW:
        return None if match_unordered(point.items, list(named.values()), compare, tolerance) is not False else False
    return match_ordered(point.items, [named[name] for name in names], compare, tolerance)


def _open_ended(first: Group, second: Group, tolerance: Fraction | None) -> Result:
    r"""`1, 2, \ldots` goes on for ever, so it is no list that ends; what other dots stand for is not known."""
    if any(a.items[-1] == ELLIPSIS and ELLIPSIS not in b.items for a, b in ((first, second), (second, first))):
        return False
    return (
        match_ordered(first.items, second.items, compare, tolerance) if len(first.items) == len(second.items) else None
    )


def _unordered(first: Group, second: Group, tolerance: Fraction | None) -> Result:
    result = match_unordered(first.items, second.items, compare, tolerance)
    if result is not True:
        return result
    for named, plain in ((first, second), (second, first)):
        names = {item.names for item in named.items if isinstance(item, Named)}
        has_bare = any(not isinstance(item, Named) for item in plain.items)
        unknowns = {_INDEX.sub("", name) for group in names for name in group}
        if len(unknowns) > 1 and plain.brackets == "set":
            return False  # values of several unknowns are a point
        if len(unknowns) > 1 and has_bare:
            # `x = 1, y = 4` against `4, 1`: only the given order is beyond doubt. `x_1 = 1, x_2 = 4` are roots.
            return True if match_ordered(first.items, second.items, compare, tolerance) else None
    return True


def _group_scalar(group: Group, scalar: Scalar, tolerance: Fraction | None) -> Result:
    return None if group.brackets in ("tuple", "square") and is_symbol(scalar) else False


def _group_words(group: Group, words: Words, tolerance: Fraction | None) -> Result:
    """`Tom and Ann` is not `Tom`; a text that names all members may be the same list in other words."""
    names = [fold(item.words) for item in group.items if isinstance(item, Words)]
    if not group.items:
        return against_nothing(words.words)
    if all(isinstance(item, Scalar) and is_number(item) for item in group.items):
        return against_numbers(words.text)
    if group.brackets != "list" or len(names) < len(group.items) or len(names) < 2:
        return None
    return None if all(name in fold(words.words) for name in names) else False


def _region_group(region: Region, group: Group, tolerance: Fraction | None) -> Result:
    if group.brackets in ("tuple", "square") and len(group.items) == 2:
        low, high = group.items
        if isinstance(low, Scalar | Infinite) and isinstance(high, Scalar | Infinite):
            is_closed = group.brackets == "square"
            other = Region(group.text, "", (Piece(low, is_closed, high, is_closed),))
            return False if is_empty(other) else match_regions(region, other, compare)
    return False if all(isinstance(item, Scalar) for item in group.items) else None


def _regions(first: Region, second: Region, tolerance: Fraction | None) -> Result:
    if first.symbol and second.symbol and first.symbol != second.symbol:
        return False
    return match_regions(first, second, compare)


def _named(first: Named, second: Named, tolerance: Fraction | None) -> Result:
    if first.names == second.names:
        return compare(first.value, second.value, tolerance)
    if is_function(first.names[0]) != is_function(second.names[0]):
        # `y = 2x` and `f(x) = 2x` may say the same.
        return None if compare(first.value, second.value, tolerance) is not False else False
    return bool(_equations(_equation_of(first), _equation_of(second), tolerance))


def _named_group(named: Named, group: Group, tolerance: Fraction | None) -> Result:
    """`(x, y) = (1, 2)` against `x = 1, y = 2`; any other group is a value."""
    items = {item.names[0]: item.value for item in group.items if isinstance(item, Named) and len(item.names) == 1}
    if len(named.names) > 1 and group.brackets == "list" and items and isinstance(named.value, Group):
        if set(items) != set(named.names) or len(group.items) != len(named.names):
            return False
        return match_ordered(named.value.items, [items[name] for name in named.names], compare, tolerance)
    return compare(named.value, group, tolerance)


def _named_other(named: Named, other: Any, tolerance: Fraction | None) -> Result:
    return compare(named.value, other, tolerance)


def _equation_of(named: Named) -> Equation:
    from_name = Scalar(named.names[0], None, tree=("sym", named.names[0].lstrip("\\")))
    return Equation(named.text, from_name if len(named.names) == 1 else Opaque(named.text), named.value)


def _equations(first: Equation, second: Equation, tolerance: Fraction | None) -> Result:
    sides = [first.left, first.right, second.left, second.right]
    trees = [tree_of(side) for side in sides if isinstance(side, Scalar) and not side.unit and not side.percent]
    if len(trees) < 4 or any(isinstance(side, Scalar) and side.too_large for side in sides):
        return None
    return is_proportional((trees[0], trees[1]), (trees[2], trees[3]))


def _equation_named(equation: Equation, named: Named, tolerance: Fraction | None) -> Result:
    return _equations(equation, _equation_of(named), tolerance)


def _ratios(first: Ratio, second: Ratio, tolerance: Fraction | None) -> Result:
    same = _is_same_ratio(first.parts, second.parts) if len(first.parts) == len(second.parts) > 0 else False
    for clock, other in ((first.clock, second.clock), (second.clock, first.clock)):
        if clock and not other and clock[0].split(":")[1].startswith("0"):
            return False  # 7:05 is a time and not the ratio 7:5
    if first.clock and second.clock:
        (time, suffix), (other_time, other_suffix) = first.clock, second.clock
        if time == other_time:
            return not suffix or not other_suffix or suffix == other_suffix
        return None if same is not False else False
    return same


def _is_same_ratio(first: Sequence[Scalar], second: Sequence[Scalar]) -> Result:
    heads = tree_of(first[0]), tree_of(second[0])
    if any(part.value == 0 for part in (*first, *second)):
        return [part.value for part in first] == [part.value for part in second]
    results = [
        is_equal(("mul", tree_of(a), heads[1]), ("mul", tree_of(b), heads[0]))
        for a, b in zip(first[1:], second[1:], strict=True)
    ]
    return False if False in results else None if None in results else True


def _ratio_scalar(ratio: Ratio, scalar: Scalar, tolerance: Fraction | None) -> Result:
    if scalar.value is None or any(part.value is None for part in ratio.parts):
        if not is_number(scalar) or len(ratio.parts) != 2:
            return None
        quotient: Tree = ("div", tree_of(ratio.parts[0]), tree_of(ratio.parts[1]))
        return None if is_equal(quotient, tree_of(scalar)) is not False else False
    if ratio.clock and ratio.clock[0] in (f"{scalar.value}:00", f"0{scalar.value}:00"):
        return None  # two o'clock may be meant by 2
    parts = [part.value or Fraction(0) for part in ratio.parts]
    return None if len(parts) == 2 and parts[0] == scalar.value * parts[1] else False


def _based(first: Based, second: Based, tolerance: Fraction | None) -> Result:
    return first.base == second.base and first.digits == second.digits


def _based_scalar(based: Based, scalar: Scalar, tolerance: Fraction | None) -> Result:
    """`101_2` is not 101; that it is 5 may or may not be the answer to a question about base two."""
    if scalar.value is None:
        return None
    try:
        return None if int(based.digits, based.base) == scalar.value else False
    except ValueError:
        return False


def _based_words(based: Based, words: Words, tolerance: Fraction | None) -> Result:
    return against_numbers(words.text)


def _matrices(first: Matrix, second: Matrix, tolerance: Fraction | None) -> Result:
    if [len(row) for row in first.rows] != [len(row) for row in second.rows]:
        return False
    ours, theirs = ([cell for row in matrix.rows for cell in row] for matrix in (first, second))
    return match_ordered(ours, theirs, compare, tolerance)


def _matrix_group(matrix: Matrix, group: Group, tolerance: Fraction | None) -> Result:
    """A list of rows is the matrix; a tuple with the entries of a single row or column may be meant as it."""
    rows = [item.items for item in group.items if isinstance(item, Group)]
    if len(rows) == len(group.items) > 0 and group.brackets == "square":
        if [len(row) for row in rows] != [len(row) for row in matrix.rows]:
            return False
        return match_ordered(
            [c for row in matrix.rows for c in row], [c for row in rows for c in row], compare, tolerance
        )
    cells = [cell for row in matrix.rows for cell in row]
    if 1 not in (len(matrix.rows), max(map(len, matrix.rows))) or group.brackets in ("set", "list"):
        return False
    return None if match_ordered(cells, group.items, compare, tolerance) is not False else False


def _infinite(first: Infinite, second: Infinite, tolerance: Fraction | None) -> Result:
    return first.sign == second.sign


def _if_number(other: Any, scalar: Scalar, tolerance: Fraction | None) -> Result:
    return None if is_symbol(scalar) else False


def _never(first: Any, second: Any, tolerance: Fraction | None) -> Result:
    return False


_TABLE: dict[tuple[type, type], Callable[[Any, Any, Fraction | None], Result]] = {
    (Scalar, Scalar): compare_scalars,
    (Words, Words): _words,
    (Words, Scalar): _words_scalar,
    (Group, Group): _groups,
    (Group, Scalar): _group_scalar,
    (Group, Words): _group_words,
    (Region, Region): _regions,
    (Region, Group): _region_group,
    (Region, Scalar): _if_number,
    (Opaque, Scalar): _opaque_scalar,
    (Opaque, Group): _opaque_structure,
    (Opaque, Region): _opaque_structure,
    (Opaque, Matrix): _opaque_structure,
    (Opaque, Words): _opaque,
    (Opaque, Opaque): _opaque,
    (Opaque, Ratio): _opaque_structure,
    (Opaque, Infinite): _opaque_structure,
    (Words, Region): _opaque_structure,
    (Words, Matrix): _opaque_structure,
    (Words, Ratio): _opaque_structure,
    (Words, Infinite): _opaque_structure,
    (Named, Named): _named,
    (Equation, Named): _equation_named,
    (Equation, Equation): _equations,
    # An equation counts as its value only if its left side is one symbol, and then it is `Named`.
    (Equation, Scalar): _never,
    (Ratio, Ratio): _ratios,
    (Ratio, Scalar): _ratio_scalar,
    (Ratio, Group): _never,
    (Based, Based): _based,
    (Based, Scalar): _based_scalar,
    (Based, Words): _based_words,
    (Matrix, Matrix): _matrices,
    (Matrix, Scalar): _if_number,
    (Matrix, Group): _matrix_group,
    (Infinite, Infinite): _infinite,
    (Infinite, Scalar): _if_number,
    (Infinite, Group): _never,
}
for _kind in (Scalar, Words, Group, Ratio, Based, Infinite, Region, Matrix, Opaque):
    _TABLE[(Named, _kind)] = _named_other
_TABLE[(Named, Group)] = _named_group
