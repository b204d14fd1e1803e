r"""What the symbolic worker's child does: two answers that the other tiers left undecided, compared with sympy.

What it is: an entry module. It is imported in a worker's preloaded process and runs in its jailed children only;
nothing else in tutelage imports sympy. The texts are read by our own parser (text/answers.py) and its trees are built
into sympy objects node by node, so no string ever reaches sympy: its readers (`sympify`, `parse_expr`, `N`) run code
hidden in what they read. Structures are compared by the rules of the other tiers, with sympy for the expressions in
them; a rule's word stands, whatever sympy would say.
What it is not: math-verify. That is never asked for a verdict: it rounds to six places, drops units and left sides, and
takes one member for the set.

Different is what differs at points where both are defined, with 50 digits that sympy vouches for; with symbols, both at
fractions in (0, 1) and at small integers, as $(-1)^n = \cos n\pi$ holds at integers only. Equal is what is proved:
a difference that simplifies to 0. What is equal at all points and not proved stays undecided.
The phases that are marked say who a hang belongs to: `gold`, `answer`, or `both` where they already agree at points.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import sympy

from tutelage.grading.comparing import compare
from tutelage.grading.matching import match_ordered, match_regions, match_unordered
from tutelage.grading.scalars import tree_of
from tutelage.grading.worker_loop import Mark, run_items
from tutelage.text.answers import read_answer
from tutelage.text.expressions import Tree
from tutelage.text.units import units_match
from tutelage.text.values import ELLIPSIS, Equation, Group, Matrix, Named, Region, Scalar, Value

Result = bool | None

DIGITS = 50
CLOSE = sympy.Float(10) ** -30
"""Relative difference of two values, each right to 50 digits, above which they certainly differ."""
FRACTIONS = ((3, 7), (5, 11), (2, 13), (9, 17), (4, 19), (12, 23), (7, 29), (10, 31))
INTEGERS = (3, 2, 5, 4, 7, 6, 9, 8)
NUM_POINTS = 3
NAMED = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "sec": sympy.sec, "csc": sympy.csc, "cot": sympy.cot,
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "sinh": sympy.sinh, "cosh": sympy.cosh,
    "tanh": sympy.tanh, "ln": sympy.log, "exp": sympy.exp, "abs": sympy.Abs, "floor": sympy.floor,
    "ceil": sympy.ceiling, "lg": lambda x: sympy.log(x, 10),
}  # fmt: skip
SEVERAL: dict[str, Callable[..., Any]] = {
    "max": sympy.Max, "min": sympy.Min, "logb": sympy.log, "binom": sympy.binomial,
}  # fmt: skip


class NotBuilt(ValueError):
    """A tree that has no sympy object here."""


def judge_pairs(payload: bytes, out: BinaryIO) -> None:
    """The worker's entry: items are `{"gold", "answer", "tolerance"}`, values are true, false or null."""
    run_items(payload, out, judge_pair)


def judge_pair(item: dict[str, Any], mark: Mark) -> Result:
    """Whether two answers are equal; None where that is not found out."""
    tolerance = None if item.get("tolerance") is None else Fraction(item["tolerance"])
    return Comparison(tolerance, mark).values(read_answer(item["gold"]), read_answer(item["answer"]), tolerance)


