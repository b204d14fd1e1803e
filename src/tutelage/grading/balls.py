r"""Real numbers of any precision with a bound on their error: a middle, a radius, a power of two.

What it is: the arithmetic below grading/numeric.py, in Python integers alone. Every function returns a ball that
contains the true result for every number of its argument balls, so what lies outside a ball is proved.
What it is not: fast for thousands of digits, or a rounding that any standard defines. Arguments that would make a
result huge are refused (`OutOfRange`), so no call takes long.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from tutelage.text.rationals import integer_root

Ball = tuple[int, int, int]
"""(middle m, radius r >= 0, exponent k): some number in [m - r, m + r] * 2**k."""

ZERO: Ball = (0, 0, 0)
_GUARD = 64
_MAX_EXPONENT_BITS = 20
_MAX_ANGLE_BITS = 64


class OutOfRange(ValueError):
    """An argument is so large, or known so badly, that the function is not computed."""


class Undefined(ValueError):
    """The function has no value at the argument: a division by zero, the logarithm of zero."""


def rounded(middle: int, radius: int, exponent: int, bits: int) -> Ball:
    """The ball with its middle and radius cut to `bits` bits; it only grows."""
    excess = max(middle.bit_length(), radius.bit_length()) - bits
    if excess <= 0:
        return middle, radius, exponent
    return middle >> excess, (radius >> excess) + 2, exponent + excess


def from_fraction(value: Fraction, bits: int) -> Ball:
    """The ball of a rational number; exact where it is a short integer."""
    if value.denominator == 1:
        return rounded(value.numerator, 0, 0, bits)
    return divide((value.numerator, 0, 0), (value.denominator, 0, 0), bits)


def to_fraction(ball: Ball) -> Fraction:
    """The middle of a ball."""
    middle, _, exponent = ball
    return Fraction(middle) * Fraction(2) ** exponent


def has_zero(ball: Ball) -> bool:
    """Whether the ball contains zero."""
    return abs(ball[0]) <= ball[1]


def sign(ball: Ball) -> int:
    """1 or -1 where the ball lies on one side of zero, 0 where it contains zero."""
    return 0 if has_zero(ball) else 1 if ball[0] > 0 else -1


def size(ball: Ball) -> int:
    """The power of two above every number of the ball; very small for an exact zero."""
    return (abs(ball[0]) + ball[1]).bit_length() + ball[2] if ball[0] or ball[1] else -(1 << 60)


def negative(ball: Ball) -> Ball:
    """Minus the ball."""
    return -ball[0], ball[1], ball[2]


def add(first: Ball, second: Ball, bits: int) -> Ball:
    """The sum."""
    if first[2] < second[2]:
        first, second = second, first
    (m, r, k), (n, s, j) = first, second
    if not m and not r:
        return second
    gap = k - j
    room = 4 * bits
    if gap <= room:
        return rounded((m << gap) + n, (r << gap) + s, j, bits)
    cut = gap - room
    return rounded((m << room) + (n >> cut), (r << room) + (s >> cut) + 2, k - room, bits)


def multiply(first: Ball, second: Ball, bits: int) -> Ball:
    """The product."""
    (m, r, k), (n, s, j) = first, second
    return rounded(m * n, r * abs(n) + s * abs(m) + r * s, k + j, bits)


def divide(first: Ball, second: Ball, bits: int) -> Ball:
    """The quotient.

    Raises:
        Undefined: the divisor's ball contains zero.
    """
    (m, r, k), (n, s, j) = first, second
    if abs(n) <= s:
        raise Undefined("division by zero")
    shift = max(0, bits + 2 + n.bit_length() - m.bit_length())
    spread = abs(m) * s + abs(n) * r
    radius = ((spread << shift) // (abs(n) * (abs(n) - s)) + 2) if spread else 1
    return rounded((m << shift) // n, radius, k - j - shift, bits)


def root(ball: Ball, index: int, bits: int) -> Ball:
    """The real root of a ball that is not below zero; of one that contains zero, a ball around zero."""
    m, r, k = ball
    if m < 0 and -m > r:
        raise Undefined("root of a negative number")
    if m <= r:
        high, shift = m + r, k % index
        return 0, integer_root(high << shift, index) + 1, (k - shift) // index
    shift = max(0, index * (bits + 2) - m.bit_length())
    shift += (k - shift) % index
    middle = integer_root(m << shift, index)
    radius = (middle * r) // (index * (m - r)) + 2
    return rounded(middle, radius, (k - shift) // index, bits)


def exponential(ball: Ball, bits: int) -> Ball:
    """e to the power of the ball."""
    if size(ball) > _MAX_EXPONENT_BITS:
        raise OutOfRange("exponent")
    work = bits + _GUARD + _MAX_EXPONENT_BITS
    spread = _radius(ball, work)
    if spread >> (work - 1):
        raise OutOfRange("an exponent known too badly")
    x = _fixed(ball, work)
    two = _log_two(work)
    turns = x // two
    value = _exp_fixed(x - turns * two, work)
    # e^d - 1 < 2 d for d < 1/2; the value is below 2.
    return rounded(value, 4 * spread + (1 << 34), turns - work, bits)


def logarithm(ball: Ball, bits: int) -> Ball:
    """The natural logarithm of a positive ball."""
    m, r, k = ball
    if m <= r:
        raise Undefined("logarithm of a number that is not positive")
    length = m.bit_length()
    # Near 1 the logarithm is small: as many more digits are worked with.
    distance = abs(m - (1 << -k)).bit_length() + k if -16 * bits < k <= 0 else 0
    work = bits + _GUARD + min(4 * bits, max(0, -distance))
    scaled = m << (work - length) if work >= length else m >> (length - work)
    value = _log_fixed(scaled, work) + (k + length) * _log_two(work + 32) // (1 << 32)
    return rounded(value, (r << work) // (m - r) + (1 << 40), -work, bits)


def cosine_sine(ball: Ball, bits: int) -> tuple[Ball, Ball]:
    """Cosine and sine of a ball in radians."""
    if size(ball) > _MAX_ANGLE_BITS:
        raise OutOfRange("angle")
    work = bits + _GUARD + _MAX_ANGLE_BITS + _smallness(ball, bits)
    x, spread = _fixed(ball, work), _radius(ball, work)
    quarter = pi_fixed(work) >> 1
    turns = (2 * x + quarter) // (2 * quarter)
    cosine, sine = _cosine_sine_fixed(x - turns * quarter, work)
    cosine, sine = ((cosine, sine), (-sine, cosine), (-cosine, -sine), (sine, -cosine))[turns % 4]
    radius = spread + (1 << (_MAX_ANGLE_BITS + 16))
    return rounded(cosine, radius, -work, bits), rounded(sine, radius, -work, bits)


def arctangent(ball: Ball, bits: int) -> Ball:
    """The angle in (-pi/2, pi/2) with this tangent."""
    if size(ball) > 1:
        return _complement(ball, bits)
    work = bits + _GUARD + _smallness(ball, bits)
    x, spread = _fixed(ball, work), _radius(ball, work)
    angle = int(math.atan(x / (1 << work) if work < 1000 else (x >> (work - 60)) / (1 << 60)) * (1 << 53))
    angle = angle << (work - 53)
    for _ in range(_newton_steps(work)):
        cosine, sine = _cosine_sine_fixed(angle, work)
        wrong = (x * cosine >> work) - sine
        right = cosine + (x * sine >> work)
        angle += (wrong << work) // right
    return rounded(angle, spread + (1 << 24), -work, bits)


def pi(bits: int) -> Ball:
    """The number pi."""
    return rounded(pi_fixed(bits + 8), 64, -(bits + 8), bits)


@lru_cache(maxsize=64)
def pi_fixed(work: int) -> int:
    """Pi times 2**work, within 64 units (Machin)."""
    one = 1 << (work + 8)
    return (16 * _arctangent_inverse(5, one) - 4 * _arctangent_inverse(239, one)) >> 8


def _complement(ball: Ball, bits: int) -> Ball:
    """arctan x = sign(x) pi/2 - arctan(1/x), for x away from zero."""
    if has_zero(ball):
        raise OutOfRange("a tangent known too badly")
    half = pi(bits + 8)
    half = (half[0] if ball[0] > 0 else -half[0], half[1], half[2] - 1)
    return add(half, negative(arctangent(divide((1, 0, 0), ball, bits + 8), bits + 8)), bits)


def _fixed(ball: Ball, work: int) -> int:
    shift = ball[2] + work
    return ball[0] << shift if shift >= 0 else ball[0] >> -shift


def _radius(ball: Ball, work: int) -> int:
    shift = ball[2] + work
    return (ball[1] << shift if shift >= 0 else ball[1] >> -shift) + 2


def _smallness(ball: Ball, bits: int) -> int:
    """Digits more for a small argument, so that its sine or arctangent is known as well as it is."""
    return min(4 * bits, max(0, -size(ball)))


def _newton_steps(work: int) -> int:
    # Each step triples the about 48 right bits that a float starts with.
    steps, right = 1, 48 * 3
    while right < work:
        right *= 3
        steps += 1
    return steps


def _arctangent_inverse(number: int, one: int) -> int:
    term = one // number
    total, square, divisor, is_plus = term, number * number, 3, False
    while term:
        term //= square
        total += term // divisor if is_plus else -(term // divisor)
        divisor, is_plus = divisor + 2, not is_plus
    return total


@lru_cache(maxsize=64)
def _log_two(work: int) -> int:
    """ln 2 times 2**work: 18 artanh(1/26) - 2 artanh(1/4801) + 8 artanh(1/8749)."""
    one = 1 << (work + 8)
    total = sum(factor * _artanh_inverse(number, one) for factor, number in ((18, 26), (-2, 4801), (8, 8749)))
    return total >> 8


def _artanh_inverse(number: int, one: int) -> int:
    term = one // number
    total, square, divisor = term, number * number, 3
    while term:
        term //= square
        total += term // divisor
        divisor += 2
    return total


def _exp_fixed(x: int, work: int) -> int:
    """e**x for 0 <= x < 1 as fixed-point numbers: Taylor of x / 2**16, then 16 squarings."""
    halvings = 16
    wide = work + halvings
    one = 1 << wide  # with 16 more bits, x / 2**16 is the same integer
    total = term = one
    index = 1
    while term:
        term = (term * x >> wide) // index
        total += term
        index += 1
    for _ in range(halvings):
        total = total * total >> wide
    return total >> halvings


def _log_fixed(y: int, work: int) -> int:
    """ln y for 1/2 <= y < 1 as fixed-point numbers: Halley steps on the exponential."""
    value = int(math.log((y >> (work - 60)) / (1 << 60)) * (1 << 53)) << (work - 53)
    two = _log_two(work)
    for _ in range(_newton_steps(work)):
        power = _exp_fixed(value + two, work) >> 1  # e**value, with an argument that is not negative
        value += (2 * (y - power) << work) // (y + power)
    return value


def _cosine_sine_fixed(x: int, work: int) -> tuple[int, int]:
    """Cosine and sine for |x| < 2 as fixed-point numbers, by their Taylor series."""
    square = x * x >> work
    one = 1 << work
    cosine = term = one
    index = 1
    while term:
        term = -(term * square >> work) // (index * (index + 1))
        if term == -1:
            break
        cosine += term
        index += 2
    sine = term = x
    index = 2
    while term:
        term = -(term * square >> work) // (index * (index + 1))
        if term == -1:
            break
        sine += term
        index += 2
    return cosine, sine
