"""A judge's figures by hand."""

from __future__ import annotations

import math

import pytest

from tutelage.evaluation.calibration import (
    RatedAnswer,
    accuracy_by_threshold,
    as_verdicts,
    correlation_between,
    correlation_with_truth,
    pearson,
    right_by_band,
    score_histogram,
)
from tutelage.evaluation.critic_metrics import verdict_figures

# Right: 10, 8, 4, unreadable. Wrong: 1, 3, 7, unreadable.
RATED = [
    RatedAnswer(f"{problem}{number}", problem, is_right, score)
    for number, (problem, is_right, score) in enumerate(
        [("a", True, 10), ("a", True, 8), ("b", True, 4), ("b", True, None),
         ("a", False, 1), ("b", False, 3), ("c", False, 7), ("c", False, None)]
    )
]  # fmt: skip


def test_verdicts_at_a_threshold() -> None:
    figures = verdict_figures(as_verdicts(RATED, 6))
    assert figures.accuracy == 4 / 8, "10 and 8 are right, 1 and 3 wrong; a rating that cannot be read is a miss"
    assert figures.specificity == 2 / 4 and figures.recall == 2 / 4 and figures.precision == 2 / 3
    assert figures.unreadable == 2 / 8
    by = accuracy_by_threshold(RATED)
    assert list(by) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert by[6] == 4 / 8 and by[4] == 5 / 8 and by[8] == 5 / 8 and by[9] == 4 / 8 and by[2] == 4 / 8
    with pytest.raises(ValueError, match="no answers"):
        accuracy_by_threshold([])


def test_the_histogram_and_the_bands() -> None:
    found = score_histogram(RATED)
    assert found.right == (0, 0, 0, 1, 0, 0, 0, 1, 0, 1) and found.wrong == (1, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    assert (found.unreadable_right, found.unreadable_wrong) == (1, 1)
    assert right_by_band(RATED) == [(1, 0.0), (2, 0.5), (2, 0.5), (1, 1.0)]
    assert right_by_band([]) == [(0, None)] * 4


def test_correlations_by_hand() -> None:
    """Scores 10, 8, 4, 1, 3, 7 (mean 5.5) against 1, 1, 1, 0, 0, 0 (mean 0.5).

    Deviations 4.5, 2.5, -1.5, -4.5, -2.5, 1.5: products with +-0.5 sum to 2.75 + 2.75 = 5.5; squares to 57.5 and 1.5.
    """
    assert correlation_with_truth(RATED) == pytest.approx(5.5 / math.sqrt(57.5 * 1.5))
    assert correlation_with_truth([one for one in RATED if one.is_right]) is None, "only right answers"
    assert pearson([1.0], [1.0]) is None and pearson([], []) is None
    assert pearson([1.0, 2.0], [3.0, 3.0]) is None
    assert pearson([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == -1.0
    with pytest.raises(ValueError, match="not paired"):
        pearson([1.0], [])
    value, shared = correlation_between({"a": 1, "b": 5, "c": 9}, {"b": 2, "c": 10, "d": 1})
    assert (value, shared) == (1.0, 2)
