r"""Values of expression trees at a point: complex numbers whose parts are balls (grading/balls.py).

What it is: the walk over a tree, with real branches of roots and logarithms and the imaginary unit where it is written.
What it is not: a decision about two expressions (grading/numeric.py). A value that is missing, ambiguous or too large
is told by three different exceptions.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from tutelage.grading import balls
from tutelage.grading.balls import Ball, OutOfRange, Undefined
from tutelage.text.expressions import Tree, symbols
from tutelage.text.rationals import rational

Complex = tuple[Ball, Ball | None]
"""Real and imaginary part; the latter is None for a number that is real for certain."""
Point = dict[str, Fraction]

_MAX_POWER = 10_000
_MARGIN = 32
"""Bits by which a part of a sum has to stand out of the error of the other part."""


class Undecided(ValueError):
    """The expression has no value that can be told for certain."""


def negative(value: Complex) -> Complex:
    """Minus the value."""
    return balls.negative(value[0]), None if value[1] is None else balls.negative(value[1])


class Evaluator:
    """Values of trees at one point and one precision."""

    def __init__(self, point: Point, bits: int, log: str) -> None:
        self.point, self.bits, self.log = point, bits, log
        self.has_absorbed = False
        self.extreme = 0  # largest distance of a number or power from 1, in bits

    def value(self, tree: Tree) -> Complex:
        """The value of a tree.

        Raises:
            Undefined: it has none at this point.
            Undecided: it cannot be told.
            OutOfRange: it is too large.
        """
        kind = tree[0]
        if kind == "num":
            return self._noted(balls.from_fraction(tree[1], self.bits)), None
        if kind == "sym":
            return self._symbol(tree[1])
        if kind == "neg":
            return negative(self.value(tree[1]))
        if kind == "add":
            return self.add(self.value(tree[1]), self.value(tree[2]))
        if kind == "mul":
            return self.multiply(self.value(tree[1]), self.value(tree[2]))
        if kind == "div":
            return self._divide(self.value(tree[1]), self.value(tree[2]))
        if kind == "pow":
            real, imaginary = self._power(tree)
            return self._noted(real), imaginary
        if kind == "fact" or tree[1] in ("binom", "floor", "ceil", "gcd", "lcm", "mod"):
            return self._exact(tree)
        return self._call(tree)

    def is_sure(self) -> bool:
        """Whether the precision saw all parts of all sums, and goes far beyond the largest and smallest numbers."""
        return not self.has_absorbed and self.bits >= 4 * self.extreme

    def _noted(self, ball: Ball) -> Ball:
        if not balls.has_zero(ball):
            self.extreme = max(self.extreme, abs(balls.size(ball)))
        return ball

    def add(self, first: Complex, second: Complex) -> Complex:
        """The sum; notes where one part is too small to be seen beside the other."""
        real = self._add(first[0], second[0])
        if first[1] is None or second[1] is None:
            return real, first[1] or second[1]
        return real, self._add(first[1], second[1])

    def multiply(self, first: Complex, second: Complex) -> Complex:
        """The product."""
        (a, b), (c, d) = first, second
        times, bits = balls.multiply, self.bits
        if b is None and d is None:
            return times(a, c, bits), None
        if b is None or d is None:
            if b is None:
                a, c, d = c, a, b
                b = second[1]
            assert b is not None
            return times(a, c, bits), times(b, c, bits)
        real = balls.add(times(a, c, bits), balls.negative(times(b, d, bits)), bits)
        return real, balls.add(times(a, d, bits), times(b, c, bits), bits)

    def _add(self, first: Ball, second: Ball) -> Ball:
        if first != balls.ZERO and second != balls.ZERO:
            # Beside a ball that is zero as far as can be seen, anything smaller than its radius is unseen.
            gap = balls.size(first) - balls.size(second)
            is_zero = balls.has_zero(first), balls.has_zero(second)
            if is_zero == (False, False):
                self.has_absorbed |= abs(gap) > self.bits // 3
            elif is_zero != (True, True):
                self.has_absorbed |= (gap if is_zero[0] else -gap) > -_MARGIN
        return balls.add(first, second, self.bits)

    def _divide(self, first: Complex, second: Complex) -> Complex:
        c, d = second
        if d is None:
            top = first[1]
            return balls.divide(first[0], c, self.bits), None if top is None else balls.divide(top, c, self.bits)
        norm = balls.add(balls.multiply(c, c, self.bits), balls.multiply(d, d, self.bits), self.bits)
        a, b = self.multiply(first, (c, balls.negative(d)))
        return balls.divide(a, norm, self.bits), None if b is None else balls.divide(b, norm, self.bits)

    def _symbol(self, name: str) -> Complex:
        if name in self.point:
            return balls.from_fraction(self.point[name], self.bits), None
        if name == "pi":
            return balls.pi(self.bits), None
        if name == "e":
            return balls.exponential((1, 0, 0), self.bits), None
        if name == "i":
            return balls.ZERO, (1, 0, 0)
        raise Undecided(name)

    def _real(self, tree: Tree) -> Ball:
        """The value of an argument that has to be real."""
        real, imaginary = self.value(tree)
        if imaginary is None or imaginary == balls.ZERO:
            return real
        if not balls.has_zero(imaginary):
            raise Undefined("a complex argument") if not self._has_unit(tree) else Undecided("a complex argument")
        return real

    def _has_unit(self, tree: Tree) -> bool:
        return "i" in symbols(tree)

    def _exact(self, tree: Tree) -> Complex:
        """Functions of whole numbers, through exact values of their arguments."""
        if tree[0] == "call" and tree[1] in ("floor", "ceil"):
            return self._floor(tree)
        value = rational(substituted(tree, self.point))
        if value is None:
            raise Undecided(str(tree[1]))
        return self._noted(balls.from_fraction(value, self.bits)), None

    def _floor(self, tree: Tree) -> Complex:
        argument = rational(substituted(tree[2], self.point))
        if argument is None:
            middle, radius, exponent = self._real(tree[2])
            low, high = (Fraction(end) * Fraction(2) ** exponent for end in (middle - radius, middle + radius))
            if low.__floor__() != high.__floor__() or low == low.__floor__():
                raise Undecided("a floor at a whole number")
            argument = low
        whole = argument.__floor__() if tree[1] == "floor" else argument.__ceil__()
        return balls.from_fraction(Fraction(whole), self.bits), None

    def _power(self, tree: Tree) -> Complex:
        exponent = rational(substituted(tree[2], self.point))
        if exponent is not None and exponent.denominator == 1:
            return self._whole_power(self.value(tree[1]), int(exponent))
        if tree[1] == ("sym", "e"):
            return self._exponential(self.value(tree[2]))
        base = self.value(tree[1])
        if base[1] is not None:
            raise Undecided("a power of a complex number")
        side = balls.sign(base[0])
        if side < 0 or (side == 0 and not (exponent or 0) > 0):
            # (-8)^(1/3) is -2 to some and complex to others.
            raise Undecided("a fractional power of a negative number") if not self.point else Undefined("power")
        if exponent is not None and exponent.denominator <= 8:
            rooted: Complex = (balls.root(base[0], exponent.denominator, self.bits), None)
            return self._whole_power(rooted, exponent.numerator)
        power = balls.multiply(self._real(tree[2]), balls.logarithm(base[0], self.bits), self.bits)
        return balls.exponential(power, self.bits), None

    def _whole_power(self, base: Complex, exponent: int) -> Complex:
        if abs(exponent) > _MAX_POWER:
            if base[1] is not None or balls.sign(base[0]) <= 0:
                raise OutOfRange("power")
            power = balls.multiply((exponent, 0, 0), balls.logarithm(base[0], self.bits), self.bits)
            return balls.exponential(power, self.bits), None
        if exponent < 0:
            return self._divide(((1, 0, 0), None), self._whole_power(base, -exponent))
        result: Complex = ((1, 0, 0), None)
        while exponent:
            if exponent & 1:
                result = self.multiply(result, base)
            exponent >>= 1
            if exponent:
                base = self.multiply(base, base)
        return result

    def _exponential(self, power: Complex) -> Complex:
        scale = balls.exponential(power[0], self.bits)
        if power[1] is None:
            return scale, None
        cosine, sine = balls.cosine_sine(power[1], self.bits)
        return balls.multiply(scale, cosine, self.bits), balls.multiply(scale, sine, self.bits)

    def _call(self, tree: Tree) -> Complex:
        name = tree[1]
        if name == "root":
            return self._root(tree)
        if name == "abs":
            return self._absolute(self.value(tree[2])), None
        if name == "exp":
            return self._exponential(self.value(tree[2]))
        if name in ("log", "ln", "lg", "logb"):
            return self._logarithm(tree), None
        function = _REAL.get(name)
        if function is None:
            raise Undecided(name)
        return function(self._real(tree[2]), self.bits), None

    def _absolute(self, value: Complex) -> Ball:
        real, imaginary = value
        if imaginary is not None:
            times = balls.multiply
            total = balls.add(times(real, real, self.bits), times(imaginary, imaginary, self.bits), self.bits)
            return balls.root(total, 2, self.bits)
        return balls.negative(real) if real[0] < 0 else real

    def _root(self, tree: Tree) -> Complex:
        index = rational(tree[3])
        if index is None or index.denominator != 1 or not 2 <= index <= 64:
            raise Undecided("root index")
        degree, inside = int(index), self.value(tree[2])
        if inside[1] is not None and not balls.has_zero(inside[1]):
            raise Undecided("root of a complex number")
        real = inside[0]
        if balls.sign(real) >= 0:
            return balls.root(real, degree, self.bits), None
        if degree % 2:
            return balls.negative(balls.root(balls.negative(real), degree, self.bits)), None
        if self.point or degree > 2:
            raise Undefined("even root of a negative number")
        return balls.ZERO, balls.root(balls.negative(real), 2, self.bits)

    def _logarithm(self, tree: Tree) -> Ball:
        top = balls.logarithm(self._real(tree[2]), self.bits)
        if tree[1] == "ln" or (tree[1] == "log" and self.log == "e"):
            return top
        base = self._real(tree[3]) if tree[1] == "logb" else (10, 0, 0)
        return balls.divide(top, balls.logarithm(base, self.bits), self.bits)


def substituted(tree: Tree, point: Point) -> Tree:
    """The tree with the point's numbers in place of its symbols."""
    if tree[0] == "sym":
        return ("num", point[tree[1]]) if tree[1] in point else tree
    return tuple(substituted(part, point) if isinstance(part, tuple) else part for part in tree)


