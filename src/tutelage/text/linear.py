r"""Inequalities with one symbol on either side, `-x > -1`, `2x + 1 \le 7`, `|x - 2| < 3`, brought to bounds.

What it is: exact, for sides that are linear with rational coefficients, or the absolute value of such a side against a
number. What it is not: a solver: anything else has no bounds here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tutelage.text.expressions import Tree, symbols
from tutelage.text.rationals import rational

FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": r"\ne"}


@dataclass(frozen=True, slots=True)
class Bound:
    """`symbol sign value`; several that belong together are joined by `or` where `is_union` says so, else by `and`."""

    symbol: str
    sign: str
    value: Fraction


def solve(left: Tree, sign: str, right: Tree) -> tuple[list[Bound], bool] | None:
    """The bounds that an inequality says, and whether they are joined by `or`; None where it is none of these."""
    names = symbols(left) | symbols(right)
    if len(names) != 1:
        return None
    (name,) = names
    if not symbols(left):
        left, right, sign = right, left, FLIPPED[sign]
    limit = rational(right) if not symbols(right) else None
    if left[0] == "call" and left[1] == "abs" and limit is not None:
        return _absolute(left[2], name, sign, limit)
    ours, theirs = _linear(left, name), _linear(right, name)
    if ours is None or theirs is None:
        return None
    bound = _bound(name, ours[0] - theirs[0], sign, theirs[1] - ours[1])
    return None if bound is None else ([bound], False)


def _absolute(inside: Tree, name: str, sign: str, limit: Fraction) -> tuple[list[Bound], bool] | None:
    line = _linear(inside, name)
    if line is None or limit <= 0 or sign == r"\ne":
        return None
    slope, start = line
    is_union = sign in (">", r"\ge")
    bounds = [_bound(name, slope, sign, limit - start), _bound(name, slope, FLIPPED[sign], -limit - start)]
    found = [bound for bound in bounds if bound is not None]
    return (found, is_union) if len(found) == 2 else None


def _bound(name: str, slope: Fraction, sign: str, value: Fraction) -> Bound | None:
    if not slope:
        return None
    return Bound(name, sign if slope > 0 else FLIPPED[sign], value / slope)


def _linear(tree: Tree, name: str) -> tuple[Fraction, Fraction] | None:
    """(slope, constant) of a tree that is linear in the symbol."""
    if tree[0] == "sym":
        return (Fraction(1), Fraction(0)) if tree[1] == name else None
    if not symbols(tree):
        value = rational(tree)
        return None if value is None else (Fraction(0), value)
    if tree[0] == "neg":
        line = _linear(tree[1], name)
        return None if line is None else (-line[0], -line[1])
    if tree[0] not in ("add", "mul", "div"):
        return None
    first, second = _linear(tree[1], name), _linear(tree[2], name)
    if first is None or second is None:
        return None
    if tree[0] == "add":
        return first[0] + second[0], first[1] + second[1]
    if tree[0] == "mul" and not (first[0] and second[0]):
        return first[0] * second[1] + second[0] * first[1], first[1] * second[1]
    if tree[0] == "div" and not second[0] and second[1]:
        return first[0] / second[1], first[1] / second[1]
    return None
