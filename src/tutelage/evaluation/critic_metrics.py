"""How good a critic is: verdicts, the first wrong step, and what its critiques do to the actor's answers.

Pure functions of cases: an answer, the truth about it, what the critic said, and what became of it. A critique that
could not be read is a verdict missed, never one that was right. Answers whose truth is unknown (our failures) are not
cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tutelage.evaluation.statistics import Interval

Place = int | Literal["unplaced", "unknown"] | None
"""A first wrong step, from 0; None for none; "unplaced" where a critic's words name no single step."""
Totals = npt.NDArray[Any]
NUM_DRAWS = 2_000
"""Bootstrap resamples of problems."""


@dataclass(frozen=True)
class CriticCase:
    """One answer, its critique, and its refinement.

    Args:
        problem_id: the problem.
        is_right: whether the answer is right, by the grader.
        said_right: the critic's verdict on it; None where the critique could not be read.
        first_error: the true first wrong step; "unknown" where nobody told.
        said_error: the critic's; "unplaced" also where the critique could not be read.
        refined_right: whether the refinement is right; None where there is none that could be graded.
        level: how hard the problem is for the actor, 0 the hardest; None where it was not measured.
    """

    problem_id: str
    is_right: bool
    said_right: bool | None
    first_error: Place = "unknown"
    said_error: Place = "unplaced"
    refined_right: bool | None = None
    level: int | None = None


@dataclass(frozen=True)
class VerdictFigures:
    """Verdicts on whole answers; the class that is looked for is the wrong answer.

    Args:
        accuracy: share of right verdicts; one that could not be read is not right.
        precision: of the answers called wrong, the share that is; None where none was.
        recall: of the wrong answers, the share called wrong; None where there is none.
        specificity: of the right answers, the share called right; None where there is none.
        unreadable: share of critiques that could not be read.
        low, high: 95 % interval of the accuracy, by resampling problems.
        n: answers.
    """

    accuracy: float
    precision: float | None
    recall: float | None
    specificity: float | None
    unreadable: float
    low: float
    high: float
    n: int


def verdict_figures(cases: Sequence[CriticCase], *, seed: int = 0) -> VerdictFigures:
    """Accuracy, precision and recall of the final verdicts.

    Raises:
        ValueError: no cases.
    """
    called_wrong = [case for case in cases if case.said_right is False]
    wrong = [case for case in cases if not case.is_right]
    right = [case for case in cases if case.is_right]
    accuracy = _accuracy(cases)
    interval = _resampled(cases, lambda case: (case.said_right == case.is_right, 1), _ratio, seed)
    return VerdictFigures(
        accuracy=accuracy, precision=_share([not case.is_right for case in called_wrong]),
        recall=_share([case.said_right is False for case in wrong]),
        specificity=_share([case.said_right is True for case in right]),
        unreadable=_share([case.said_right is None for case in cases]) or 0.0,
        low=interval.low, high=interval.high, n=len(cases),
    )  # fmt: skip


def _accuracy(cases: Sequence[CriticCase]) -> float:
    if not cases:
        raise ValueError("figures of no cases")
    return sum(case.said_right == case.is_right for case in cases) / len(cases)


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class FirstErrorFigures:
    """How well the first wrong step is found.

    Args:
        f1: harmonic mean of the two accuracies; None where one of the two kinds of answers is missing.
        on_wrong: share of answers with a wrong step whose first one is named exactly; None without such answers.
        on_right: share of answers without a wrong step in which none is named; None without such answers.
        low, high: 95 % interval of f1, by resampling problems; None where f1 is.
        n_wrong, n_right: how many of each.
    """

    f1: float | None
    on_wrong: float | None
    on_right: float | None
    low: float | None
    high: float | None
    n_wrong: int
    n_right: int


def first_error_figures(cases: Sequence[CriticCase], *, seed: int = 0) -> FirstErrorFigures:
    """F1 on the first wrong step, over the cases whose first error is known.

    Source: ProcessBench, arXiv 2412.06559 section 3: the harmonic mean of the accuracies on erroneous and on correct
    samples, where a sample counts if the earliest wrong step, or that there is none, is named exactly.
    """
    known = [case for case in cases if case.first_error != "unknown"]
    on_wrong, on_right = _first_error_accuracies(known)
    f1 = None if on_wrong is None or on_right is None else harmonic_mean(on_wrong, on_right)
    interval = None if f1 is None else _resampled(known, _first_error_counts, _first_error_f1, seed)
    return FirstErrorFigures(
        f1, on_wrong, on_right, None if interval is None else interval.low, None if interval is None else interval.high,
        sum(case.first_error is not None for case in known), sum(case.first_error is None for case in known),
    )  # fmt: skip


