r"""Exact equality of algebraic expressions: rational functions over Q, square roots of integers, i and free symbols.

What it is: a normal form in the ring Q(i, sqrt 2, sqrt 3, ...)[symbols], in which a difference is zero only if it is
written zero; quotients are compared by cross multiplication. Symbols, pi and e stay free, which is exact for symbols
and for either of pi and e alone (both are transcendental). `i` is the imaginary unit. What it is not: a simplifier or
a numeric test. Functions, other roots and symbolic powers are atoms: they can be seen to be equal, never to differ.
Sizes are capped: what would grow too large is not decided.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from tutelage.text.expressions import NotAnExpression, Tree
from tutelage.text.rationals import power, rational

Atoms = tuple[tuple[str, int], ...]
Monomial = tuple[int, int, Atoms]
"""(square-free radicand, power of i: 0 or 1, atoms with their powers)."""
Polynomial = dict[Monomial, Fraction]
Quotient = tuple[Polynomial, Polynomial]

MAX_TERMS = 200
_MAX_RADICAND = 10**12
_MAX_POWER = 1_000
_ONE: Monomial = (1, 0, ())
_OPAQUE = "?"


class TooComplex(ValueError):
    """The expression leaves what this module computes with."""


def is_equal(first: Tree, second: Tree) -> bool | None:
    """Whether two expressions are equal as formal expressions; None where that is not decided."""
    try:
        (top, bottom), (other_top, other_bottom) = _quotient(first), _quotient(second)
        difference = _add(_multiply(top, other_bottom), _multiply(other_top, bottom), sign=-1)
    except (TooComplex, NotAnExpression, ZeroDivisionError):
        return None
    return True if not difference else _differs(difference)


def is_proportional(first: tuple[Tree, Tree], second: tuple[Tree, Tree]) -> bool | None:
    """Whether two equations (left, right) are the same up to a non-zero constant factor; None where not decided."""
    try:
        (top, bottom), (other_top, other_bottom) = (_quotient(("add", a, ("neg", b))) for a, b in (first, second))
        if not top or not other_top:
            return _differs(top | other_top) if top or other_top else True  # `0 = 0` against an equation
        # c * top / bottom = other_top / other_bottom, with c from the first terms of the cross products.
        left, right = _multiply(top, other_bottom), _multiply(other_top, bottom)
        lead = max(left)
        if lead not in right:
            return _differs(left | right)
        factor = right[lead] / left[lead]
        difference = _add({key: value * factor for key, value in left.items()}, right, sign=-1)
    except (TooComplex, NotAnExpression, ZeroDivisionError):
        return None
    return True if not difference else _differs(difference | left)


def _differs(difference: Polynomial) -> bool | None:
    names = {name for _, _, atoms in difference for name, _ in atoms}
    is_undecided = any(name[0] == _OPAQUE for name in names) or {"pi", "e"} <= names
    return None if is_undecided else False


@lru_cache(maxsize=4096)
def _quotient(tree: Tree) -> Quotient:
    kind = tree[0]
    if kind == "num":
        return _constant(tree[1]), {_ONE: Fraction(1)}
    if kind == "sym":
        monomial: Monomial = (1, 1, ()) if tree[1] == "i" else (1, 0, ((tree[1], 1),))
        return {monomial: Fraction(1)}, {_ONE: Fraction(1)}
    if kind == "neg":
        top, bottom = _quotient(tree[1])
        return {key: -value for key, value in top.items()}, bottom
    if kind == "add":
        return _sum(_quotient(tree[1]), _quotient(tree[2]))
    if kind in ("mul", "div"):
        (top, bottom), (other_top, other_bottom) = _quotient(tree[1]), _quotient(tree[2])
        if kind == "div":
            if not other_top:
                raise ZeroDivisionError
            other_top, other_bottom = other_bottom, other_top
        return _reduced(_multiply(top, other_top), _multiply(bottom, other_bottom))
    if kind == "pow":
        return _power(tree)
    return _call(tree)


def _constant(value: Fraction) -> Polynomial:
    return {_ONE: value} if value else {}


def _sum(first: Quotient, second: Quotient) -> Quotient:
    (top, bottom), (other_top, other_bottom) = first, second
    if bottom == other_bottom:
        return _reduced(_add(top, other_top), bottom)
    return _reduced(_add(_multiply(top, other_bottom), _multiply(other_top, bottom)), _multiply(bottom, other_bottom))


def _reduced(top: Polynomial, bottom: Polynomial) -> Quotient:
    """Division by a constant is carried out; anything else stays a quotient."""
    if len(bottom) == 1 and _ONE in bottom:
        divisor = bottom[_ONE]
        return {key: value / divisor for key, value in top.items()}, {_ONE: Fraction(1)}
    return top, bottom


def _add(first: Polynomial, second: Polynomial, *, sign: int = 1) -> Polynomial:
    result = dict(first)
    for key, value in second.items():
        total = result.get(key, Fraction(0)) + sign * value
        if total:
            result[key] = total
        else:
            result.pop(key, None)
    if len(result) > MAX_TERMS:
        raise TooComplex
    return result


def _multiply(first: Polynomial, second: Polynomial) -> Polynomial:
    if len(first) * len(second) > MAX_TERMS * 20:
        raise TooComplex
    result: Polynomial = {}
    for key, value in first.items():
        for other, factor in second.items():
            monomial, coefficient = _product(key, other)
            total = result.get(monomial, Fraction(0)) + value * factor * coefficient
            if total.numerator.bit_length() > 4000:
                raise TooComplex
            result[monomial] = total
    result = {key: value for key, value in result.items() if value}
    if len(result) > MAX_TERMS:
        raise TooComplex
    return result


def _product(first: Monomial, second: Monomial) -> tuple[Monomial, int]:
    shared = math.gcd(first[0], second[0])
    coefficient = shared
    turns = first[1] + second[1]
    if turns == 2:
        coefficient, turns = -coefficient, 0
    if not first[2] or not second[2]:
        atoms = first[2] or second[2]
    else:
        powers = dict(first[2])
        for name, exponent in second[2]:
            powers[name] = powers.get(name, 0) + exponent
        atoms = tuple(sorted((name, exponent) for name, exponent in powers.items() if exponent))
    return (first[0] * second[0] // (shared * shared), turns, atoms), coefficient


def _power(tree: Tree) -> Quotient:
    exponent = rational(tree[2])
    if exponent is None:
        return _opaque(tree)
    if exponent == Fraction(1, 2):
        return _root(tree[1], tree)
    if exponent.denominator != 1:
        value = rational(tree)
        return (_constant(value), _constant(Fraction(1))) if value is not None else _opaque(tree)
    top, bottom = _quotient(tree[1])
    if exponent < 0:
        if not top:
            raise ZeroDivisionError
        top, bottom = bottom, top
    count = abs(int(exponent))
    if count > _MAX_POWER or (not top and not count):
        raise TooComplex
    return _reduced(_repeat(top, count), _repeat(bottom, count))


def _repeat(base: Polynomial, count: int) -> Polynomial:
    if len(base) == 1 and next(iter(base))[:2] == (1, 0):
        (_, _, atoms), value = next(iter(base.items()))
        raised = tuple((name, exponent * count) for name, exponent in atoms) if count else ()
        return {(1, 0, raised): power(value, Fraction(count))}
    result: Polynomial = {_ONE: Fraction(1)}
    while count:
        if count & 1:
            result = _multiply(result, base)
        count >>= 1
        if count:
            base = _multiply(base, base)
    return result


def _call(tree: Tree) -> Quotient:
    value = rational(tree)
    if value is not None:
        return _constant(value), {_ONE: Fraction(1)}
    if tree[0] == "call" and tree[1] == "root" and tree[3] == ("num", Fraction(2)):
        return _root(tree[2], tree)
    return _opaque(tree)


def _root(radicand: Tree, tree: Tree) -> Quotient:
    value = rational(radicand)
    if value is None:
        return _opaque(tree)
    number = abs(value.numerator) * value.denominator
    outside, inside = _square_free(number)
    monomial: Monomial = (inside, 1 if value < 0 else 0, ())
    return ({monomial: Fraction(outside, value.denominator)} if value else {}), {_ONE: Fraction(1)}


@lru_cache(maxsize=4096)
def _square_free(number: int) -> tuple[int, int]:
    """(a, b) with number = a² b and b square-free."""
    if number > _MAX_RADICAND:
        raise TooComplex
    outside, inside, divisor = 1, 1, 2
    while divisor**3 <= number:
        exponent = 0
        while number % divisor == 0:
            number //= divisor
            exponent += 1
        outside *= divisor ** (exponent // 2)
        inside *= divisor ** (exponent % 2)
        divisor += 1
    root = math.isqrt(number)
    # What is left has at most two prime factors, so it is square-free unless it is a square.
    return (outside * root, inside) if root * root == number else (outside, inside * number)


def _opaque(tree: Tree) -> Quotient:
    """An atom named by the normal forms of its arguments."""
    parts = []
    for part in tree[1:]:
        if isinstance(part, tuple):
            top, bottom = _quotient(part)
            parts.append(repr((sorted(top.items()), sorted(bottom.items()))))
        else:
            parts.append(str(part))
    name = _OPAQUE + tree[0] + "|".join(parts)
    if len(name) > 4000:
        raise TooComplex
    return {(1, 0, ((name, 1),)): Fraction(1)}, {_ONE: Fraction(1)}
