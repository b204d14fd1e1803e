"""Votes that carry weight, and votes as a function of how many take part."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Sequence

from tutelage.evaluation.metrics import Vote

MAX_ORDERS, MIN_ORDERS, STEPS = 100, 10, 12_800
"""Random orders in which samples are taken to measure a vote of every size at once: fewer where samples are many."""


def weighted_vote(votes: Sequence[Vote], weights: Sequence[float], *, share_ties: bool = False) -> float | None:
    """As `majority_vote`, but the answer with the largest sum of weights wins.

    Args:
        votes: in canonical order; of equally heavy answers the one whose first vote came earliest wins.
        weights: of each vote, at least 0.
        share_ties: give the share of right answers among the tied ones instead.

    Returns:
        1.0 or 0.0, or a share of ties; 0.0 where nobody votes; None where a winning answer could not be graded.
    """
    tally = _Tally()
    for vote, weight in zip(votes, weights, strict=True):
        tally.add(vote, weight)
    return tally.value(share_ties=share_ties)


def softmax_weights(scores: Sequence[float]) -> list[float]:
    """exp(score - max): scores of a Bradley-Terry reward model, comparable within a problem only, as vote weights.

    Returns:
        Positive weights, the largest 1.0; all of them 1.0 where scores are equal.
    """
    top = max(scores, default=0.0)
    return [math.exp(score - top) for score in scores]


def vote_curve(
    votes: Sequence[Vote],
    *,
    weights: Sequence[float] | None = None,
    is_passed: Sequence[bool] | None = None,
    seed: int = 0,
) -> list[float] | None:
    """Mean value of a vote of k, for every k from 1 to n, from one set of n votes: ties shared, subsets at random.

    Each random order of the votes gives a vote of every size, so that the whole curve costs 10 to 100 passes. All
    sizes of one problem see the same orders.

    Args:
        votes: n of them.
        weights: of the votes; None counts heads.
        is_passed: which votes a critic passes: only these count as soon as there is one among those taken.
        seed: of the orders.

    Returns:
        A value for k = 1 .. n; None where a winning answer could not be graded.
    """
    heavy = list(weights) if weights is not None else [1.0] * len(votes)
    num_orders = min(MAX_ORDERS, max(MIN_ORDERS, STEPS // max(1, len(votes))))
    sums = [0.0] * len(votes)
    rng = random.Random(seed)
    order = list(range(len(votes)))
    for _ in range(num_orders):
        rng.shuffle(order)
        everybody, passed = _Tally(), _Tally()
        has_passed = False
        for taken, place in enumerate(order):
            everybody.add(votes[place], heavy[place])
            if is_passed is not None and is_passed[place]:
                has_passed = True
                passed.add(votes[place], heavy[place])
            value = (passed if has_passed else everybody).value(share_ties=True)
            if value is None:
                return None
            sums[taken] += value
    return [total / num_orders for total in sums]


class _Tally:
    """Answers with their weight and the first verdict on each; the heaviest are kept as votes come in."""

    def __init__(self) -> None:
        self._weights: dict[Hashable, float] = {}
        self._verdicts: dict[Hashable, bool | None] = {}
        self._most = 0.0
        self._winners: set[Hashable] = set()

    def add(self, vote: Vote, weight: float) -> None:
        if vote.key is None:
            return
        total = self._weights[vote.key] = self._weights.get(vote.key, 0.0) + weight
        if self._verdicts.get(vote.key) is None:
            self._verdicts[vote.key] = vote.is_correct
        if math.isclose(total, self._most, rel_tol=1e-12):
            self._winners.add(vote.key)
        elif total > self._most:
            self._most, self._winners = total, {vote.key}

    def value(self, *, share_ties: bool) -> float | None:
        if not self._weights:
            return 0.0
        winners = self._winners
        if not share_ties:
            winners = {next(key for key in self._weights if key in winners)}
        verdicts = [self._verdicts[key] for key in winners]
        return None if any(v is None for v in verdicts) else sum(map(bool, verdicts)) / len(verdicts)
