"""Equations of worked solutions: read, checked, and made into keys."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.selection.equations import Equation, all_hold, equations_of, path_key


@pytest.mark.parametrize(
    "text, expected",
    [
        ("He has 2 + 1 = <<2 + 1=3>>3 bolts, 4+4=9.", ["2+1=3"]),
        ("5+3=8\n8*2=16\nanswer: 16", ["5+3=8", "8*2=16"]),
        ("Total = $400 + $60 = $460.", ["400+60=460"]),
        ("3 apples + 4 apples = 7 apples", ["3+4=7"]),
        ("1. 3 + 4 = 7", ["3+4=7"]),
        ("- 3*4 = 12 eggs", ["3*4=12"]),
        (r"\frac{6}{2} = 3 \text{ bolts}", ["(6/2)=3"]),
        (r"17 / \frac{1}{4} = 68", ["17/(1/4)=68"]),
        ("0.4 * 100 = 40%", ["0.4*100=40%"]),
        ("1/2 of 12 = 6, and 20% of 50 = 10", ["1/2*12=6", "20%*50=10"]),
        ("5/6 of the number = 15", []),
        ("1 1/2 * 12 = 18", []),
        (r"\[ 2 \text{ (blue)} + 1 \text{ (white)} = 3 \]", ["2+1=3"]),
        ("40 hours * $10/hour = $400", ["40*10=400"]),
        ("so 0.2 x 50 = 10, and 50-10 = 40", ["0.2*50=10", "50-10=40"]),
        ("1,200 * 3 = 3,600", ["1200*3=3600"]),
        ("20% * 50 = 10", ["20%*50=10"]),
        ("(5 - 2) * 3 = 3 * 3 = 9", ["(5-2)*3=3*3", "3*3=9"]),
        ("5*3=15*2=30", ["5*3=15", "15*2=30"]),
        ("16 − 3 − 4 = 9. 9 × $2 = $18", ["16-3-4=9", "9*2=18"]),
        ("x = 5", []),
        ("x + 2 = 5", []),
        ("2x + 3 = 7, so 7 - 3 = 4", ["7-3=4"]),
        ("6 + 9 = 3x", []),
        ("f(3) + 2 = 5 and cos(0) + 1 = 2", []),
        (r"\sqrt{16} + 3 = 7", []),
        ("It is seven.", []),
    ],
)
def test_equations_are_read(text: str, expected: list[str]) -> None:
    found = equations_of(text)
    assert [equation.text for equation in found] == expected
    assert all_hold(found)


@pytest.mark.parametrize(
    "annotation, holds",
    [
        ("10/3=3.3333", True), ("10/3=3.33", False), ("2+2=5", False), ("20%*50=10", True), ("0.1+0.2=0.3", True),
        ("5*.01=0.05", True), ("10**1000000=3", False), ("9^9^9^9=1", False), ("x+1=2", False), ("3", False),
        ("1/0=0", False), ("__import__('os').getcwd()=1", False), ("3+4=8-1", True), ("1,000+1=1001", True),
    ],
)  # fmt: skip
def test_annotations_hold_within_a_thousandth(annotation: str, holds: bool) -> None:
    assert equations_of(f"so <<{annotation}>>") == (Equation(annotation, holds),)


def test_keys_keep_order_and_never_share_the_empty_one() -> None:
    assert path_key("<<3+4=7>> then <<7*2=14>>") == "3+4=7|7*2=14"
    assert path_key("<<4+3=7>>") != path_key("<<3+4=7>>")
    assert path_key("It is seven.") == path_key("  It is\nseven. ") != path_key("It is eight.")
    assert path_key("") == "text:"


@given(st.integers(0, 999), st.sampled_from("+-*"), st.integers(0, 999), st.integers(-5, 5))
def test_a_sum_holds_if_and_only_if_it_is_right(left: int, sign: str, right: int, slip: int) -> None:
    value = {"+": left + right, "-": left - right, "*": left * right}[sign]
    for text in (f"<<{left}{sign}{right}={value + slip}>>", f"{left} {sign} {right} = {value + slip}"):
        (found,) = equations_of(text)
        assert found.holds == (slip == 0)


@given(st.text(max_size=200))
def test_any_text_has_a_key(text: str) -> None:
    assert path_key(text)


def test_hostile_text_is_read_in_little_time() -> None:
    started = time.process_time()
    for text in (
        "=" * 20_000,
        "1=" * 9_000,
        "(" * 15_000 + "=1",
        "1+" * 9_000 + "1=1",
        "\\frac{" * 3_000,
        "9" * 19_000 + "+1=1",
        "<<" + "9**" * 60 + "9=1>>",
        "1 " * 9_000 + "=1",
    ):
        path_key(text)
    assert time.process_time() - started < 4
