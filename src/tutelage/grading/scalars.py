"""Whether two quantities are the same: numbers, percents, units, expressions.

What it is: exact on rational numbers, and the tests of grading/identities.py on all others. What it is not: a
conversion of units, or a comparison of structures (grading/comparing.py).
"""

from __future__ import annotations

from fractions import Fraction

from tutelage.grading import numeric, towers
from tutelage.grading.identities import is_equal
from tutelage.grading.prose import against_number
from tutelage.text.atoms import read_expression
from tutelage.text.expressions import Tree, symbols
from tutelage.text.malformed import read_near
from tutelage.text.rationals import divides_by_zero
from tutelage.text.units import letters_of_unit, units_match
from tutelage.text.values import Scalar

Result = bool | None


def compare_scalars(first: Scalar, second: Scalar, tolerance: Fraction | None) -> Result:
    """Whether two quantities are the same, units and percent signs included."""
    if bool(first.unit) != bool(second.unit) and _is_glued(*((first, second) if first.unit else (second, first))):
        return True
    values = _values(first, second, tolerance)
    units = units_match(first.unit, second.unit)
    if values is False or units is False:
        return False
    return None if values is None or units is None else True


def _is_glued(quantity: Scalar, product: Scalar) -> bool:
    """Whether what was read as a product is the quantity with its unit of one letter glued on: `5m` and `5 m`."""
    if product.tree is None or product.value is not None or product.percent or quantity.too_large:
        return False
    name, _, power = quantity.unit.partition("^")
    for letter in letters_of_unit(name):
        unit: Tree = ("pow", ("sym", letter), ("num", Fraction(power or 1)))
        if letter in symbols(product.tree) and is_equal(("mul", tree_of(quantity), unit), product.tree):
            return True
    return False


def _values(first: Scalar, second: Scalar, tolerance: Fraction | None) -> Result:
    if is_undefined(first) != is_undefined(second) and is_number(first) and is_number(second):
        return False
    if first.too_large or second.too_large:
        return _towers(first, second)
    if first.value is None or second.value is None:
        return _trees(first, second, tolerance)
    if is_close(first.value, second.value, tolerance):
        return True
    if first.percent == second.percent:
        return False
    # 45 % equals 45 and 0.45 where only one side has the sign.
    percent, plain = (first.value, second.value) if first.percent else (second.value, first.value)
    return is_close(percent / 100, plain, tolerance)


def _towers(first: Scalar, second: Scalar) -> Result:
    """What is too large to be computed is no number that is not, unless its factors say so."""
    trees = (first.tree or tree_of(first), second.tree or tree_of(second))
    result = towers.is_equal(*trees) if is_number(first) and is_number(second) else None
    if first.percent != second.percent and result is False:
        result = None
    return result if result is not None or (first.too_large and second.too_large) else False


def _trees(first: Scalar, second: Scalar, tolerance: Fraction | None) -> Result:
    if first.percent != second.percent:
        percent, plain = (first, second) if first.percent else (second, first)
        ratio: Tree = ("div", tree_of(percent), ("num", Fraction(100)))
        results = [is_equal(ratio, tree_of(plain))]
        if is_number(first) and is_number(second):
            results.append(is_equal(tree_of(first), tree_of(second)))
        return True if True in results else None if None in results else False
    result = is_equal(tree_of(first), tree_of(second))
    if result is False and tolerance is not None:
        values = numeric.value_of(tree_of(first)), numeric.value_of(tree_of(second))
        return values[0] is not None and values[1] is not None and is_close(values[0], values[1], tolerance)
    return result


def tree_of(value: Scalar) -> Tree:
    """The expression of a scalar; a literal's own number where it has none."""
    return ("num", value.value) if value.tree is None or value.value is not None else value.tree


def is_number(value: Scalar) -> bool:
    """Whether the scalar is certainly one number: rational, or an expression of constants only."""
    return value.value is not None or (value.tree is not None and symbols(value.tree) <= {"pi", "e", "i"})


def is_undefined(value: Scalar) -> bool:
    """Whether the scalar divides by zero."""
    return value.value is None and value.tree is not None and divides_by_zero(value.tree)


def is_symbol(value: Scalar) -> bool:
    """Whether the scalar is nothing but a symbol, which may stand for anything."""
    return value.tree is not None and value.tree[0] == "sym"


def is_close(first: Fraction, second: Fraction, tolerance: Fraction | None) -> bool:
    """Equal, or within the relative tolerance of the larger."""
    if first == second:
        return True
    return tolerance is not None and abs(first - second) <= tolerance * max(abs(first), abs(second))


def against_text(scalar: Scalar, text: str, tolerance: Fraction | None) -> Result:
    r"""Whether a text that is not read can be the number; one that it is not near, `\approx 7.01`, it is not."""
    near = read_near(text)
    if near is None:
        return against_number(text, scalar.value)
    if isinstance(near, str):
        value = read_expression(near)
        return None if value is None or compare_scalars(value, scalar, tolerance) is not False else False
    return None if scalar.value is None or near[0] <= scalar.value <= near[1] else False