@dataclass(frozen=True)
class Comparison:
    """Compares values as grading/comparing.py does, with sympy for expressions that it leaves undecided."""

    tolerance: Fraction | None
    mark: Mark

    def values(self, first: Value, second: Value, tolerance: Fraction | None = None) -> Result:
        """Whether two values are the same. The other tiers go first, and what they decide stands."""
        known = compare(first, second, tolerance)
        if known is not None:
            return known
        if isinstance(first, Named) and not isinstance(second, Named):
            return self.values(first.value, second, tolerance)
        if isinstance(second, Named) and not isinstance(first, Named):
            return self.values(first, second.value, tolerance)
        if type(first) is not type(second):
            return None
        match first, second:
            case Scalar(), Scalar():
                return self._scalars(first, second)
            case Named(), Named():
                return self.values(first.value, second.value, tolerance) if first.names == second.names else None
            case Group(), Group():
                return self._groups(first, second, tolerance)
            case Region(), Region():
                return match_regions(first, second, self.values)
            case Matrix(), Matrix():
                return self._matrices(first, second, tolerance)
            case Equation(), Equation():
                return self._equations(first, second)
        return None

    def _groups(self, first: Group, second: Group, tolerance: Fraction | None) -> Result:
        kinds = {first.brackets, second.brackets}
        members = (*first.items, *second.items)
        if ELLIPSIS in members or any(isinstance(member, Named) for member in members):
            return None
        if kinds in ({"tuple"}, {"square"}):
            return match_ordered(first.items, second.items, self.values, tolerance)
        if kinds <= {"list", "set"}:
            return match_unordered(first.items, second.items, self.values, tolerance)
        return None

    def _matrices(self, first: Matrix, second: Matrix, tolerance: Fraction | None) -> Result:
        if [len(row) for row in first.rows] != [len(row) for row in second.rows]:
            return None
        cells = [tuple(itertools.chain(*matrix.rows)) for matrix in (first, second)]
        return match_ordered(cells[0], cells[1], self.values, tolerance)

    def _scalars(self, first: Scalar, second: Scalar) -> Result:
        if first.percent != second.percent or units_match(first.unit, second.unit) is not True:
            return None
        return self._trees(tree_of(first), tree_of(second))

    def _equations(self, first: Equation, second: Equation) -> Result:
        """Two equations are the same if their differences have a constant quotient; that they differ is not said."""
        sides = [first.left, first.right, second.left, second.right]
        if not all(isinstance(side, Scalar) and not side.unit and not side.percent for side in sides):
            return None
        trees = [tree_of(side) for side in sides if isinstance(side, Scalar)]
        if any(map(_has_bare_log, trees)):
            return None
        built = []
        for phase, (left, right) in (("gold", trees[:2]), ("answer", trees[2:])):
            self.mark(phase)
            try:
                built.append(_built(left, sympy.Integer(10)) - _built(right, sympy.Integer(10)))
            except NotBuilt:
                return None
        self.mark("both")
        if not all(side.free_symbols for side in built):
            return None
        quotient = sympy.simplify(built[0] / built[1])
        return True if quotient.is_number and quotient.is_finite and not quotient.is_zero else None

    def _trees(self, first: Tree, second: Tree) -> Result:
        """Compare under both readings of a bare `log`, where there is one; they must agree."""
        results = []
        has_log = _has_bare_log(first) or _has_bare_log(second)
        for base in (sympy.Integer(10), sympy.E) if has_log else (sympy.Integer(10),):
            try:
                self.mark("gold")
                gold = _built(first, base)
                points = list(_points(gold.free_symbols))
                expected = [_at(gold, point) for point in points]
                self.mark("answer")
                answer = _built(second, base)
                if answer.free_symbols != gold.free_symbols:
                    points = list(_points(gold.free_symbols | answer.free_symbols))
                    expected = [_at(gold, point) for point in points]
                found = [_at(answer, point) for point in points]
            except (NotBuilt, ArithmeticError):
                return None
            results.append(self._agreed(gold, answer, expected, found))
        return results[0] if len(set(results)) == 1 else None

    def _agreed(self, gold: Any, answer: Any, expected: Sequence[Any], found: Sequence[Any]) -> Result:
        families = [[_differ(a, b) for a, b in zip(expected[at::2], found[at::2], strict=True)] for at in range(2)]
        if not (gold.free_symbols | answer.free_symbols):
            return self._constants(gold, answer, expected[0], found[0])
        if all(True in family for family in families):
            return False
        if any(True in family for family in families) or all(result is None for f in families for result in f):
            return None
        self.mark("both")
        return True if _is_zero(gold - answer) else None

    def _constants(self, gold: Any, answer: Any, expected: Any, found: Any) -> Result:
        if self.tolerance is not None and expected is not None and found is not None:
            largest = max(abs(expected), abs(found))
            allowed = sympy.Rational(self.tolerance.numerator, self.tolerance.denominator) * largest
            return bool(abs(expected - found) <= allowed)
        if _differ(expected, found) is not False:
            return False if _differ(expected, found) else None
        self.mark("both")
        return True if _is_zero(gold - answer) else None


