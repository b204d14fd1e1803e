"""The normal form against evaluation at random rational points, and its limits."""

from __future__ import annotations

import random
import time
from fractions import Fraction

import pytest

from tutelage.grading.algebra import is_equal, is_proportional
from tutelage.text.expressions import Tree, parse_expression


def tree(text: str) -> Tree:
    parsed = parse_expression(text)
    assert parsed is not None, text
    return parsed


def value(node: Tree, point: dict[str, Fraction]) -> Fraction:
    """Slow obvious reference: arithmetic on fractions."""
    kind, *parts = node
    if kind == "num":
        return parts[0]
    if kind == "sym":
        return point[parts[0]]
    if kind == "neg":
        return -value(parts[0], point)
    left, right = value(parts[0], point), value(parts[1], point)
    if kind == "pow":
        return left ** int(right)
    return {"add": left + right, "mul": left * right, "div": left / right if right else Fraction(10**9 + 7)}[kind]


def random_tree(rng: random.Random, depth: int) -> Tree:
    if depth == 0 or rng.random() < 0.2:
        return ("num", Fraction(rng.randint(-4, 4))) if rng.random() < 0.5 else ("sym", rng.choice("xy"))
    kind = rng.choice(["add", "add", "mul", "mul", "div", "pow", "neg"])
    if kind == "neg":
        return ("neg", random_tree(rng, depth - 1))
    if kind == "pow":
        return ("pow", random_tree(rng, depth - 1), ("num", Fraction(rng.randint(1, 3))))
    if kind == "div":
        return ("div", random_tree(rng, depth - 1), ("num", Fraction(rng.randint(1, 5))))
    return (kind, random_tree(rng, depth - 1), random_tree(rng, depth - 1))


def test_agrees_with_evaluation_at_random_points() -> None:
    rng = random.Random(7)
    seen = {True: 0, False: 0}
    for _ in range(1500):
        first, second = random_tree(rng, 2), random_tree(rng, 2)
        points = [
            {"x": Fraction(rng.randint(10**6, 10**7), 7), "y": Fraction(rng.randint(10**6, 10**7), 11)}
            for _ in range(3)
        ]
        expected = all(value(first, point) == value(second, point) for point in points)
        assert is_equal(first, second) is expected, (first, second)
        seen[expected] += 1
    assert seen[True] > 20 and seen[False] > 500


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (r"\sqrt{12}", r"2\sqrt{3}", True),
        (r"\sqrt{2}\sqrt{3}", r"\sqrt{6}", True),
        (r"(1+\sqrt{2})^2", r"3+2\sqrt{2}", True),
        (r"\frac{1}{\sqrt{3}-\sqrt{2}}", r"\sqrt{3}+\sqrt{2}", True),
        (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5}", False),
        (r"i^2", "-1", True),
        (r"\frac{1}{i}", "-i", True),
        (r"\sqrt{-9}", "3i", True),
        (r"\pi^2", r"\pi", False),
        (r"\pi+e", "6", None),
        (r"e^2", "e*e", True),
        (r"\sin x", r"\cos x", None),
        (r"\sin(x+1)-\sin(1+x)", "0", True),
        (r"2^x", r"2^x", True),
        (r"2^{x+1}", r"2*2^x", None),
        (r"x^{-1}", r"\frac{1}{x}", True),
        (r"\frac{x}{0}", "1", None),
        (r"\sqrt[3]{2}", r"\sqrt[3]{3}", None),
        (r"x^0", "1", True),
    ],
)
def test_radicals_imaginary_unit_and_atoms(first: str, second: str, expected: bool | None) -> None:
    assert is_equal(tree(first), tree(second)) is expected
    assert is_equal(tree(second), tree(first)) is expected


def test_equations_up_to_a_constant_factor() -> None:
    line = (tree("2x+y"), tree("7"))
    assert is_proportional(line, (tree("y"), tree("7-2x"))) is True
    assert is_proportional(line, (tree("4x+2y"), tree("14"))) is True
    assert is_proportional(line, (tree("y"), tree("7+2x"))) is False
    assert is_proportional(line, (tree("x(2x+y)"), tree("7x"))) is False  # a factor that is not constant


@pytest.mark.parametrize(
    "text", ["(a+b+c+d+f)^{40}", "(x+1)^{1000}", "(1+\\sqrt{2}+\\sqrt{3}+\\sqrt{5})^{999}", "x^{1000}+y^{999}"]
)
def test_large_expressions_cost_no_time(text: str) -> None:
    started = time.process_time()
    is_equal(tree(text), tree("1+" + text + "-2"))
    assert time.process_time() - started < 1.0