def _ratio(top: int, bottom: int) -> Callable[[Ball, int], Ball]:
    """A quotient of cosine (0), sine (1) and one (2)."""

    def function(angle: Ball, bits: int) -> Ball:
        parts = (*balls.cosine_sine(angle, bits), (1, 0, 0))
        return balls.divide(parts[top], parts[bottom], bits)

    return function


def _arcsine(x: Ball, bits: int) -> Ball:
    rest = balls.add((1, 0, 0), balls.negative(balls.multiply(x, x, bits)), bits)
    if balls.has_zero(rest):
        half = balls.pi(bits)
        return (half[0] if x[0] > 0 else -half[0], half[1] + (1 << (bits // 2 + 8)), half[2] - 1)
    return balls.arctangent(balls.divide(x, balls.root(rest, 2, bits), bits), bits)


def _arccosine(x: Ball, bits: int) -> Ball:
    half = balls.pi(bits)
    return balls.add((half[0], half[1], half[2] - 1), balls.negative(_arcsine(x, bits)), bits)


def _hyperbolic(name: str) -> Callable[[Ball, int], Ball]:
    def function(x: Ball, bits: int) -> Ball:
        up, down = balls.exponential(x, bits), balls.exponential(balls.negative(x), bits)
        total = balls.add(up, down, bits)
        rest = balls.add(up, balls.negative(down), bits)
        if name == "tanh":
            return balls.divide(rest, total, bits)
        return balls.divide(total if name == "cosh" else rest, (2, 0, 0), bits)

    return function


_REAL: dict[str, Callable[[Ball, int], Ball]] = {
    "cos": lambda x, bits: balls.cosine_sine(x, bits)[0],
    "sin": lambda x, bits: balls.cosine_sine(x, bits)[1],
    "tan": _ratio(1, 0),
    "cot": _ratio(0, 1),
    "sec": _ratio(2, 0),
    "csc": _ratio(2, 1),
    "arctan": balls.arctangent,
    "arcsin": _arcsine,
    "arccos": _arccosine,
    "sinh": _hyperbolic("sinh"),
    "cosh": _hyperbolic("cosh"),
    "tanh": _hyperbolic("tanh"),
}
