"""The built-in grader, all tiers: exact ones in this process, the symbolic one in a sandboxed worker if it is needed.

What it is: `Grader`, and the functions `grade`, `grade_many` and `grade_many_async` over one that they share. It never
raises on model text, never hangs on it and never evaluates it in this process.
What it is not: a grader of the user's own (grading/user.py).

The worker is started at the first answer that the exact tiers leave undecided; a run whose answers are all plain never
starts one. Safe to use from several threads at once, from asyncio, and in spawned or forked processes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal, Self

from tutelage.grading.batching import ItemLimits
from tutelage.grading.checker import RULES_VERSION, Checker
from tutelage.grading.exact import ExactGrader
from tutelage.grading.symbolic import PAIR_LIMITS, Finding, Found, Pair, SymbolicTier
from tutelage.records import OUR_OUTCOMES, AnswerKind, Choices, Completion, FinishReason, Outcome, Problem, Verdict
from tutelage.text.answers import infer_kind, read_gold

Symbolic = Literal["auto", "on", "off"]

TIER = "symbolic"
MAX_TROUBLE = 0.005
"""Share of timeouts, or of failures of ours, above which `trouble` speaks."""
_OUTCOMES: dict[Found, Outcome] = {
    "equal": "correct", "different": "incorrect", "timeout": "timeout", "undecided": "undecided", "error": "error",
}  # fmt: skip


class Grader:
    """Grades by all tiers.

    Args:
        tolerance: largest relative difference of numbers that counts as none; a problem's `metadata["tolerance"]`
            overrides it. None is exact.
        last_number: take a text's last number where it marks no answer. Off: it can be hacked as a reward.
        symbolic: `auto` uses the symbolic tier where it can be had, `on` refuses to do without, `off` never uses it.
        workers: preloaded workers of the symbolic tier; one a core at most.
        limits: what one pair may use there.
        cache_size: verdicts kept, and through them golds that were read, the least recently used dropped.
        tier: the symbolic tier itself, instead of `workers` and `limits`.

    Raises:
        MissingExtra: `symbolic` is `on` and sympy is not installed.
        SandboxUnavailable: `symbolic` is `on` and no tier of the sandbox is safe here.

    Example:
        >>> Grader(symbolic="off").check("1/2", "0.5").outcome
        'correct'
    """

    def __init__(
        self,
        *,
        tolerance: float | None = None,
        last_number: bool = False,
        symbolic: Symbolic = "auto",
        workers: int = 1,
        limits: ItemLimits = PAIR_LIMITS,
        cache_size: int = 65_536,
        tier: SymbolicTier | None = None,
    ) -> None:
        self._made_with = {
            "tolerance": tolerance, "last_number": last_number, "symbolic": symbolic, "workers": workers,
            "limits": limits, "cache_size": cache_size, "tier": tier,
        }  # fmt: skip
        self.exact = ExactGrader(tolerance=tolerance, last_number=last_number, checker=Checker(cache_size))
        if symbolic != "off" and tier is None:
            tier = SymbolicTier(workers=workers, limits=limits, cache_size=cache_size)
        self.tier = None if symbolic == "off" else tier
        self.outcomes: Counter[Outcome] = Counter()
        self.tiers: Counter[str] = Counter()
        self._lock, self._is_told = threading.Lock(), False
        if symbolic == "on" and self.tier is not None:
            self.tier.open()

    @property
    def name(self) -> str:
        """Name with the options that are not the default; `exact` where the symbolic tier is off."""
        return self.exact.name if self.tier is None else f"{self.exact.name}+{TIER}"

    @property
    def version(self) -> str:
        """Version of the rules."""
        return RULES_VERSION

    def grade(self, problem: Problem, completion: Completion) -> Verdict:
        """The verdict on one completion."""
        return self.grade_many([(problem, completion)])[0]

    def grade_many(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """The verdicts on many completions, in their order; cheaper than one by one where the worker is needed."""
        return self._settled([problem for problem, _ in pairs], self.exact.grade_many(pairs))

    async def grade_many_async(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """As `grade_many`, in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.grade_many, pairs)

    def grade_texts(self, texts: Sequence[tuple[Problem, str, FinishReason]]) -> list[Verdict]:
        """The verdicts on texts that are no `Completion` records: problem, text, why it ended."""
        verdicts = [self.exact.grade_text(problem, text, reason) for problem, text, reason in texts]
        return self._settled([problem for problem, _, _ in texts], verdicts)

    def check(
        self,
        gold: str,
        answer: str,
        *,
        kind: AnswerKind | None = None,
        tolerance: float | None = None,
        choices: Choices | None = None,
    ) -> Verdict:
        """The verdict on a bare answer; see `tutelage.grading.check`, which does without the symbolic tier."""
        about = {} if tolerance is None else {"tolerance": tolerance}
        problem = Problem("", "", gold, kind or "latex", choices=choices, metadata=about)
        return self.check_many([(problem, answer, kind is None)])[0]

    def check_many(self, answers: Sequence[tuple[Problem, str, bool]]) -> list[Verdict]:
        """The verdicts on bare answers, in their order.

        Args:
            answers: problem, answer, and whether to look at the strings for the kind of answer, not at the problem.
        """
        verdicts = [self._checked(problem, answer, infer=infer) for problem, answer, infer in answers]
        return self._settled([problem for problem, _, _ in answers], verdicts)

    def warnings(self) -> list[str]:
        """What should be told of the verdicts so far: more than 0.5 % timeouts or failures."""
        return trouble(self.outcomes)

    def absence(self) -> str | None:
        """Why the symbolic tier was needed and not there, the first time that it is asked; else None."""
        if self._is_told or self.tier is None or not self.tier.why_absent:
            return None
        self._is_told = True
        return f"the symbolic tier of the grader is absent: {' '.join(self.tier.why_absent.split())}"

    def close(self) -> None:
        """End the worker, if one was started; grading goes on with a new one."""
        if self.tier is not None:
            self.tier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self._made_with

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _checked(self, problem: Problem, answer: str, *, infer: bool) -> Verdict:
        began = time.perf_counter()
        if not answer.strip():
            return Verdict("", problem.id, "no_answer", 0.0, None, "given", "extraction")
        result = self.exact.checker.check(
            problem.answer, answer, kind=None if infer else problem.answer_kind, tolerance=self._tolerance(problem),
            choices=problem.choices,
        )  # fmt: skip
        outcomes: dict[bool | None, Outcome] = {True: "correct", False: "incorrect", None: "undecided"}
        outcome = outcomes[result.equivalent]
        seconds = time.perf_counter() - began
        return Verdict("", problem.id, outcome, _score(outcome), answer, "given", result.decided_by, seconds)

    def _settled(self, problems: Sequence[Problem], verdicts: list[Verdict]) -> list[Verdict]:
        """The verdicts with the undecided ones asked of the symbolic tier; all counted."""
        places = [place for place, verdict in enumerate(verdicts) if self._may_ask(problems[place], verdict)]
        if places and self.tier is not None:
            pairs = [
                Pair(problems[at].answer, verdicts[at].answer or "", self._tolerance(problems[at])) for at in places
            ]
            for place, finding in zip(places, self.tier.judge(pairs), strict=True):
                verdicts[place] = _settle(verdicts[place], finding)
        with self._lock:
            self.outcomes.update(verdict.outcome for verdict in verdicts)
            self.tiers.update(verdict.decided_by for verdict in verdicts)
        return verdicts

    def _may_ask(self, problem: Problem, verdict: Verdict) -> bool:
        if verdict.outcome != "undecided" or not verdict.answer:
            return False
        return problem.choices is None and problem.answer_kind in ("number", "latex")

    def _tolerance(self, problem: Problem) -> float | None:
        tolerance: float | None = problem.metadata.get("tolerance", self.exact.tolerance)
        return tolerance