def _built(tree: Tree, base: Any) -> Any:
    """The sympy object of a tree.

    Args:
        tree: as text/expressions.py gives it.
        base: of a `log` without one: 10 or e.

    Raises:
        NotBuilt: a node that has no sympy object.
    """
    kind, parts = tree[0], tree[1:]
    if kind == "num":
        return sympy.Rational(parts[0].numerator, parts[0].denominator)
    if kind == "sym":
        return NAMED.get(parts[0]) or sympy.Symbol(parts[0])
    if kind == "call":
        return _called(str(parts[0]), [_built(part, base) for part in parts[1:]], base)
    values = [_built(part, base) for part in parts]
    match kind, values:
        case "neg", [x]:
            return -x
        case "add", [x, y]:
            return x + y
        case "mul", [x, y]:
            return x * y
        case "div", [x, y] if y != 0:
            return x / y
        case "pow", [x, y] if not (x == 0 and y == 0):
            return _power(x, y)
        case "fact", [x]:
            return sympy.factorial(x)
    raise NotBuilt(kind)


def _power(base: Any, exponent: Any) -> Any:
    """A power; roots of negative numbers are the real ones where there are any, as in the other tiers."""
    if base.is_negative and exponent.is_Rational and not exponent.is_Integer and exponent.q % 2:
        return (-1) ** exponent.p * (-base) ** exponent
    return base**exponent


def _called(name: str, arguments: list[Any], base: Any) -> Any:
    """A function of its arguments; `base` is that of a bare `log`, which is the decimal or the natural one."""
    if name == "root" and len(arguments) == 2 and arguments[1].is_Integer and arguments[1] > 1:
        return _power(arguments[0], 1 / arguments[1])
    if name == "log" and len(arguments) == 1:
        return sympy.log(arguments[0], base)
    if name in FUNCTIONS and len(arguments) == 1:
        return FUNCTIONS[name](*arguments)
    if name in SEVERAL and len(arguments) > 1:
        return SEVERAL[name](*arguments)
    raise NotBuilt(name)


def _has_bare_log(tree: Tree) -> bool:
    """Whether a `log` without a base is in the tree."""
    return tree[:2] == ("call", "log") or any(_has_bare_log(part) for part in tree[1:] if isinstance(part, tuple))


def _points(symbols: set[Any]) -> Iterator[dict[Any, Any]]:
    """Points in turn of fractions in (0, 1) and of small integers; the same for equal symbols, in any order."""
    names = sorted(symbols, key=str)
    for turn in range(NUM_POINTS):
        for family in (FRACTIONS, INTEGERS):
            point = {}
            for place, name in enumerate(names):
                value = family[(place * 3 + turn) % len(family)]
                point[name] = sympy.Rational(*value) if isinstance(value, tuple) else sympy.Integer(value)
            yield point
        if not names:
            yield {}
            return


def _at(expression: Any, point: dict[Any, Any]) -> Any:
    """The value at a point, right to 50 digits; None where it has none."""
    value = expression.subs(point, simultaneous=True) if point else expression
    if not value.is_number:
        return None
    value = value.evalf(DIGITS, maxn=4 * DIGITS)
    parts = value.as_real_imag()
    if not all(part.is_Float or part.is_Integer or part.is_Rational for part in parts):
        return None
    if any(part.is_Float and part != 0 and part._prec < 100 for part in parts):
        return None  # cancelled to fewer digits than it takes
    return value


def _differ(first: Any, second: Any) -> bool | None:
    """Whether two values certainly differ; None where one of them is missing."""
    if first is None or second is None:
        return None
    largest = max(abs(first), abs(second))
    return bool(abs(first - second) > CLOSE * largest) if largest else False


def _is_zero(difference: Any) -> bool:
    """Whether a difference is proved to be zero."""
    if difference == 0 or sympy.expand(difference) == 0:
        return True
    if not difference.free_symbols and difference.equals(0):
        return True
    return bool(sympy.simplify(difference) == 0)


WARM_UP = ((r"\cos^2 x", r"1-\sin^2 x"), (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"), (r"\log_2 (x)+1", r"\log_2(2x)"))


def _warm_up() -> None:
    """Have sympy load now what it loads late, so that no pair pays for it."""
    for gold, answer in WARM_UP:
        judge_pair({"gold": gold, "answer": answer}, lambda phase: None)


_warm_up()
