"""Contamination: test questions inside training data, whole, nearly whole, or in long runs of words.

Four kinds, the strictest that holds is told: `text` and `letters` (`problems.check_overlap`), `near` (ROUGE-L F on
words above `near`, and the same numbers), `ngrams` (at least `share` of the test question's runs of `ngram` words stand
in one training row, its solution included; 13 words are GPT-3's, arXiv 2005.14165 appendix C, and lm-eval's).

Two problems of one template with other numbers are not the same problem, so `near` asks for equal numbers: GSM8K's
train and test hold many such siblings. What it cannot see: a paraphrase, a translation, the same sum in other words.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.errors import MissingExtra
from tutelage.problems import Overlap, check_overlap
from tutelage.records import Problem
from tutelage.selection.dedupe import Likeness, Pool
from tutelage.selection.similarity import grams, numbers, words

KINDS = ("text", "letters", "near", "ngrams")
BUCKET_CAP = 1024
"""Higher than for duplicates: of many siblings in a bucket, only one may have the numbers."""


@dataclass(frozen=True)
class Contamination:
    """What counts as a test question inside training data.

    Args:
        near: ROUGE-L F above which two questions with the same numbers are one; None does not look for them.
        ngram: words of a run.
        share: of a test question's runs, how many must stand in one training row; None does not look for them.
    """

    near: float | None = 0.8
    ngram: int = 13
    share: float | None = 0.5


def find_contamination(
    train: Sequence[Problem], test: Sequence[Problem], rules: Contamination | None = None, *, workers: int = 1
) -> list[Overlap]:
    """Test questions that are in the training data, in the order of the test data, each once, by the strictest kind.

    Raises:
        MissingExtra: `near` is asked for and its packages are not installed.
    """
    rules = rules or Contamination()
    found: dict[str, Overlap] = {}
    for overlaps in (check_overlap(train, test), _near(train, test, rules, workers), _runs(train, test, rules)):
        for overlap in overlaps:
            found.setdefault(overlap.test_id, overlap)
    return [found[problem.id] for problem in test if problem.id in found]


class TestQuestions:
    """Test questions, indexed once, to look for them in problems that come bit by bit.

    Args:
        test: the test problems.
        rules: what counts as one inside a problem.

    Raises:
        MissingExtra: `near` is asked for and its packages are not installed.
    """

    __test__ = False  # its name is no sign to pytest

    def __init__(self, test: Sequence[Problem], rules: Contamination | None = None) -> None:
        self.test, self.rules = test, rules or Contamination()
        self._pool = Pool(Likeness(rouge_l=self.rules.near or 1.0, jaccard=1.0, bucket_cap=BUCKET_CAP))
        if self.rules.near is not None:
            self._pool.hold([problem.question for problem in test])
        self._index = _index(test, self.rules.ngram)

    def inside(self, problems: Sequence[Problem]) -> dict[str, Overlap]:
        """The problems that hold a test question, by their ids, each with one such question by the strictest kind."""
        swapped = check_overlap(self.test, problems) if self.test else []
        found = {o.test_id: Overlap(o.test_id, o.train_id, o.kind, o.question) for o in swapped}
        matches = self._pool.find([p.question for p in problems], _same_numbers)
        for problem, match in zip(problems, matches, strict=True):
            if match is not None:
                test = self.test[match.row]
                overlap = Overlap(problem.id, test.id, "near", test.question, round(match.value, 4))
                found.setdefault(problem.id, overlap)
        for problem in problems if self.rules.share is not None else ():
            for number, count in sorted(_shared_runs(problem, self._index[0], self.rules.ngram).items()):
                if count >= (self.rules.share or 0) * self._index[1][number]:
                    test, part = self.test[number], round(count / self._index[1][number], 4)
                    found.setdefault(problem.id, Overlap(problem.id, test.id, "ngrams", test.question, part))
        return found


def _same_numbers(first: str, second: str) -> bool:
    return numbers(first) == numbers(second)


def can_find_near() -> str:
    """Why nearly equal questions cannot be looked for here; "" where they can."""
    try:
        Pool().hold(["one plus one"])
    except MissingExtra as error:
        return str(error)
    return ""


def _near(train: Sequence[Problem], test: Sequence[Problem], rules: Contamination, workers: int) -> list[Overlap]:
    """Test questions with nearly the words and exactly the numbers of a training question."""
    if rules.near is None or not train or not test:
        return []
    likeness = Likeness(rouge_l=rules.near, jaccard=1.0, bucket_cap=BUCKET_CAP)
    with Pool(likeness, workers=workers) as pool:
        pool.hold([problem.question for problem in train])
        matches = pool.find([problem.question for problem in test], _same_numbers)
    return [
        Overlap(train[match.row].id, problem.id, "near", problem.question, round(match.value, 4))
        for problem, match in zip(test, matches, strict=True)
        if match is not None
    ]


def _runs(train: Iterable[Problem], test: Sequence[Problem], rules: Contamination) -> list[Overlap]:
    """Test questions of which enough runs of words stand in one training row."""
    if rules.share is None:
        return []
    of_run, totals = _index(test, rules.ngram)
    best: dict[int, tuple[int, str]] = {}
    for problem in train if of_run else ():
        for number, count in _shared_runs(problem, of_run, rules.ngram).items():
            if count > best.get(number, (0, ""))[0]:
                best[number] = (count, problem.id)
    return [
        Overlap(name, test[number].id, "ngrams", test[number].question, round(count / totals[number], 4))
        for number, (count, name) in sorted(best.items())
        if count >= rules.share * totals[number]
    ]


def _shared_runs(problem: Problem, of_run: dict[tuple[str, ...], list[int]], ngram: int) -> Counter[int]:
    """How many runs of words of each test question stand in a problem's question and solution."""
    listed = words(f"{problem.question} {problem.solution or ''}")
    return Counter(number for run in grams(listed, ngram) for number in of_run.get(run, ()))


def _index(test: Sequence[Problem], ngram: int) -> tuple[dict[tuple[str, ...], list[int]], Counter[int]]:
    """Which test questions each run of words stands in, and how many runs each has; shorter questions have none."""
    of_run: dict[tuple[str, ...], list[int]] = defaultdict(list)
    totals: Counter[int] = Counter()
    for number, problem in enumerate(test):
        listed = words(problem.question)
        for run in grams(listed, ngram) if len(listed) >= ngram else ():
            of_run[run].append(number)
            totals[number] += 1
    return dict(of_run), totals


def summary(overlaps: Sequence[Overlap]) -> dict[str, Any]:
    """How many of each kind."""
    counts: Counter[str] = Counter(overlap.kind for overlap in overlaps)
    return {kind: counts[kind] for kind in KINDS}
