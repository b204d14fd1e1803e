"""Equality of rational functions of any degree, by values in a prime field.

What it is: a test for `(x+1)^{500}` against `(x+1)^{499}(x+1)`, where a normal form would be too long. A difference is
proved, as both sides would have to agree in every field in which they are defined; equality is concluded from several
points of two fields of 61 and 89 bits. No answer can foresee points or fields (a hash of both expressions picks them):
with primes that are known, `x + p q` would be `x`.
What it is not: able to see functions, roots or i. Pi and e are symbols here, which is exact for either alone, so where
both occur nothing is proved.
"""

from __future__ import annotations

import hashlib
import math
import random

from tutelage.text.expressions import NotAnExpression, Tree, size, symbols
from tutelage.text.rationals import rational

_BITS = (61, 89)
_SMALL = math.prod((3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97))
_WITNESSES = 12
_POINTS = 3
_TRIES = 6
_MAX_POWER = 10**9
_MAX_SIZE = 400


class NotRational(ValueError):
    """The expression is not a rational function that this module reads."""


def is_equal(first: Tree, second: Tree) -> bool | None:
    """Whether two rational functions over Q are equal; None where they are none, or where it cannot be told."""
    names = sorted(symbols(first) | symbols(second))
    if size(first) + size(second) > _MAX_SIZE or "i" in names:
        return None
    text = "|".join(sorted((repr(first), repr(second))))
    rng = random.Random(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())
    try:
        for bits in _BITS:
            prime, agreed = _prime(rng, bits), 0
            for _ in range(_TRIES):
                point = {name: rng.randrange(1, prime) for name in names}
                try:
                    is_same = _value(first, point, prime) == _value(second, point, prime)
                except ZeroDivisionError:
                    continue
                if not is_same:
                    return None if {"pi", "e"} <= set(names) else False
                agreed += 1
                if agreed == _POINTS or not names:
                    break
            if not agreed or (names and agreed < _POINTS):
                return None
    except (NotRational, NotAnExpression):
        return None
    return True


def _prime(rng: random.Random, bits: int) -> int:
    """A random prime; a number that is none passes with a probability below 4**-12."""
    while True:
        number = rng.getrandbits(bits) | 1 << (bits - 1) | 1
        if math.gcd(number, _SMALL) == 1 and all(
            _is_witnessed(number, rng.randrange(2, number)) for _ in range(_WITNESSES)
        ):
            return number


def _is_witnessed(number: int, base: int) -> bool:
    """Whether a base has nothing against an odd number being prime (Miller and Rabin)."""
    odd = number - 1
    twos = (odd & -odd).bit_length() - 1
    power = pow(base, odd >> twos, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


def _value(tree: Tree, point: dict[str, int], prime: int) -> int:
    kind = tree[0]
    if kind == "num":
        return _quotient(tree[1].numerator, tree[1].denominator, prime)
    if kind == "sym":
        return point[tree[1]]
    if kind == "neg":
        return -_value(tree[1], point, prime) % prime
    if kind == "pow":
        return _power(tree, point, prime)
    if kind in ("add", "mul", "div"):
        left, right = _value(tree[1], point, prime), _value(tree[2], point, prime)
        if kind == "div":
            return _quotient(left, right, prime)
        return (left + right if kind == "add" else left * right) % prime
    number = rational(tree)
    if number is None:
        raise NotRational(kind)
    return _quotient(number.numerator, number.denominator, prime)


def _quotient(top: int, bottom: int, prime: int) -> int:
    if bottom % prime == 0:
        raise ZeroDivisionError
    return top * pow(bottom, -1, prime) % prime


def _power(tree: Tree, point: dict[str, int], prime: int) -> int:
    exponent = rational(tree[2])
    if exponent is None or exponent.denominator != 1:
        raise NotRational("power")
    if abs(exponent) > _MAX_POWER and symbols(tree[1]):  # the degree must be small beside the field
        raise NotRational("power")
    base = _value(tree[1], point, prime)
    if base == 0 and exponent <= 0:
        raise ZeroDivisionError
    return pow(base, int(exponent), prime)
