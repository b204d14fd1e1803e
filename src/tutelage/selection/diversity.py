"""Few paths that differ much: from many right solutions of one problem to those worth learning from.

What it is: the two published ways of choosing, the union of several samplers, and what each sampler gave.
What it is not: how two paths are told apart; a `Path` comes with its key (`selection.paths`), the text that distances
are measured on, and who wrote it.

Sources: RFT, arXiv 2308.01825, Algorithm 1 (`replacement_pass`); the 360 talk, 2024 (`bounded_set`). Levenshtein
distances count characters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.errors import MissingExtra


@dataclass(frozen=True, slots=True)
class Path:
    """One right solution of a problem.

    Args:
        id: the completion's.
        key: equal for paths that count as the same.
        text: what distances are measured on.
        sampler: who wrote it.
    """

    id: str
    key: str
    text: str
    sampler: str = ""


def distance(first: str, second: str) -> int:
    """Levenshtein distance of two texts in characters."""
    return int(_levenshtein()(first, second))


def sum_of_distances(text: str, others: Iterable[Path]) -> int:
    """Sum of the distances of a text to those of other paths."""
    measure = _levenshtein()
    return sum(measure(text, other.text) for other in others)


def _levenshtein() -> Any:
    try:
        from rapidfuzz.distance.Levenshtein import distance as measure
    except ImportError as error:
        raise MissingExtra("rapidfuzz", "synthesis", "choosing diverse paths") from error
    return measure


def replacement_pass(paths: Iterable[Path]) -> list[Path]:
    """Algorithm 1 of RFT: one path a key; a later one takes the place of the one kept if farther from the rest.

        key unseen                -> keep r
        key held by r_s           -> r takes the place of r_s if sum_j Lev(r, r_j) > sum_j Lev(r_s, r_j),
                                     j over the other paths kept so far

    The order of the first path of each key stays.

    Source: arXiv 2308.01825, Algorithm 1.

    >>> [p.id for p in replacement_pass([Path("1", "k", "ab"), Path("2", "m", "abcd"), Path("3", "k", "x")])]
    ['3', '2']
    """
    kept: dict[str, Path] = {}
    for path in paths:
        holder = kept.get(path.key)
        if holder is None:
            kept[path.key] = path
        elif path.text != holder.text:
            others = [other for key, other in kept.items() if key != path.key]
            if sum_of_distances(path.text, others) > sum_of_distances(holder.text, others):
                kept[path.key] = path
    return list(kept.values())


def bounded_set(paths: Iterable[Path], size: int) -> list[Path]:
    """At most `size` paths with different keys; a newcomer takes the place of the member that this gains most on.

        fewer than `size` kept    -> keep r
        else                      -> r takes the place of the m with the largest
                                     sum_{j != m} Lev(r, r_j) - sum_{j != m} Lev(m, r_j), if that is above 0

    So the sum of all pairwise distances never falls. A path whose key is held may only take its holder's place.

    Args:
        paths: in the order in which they are looked at.
        size: most paths kept, >= 1.

    Source: the 360 talk (a fourth path against three kept ones); that it goes for the largest gain is ours.
    """
    kept: list[Path] = []
    between: list[list[int]] = []
    measure = _levenshtein()
    for path in paths:
        held = next((i for i, other in enumerate(kept) if other.key == path.key), None)
        if held is not None and kept[held].text == path.text:
            continue
        to = [measure(path.text, other.text) for other in kept]
        if held is None and len(kept) < size:
            for row, value in zip(between, to, strict=True):
                row.append(value)
            kept.append(path)
            between.append([*to, 0])
            continue
        total = sum(to)
        places = range(len(kept)) if held is None else [held]
        gain, place = max((total - to[m] - sum(between[m]), -m) for m in places)
        if gain > 0:
            _replace(kept, between, -place, path, to)
    return kept


def _replace(kept: list[Path], between: list[list[int]], place: int, path: Path, to: list[int]) -> None:
    kept[place] = path
    to[place] = 0
    between[place] = to
    for index, row in enumerate(between):
        row[place] = to[index]


def select_paths(paths: Sequence[Path], *, size: int | None = None) -> list[Path]:
    """One problem's paths: Algorithm 1, or the bounded set where `size` is given."""
    return replacement_pass(paths) if size is None else bounded_set(paths, size)


def unite(by_sampler: Iterable[Sequence[Path]], *, size: int | None = None) -> list[Path]:
    """The union of several samplers' selections of one problem: concatenated, then the same pass once more.

    Source: arXiv 2308.01825 §3.3.
    """
    return select_paths([path for paths in by_sampler for path in paths], size=size)


