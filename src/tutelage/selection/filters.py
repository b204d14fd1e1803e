"""Which answers go on: a reward model keeps the best of each problem, a judge cuts on its absolute score.

A reward model is trained on pairs of one problem, so its scores rank the answers of one problem and cannot be compared
between problems; a judge's scale means the same everywhere, so a cut on it may be. Hence the order of `filter_answers`:
the reward model's top M of each problem first, then the judge's threshold. Each works alone.

Source: the 360 talk (2024); the judge's bands are those of arXiv 2404.02893 §3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tutelage.records import Completion, Score, Verdict
from tutelage.selection.grouping import Verdicts, by_completion


@dataclass(frozen=True)
class Passed:
    """How many answers a filter was given and let through, by verdict.

    `unjudged` have no usable verdict: nothing is known of them. `unscored` are among those that did not pass: they had
    no score, e.g. because the judge's text could not be read.
    """

    name: str
    right_in: int
    right_out: int
    wrong_in: int
    wrong_out: int
    unjudged_in: int = 0
    unjudged_out: int = 0
    unscored: int = 0

    @property
    def precision_in(self) -> float | None:
        """Share of right ones among the judged answers that came in, in [0, 1]."""
        return _share(self.right_in, self.wrong_in)

    @property
    def precision_out(self) -> float | None:
        """Share of right ones among the judged answers that passed."""
        return _share(self.right_out, self.wrong_out)

    @property
    def recall(self) -> float | None:
        """Share of the right answers that passed."""
        return self.right_out / self.right_in if self.right_in else None


def _share(right: int, wrong: int) -> float | None:
    return right / (right + wrong) if right + wrong else None


def keep_top(completions: Iterable[Completion], scores: Iterable[Score], count: int) -> list[Completion]:
    """The `count` answers of each problem with the highest scores, in the order in which they came.

    Args:
        completions: of any number of problems.
        scores: of one kind; of several for one completion the first counts. An answer without one does not pass.
        count: M, >= 1. Of equal scores the one that came first is kept.

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"keep_top keeps at least 1 answer, not {count}")
    known, given = values_of(scores), list(completions)
    places: dict[str, list[int]] = {}
    for place, completion in enumerate(given):
        if completion.id in known:
            places.setdefault(completion.problem_id, []).append(place)
    kept = {
        place
        for found in places.values()
        for place in sorted(found, key=lambda i: (-known[given[i].id], i))[:count]
    }  # fmt: skip
    return [completion for place, completion in enumerate(given) if place in kept]


def keep_above(completions: Iterable[Completion], scores: Iterable[Score], threshold: float) -> list[Completion]:
    """The answers whose score is at least `threshold`, in order; an answer without a score does not pass.

    Args:
        completions: of any number of problems.
        scores: of one kind; of several for one completion the first counts.
        threshold: in the scores' own units, e.g. 6 of a judge's 1 to 10.
    """
    known = values_of(scores)
    return [c for c in completions if c.id in known and known[c.id] >= threshold]


def filter_answers(
    completions: Sequence[Completion],
    verdicts: Verdicts,
    *,
    ranked_by: Iterable[Score] | None = None,
    top: int | None = None,
    judged_by: Iterable[Score] | None = None,
    at_least: float | None = None,
) -> tuple[list[Completion], list[Passed]]:
    """The reward model's top M of each problem, then the judge's cut; a filter without scores is left out.

    Args:
        completions: what was sampled.
        verdicts: for the counts only; no filter looks at them.
        ranked_by: a reward model's scores.
        top: M, how many of each problem it keeps; needed with `ranked_by`.
        judged_by: a judge's scores.
        at_least: its threshold; needed with `judged_by`.

    Returns:
        The answers that passed, in order, and what each filter let through, in the order in which they were applied.

    Raises:
        ValueError: scores without their limit, a limit without its scores, or neither filter.
    """
    if (ranked_by is None) != (top is None) or (judged_by is None) != (at_least is None):
        raise ValueError("a filter needs its scores and its limit: ranked_by with top, judged_by with at_least")
    known, kept, told = by_completion(verdicts), list(completions), []
    if ranked_by is not None and top is not None:
        scores = list(ranked_by)
        passed = keep_top(kept, scores, top)
        told.append(let_through("reward_model", kept, passed, known, scores))
        kept = passed
    if judged_by is not None and at_least is not None:
        scores = list(judged_by)
        passed = keep_above(kept, scores, at_least)
        told.append(let_through("judge", kept, passed, known, scores))
        kept = passed
    if not told:
        raise ValueError("no filter: give ranked_by and top, or judged_by and at_least, or both")
    return kept, told


def let_through(
    name: str,
    before: Sequence[Completion],
    after: Sequence[Completion],
    verdicts: Mapping[str, Verdict],
    scores: Iterable[Score] = (),
) -> Passed:
    """Count what a filter was given and let through.

    Args:
        name: the filter's.
        before: what it was given.
        after: what passed.
        verdicts: by completion id.
        scores: what it decided by, to count answers without one; none counts no answer as unscored.
    """
    known = values_of(scores)
    came, went = _counts(before, verdicts), _counts(after, verdicts)
    unscored = sum(completion.id not in known for completion in before) if known else 0
    return Passed(name, came[True], went[True], came[False], went[False], came[None], went[None], unscored)


def _counts(completions: Iterable[Completion], verdicts: Mapping[str, Verdict]) -> dict[bool | None, int]:
    counts: dict[bool | None, int] = {True: 0, False: 0, None: 0}
    for completion in completions:
        verdict = verdicts.get(completion.id)
        counts[verdict.is_correct if verdict is not None and verdict.is_usable else None] += 1
    return counts


def values_of(scores: Iterable[Score]) -> dict[str, float]:
    """Scores by completion id; of several for one completion the first counts."""
    found: dict[str, float] = {}
    for score in scores:
        found.setdefault(score.completion_id, score.value)
    return found