def _score(outcome: Outcome) -> float | None:
    return {"correct": 1.0, "undecided": None, "error": None}.get(outcome, 0.0)


def _settle(verdict: Verdict, finding: Finding) -> Verdict:
    """An undecided verdict with what the symbolic tier found."""
    outcome = _OUTCOMES[finding.found]
    return replace(
        verdict, outcome=outcome, score=_score(outcome), note=finding.note, seconds=verdict.seconds + finding.seconds,
        decided_by=verdict.decided_by if outcome == "undecided" else TIER,
    )  # fmt: skip


def trouble(outcomes: Mapping[Outcome, int]) -> list[str]:
    """Sentences where more than 0.5 % of answers timed out, or could not be graded.

    Args:
        outcomes: how many answers have each outcome.
    """
    total = sum(outcomes.values())
    counts = {
        "timed out and count as wrong": outcomes.get("timeout", 0),
        "could not be graded and have no score": sum(outcomes.get(outcome, 0) for outcome in OUR_OUTCOMES),
    }
    return [
        f"{count} of {total} answers ({count / total:.1%}) {words}"
        for words, count in counts.items()
        if count > MAX_TROUBLE * total
    ]


@lru_cache(maxsize=32_768)
def _problem(gold: str, kind: AnswerKind | None, choices: Choices | None, tolerance: float | None) -> Problem:
    """A problem that is its gold answer alone, which is read once.

    Raises:
        UnreadableGold: the gold is empty or cannot be an answer.
    """
    read_gold(gold, kind, choices)
    about = {} if tolerance is None else {"tolerance": tolerance}
    return Problem("", "", gold, kind or infer_kind(gold, choices), choices=choices, metadata=about)


