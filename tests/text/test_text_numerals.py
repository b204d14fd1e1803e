"""Numbers in words, English and Chinese, and the small readers beside them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tutelage.text.expressions import parse_expression
from tutelage.text.linear import solve
from tutelage.text.naming import is_function, names_of
from tutelage.text.numerals import read_numeral
from tutelage.text.pasted import bare


@pytest.mark.parametrize(
    ("phrase", "value"),
    [
        ("seven", "7"), ("twenty-one", "21"), ("one hundred and five", "105"), ("a dozen", "12"), ("two dozen", "24"),
        ("half", "1/2"), ("one half", "1/2"), ("three quarters", "3/4"), ("two thirds", "2/3"), ("one-third", "1/3"),
        ("seven and a half", "15/2"), ("two hundred thousand", "200000"), ("one million", "1000000"), ("minus three",
        "-3"),
        ("nineteen hundred", "1900"), ("five hundredths", "1/20"), ("zero", "0"), ("ONE", "1"),
        ("十二", "12"), ("二十", "20"), ("一百零五", "105"),
        ("三分之一", "1/3"), ("两千三百", "2300"), ("四万五千", "45000"),

        ("负三", "-3"), ("百分之六十", "3/5"),
    ],
)  # fmt: skip
def test_numerals(phrase: str, value: str) -> None:
    assert read_numeral(phrase) == Fraction(value)


@pytest.mark.parametrize(
    "phrase",
    ["", "no", "none", "and", "a", "third", "the", "one two", "five twenty", "twenty zero", "hundred",
    "two halves more",
     "星期一", "seven apples", "-", "two and two", "half half", "million million"],
)  # fmt: skip
def test_what_is_no_numeral(phrase: str) -> None:
    assert read_numeral(phrase) is None


@pytest.mark.parametrize(
    ("left", "sign", "right", "expected"),
    [
        ("-x", ">", "-1", [("<", "1")]), ("2x+1", r"\le", "7", [(r"\le", "3")]), ("3", "<", "x+1", [(">", "2")]),
        ("\\frac{x}{2}", ">", "x-1", [("<", "2")]), ("|x|", "<", "3", [("<", "3"), (">", "-3")]),
    ],
)  # fmt: skip
def test_linear_inequalities(left: str, sign: str, right: str, expected: list[tuple[str, str]]) -> None:
    trees = parse_expression(left), parse_expression(right)
    assert trees[0] is not None and trees[1] is not None
    solved = solve(trees[0], sign, trees[1])
    assert solved is not None
    assert [(bound.sign, bound.value) for bound in solved[0]] == [(s, Fraction(v)) for s, v in expected]


@pytest.mark.parametrize(("left", "right"), [("x^2", "4"), ("x", "y"), ("x", "x"), ("|x|", "-1"), ("xy", "1")])
def test_inequalities_that_are_not_linear_in_one_symbol(left: str, right: str) -> None:
    trees = parse_expression(left), parse_expression(right)
    assert trees[0] is not None and trees[1] is not None
    assert solve(trees[0], "<", trees[1]) is None


@pytest.mark.parametrize("name", ["x", "x_1", r"\theta", "f(x)", r"\angle ABC", "AB", "|AB|", "area", "P(A)"])
def test_names(name: str) -> None:
    assert len(names_of(name)) == 1


@pytest.mark.parametrize("text", ["7", "2x", "x+y", "x^2", r"\frac{a}{b}", "|x|", r"\pi", "2+3", "", "(1,2)"])
def test_what_is_no_name(text: str) -> None:
    assert names_of(text) == ()


def test_names_of_several_coordinates_and_of_functions() -> None:
    assert names_of(r"(r,\theta)") == ("r", r"\theta")
    assert is_function("f(x)") and not is_function("x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", "5"), ("Answer: 5", "5"), ("= 5", "5"), (r"so \boxed{5}", "5"), (r"\boxed{5", r"\boxed{5"), ("Answer",
    "Answer"),
     ("the answer", "the answer"), ("x = 5", "x = 5"), ("", ""), ("5 is our answer.", "5")],
)  # fmt: skip
def test_bare(text: str, expected: str) -> None:
    assert bare(text).strip() == expected
