"""What a judge's scores are worth against the truth: pure functions of rated answers.

A score from 1 to 10 says that an answer is right where it reaches a threshold (6: the band from which the result is
right). An answer whose rating could not be read has no score: as a verdict it is a miss, in the other figures it is
left out and counted. What the 360 talk (2024) and arXiv 2404.02893 section 3 show of their judges: accuracy of right
and wrong, the correlation of scores, and how scores lie for right and for wrong answers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.evaluation.critic_metrics import CriticCase
from tutelage.text.ratings import BANDS, HIGHEST, LOWEST, band_of

SCORES = range(LOWEST, HIGHEST + 1)


@dataclass(frozen=True)
class RatedAnswer:
    """An answer, the truth about it, and a judge's score.

    Args:
        id: the answer's.
        problem_id: the problem.
        is_right: whether the answer is right, by the grader.
        score: 1 to 10; None where the rating could not be read.
    """

    id: str
    problem_id: str
    is_right: bool
    score: int | None


def as_verdicts(rated: Sequence[RatedAnswer], threshold: float) -> list[CriticCase]:
    """Ratings as verdicts, for `critic_metrics.verdict_figures`: right where the score reaches `threshold`."""
    return [
        CriticCase(one.problem_id, one.is_right, None if one.score is None else one.score >= threshold)
        for one in rated
    ]  # fmt: skip


def accuracy_by_threshold(rated: Sequence[RatedAnswer]) -> dict[int, float]:
    """For each threshold 2 to 10, the share of answers whose verdict is right; a missing score is a miss.

    For looking at: a threshold chosen by it needs other answers to be measured on.

    Raises:
        ValueError: no answers.
    """
    if not rated:
        raise ValueError("figures of no answers")
    return {
        at: sum(one.score is not None and (one.score >= at) == one.is_right for one in rated) / len(rated)
        for at in SCORES[1:]
    }


@dataclass(frozen=True)
class Histogram:
    """How many answers got each score, 1 first; and how many ratings could not be read."""

    right: tuple[int, ...]
    wrong: tuple[int, ...]
    unreadable_right: int
    unreadable_wrong: int


def score_histogram(rated: Sequence[RatedAnswer]) -> Histogram:
    """The scores of right and of wrong answers."""
    right = Counter(one.score for one in rated if one.is_right)
    wrong = Counter(one.score for one in rated if not one.is_right)
    return Histogram(
        tuple(right[score] for score in SCORES), tuple(wrong[score] for score in SCORES), right[None], wrong[None]
    )


def right_by_band(rated: Sequence[RatedAnswer]) -> list[tuple[int, float | None]]:
    """For each band, worst first: how many answers are in it, and the share of them that is right (None for none)."""
    bands: list[list[bool]] = [[] for _ in BANDS]
    for one in rated:
        if one.score is not None:
            bands[band_of(one.score)].append(one.is_right)
    return [(len(own), sum(own) / len(own) if own else None) for own in bands]


def correlation_with_truth(rated: Sequence[RatedAnswer]) -> float | None:
    """Pearson's r between score and truth (1 right, 0 wrong), over answers with a score; None where it has no value."""
    known = [(float(one.score), float(one.is_right)) for one in rated if one.score is not None]
    return pearson([score for score, _ in known], [truth for _, truth in known])


def correlation_between(first: Mapping[str, int], second: Mapping[str, int]) -> tuple[float | None, int]:
    """Pearson's r between two judges' scores by answer id, over the answers that both rated, and how many these are."""
    shared = sorted(first.keys() & second.keys())
    return pearson([float(first[i]) for i in shared], [float(second[i]) for i in shared]), len(shared)


def pearson(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's correlation, in [-1, 1]; None with fewer than two points or where one side does not vary.

    Raises:
        ValueError: lengths differ.

    >>> pearson([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    1.0
    """
    n = len(first)
    if len(second) != n:
        raise ValueError(f"{n} values are not paired with {len(second)}")
    if n < 2:
        return None
    mean_first, mean_second = sum(first) / n, sum(second) / n
    off_first, off_second = [value - mean_first for value in first], [value - mean_second for value in second]
    spread = math.sqrt(math.fsum(a * a for a in off_first) * math.fsum(b * b for b in off_second))
    if spread == 0:
        return None
    together = math.fsum(a * b for a, b in zip(off_first, off_second, strict=True))
    return max(-1.0, min(1.0, together / spread))