@lru_cache(maxsize=4)
def _shared(symbolic: Symbolic, workers: int) -> Grader:
    return Grader(symbolic=symbolic, workers=workers)


def grade(
    gold: str,
    completion: str,
    *,
    kind: AnswerKind | None = None,
    choices: Choices | None = None,
    tolerance: float | None = None,
    symbolic: Symbolic = "auto",
) -> Verdict:
    r"""The verdict on one completion.

    Args:
        gold: the gold answer.
        completion: the text that an answer is to be found in, without its prompt.
        kind: what the gold is; None looks at it.
        choices: the options of a multiple-choice question.
        tolerance: largest relative difference that counts as none, in [0, 1); None asks for exact equality.
        symbolic: see `Grader`.

    Raises:
        UnreadableGold: the gold is empty or cannot be an answer.

    Example:
        >>> grade("18", r"She makes 9 * 2 dollars: \boxed{18}").outcome
        'correct'
    """
    problem = _problem(gold, kind, choices, tolerance)
    return _shared(symbolic, 1).grade_texts([(problem, completion, "stop")])[0]


def grade_many(
    pairs: Iterable[tuple[str, str]], *, workers: int = 1, kind: AnswerKind | None = None, symbolic: Symbolic = "auto"
) -> list[Verdict]:
    """The verdicts on many completions, in their order.

    Args:
        pairs: gold answer and completion.
        workers: preloaded workers of the symbolic tier.
        kind: what the golds are; None looks at each.
        symbolic: see `Grader`.

    Raises:
        UnreadableGold: a gold is empty or cannot be an answer.
    """
    texts: list[tuple[Problem, str, FinishReason]] = [
        (_problem(gold, kind, None, None), completion, "stop") for gold, completion in pairs
    ]
    return _shared(symbolic, workers).grade_texts(texts)


async def grade_many_async(
    pairs: Iterable[tuple[str, str]], *, workers: int = 1, kind: AnswerKind | None = None, symbolic: Symbolic = "auto"
) -> list[Verdict]:
    """As `grade_many`, in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(grade_many, list(pairs), workers=workers, kind=kind, symbolic=symbolic)
