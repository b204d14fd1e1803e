"""AUC within and across problems, and best of k: by hand, and against the obvious slow way."""

from __future__ import annotations

import itertools
import random

import pytest

from tutelage.evaluation.metrics import ScoredGroup, auc, auc_across, auc_within, best_of_k


def test_auc_counts_pairs_and_half_of_ties() -> None:
    # (3,1) (3,0) (1,0) won, (1,1) tied: 3.5 of 4.
    assert auc([3.0, 1.0], [1.0, 0.0]) == 0.875
    assert auc([1.0], [1.0]) == 0.5
    assert auc([0.0], [1.0]) == 0.0
    with pytest.raises(ValueError, match="right and wrong"):
        auc([], [1.0])


def test_scores_that_rank_one_problem_need_not_compare_two() -> None:
    # Within: 5 > 4 and 1 > 0, so 2 of 2. Across: (5,0) won, (1,4) lost: 1 of 2.
    groups = [ScoredGroup((5.0,), (4.0,)), ScoredGroup((1.0,), (0.0,))]
    assert auc_within(groups) == 1.0
    assert auc_across(groups) == 0.5


def test_an_all_right_problem_counts_across_only() -> None:
    groups = [ScoredGroup((2.0, 2.0), ()), ScoredGroup((), (2.0, 1.0)), ScoredGroup((0.0,), (0.0,))]
    assert auc_within(groups) == 0.5
    # right 2, 2 against 2, 1, 0: (0.5 + 1 + 1) x 2 = 5; right 0 against 2, 1: 0 of 2. 5 of 8.
    assert auc_across(groups) == 5 / 8
    assert auc_within(groups[:2]) is None and auc_across([groups[2]]) is None


def test_auc_agrees_with_counting_every_pair() -> None:
    rng = random.Random(1)
    groups = [
        ScoredGroup(*(tuple(float(rng.randint(0, 5)) for _ in range(rng.randint(0, 4))) for _ in range(2)))
        for _ in range(12)
    ]

    def won(pairs) -> float:
        values = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]
        return sum(values) / len(values)

    assert auc_within(groups) == pytest.approx(won([p for g in groups for p in itertools.product(g.right, g.wrong)]))
    across = [p for g in groups for h in groups if g is not h for p in itertools.product(g.right, h.wrong)]
    assert auc_across(groups) == pytest.approx(won(across))


def test_best_of_k_by_hand() -> None:
    scores, right = [3.0, 2.0, 1.0], [False, True, True]
    assert best_of_k(scores, right, 1) == pytest.approx(2 / 3)
    # Subsets of two: {3,2} wrong, {3,1} wrong, {2,1} right.
    assert best_of_k(scores, right, 2) == pytest.approx(1 / 3)
    assert best_of_k(scores, right, 3) == 0.0
    assert best_of_k([1.0, 1.0], [True, False], 2) == 0.5, "ties are broken at random"


def test_best_of_k_agrees_with_every_subset() -> None:
    rng = random.Random(2)
    for _ in range(20):
        n = rng.randint(1, 6)
        scores, right = [float(rng.randint(0, 3)) for _ in range(n)], [rng.random() < 0.5 for _ in range(n)]
        for k in range(1, n + 1):
            values = []
            for subset in itertools.combinations(range(n), k):
                top = [i for i in subset if scores[i] == max(scores[j] for j in subset)]
                values.append(sum(right[i] for i in top) / len(top))
            assert best_of_k(scores, right, k) == pytest.approx(sum(values) / len(values))


def test_best_of_k_refuses_what_is_not_there() -> None:
    for k, right in ((0, [True]), (2, [True]), (1, [])):
        with pytest.raises(ValueError, match="best of"):
            best_of_k([1.0], right, k)
