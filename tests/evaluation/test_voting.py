"""Weighted votes and votes of every size, by hand and against the plain majority vote."""

from __future__ import annotations

import math
import random

import pytest

from tutelage.evaluation.metrics import Vote, expected_majority, majority_vote
from tutelage.evaluation.voting import softmax_weights, vote_curve, weighted_vote

RIGHT, WRONG, OTHER, SILENT = Vote("4", True), Vote("5", False), Vote("6", False), Vote(None, None)


def test_the_heaviest_answer_wins() -> None:
    assert weighted_vote([WRONG, WRONG, RIGHT], [0.2, 0.2, 0.5]) == 1.0
    assert weighted_vote([WRONG, WRONG, RIGHT], [0.3, 0.3, 0.5]) == 0.0
    assert weighted_vote([WRONG, RIGHT], [1, 1]) == 0.0 and weighted_vote([RIGHT, WRONG], [1, 1]) == 1.0
    assert weighted_vote([RIGHT, WRONG], [1, 1], share_ties=True) == 0.5
    assert weighted_vote([SILENT], [9]) == 0.0 and weighted_vote([Vote("?", None)], [1]) is None


def test_equal_weights_are_a_majority_vote() -> None:
    rng = random.Random(0)
    for _ in range(200):
        votes = rng.choices([RIGHT, WRONG, OTHER, SILENT], k=7)
        for ties in (False, True):
            assert weighted_vote(votes, [1.0] * 7, share_ties=ties) == pytest.approx(
                majority_vote(votes, share_ties=ties)
            )


def test_weights_of_rewards() -> None:
    assert softmax_weights([1.0, 3.0]) == [math.exp(-2.0), 1.0] and softmax_weights([]) == []
    assert softmax_weights([-900.0, -900.0]) == [1.0, 1.0]


def test_a_curve_ends_in_the_vote_of_all_and_begins_in_the_mean() -> None:
    votes = [RIGHT, WRONG, RIGHT, OTHER, SILENT]
    curve = vote_curve(votes)
    assert curve is not None and len(curve) == 5 and curve[-1] == 1.0
    assert curve[0] == pytest.approx(0.4, abs=0.12)
    exact = expected_majority(votes, 3)
    assert exact is not None and curve[2] == pytest.approx(exact, abs=0.12)
    assert vote_curve(votes, seed=1) == vote_curve(votes, seed=1) != vote_curve(votes, seed=2)


def test_a_curve_of_weights_and_of_those_that_pass() -> None:
    assert vote_curve([WRONG, WRONG, RIGHT], weights=[0.1, 0.1, 1.0])[-1] == 1.0  # type: ignore[index]
    passed = vote_curve([WRONG, WRONG, RIGHT], is_passed=[False, False, True])
    assert passed is not None and passed[-1] == 1.0 and passed[0] == pytest.approx(1 / 3, abs=0.15)
    assert vote_curve([WRONG, RIGHT, WRONG], is_passed=[False] * 3) == vote_curve([WRONG, RIGHT, WRONG])
    assert vote_curve([Vote("?", None), RIGHT]) is None
