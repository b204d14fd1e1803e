"""Two sets of per-problem results on the same problems: the difference, its interval, and whether it is chance.

Unpaired tests on paired data waste most of their power; everything here is paired by problem id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tutelage.errors import InputError
from tutelage.evaluation.statistics import mcnemar_exact, paired_bootstrap, sign_flip


@dataclass(frozen=True)
class Comparison:
    """Second against first.

    Args:
        difference: mean of second minus mean of first, in [-1, 1].
        low, high: 95 % interval of the difference, bootstrap over problems.
        p_value: two-sided; exact McNemar where all values are 0 or 1, else a sign-flip test.
        test: which of the two.
        n: problems that both have.
        first, second: their means over these.
        only_first, only_second, both, neither: problems solved (value above 0.5) by only one, both, neither.
        unshared_first, unshared_second: problems that only one of them has; left out.
    """

    difference: float
    low: float
    high: float
    p_value: float
    test: Literal["mcnemar", "sign-flip"]
    n: int
    first: float
    second: float
    only_first: int
    only_second: int
    both: int
    neither: int
    unshared_first: int
    unshared_second: int

    @property
    def win_rate(self) -> float:
        """Share of the problems that only the second solved."""
        return self.only_second / self.n

    @property
    def lose_rate(self) -> float:
        """Share of the problems that only the first solved."""
        return self.only_first / self.n

    def to_json(self) -> dict[str, Any]:
        """All figures by name."""
        return {**self.__dict__, "win_rate": self.win_rate, "lose_rate": self.lose_rate}


def compare(
    first: Mapping[str, float], second: Mapping[str, float], *, seed: int = 0, num_draws: int = 10_000
) -> Comparison:
    """Compare two results on the problems that both have.

    Args:
        first: value by problem id, in [0, 1].
        second: the same; a positive difference is in its favour.
        seed: of the bootstrap and of the sign-flip test.
        num_draws: bootstrap resamples.

    Raises:
        InputError: fewer than two problems are in both.
    """
    shared = sorted(first.keys() & second.keys())
    if len(shared) < 2:
        raise InputError(
            "these results cannot be compared: a paired test needs problems that are in both",
            seen=f"{len(shared)} shared of {len(first)} and {len(second)}",
            expected="2 shared problems or more",
            advice="evaluate both on the same data",
        )
    a, b = [first[i] for i in shared], [second[i] for i in shared]
    solved = [(x > 0.5, y > 0.5) for x, y in zip(a, b, strict=True)]
    only_first, only_second = solved.count((True, False)), solved.count((False, True))
    is_binary = all(value in (0.0, 1.0) for value in (*a, *b))
    if is_binary:
        p_value = mcnemar_exact(only_first, only_second)
    else:
        p_value = sign_flip([y - x for x, y in zip(a, b, strict=True)], seed=seed)
    interval = paired_bootstrap(a, b, seed=seed, num_draws=num_draws)
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    return Comparison(
        difference=(only_second - only_first) / len(a) if is_binary else mean_b - mean_a,
        low=interval.low,
        high=interval.high,
        p_value=p_value,
        test="mcnemar" if is_binary else "sign-flip",
        n=len(shared),
        first=mean_a,
        second=mean_b,
        only_first=only_first,
        only_second=only_second,
        both=solved.count((True, True)),
        neither=solved.count((False, False)),
        unshared_first=len(first) - len(shared),
        unshared_second=len(second) - len(shared),
    )
