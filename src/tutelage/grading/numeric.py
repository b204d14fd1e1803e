r"""Equality of expressions with functions, by values at random points with bounds on the error.

What it is: the evaluator behind the exact tiers, for logarithms, trigonometry, nested roots, e and pi together.
A difference is proved: the two balls (grading/balls.py) do not meet. Equality is concluded from agreement to about
80 digits at several points whose coordinates no answer can foresee (they come from a hash of both expressions), with
the precision raised until no part of a sum is too small to be seen.
What it is not: a way to guess. Where the domains differ, a branch is ambiguous (`\log` without base, a fractional power
of a negative number), too few points are defined or a size is beyond its cap, it says None.

Symbols are real, of either sign, at several scales; `i` is the imaginary unit, `e` and `pi` are the constants. Symbols
under a factorial, a binomial or as the exponent of a negative number are natural numbers.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache

from tutelage.grading import balls
from tutelage.grading.balls import OutOfRange, Undefined
from tutelage.grading.evaluator import Complex, Evaluator, Point, Undecided, negative
from tutelage.text.expressions import NotAnExpression, Tree, size, symbols
from tutelage.text.rationals import rational

FIRST_BITS = 96
SURE_BITS = 288
MOST_BITS = 4_096
MAX_SIZE = 200
"""Largest number of nodes of a tree that is evaluated."""
_POINTS = 12
_ENOUGH = 3
_CONSTANTS = frozenset(("pi", "e", "i"))
_UNKNOWN_LOG = ("10", "e")


@lru_cache(maxsize=2_048)
def is_equal(first: Tree, second: Tree) -> bool | None:
    """Whether two expressions have the same values; None where that cannot be told."""
    if size(first) + size(second) > MAX_SIZE:
        return None
    return _over_readings((first, second), lambda log: _agree(_Difference(first, second, log)))


@lru_cache(maxsize=2_048)
def is_proportional(first: tuple[Tree, Tree], second: tuple[Tree, Tree]) -> bool | None:
    """Whether two equations (left, right) are the same up to a non-zero constant factor; None where undecided."""
    trees = (*first, *second)
    if sum(map(size, trees)) > MAX_SIZE:
        return None
    return _over_readings(trees, lambda log: _agree(_Proportion(first, second, log)))


@lru_cache(maxsize=2_048)
def value_of(tree: Tree) -> Fraction | None:
    """A rational number within 2**-90 of the value of a real expression without symbols; None where it has none."""
    if not symbols(tree) <= _CONSTANTS or size(tree) > MAX_SIZE:
        return None
    found = set()
    for log in _UNKNOWN_LOG if _has_unknown_log(tree) else _UNKNOWN_LOG[:1]:
        try:
            real, imaginary = Evaluator({}, SURE_BITS, log).value(tree)
        except (Undecided, Undefined, OutOfRange, NotAnExpression):
            return None
        if imaginary is not None and not balls.has_zero(imaginary):
            return None
        found.add(balls.to_fraction(real))
    return found.pop() if len(found) == 1 else None


def _over_readings(trees: tuple[Tree, ...], decide: Callable[[str], bool | None]) -> bool | None:
    r"""What both readings of a bare `\log` (base 10, base e) agree on."""
    result = decide("e")
    if any(map(_has_unknown_log, trees)) and decide("10") is not result:
        return None
    return result


def _has_unknown_log(tree: Tree) -> bool:
    return (tree[0] == "call" and tree[1] == "log") or any(
        _has_unknown_log(part) for part in tree[1:] if isinstance(part, tuple)
    )


class _Difference:
    """The difference of two expressions at a point."""

    def __init__(self, first: Tree, second: Tree, log: str) -> None:
        self.trees, self.log = (first, second), log

    def at(self, point: Point, bits: int) -> tuple[Complex, bool]:
        """The difference, and whether the precision is enough to call it zero."""
        evaluator = Evaluator(point, bits, self.log)
        first, second = (evaluator.value(tree) for tree in self.trees)
        return evaluator.add(first, negative(second)), evaluator.is_sure()


class _Proportion:
    """left * other_left(base) - other_left * left(base), zero everywhere for equations that are proportional."""

    def __init__(self, first: tuple[Tree, Tree], second: tuple[Tree, Tree], log: str) -> None:
        zeros: tuple[Tree, Tree] = (("add", first[0], ("neg", first[1])), ("add", second[0], ("neg", second[1])))
        self.trees, self.log = zeros, log
        self.base = next(_points(zeros, is_natural=_needs_naturals(*zeros), seed="base"))

    def at(self, point: Point, bits: int) -> tuple[Complex, bool]:
        """The cross difference, and whether the precision is enough to call it zero."""
        here, base = (Evaluator(place, bits, self.log) for place in (point, self.base))
        (left, right), (left_base, right_base) = ([e.value(tree) for tree in self.trees] for e in (here, base))
        if any(balls.has_zero(part[0]) for part in (left_base, right_base)):
            raise Undecided("zero at the base point")
        cross = here.add(here.multiply(left, right_base), negative(here.multiply(right, left_base)))
        return cross, here.is_sure() and base.is_sure()


def _agree(difference: _Difference | _Proportion) -> bool | None:
    is_natural = _needs_naturals(*difference.trees)
    names = frozenset().union(*map(symbols, difference.trees)) - _CONSTANTS
    agreed = undefined = 0
    for point in _points(difference.trees, is_natural=is_natural, seed="points"):
        try:
            result = _is_zero(difference, point)
        except Undefined:
            undefined += 1
            continue
        except (Undecided, OutOfRange, NotAnExpression):
            return None
        if result is not True:
            return result
        agreed += 1
        if not names:
            return True
    # Points where neither side is defined are fine; where only one is, the domains differ.
    return True if agreed >= _ENOUGH and not undefined else _with_gaps(difference, agreed, is_natural=is_natural)


def _with_gaps(difference: _Difference | _Proportion, agreed: int, *, is_natural: bool) -> bool | None:
    """Agreement where both sides are defined, if they are defined at the same points."""
    if agreed < _ENOUGH:
        return None
    for point in _points(difference.trees, is_natural=is_natural, seed="points"):
        defined = set()
        for tree in difference.trees:
            try:
                Evaluator(point, FIRST_BITS, difference.log).value(tree)
                defined.add(True)
            except Undefined:
                defined.add(False)
        if len(defined) > 1:
            return None
    return True


def _is_zero(difference: _Difference | _Proportion, point: Point) -> bool | None:
    bits = FIRST_BITS
    while bits <= MOST_BITS:
        (real, imaginary), is_seen = difference.at(point, bits)
        if not balls.has_zero(real) or (imaginary is not None and not balls.has_zero(imaginary)):
            return False
        if bits >= SURE_BITS and is_seen:
            radius = max(balls.size(real), balls.size(imaginary) if imaginary is not None else -bits)
            # A ball that is wide says nothing; the widest that counts as zero is far below any honest difference.
            return True if radius < -bits // 3 else None
        bits *= 3 if bits < SURE_BITS else 4
    return None


def _points(trees: tuple[Tree, ...], *, is_natural: bool, seed: str) -> Iterator[Point]:
    """Points that depend on the expressions, whichever comes first; one empty point where there are no symbols."""
    names = sorted(frozenset().union(*map(symbols, trees)) - _CONSTANTS)
    if not names:
        yield {}
        return
    text = seed + "|".join(sorted(map(repr, trees)))
    rng = random.Random(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())
    for index in range(_POINTS):
        if is_natural:
            yield {name: Fraction(rng.randint(2 + index, 24 + index)) for name in names}
        else:
            # The first points are positive for all symbols, then signs and scales vary.
            scale = (1, 1, 7, 1, 3, 30)[index % 6]
            yield {
                name: Fraction(rng.randint(1, 1 << 40), 1 << 40) * scale * (rng.choice((1, -1)) if index > 2 else 1)
                for name in names
            }


def _needs_naturals(*trees: Tree) -> bool:
    return any(
        (tree[0] == "fact" and bool(symbols(tree[1])))
        or (tree[0] == "call" and tree[1] == "binom" and bool(symbols(tree)))
        or (tree[0] == "pow" and bool(symbols(tree[2]) - _CONSTANTS) and (rational(tree[1]) or 0) < 0)
        or any(_needs_naturals(part) for part in tree[1:] if isinstance(part, tuple))
        for tree in trees
    )
