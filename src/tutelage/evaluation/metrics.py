"""Accuracy, pass@k, majority vote, AUC, best of k: exact numbers from counts and scores, no sampling and no grading.

Outcomes that are our failure never enter a metric; callers leave them out and count them.
"""

from __future__ import annotations

import bisect
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


@dataclass(frozen=True)
class ScoredGroup:
    """The scores that the right and the wrong answers of one problem got."""

    right: tuple[float, ...]
    wrong: tuple[float, ...]


def auc(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Chance that a right answer scores above a wrong one, over all pairs of the two; a tie counts half.

    Returns:
        The area under the ROC curve, in [0, 1]; 0.5 is no better than chance.

    Raises:
        ValueError: one of the two is empty.

    >>> auc([3.0, 1.0], [1.0, 0.0])
    0.875
    """
    if not right or not wrong:
        raise ValueError("an AUC needs right and wrong answers")
    return _won(right, sorted(wrong)) / (len(right) * len(wrong))


def auc_within(groups: Sequence[ScoredGroup]) -> float | None:
    """The AUC over pairs of a right and a wrong answer of the *same* problem: how scores rank one problem's answers.

    Every pair counts once, so a problem with many pairs counts for more.

    Returns:
        In [0, 1]; None where no problem has both.
    """
    won, pairs = _within(groups)
    return won / pairs if pairs else None


def auc_across(groups: Sequence[ScoredGroup]) -> float | None:
    """The AUC over pairs of a right and a wrong answer of *different* problems: do scores mean the same everywhere?

    Returns:
        In [0, 1]; None where there is no such pair.
    """
    right = [score for group in groups for score in group.right]
    wrong = sorted(score for group in groups for score in group.wrong)
    won_within, pairs_within = _within(groups)
    pairs = len(right) * len(wrong) - pairs_within
    return (_won(right, wrong) - won_within) / pairs if pairs else None


def _within(groups: Sequence[ScoredGroup]) -> tuple[float, int]:
    """Pairs of one problem that the right answer wins (ties half), and all such pairs."""
    won = sum(_won(group.right, sorted(group.wrong)) for group in groups)
    return won, sum(len(group.right) * len(group.wrong) for group in groups)


def _won(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Pairs that a right answer wins, ties counting half; `wrong` is sorted."""
    return sum(bisect.bisect_left(wrong, score) + bisect.bisect_right(wrong, score) for score in right) / 2


def best_of_k(scores: Sequence[float], is_correct: Sequence[bool], k: int) -> float:
    """Chance that the highest-scoring of k samples drawn without replacement is right; ties are broken at random.

    Exact: the best of a subset lies among m samples of one score, with a samples above it, in
    (C(n-a, k) - C(n-a-m, k)) / C(n, k) of all subsets.

    Args:
        scores: of n samples of one problem.
        is_correct: whether each is right.
        k: 1 <= k <= n.

    Raises:
        ValueError: k is out of range, or the two differ in length.

    >>> best_of_k([2.0, 1.0], [False, True], 2)
    0.0
    """
    n = len(scores)
    if len(is_correct) != n or not 1 <= k <= n:
        raise ValueError(f"best of {k} among {n} scores and {len(is_correct)} verdicts is not defined")
    value, above = Fraction(0), 0
    for score in sorted(set(scores), reverse=True):
        tied = [right for one, right in zip(scores, is_correct, strict=True) if one == score]
        ways = comb(n - above, k) - comb(n - above - len(tied), k)
        value += Fraction(ways, comb(n, k)) * Fraction(sum(tied), len(tied))
        above += len(tied)
    return float(value)
