r"""Numbers too large to be computed: products, quotients and powers, compared by their prime factors.

What it is: exact equality of `10^{10^{10}}` and `100^{5\cdot 10^9}`. A number is its sign and its primes, each with an
exponent that is such a number in turn, so a tower of powers of any height has one form only. What it is not: able to
see into sums (`2^{10^6}+1`), whose difference is proved modulo a prime where it can be; such equality is not decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tutelage.grading import modular
from tutelage.text.expressions import NotAnExpression, Tree
from tutelage.text.rationals import rational

_MAX_FACTORED = 10**10
"""Largest integer that is factored, by at most 10^5 trial divisions."""


@dataclass(frozen=True, slots=True)
class Factored:
    """sign * product of prime ** exponent, primes ascending, no exponent zero."""

    sign: int
    powers: tuple[tuple[int, Factored], ...]


ONE = Factored(1, ())


def is_equal(first: Tree, second: Tree) -> bool | None:
    """Whether two numbers, at least one of them too large to be computed, are equal; None where it cannot be told."""
    try:
        return _factored(first) == _factored(second)
    except (NotAnExpression, ZeroDivisionError):
        return False if modular.is_equal(first, second) is False else None


def _factored(tree: Tree) -> Factored:
    """The prime factors of a tree's value.

    Raises:
        NotAnExpression: it is zero, a sum that is too large, no rational number, or its factors are not found.
    """
    kind = tree[0]
    if kind == "neg":
        return _negative(_factored(tree[1]))
    if kind == "mul":
        return _product(_factored(tree[1]), _factored(tree[2]))
    if kind == "div":
        return _product(_factored(tree[1]), _inverse(_factored(tree[2])))
    if kind == "pow":
        return _power(_factored(tree[1]), _factored(tree[2]))
    value = rational(tree)
    if value is None:
        raise NotAnExpression(kind)
    return _product(_of_integer(value.numerator), _inverse(_of_integer(value.denominator)))


def _of_integer(number: int) -> Factored:
    left = abs(number)
    if not 0 < left <= _MAX_FACTORED:
        raise NotAnExpression("not factored")
    powers, divisor = [], 2
    while divisor * divisor <= left:
        exponent = 0
        while left % divisor == 0:
            left //= divisor
            exponent += 1
        if exponent:
            powers.append((divisor, _of_integer(exponent)))
        divisor += 1
    if left > 1:
        powers.append((left, ONE))
    return Factored(1 if number > 0 else -1, tuple(powers))


def _negative(number: Factored) -> Factored:
    return Factored(-number.sign, number.powers)


def _inverse(number: Factored) -> Factored:
    return Factored(number.sign, tuple((prime, _negative(exponent)) for prime, exponent in number.powers))


def _product(first: Factored, second: Factored) -> Factored:
    powers = dict(first.powers)
    for prime, exponent in second.powers:
        total = exponent if prime not in powers else _sum(powers[prime], exponent)
        if total is None:
            powers.pop(prime)
        else:
            powers[prime] = total
    return Factored(first.sign * second.sign, tuple(sorted(powers.items(), key=lambda power: power[0])))


def _sum(first: Factored, second: Factored) -> Factored | None:
    """The sum of two exponents; None for zero."""
    if first == _negative(second):
        return None
    return _of_integer(_integer(first) + _integer(second))


def _power(base: Factored, exponent: Factored) -> Factored:
    if any(inner.sign < 0 for _, inner in exponent.powers):
        raise NotAnExpression("a root")
    is_even = any(prime == 2 for prime, _ in exponent.powers)
    powers = tuple((prime, _product(inner, exponent)) for prime, inner in base.powers)
    return Factored(1 if is_even else base.sign, powers)


def _integer(number: Factored) -> int:
    """The number itself, an integer of moderate size."""
    value = Fraction(number.sign)
    for prime, exponent in number.powers:
        power = _integer(exponent)
        if not 0 < power <= 40:
            raise NotAnExpression("too large")
        value *= prime**power
        if value > _MAX_FACTORED:
            raise NotAnExpression("too large")
    return int(value)
