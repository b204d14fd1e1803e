"""How far attention looks, so that sums over keys are cut alike: each habit by hand, and the one of this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.sampling.kernels import EVEN, EVEN_FUSED, HALVED, KeyRule, key_span, rule


@pytest.mark.parametrize(
    ("habit", "queries", "lengths"),
    [
        (HALVED, 3, {1: 16, 192: 192, 193: 208, 500: 512, 700: 704}),
        (HALVED, 4, {1: 16, 192: 192, 193: 512, 512: 512, 513: 528, 704: 704, 705: 1024}),
        (EVEN, 1, {385: 400, 700: 704}),
        (EVEN, 2, {1: 16, 384: 384, 385: 768, 767: 768, 768: 768, 769: 784, 1200: 1200}),
        (EVEN_FUSED, 1, {256: 256, 257: 512, 512: 512, 768: 768, 769: 1024}),
    ],
)
def test_lengths_are_rounded_so_that_rows_are_cut_alike(habit: KeyRule, queries: int, lengths: dict[int, int]) -> None:
    assert {length: habit.span(length, queries) for length in lengths} == lengths


@given(st.sampled_from((HALVED, EVEN, EVEN_FUSED)), st.integers(1, 4096), st.integers(1, 16))
def test_a_span_holds_its_length_and_is_its_own_span(habit: KeyRule, length: int, queries: int) -> None:
    span = habit.span(length, queries)
    assert span >= length and span % 16 == 0 and habit.span(span, queries) == span


def test_this_machine_has_one_of_them_or_promises_nothing() -> None:
    assert rule() in (HALVED, EVEN, None)
    assert key_span(100, shared_queries=8, is_fused=True) == key_span(100, shared_queries=8, is_fused=False) == 112
