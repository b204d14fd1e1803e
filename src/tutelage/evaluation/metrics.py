"""Accuracy, pass@k, majority vote: exact numbers from counts, no sampling and no grading.

Outcomes that are our failure never enter a metric; callers leave them out and count them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

from tutelage.text.answers import read_answer
from tutelage.text.values import Group, Named, Scalar, Value, Words


def accuracy(values: Sequence[float]) -> float:
    """Mean of per-problem values in [0, 1]. Raises ValueError for none at all."""
    if not values:
        raise ValueError("accuracy of no problems")
    return sum(values) / len(values)


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Chance that at least one of k samples drawn without replacement is correct: 1 - C(n-c, k) / C(n, k).

    Exact whole-number arithmetic, unbiased for samples of one policy.

    Args:
        num_samples: n >= k.
        num_correct: c, 0 <= c <= n.
        k: 1 <= k <= n.

    Raises:
        ValueError: outside of these ranges.

    Source: Chen et al. 2021, arXiv 2107.03374 §2.1.

    >>> pass_at_k(4, 1, 2)
    0.5
    """
    if not 1 <= k <= num_samples or not 0 <= num_correct <= num_samples:
        raise ValueError(f"pass@{k} of {num_correct} correct among {num_samples} samples is not defined")
    return float(1 - Fraction(comb(num_samples - num_correct, k), comb(num_samples, k)))


def answer_key(answer: str) -> Hashable:
    """Equal for answers that are the same number, else for those with the same normalised text.

    `0.5`, `1/2` and `x = .50` share a key, `50%` has its own; units do not count, nor does order in a list or set.
    It knows nothing of the gold answer.
    """
    return _key(read_answer(answer))


def _key(value: Value) -> Hashable:
    if isinstance(value, Named):
        return _key(value.value)
    if isinstance(value, Scalar) and value.value is not None:
        return (value.value, value.percent)
    if isinstance(value, Group):
        items = [_key(item) for item in value.items]
        is_ordered = value.brackets in ("tuple", "square")
        return (value.brackets, *(items if is_ordered else sorted(items, key=repr)))
    return value.words if isinstance(value, Words) else value.text


@dataclass(frozen=True)
class Vote:
    """One sample's vote.

    Args:
        key: what it votes for (`answer_key`); None casts no vote.
        is_correct: whether that answer is right; None where the grader could not tell.
    """

    key: Hashable | None
    is_correct: bool | None


def majority_vote(votes: Sequence[Vote], *, share_ties: bool = False) -> float | None:
    """1.0 if the answer with the most votes is right, 0.0 if not or if nobody votes.

    A tie goes to the answer whose first vote came earliest, so the order of `votes` must be canonical. An answer is
    right if its first graded vote says so.

    Args:
        share_ties: give the share of right answers among the tied ones instead: the mean over ties broken at random.

    Returns:
        The value, in [0, 1]; None where the winning answer could not be graded.
    """
    counts: dict[Hashable, int] = {}
    verdicts: dict[Hashable, bool | None] = {}
    for vote in votes:
        if vote.key is None:
            continue
        counts[vote.key] = counts.get(vote.key, 0) + 1
        if verdicts.get(vote.key) is None:
            verdicts[vote.key] = vote.is_correct
    if not counts:
        return 0.0
    most = max(counts.values())
    winners = [key for key, count in counts.items() if count == most]
    graded = [verdicts[key] for key in (winners if share_ties else winners[:1])]
    if any(verdict is None for verdict in graded):
        return None
    return sum(map(bool, graded)) / len(graded)


def expected_majority(votes: Sequence[Vote], k: int, *, num_draws: int = 1000, seed: int = 0) -> float | None:
    """Mean of `majority_vote` over subsets of k votes, ties shared: maj@k measured with more than k samples.

    Exact where there are at most `num_draws` subsets, else over `num_draws` random ones.

    Returns:
        The mean; None where some subset's winner could not be graded.

    Raises:
        ValueError: fewer than k votes.
    """
    if not 1 <= k <= len(votes):
        raise ValueError(f"maj@{k} of {len(votes)} samples is not defined")
    if comb(len(votes), k) <= num_draws:
        subsets = [list(subset) for subset in itertools.combinations(votes, k)]
    else:
        rng = random.Random(seed)
        subsets = [rng.sample(list(votes), k) for _ in range(num_draws)]
    values = [majority_vote(subset, share_ties=True) for subset in subsets]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
