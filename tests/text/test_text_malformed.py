"""Which texts can be no number, and which only are not read."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.text.malformed import is_malformed, read_near


@pytest.mark.parametrize(
    "text",
    ["7 8 9", "1 2", "???", "(7", "7)", "7+", "*7", "7?", "15/", "()", r"\frac{1}{2}+", "{7", "7|8", "7..8", r"7\cup 8",
     r"7\\8", "7&8", "7%8%", "%7", "7%%", "7#8", r"7\to 8", "-7 -8"],
)  # fmt: skip
def test_broken(text: str) -> None:
    assert is_malformed(text)


@pytest.mark.parametrize(
    "text",
    [
        "7",
        "-7",
        "(1,2]",
        "[1,2)",
        r"\foo{7}",
        "1/2(3)",
        "4!!",
        "x+",
        "2!4",
        r"4\frac{5}{3}",
        r"\sqrt12",
        "2 5/4",
        "",
        "7%",
        "17%5",
        "7//2",
        "|7|",
        r"7\cdot 8",
        r"\sim 7",
        "7...",
        r"7\ldots",
    ],
)
def test_not_broken(text: str) -> None:
    assert not is_malformed(text)


def test_near() -> None:
    assert read_near(r"\approx 7.01") == "7.01"
    assert read_near(r"x\approx 7.01") == "7.01"
    assert read_near("0.66...") == (Fraction(66, 100), Fraction(67, 100))
    assert read_near("-0.5\\ldots") == (Fraction(-6, 10), Fraction(-5, 10))
    assert read_near("3...") is read_near("7") is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=40))
def test_total(text: str) -> None:
    assert is_malformed(text) in (True, False)
    read_near(text)
