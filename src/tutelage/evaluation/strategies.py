"""Ways to answer a problem with several samples, and what each is worth: greedy, avg@k, pass@k, maj@k.

Scoring is pure: completions and verdicts in, values by problem out. Sampling and grading are the caller's, so that
both can be stored and resumed.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.errors import InputError
from tutelage.evaluation.metrics import Vote, accuracy, answer_key, majority_vote, pass_at_k
from tutelage.evaluation.statistics import Interval, bootstrap_mean, wilson
from tutelage.grading.choices import choice_of
from tutelage.records import OUTCOMES, Completion, Problem, Verdict
from tutelage.selection.grouping import Verdicts, by_completion

Kind = Literal["greedy", "avg", "pass", "maj"]
MAX_SAMPLES = 10_000
_NAMES = ("greedy", "avg@k", "pass@k", "maj@k")


@dataclass(frozen=True)
class Strategy:
    """A way to answer.

    Args:
        kind: `greedy` is one answer at temperature 0; `avg` the mean accuracy of k samples, `pass` whether any of k
            is right, `maj` whether the most frequent answer is.
        k: samples used; 1 for greedy.
    """

    kind: Kind
    k: int = 1

    @property
    def name(self) -> str:
        """As users write it: `greedy`, `maj@8`."""
        return "greedy" if self.kind == "greedy" else f"{self.kind}@{self.k}"

    @property
    def num_samples(self) -> int:
        """Completions to draw of each problem."""
        return self.k


def parse_strategy(text: str) -> Strategy:
    """The strategy that a text names.

    Raises:
        InputError: no strategy of that name, or k outside of 1 .. 10,000.
    """
    spelt = text.strip().lower()
    if spelt == "greedy":
        return Strategy("greedy")
    found = re.fullmatch(r"(avg|pass|maj)@([0-9]{1,9})", spelt)
    if found and 1 <= int(found[2]) <= MAX_SAMPLES:
        return Strategy(found[1], int(found[2]))  # type: ignore[arg-type]
    near = difflib.get_close_matches(re.sub(r"[0-9]+", "k", spelt), _NAMES, n=1)
    raise InputError(
        "there is no such strategy",
        seen=text,
        expected=f"greedy, avg@k, pass@k or maj@k with k from 1 to {MAX_SAMPLES:,}, e.g. maj@8",
        advice=f"did you mean {near[0]}?" if near else "choose one of these",
    )


@dataclass(frozen=True)
class StrategyResult:
    """What a strategy is worth on a set of problems.

    Args:
        strategy: which.
        value: mean over problems, in [0, 1].
        low, high: 95 % interval: Wilson where every problem counts 0 or 1, else a bootstrap over problems.
        n: problems that count.
        per_problem: value by problem id, in the order of the problems.
        excluded: problems left out because grading or sampling failed, or too few samples could be used.
        outcomes: how many verdicts of each outcome, all seven named.
        prompt_tokens: prompt tokens read, each sample counted.
        completion_tokens: tokens that the model wrote.
    """

    strategy: Strategy
    value: float
    low: float
    high: float
    n: int
    per_problem: dict[str, float]
    excluded: tuple[str, ...]
    outcomes: dict[str, int]
    prompt_tokens: int
    completion_tokens: int


def score_strategy(
    strategy: Strategy,
    problems: Iterable[Problem],
    completions: Iterable[Completion],
    verdicts: Verdicts,
    *,
    seed: int = 0,
) -> StrategyResult:
    """Score a strategy from what was sampled and graded.

    Samples of a problem are taken in order of their index. `maj` uses the first k of them; `pass` and `avg` use all
    (more than k make pass@k more exact). Verdicts that are our failure do not count; see `StrategyResult.excluded`.

    Args:
        problems: what the value is the mean over.
        completions: independent samples; those of other problems are left out.
        verdicts: by completion id, or just all of them.
        seed: of the bootstrap.

    Raises:
        InputError: no problem is left to score.
    """
    known = by_completion(verdicts)
    by_id = {p.id: p for p in problems}
    samples: dict[str, dict[str, Completion]] = {name: {} for name in by_id}
    for completion in completions:
        if completion.problem_id in samples:
            samples[completion.problem_id][completion.id] = completion
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    values: dict[str, float] = {}
    excluded = []
    for problem_id, drawn in samples.items():
        judged = [known[c.id] for c in sorted(drawn.values(), key=lambda c: (c.index, c.id)) if c.id in known]
        outcomes.update(v.outcome for v in judged)
        value = _value(strategy, by_id[problem_id], judged)
        if value is None:
            excluded.append(problem_id)
        else:
            values[problem_id] = value
    if not values:
        raise _nothing(strategy, len(samples), outcomes)
    used = [c for drawn in samples.values() for c in drawn.values()]
    low, high = _interval(strategy, list(values.values()), seed)
    return StrategyResult(
        strategy,
        value=accuracy(list(values.values())),
        low=low,
        high=high,
        n=len(values),
        per_problem=values,
        excluded=tuple(excluded),
        outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES},
        prompt_tokens=sum(len(c.prompt_ids) for c in used),
        completion_tokens=sum(sum(c.loss_mask()) for c in used),
    )


def _value(strategy: Strategy, problem: Problem, judged: Sequence[Verdict]) -> float | None:
    """What a problem counts, in [0, 1]; None where it cannot count."""
    usable = [v for v in judged if v.is_usable]
    if strategy.kind == "maj":
        # An answer that could not be compared with the gold still votes: losing it could turn the vote.
        first = [v for v in judged if v.outcome != "error"][: strategy.k]
        if len(first) < strategy.k:
            return None
        return majority_vote([Vote(_key(v, problem), v.is_correct if v.is_usable else None) for v in first])
    if len(usable) < strategy.k:
        return None
    num_correct = sum(v.is_correct for v in usable)
    if strategy.kind == "pass":
        return pass_at_k(len(usable), num_correct, strategy.k)
    if strategy.kind == "avg":
        return num_correct / len(usable)
    return float(usable[0].is_correct)


def _key(verdict: Verdict, problem: Problem) -> Hashable | None:
    """What a sample votes for; `B`, `(B)` and the option's text are one vote where the options are known."""
    if not verdict.answer or not verdict.answer.strip():
        return None
    is_choice = problem.answer_kind == "choice" or problem.choices is not None
    return (choice_of(verdict.answer, problem.choices) if is_choice else None) or answer_key(verdict.answer)


def _interval(strategy: Strategy, values: list[float], seed: int) -> Interval:
    if strategy.kind in ("greedy", "maj") or all(v in (0.0, 1.0) for v in values):
        return wilson(sum(values), len(values))
    return bootstrap_mean(values, seed=seed)


def _nothing(strategy: Strategy, num_problems: int, outcomes: Counter[str]) -> InputError:
    shown = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count) or "no verdicts"
    return InputError(
        f"{strategy.name} cannot be scored",
        seen=f"{num_problems} problems; {shown}",
        expected=f"problems with {strategy.num_samples} graded samples",
        advice="look at the notes of failed samples and verdicts; draw more samples, or choose a smaller k",
    )