def expected_distinct(counts: Iterable[int], num_samples: int, k: int) -> float:
    """Expected number of keys among k of `num_samples` samples drawn without replacement, exact.

    Args:
        counts: how many of the samples have each key; samples without a right path have none.
        num_samples: n, at least the sum of the counts.
        k: 1 <= k <= n.

    >>> expected_distinct([1, 1], 4, 2)
    1.0
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"{k} of {num_samples} samples cannot be drawn")
    whole = math.comb(num_samples, k)
    return sum(1 - math.comb(num_samples - count, k) / whole for count in counts)


def distinct_curve(problems: Sequence[Mapping[str, int]], num_samples: int) -> list[tuple[int, float]]:
    """Mean number of distinct right paths a problem among k samples, for k = 1, 2, 4, ... and all.

    Args:
        problems: of each problem, how many samples have each key.
        num_samples: samples of each problem.
    """
    steps = [1 << power for power in range(num_samples.bit_length()) if 1 << power < num_samples] + [num_samples]
    count = max(1, len(problems))
    return [(k, sum(expected_distinct(keys.values(), num_samples, k) for keys in problems) / count) for k in steps]


@dataclass(frozen=True)
class Fit:
    """How well a curve follows `a + b x`: R squared with x = ln k and with x = k, in (-inf, 1]."""

    log: float
    linear: float
    per_doubling: float


def fit_curve(curve: Sequence[tuple[int, float]]) -> Fit | None:
    """Whether the number of paths grows like log k or like k; None for fewer than three points."""
    if len(curve) < 3:
        return None
    values = [value for _, value in curve]
    log, slope = _r_squared([math.log(k) for k, _ in curve], values)
    linear, _ = _r_squared([float(k) for k, _ in curve], values)
    return Fit(log, linear, slope * math.log(2))


def _r_squared(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    left = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in zip(xs, ys, strict=True))
    total = sum((y - mean_y) ** 2 for y in ys)
    return (1 - left / total if total else 1.0), slope


@dataclass(frozen=True)
class Contribution:
    """What one sampler gave.

    Args:
        sampler: its name.
        samples, correct: completions that it wrote, and those that are right.
        tokens: tokens that it wrote in all its samples.
        distinct: (problem, key) pairs that it found.
        exclusive: those that no other sampler found.
        kept: paths of the union that are its own.
    """

    sampler: str
    samples: int
    correct: int
    tokens: int
    distinct: int
    exclusive: int
    kept: int

    @property
    def tokens_per_kept(self) -> float | None:
        """Tokens written for each path of the union that is its own; None where it has none."""
        return self.tokens / self.kept if self.kept else None


@dataclass(frozen=True)
class Contributions:
    """What all samplers gave together.

    Args:
        samplers: each one's part.
        distinct: (problem, key) pairs found by any.
        shared: those found by two or more.
        overlap: by pair of samplers, "A | B", the pairs found by both, as a share of those found by either.
    """

    samplers: tuple[Contribution, ...]
    distinct: int
    shared: int
    overlap: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Figures and shares as the report shows them."""
        kept = sum(part.kept for part in self.samplers)
        rows = [
            {
                "sampler": part.sampler, "samples": part.samples, "correct": part.correct, "tokens": part.tokens,
                "distinct": part.distinct, "exclusive": part.exclusive,
                "exclusive_share": _share(part.exclusive, self.distinct), "kept": part.kept,
                "kept_share": _share(part.kept, kept),
                "tokens_per_kept": None if part.tokens_per_kept is None else round(part.tokens_per_kept, 1),
            }
            for part in self.samplers
        ]  # fmt: skip
        return {
            "samplers": rows, "distinct": self.distinct, "kept": kept,
            "shared_share": _share(self.shared, self.distinct), "overlap": self.overlap,
        }  # fmt: skip


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def contributions(
    found: Mapping[str, Mapping[str, Sequence[Path]]],
    kept: Iterable[Path],
    *,
    samples: Mapping[str, int],
    tokens: Mapping[str, int],
) -> Contributions:
    """Who gave what to the union.

    Args:
        found: by sampler and problem, all its right paths.
        kept: the union's paths of all problems.
        samples: completions that each sampler wrote.
        tokens: tokens that each sampler wrote.
    """
    keys = {
        name: {(problem, path.key) for problem, paths in by.items() for path in paths} for name, by in found.items()
    }
    owners = Counter(key for one in keys.values() for key in one)
    own = Counter(path.sampler for path in kept)
    parts = tuple(
        Contribution(
            sampler=name, samples=samples.get(name, 0), correct=sum(map(len, found[name].values())),
            tokens=tokens.get(name, 0), distinct=len(one), exclusive=sum(owners[key] == 1 for key in one),
            kept=own[name],
        )
        for name, one in keys.items()
    )  # fmt: skip
    names = list(keys)
    overlap = {
        f"{a} | {b}": _share(len(keys[a] & keys[b]), len(keys[a] | keys[b]))
        for index, a in enumerate(names)
        for b in names[index + 1 :]
    }
    return Contributions(parts, len(owners), sum(count > 1 for count in owners.values()), overlap)
