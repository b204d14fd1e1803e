"""Intervals and p-values against scipy, enumeration and numbers worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tutelage.evaluation.statistics import (
    bootstrap_mean,
    mcnemar_exact,
    paired_bootstrap,
    sign_flip,
    wilson,
)


def test_wilson_by_hand() -> None:
    # z = 1.959964, n = 10, share 0.8: centre (0.8 + 0.192073) / 1.384146, half-width 0.226588.
    low, high = wilson(8, 10)
    assert low == pytest.approx(0.490162, abs=1e-6) and high == pytest.approx(0.943318, abs=1e-6)
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="11 successes of 10"):
        wilson(11, 10)


@given(st.integers(1, 2000), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_against_scipy(n: int, data: st.DataObject, confidence: float) -> None:
    successes = data.draw(st.integers(0, n))
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    low, high = wilson(successes, n, confidence=confidence)
    assert low == pytest.approx(expected.low, abs=1e-9) and high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= low <= successes / n <= high <= 1


def test_mcnemar_by_hand() -> None:
    # 5 discordant, all one way: 2 / 2^5. 1 against 5: 2 (1 + 6) / 2^6.
    assert mcnemar_exact(5, 0) == 0.0625 == mcnemar_exact(0, 5)
    assert mcnemar_exact(1, 5) == 0.21875
    assert mcnemar_exact(0, 0) == 1.0 == mcnemar_exact(3, 3)
    assert 0 < mcnemar_exact(0, 1000) < 1e-300
    with pytest.raises(ValueError, match="not negative"):
        mcnemar_exact(-1, 2)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_against_scipy(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)


def test_bootstrap_against_scipy() -> None:
    values = np.random.default_rng(0).random(80)
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", random_state=1)
    low, high = bootstrap_mean(list(values), seed=2, num_draws=20_000)
    assert low == pytest.approx(expected.confidence_interval.low, abs=3e-3)
    assert high == pytest.approx(expected.confidence_interval.high, abs=3e-3)


def test_bootstrap_is_seeded_and_sound_at_its_edges() -> None:
    values = [0.0, 1.0, 1.0, 0.5]
    assert (
        bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4, num_draws=77)
    )
    assert bootstrap_mean([0.7], seed=0) == pytest.approx((0.7, 0.7))
    assert bootstrap_mean([1.0] * 9, seed=0) == (1.0, 1.0)
    with pytest.raises(ValueError, match="no problems"):
        bootstrap_mean([], seed=0)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    trials = 300
    hits = 0
    for trial in range(trials):
        low, high = bootstrap_mean(list(rng.binomial(1, 0.4, 150).astype(float)), seed=trial, num_draws=400)
        hits += low <= 0.4 <= high
    assert 0.90 < hits / trials <= 0.99


def test_pairs_are_drawn_together() -> None:
    first = list(np.random.default_rng(1).random(50))
    second = [v + 0.25 for v in first]
    low, high = paired_bootstrap(first, second, seed=0)
    assert low == pytest.approx(0.25) and high == pytest.approx(0.25)
    low, high = paired_bootstrap(second, first, seed=0)
    assert low == pytest.approx(-0.25)
    with pytest.raises(ValueError, match="2 values are not paired with 1"):
        paired_bootstrap([1, 0], [1], seed=0)


def test_long_data_is_resampled_in_pieces_with_the_same_law() -> None:
    values = [0.0, 1.0] * 2500
    low, high = bootstrap_mean(values, seed=0, num_draws=2000)
    # Standard error 0.5 / sqrt(5000) = 0.00707; 1.96 of them on each side.
    assert low == pytest.approx(0.5 - 0.01386, abs=1e-3) and high == pytest.approx(0.5 + 0.01386, abs=1e-3)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), max_size=8))
def test_sign_flip_by_enumeration(differences: list[float]) -> None:
    total = abs(sum(differences))
    patterns = list(itertools.product((1, -1), repeat=len(differences)))
    sums = [abs(sum(s * d for s, d in zip(p, differences, strict=True))) for p in patterns]
    expected = sum(s >= total - 1e-12 for s in sums) / len(sums)
    assert sign_flip(differences, seed=0) == pytest.approx(expected)


def test_sign_flip_against_scipy_and_mcnemar() -> None:
    differences = np.random.default_rng(5).normal(0.3, 1.0, 40)
    expected = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=20_000, random_state=0
    ).pvalue
    assert sign_flip(list(differences), seed=1) == pytest.approx(expected, abs=0.015)
    # On 0/1 data it is McNemar's test.
    assert sign_flip([1.0] * 9 + [-1.0] * 3 + [0.0] * 5, seed=0) == pytest.approx(mcnemar_exact(3, 9))
    many = [1.0] * 30 + [-1.0] * 16
    assert sign_flip(many, seed=0) == pytest.approx(mcnemar_exact(16, 30), abs=0.01)
    assert sign_flip(many, seed=0) == sign_flip(many, seed=0) > 0
    assert sign_flip([0.0, 0.0], seed=0) == 1.0 == sign_flip([], seed=0)
