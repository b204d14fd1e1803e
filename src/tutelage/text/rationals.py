"""The exact rational value of an expression tree that has one. Sizes are capped, so a tower of powers costs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from tutelage.text.expressions import NotAnExpression, Tree

MAX_BITS = 10_000
"""Largest numerator or denominator that is ever computed, about 3,000 digits."""

_MAX_LOGARITHM = 256


class TooLarge(NotAnExpression):
    """A value goes beyond `MAX_BITS`."""


def rational(tree: Tree) -> Fraction | None:
    """The exact value of a tree without symbols, or None (not rational, not defined, or too large)."""
    try:
        return _value(tree)
    except (NotAnExpression, ZeroDivisionError):
        return None


def is_too_large(tree: Tree) -> bool:
    """Whether the tree has a numeric value that goes beyond `MAX_BITS` on the way."""
    try:
        _value(tree)
    except TooLarge:
        return True
    except (NotAnExpression, ZeroDivisionError):
        return False
    return False


def divides_by_zero(tree: Tree) -> bool:
    """Whether a division by the number 0 stands anywhere in the tree."""
    if tree[0] == "div" and rational(tree[2]) == 0:
        return True
    return any(divides_by_zero(part) for part in tree[1:] if isinstance(part, tuple))


def _value(tree: Tree) -> Fraction:
    kind = tree[0]
    if kind == "num":
        value: Fraction = tree[1]
    elif kind == "neg":
        value = -_value(tree[1])
    elif kind in ("add", "mul", "div"):
        left, right = _value(tree[1]), _value(tree[2])
        value = left + right if kind == "add" else left * right if kind == "mul" else left / right
    elif kind == "pow":
        value = power(_value(tree[1]), _value(tree[2]))
    elif kind == "fact":
        value = _factorial(_value(tree[1]))
    elif kind == "call" and tree[1] == "root":
        value = _root(_value(tree[2]), _value(tree[3]))
    elif kind == "call" and tree[1] in _EXACT:
        value = _EXACT[tree[1]](*map(_value, tree[2:]))
    else:
        raise NotAnExpression(kind)
    return _capped(value)


def _capped(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise TooLarge("too large")
    return value


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """`base ** exponent` where that is rational and at most `MAX_BITS` long.

    Raises:
        NotAnExpression: it is not, or it is 0 to the power 0.
        ZeroDivisionError: 0 to a negative power.
    """
    if exponent.denominator != 1:
        if exponent.denominator > 64:
            raise NotAnExpression("root")
        base = _root(base, Fraction(exponent.denominator))
        exponent = Fraction(exponent.numerator)
    if base == 0 and exponent == 0:
        raise NotAnExpression("0^0")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if base not in (0, 1, -1) and (bits - 1) * abs(exponent) > MAX_BITS:
        raise TooLarge("too large")
    if base in (0, 1, -1) and exponent > 1:
        exponent = exponent % 2 + 2
    return base ** int(exponent)


def integer_root(value: int, index: int) -> int:
    """The largest integer whose `index`-th power is at most `value` (`value` >= 0, `index` >= 1)."""
    if index == 2 or value < 2:
        return math.isqrt(value) if index == 2 else value
    # Newton's steps from above, where they only fall.
    guess = 1 << -(-value.bit_length() // index)
    while True:
        better = ((index - 1) * guess + value // guess ** (index - 1)) // index
        if better >= guess:
            return guess
        guess = better


def _root(value: Fraction, index: Fraction) -> Fraction:
    if index.denominator != 1 or not 2 <= index <= 64:
        raise NotAnExpression("root index")
    degree = int(index)
    if degree > 2 and max(value.numerator.bit_length(), value.denominator.bit_length()) > 2000:
        raise TooLarge("too large")
    is_negative = value < 0
    if is_negative and degree % 2 == 0:
        raise NotAnExpression("even root of a negative number")
    top, bottom = integer_root(abs(value.numerator), degree), integer_root(value.denominator, degree)
    if top**degree != abs(value.numerator) or bottom**degree != value.denominator:
        raise NotAnExpression("irrational")
    return Fraction(-top if is_negative else top, bottom)


def _factorial(value: Fraction) -> Fraction:
    if value.denominator == 1 and value > 1000:
        raise TooLarge("too large")
    if value.denominator != 1 or value < 0:
        raise NotAnExpression("factorial")
    return Fraction(math.factorial(int(value)))


def _binomial(top: Fraction, bottom: Fraction) -> Fraction:
    if top.denominator != 1 or bottom.denominator != 1 or not 0 <= bottom <= top <= 5000:
        raise NotAnExpression("binomial")
    return Fraction(math.comb(int(top), int(bottom)))


def _whole(values: tuple[Fraction, ...]) -> list[int]:
    if any(value.denominator != 1 for value in values):
        raise NotAnExpression("not whole numbers")
    return [int(value) for value in values]


def _logarithm(value: Fraction, base: Fraction) -> Fraction:
    """The whole exponent of the base that gives the value; any other logarithm is not rational, or not seen here."""
    if base <= 0 or base == 1 or value <= 0:
        raise NotAnExpression("logarithm")
    if base < 1:
        value, base = 1 / value, 1 / base
    is_inverse = value < 1
    value = 1 / value if is_inverse else value
    reached, exponent = Fraction(1), 0
    while reached < value and exponent < _MAX_LOGARITHM:
        reached, exponent = reached * base, exponent + 1
    if reached != value:
        raise NotAnExpression("logarithm")
    return Fraction(-exponent if is_inverse else exponent)


_EXACT: dict[str, Callable[..., Fraction]] = {
    "binom": _binomial,
    "abs": abs,
    "floor": lambda value: Fraction(math.floor(value)),
    "ceil": lambda value: Fraction(math.ceil(value)),
    "gcd": lambda *values: Fraction(math.gcd(*_whole(values))),
    "lcm": lambda *values: Fraction(math.lcm(*_whole(values))),
    "max": max,
    "min": min,
    "logb": _logarithm,
}
