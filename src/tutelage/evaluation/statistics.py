"""Intervals and tests. The unit is always the problem: several samples of one problem are averaged before.

Everything random takes a seed. Two-sided throughout; `confidence` is 0.95 unless given.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

_CHUNK = 4_000_000
_EXACT_FLIPS = 14


class Interval(NamedTuple):
    """Lower and upper end of a confidence interval."""

    low: float
    high: float


def wilson(successes: float, n: int, *, confidence: float = 0.95) -> Interval:
    """The Wilson score interval of a share.

    Args:
        successes: 0 <= successes <= n.
        n: number of independent problems; the interval of none is (0, 1).
        confidence: in (0, 1).

    Source: Wilson 1927, without continuity correction.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At 0 and n the ends are 0 and 1 exactly; rounding must not move them, nor past the share itself.
    return Interval(max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that two methods are equally often right, from the problems on which they differ.

    min(1, 2 P(X <= min(b, c))) with X ~ Binomial(b + c, 1/2), in whole numbers; 1.0 where they never differ.

    Args:
        only_first: b, problems that only the first solves.
        only_second: c, problems that only the second solves.
    """
    if only_first < 0 or only_second < 0:
        raise ValueError("counts are not negative")
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = term = 1
    for i in range(fewer):
        term = term * (n - i) // (i + 1)
        tail += term
    # A quotient of whole numbers is rounded once, at the end.
    return min(1.0, 2 * tail / 2**n) if n else 1.0


def bootstrap_mean(
    values: Sequence[float], *, seed: int, num_draws: int = 10_000, confidence: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of a mean.

    Args:
        values: one number for each problem, at least one.
        seed: of the resampling.
        num_draws: resamples.
    """
    if not len(values):
        raise ValueError("bootstrap of no problems")
    data = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(num_draws)
    rows = max(1, _CHUNK // len(data))
    for start in range(0, num_draws, rows):
        size = min(rows, num_draws - start)
        means[start : start + size] = data[rng.integers(0, len(data), size=(size, len(data)))].mean(axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(low), float(high))


def paired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    *,
    seed: int,
    num_draws: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of mean(second) - mean(first), problems drawn with both their values.

    Args:
        first, second: one number for each problem, the same problems in the same order.

    Raises:
        ValueError: lengths differ, or there is nothing.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values are not paired with {len(second)}")
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    return bootstrap_mean(list(differences), seed=seed, num_draws=num_draws, confidence=confidence)


def sign_flip(differences: Sequence[float], *, seed: int, num_draws: int = 20_000) -> float:
    """Two-sided p-value that paired differences are as often positive as negative, whatever their sizes.

    All 2^m sign patterns of the m differences that are not 0 where m <= 14, else `num_draws` random ones and
    (hits + 1) / (draws + 1), which is never 0.

    Args:
        differences: one for each problem.
        seed: of the random patterns.
    """
    data = np.asarray(differences, dtype=np.float64)
    data = data[data != 0]
    m = len(data)
    if not m:
        return 1.0
    # Sums that are equal on paper must count as equal.
    least = abs(data.sum()) - 1e-9 * np.abs(data).sum()
    if m <= _EXACT_FLIPS:
        patterns = (np.arange(2**m)[:, None] >> np.arange(m)) & 1
        return float(np.mean(np.abs((1 - 2 * patterns) @ data) >= least))
    rng = np.random.default_rng(seed)
    hits, rows = 0, max(1, _CHUNK // m)
    for start in range(0, num_draws, rows):
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(min(rows, num_draws - start), m))
        hits += int(np.sum(np.abs(signs @ data) >= least))
    return (hits + 1) / (num_draws + 1)
