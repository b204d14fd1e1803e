"""Completions beside their verdicts, problem by problem: what pairs, examples and groups are made from.

Only usable verdicts count: an outcome that is our failure (`undecided`, `error`) never enters a selection. Order is
canonical (by sample index, then id), so that it does not depend on which sample finished first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tutelage.records import Completion, Problem, Verdict

Verdicts = Mapping[str, Verdict] | Iterable[Verdict]


@dataclass(frozen=True)
class Judged:
    """A completion and its usable verdict."""

    completion: Completion
    verdict: Verdict

    @property
    def is_correct(self) -> bool:
        """Whether its answer is right."""
        return self.verdict.is_correct

    @property
    def score(self) -> float:
        """The grader's number; 1.0 or 0.0 where it gave none."""
        return float(self.is_correct) if self.verdict.score is None else self.verdict.score


@dataclass
class Sampled:
    """What there is of one problem: judged completions in canonical order, and how many could not be used."""

    problem: Problem
    judged: list[Judged] = field(default_factory=list)
    num_excluded: int = 0


def by_completion(verdicts: Verdicts) -> dict[str, Verdict]:
    """Verdicts by completion id; of several for one completion the first counts, as in a run folder."""
    if isinstance(verdicts, Mapping):
        return dict(verdicts)
    found: dict[str, Verdict] = {}
    for verdict in verdicts:
        found.setdefault(verdict.completion_id, verdict)
    return found


def gather(problems: Iterable[Problem], completions: Iterable[Completion], verdicts: Verdicts) -> list[Sampled]:
    """Completions and verdicts by problem, in the order of `problems`.

    Completions without a verdict or without a usable one are counted as excluded; those of other problems are left
    out; one that comes twice counts once.
    """
    known = by_completion(verdicts)
    sampled = {p.id: Sampled(p) for p in problems}
    seen: set[str] = set()
    for completion in sorted(completions, key=lambda c: (c.index, c.id)):
        if completion.problem_id not in sampled or completion.id in seen:
            continue
        seen.add(completion.id)
        verdict = known.get(completion.id)
        entry = sampled[completion.problem_id]
        if verdict is None or not verdict.is_usable:
            entry.num_excluded += 1
        else:
            entry.judged.append(Judged(completion, verdict))
    return list(sampled.values())


def without_repeats(judged: Iterable[Judged]) -> list[Judged]:
    """The first of each set of completions with the same text, white space at the ends left aside."""
    first: dict[str, Judged] = {}
    for one in judged:
        first.setdefault(one.completion.text.strip(), one)
    return list(first.values())