def harmonic_mean(first: float, second: float) -> float:
    """2ab / (a + b); 0 where both are 0."""
    return 2 * first * second / (first + second) if first + second else 0.0


def _first_error_accuracies(cases: Sequence[CriticCase]) -> tuple[float | None, float | None]:
    hits = [(case.first_error is not None, case.said_error == case.first_error) for case in cases]
    on_wrong, on_right = ([hit for is_wrong, hit in hits if is_wrong == kind] for kind in (True, False))
    return _share(on_wrong), _share(on_right)


def _first_error_counts(case: CriticCase) -> tuple[float, ...]:
    """Wrong, wrong and found, right, right and left alone."""
    is_wrong, hit = case.first_error is not None, case.said_error == case.first_error
    return (is_wrong, is_wrong and hit, not is_wrong, not is_wrong and hit)


def _first_error_f1(totals: Totals) -> Totals:
    on_wrong, on_right = _ratio(totals[:, [1, 0]]), _ratio(totals[:, [3, 2]])
    both = on_wrong + on_right
    return np.where(both > 0, 2 * on_wrong * on_right / np.where(both > 0, both, 1), both)


@dataclass(frozen=True)
class HelpFigures:
    """What refinement with the critic's words does to the actor's answers.

    Args:
        before, after: accuracy of the answers, and of what they were refined to (themselves where nothing was).
        gain: after minus before; low, high: its 95 % interval, by resampling problems.
        right_to_wrong: of the right answers, the share that refinement spoils; None without right answers.
        wrong_to_right: of the wrong answers, the share that it repairs; None without wrong answers.
        n: answers.
    """

    before: float
    after: float
    gain: float
    low: float
    high: float
    right_to_wrong: float | None
    wrong_to_right: float | None
    n: int


def help_figures(cases: Sequence[CriticCase], *, seed: int = 0) -> HelpFigures:
    """Helpfulness: accuracy after refinement, and what went which way.

    Raises:
        ValueError: no cases.
    """
    if not cases:
        raise ValueError("figures of no cases")
    right = [_ends_right(case) for case in cases if case.is_right]
    wrong = [_ends_right(case) for case in cases if not case.is_right]
    before, after = len(right) / len(cases), sum(right + wrong) / len(cases)
    interval = _resampled(cases, lambda case: (_ends_right(case) - case.is_right, 1), _ratio, seed)
    return HelpFigures(
        before, after, after - before, interval.low, interval.high, _share([not end for end in right]), _share(wrong),
        len(cases),
    )  # fmt: skip


def _ends_right(case: CriticCase) -> bool:
    return case.is_right if case.refined_right is None else case.refined_right


def by_level(cases: Iterable[CriticCase], num_levels: int) -> list[list[CriticCase]]:
    """The cases of each level of difficulty, hardest first; those without a level are left out."""
    levels: list[list[CriticCase]] = [[] for _ in range(num_levels)]
    for case in cases:
        if case.level is not None:
            levels[case.level].append(case)
    return levels


def with_levels(cases: Iterable[CriticCase], levels: dict[str, int]) -> list[CriticCase]:
    """The cases with their problems' levels."""
    return [replace(case, level=levels.get(case.problem_id)) for case in cases]


def _ratio(totals: Totals) -> Totals:
    """First column over second; not a number where that is 0."""
    return np.where(totals[:, 1] > 0, totals[:, 0] / np.where(totals[:, 1] > 0, totals[:, 1], 1), np.nan)


def _resampled(
    cases: Sequence[CriticCase],
    counts: Callable[[CriticCase], tuple[float, ...]],
    figure: Callable[[Totals], Totals],
    seed: int,
) -> Interval:
    """95 % percentile interval of a figure when problems are drawn anew, each with all its cases.

    Args:
        counts: what a case adds to each of C totals.
        figure: the figure of totals (draws, C); not a number where it is not defined, which leaves the draw out.
    """
    sums: dict[str, list[float]] = {}
    for case in cases:
        added = counts(case)
        own = sums.setdefault(case.problem_id, [0.0] * len(added))
        for column, value in enumerate(added):
            own[column] += value
    table = np.asarray(list(sums.values()), dtype=np.float64)
    draws = np.random.default_rng(seed).multinomial(len(table), np.full(len(table), 1 / len(table)), size=NUM_DRAWS)
    values = figure(draws @ table)
    low, high = np.percentile(values[~np.isnan(values)], [2.5, 97.5])
    return Interval(float(low), float(high))
