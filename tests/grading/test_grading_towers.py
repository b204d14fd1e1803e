"""Numbers that nobody computes: equal or different by their prime factors, or by a residue."""

from __future__ import annotations

import time

import pytest

from tutelage.grading.checker import check
from tutelage.grading.modular import is_equal
from tutelage.text.expressions import parse_expression

M61, M89 = (1 << 61) - 1, (1 << 89) - 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("10^{10^{10}}", r"100^{5\cdot 10^9}"),
        ("2^{2^{2^{2^{2^2}}}}", "2^{2^{2^{2^{4}}}}"),
        ("9^9^9^9", "3^{2*9^{9^9}}"),
        ("2^{-100000}", "0.5^{100000}"),
        ("2^{2^{100}}", "4^{2^{99}}"),
        ("(-2)^{100000}", "2^{100000}"),
        ("(-2)^{100001}", "-2^{100001}"),
        (r"\frac{10^{4000}}{10^{3999}}", "10"),
        (r"\frac{6^{4000}}{3^{4000}}", "2^{4000}"),
    ],
)
def test_equal_towers(first: str, second: str) -> None:
    assert check(first, second).equivalent is True
    assert check(second, first).equivalent is True


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("10^{10^{10}}", "10^{10^9}"),
        ("10^{10^{10}}", "10^{10^{10}}+1"),
        ("9^9^9^9", "9^9^9"),
        ("2^{100000}", "-2^{100000}"),
        ("(-2)^{100001}", "2^{100001}"),
        (r"\frac{10^{4000}}{10^{3999}}", "11"),
        ("1/2", "2^{2^{2^{2^{2^2}}}}"),
        ("5", "1000000!"),
    ],
)
def test_different_towers(first: str, second: str) -> None:
    assert check(first, second).equivalent is False
    assert check(second, first).equivalent is False


@pytest.mark.parametrize("text", ["1000000!", "(9^9^9)+1", r"\frac{1}{0^{9^9^9}}", "9^{1/9^9^9}", "0*9^9^9^9"])
def test_what_has_no_factors_costs_nothing(text: str) -> None:
    began = time.process_time()
    assert check(text, "9^9^9^9").equivalent is not True
    assert time.process_time() - began < 1


def test_no_answer_can_aim_at_the_fields() -> None:
    """An answer that is the gold modulo two known primes, and too long for a normal form."""
    aimed = rf"\frac{{(x+1)^{{500}}(x^2+{M61}*{M89})}}{{(x+1)^{{500}}}}"
    assert check("x^2", aimed).equivalent is False
    first, second = parse_expression("x^2"), parse_expression(f"x^2+{M61}*{M89}")
    assert first is not None and second is not None
    assert is_equal(first, second) is False
