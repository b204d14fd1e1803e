"""Preference pairs from hard problems only, each of a type, and the pairs that they are compared with.

    hard problem   0 < pass rate <= 0.5 over its sampled paths; by a judge, fewer than half of them pass
    types          precision            the wrong answer is the right one but for rounding
                   cot_wrong_pot_right  a program is right where prose was wrong
                   multistep_pot        both are programs, the right one of several steps
                   plain                any other right and wrong path of a hard problem and one prompt
    best-vs-worst  of any problem with a right and a wrong path, the highest score against the lowest

Source: the 360 talk (2024), its second and first attempt; rule and thresholds are ours. best-vs-worst as in
arXiv 2404.02893 §3.3: the largest gap, both sampled, at least one right and one wrong.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from tutelage.records import Completion, PreferencePair, Problem, digest, record_id, seed_of
from tutelage.selection.canonical_programs import canonical_program
from tutelage.selection.grouping import Judged, Sampled, Verdicts, gather
from tutelage.selection.pairs import paper_pairs
from tutelage.text.answers import rational_of, read_answer
from tutelage.text.programs import Program, read_solution

PairType = Literal["precision", "cot_wrong_pot_right", "multistep_pot", "plain"]
PAIR_TYPES: tuple[PairType, ...] = get_args(PairType)
HARD_RATE = 0.5
"""Highest pass rate of a hard problem."""
PRECISION = Fraction(1, 100)
"""Largest relative difference of a wrong answer that is taken for a rounding error."""
MIN_STEPS = 3
"""Statements of a program that make it one of several steps."""


@dataclass(frozen=True)
class HardPairs:
    """Pairs, and what became of the problems.

    `counts` has: problems, hard, unsolved (pass rate 0), easy (above 0.5), all_right, unknown (no usable verdict),
    pairs, and the number of pairs of each type.
    """

    pairs: list[PreferencePair]
    counts: dict[str, int]


def is_hard(rate: float | None, *, by_judge: bool = False) -> bool:
    """Whether a pass rate is that of a hard problem that can be solved.

    A judge that passes none of the paths does not say that it cannot: the grader may have found a right one.
    """
    return fate_of(rate, by_judge=by_judge) == "hard"


def hard_pairs(
    problems: Iterable[Problem], verdicts: Verdicts, completions: Iterable[Completion], *,
    rates: Mapping[str, float | None], count: int, stage: str, types: Sequence[PairType] = PAIR_TYPES,
    by_judge: bool = False,
) -> HardPairs:  # fmt: skip
    """At most `count` pairs of each hard problem, rare types first.

    A pair of two styles has the prompt of its rejected side: what was asked, and should have been answered otherwise.

    Args:
        problems: their order is kept.
        verdicts: of the completions.
        completions: of all styles; those of one problem compete.
        rates: pass rates by problem, from the grader or a judge.
        count: pairs of each problem, >= 1.
        stage: for ids.
        types: which types are made.
        by_judge: the rates are a judge's, whose problem is hard where fewer than half of its paths pass.
    """
    counts: Counter[str] = Counter(dict.fromkeys(("problems", "hard", "unsolved", "easy", "all_right", "unknown"), 0))
    made: list[PreferencePair] = []
    for entry in gather(problems, completions, verdicts):
        counts["problems"] += 1
        rate = rates.get(entry.problem.id)
        counts[fate_of(rate, by_judge=by_judge)] += 1
        if not is_hard(rate, by_judge=by_judge):
            continue
        found = [(type_of(w, x, entry.problem), w, x) for w, x in _candidates(entry, count)]
        typed = [one for one in found if one[0] in types]
        typed.sort(key=lambda one: PAIR_TYPES.index(one[0]))
        for kind, winner, loser in typed[:count]:
            made.append(pair_of(winner, loser, rule=f"hard:{kind}", stage=stage))
            counts[kind] += 1
    counts["pairs"] = len(made)
    return HardPairs(made, {name: counts[name] for name in (*counts, *PAIR_TYPES)})


def fate_of(rate: float | None, *, by_judge: bool = False) -> str:
    """What a problem of this pass rate counts as."""
    if rate is None:
        return "unknown"
    if by_judge and rate < HARD_RATE:
        return "hard"
    if by_judge:
        return "all_right" if rate == 1 else "easy"
    if rate == 0:
        return "unsolved"
    return "hard" if rate <= HARD_RATE else "all_right" if rate == 1 else "easy"


def _candidates(entry: Sampled, count: int) -> list[tuple[Judged, Judged]]:
    """Different right and wrong paths of one prompt in step, and combinations of a right program with wrong prose.

    No others of two prompts: prose instead of a program would teach to answer by what was not asked for.
    """
    right = _distinct([one for one in entry.judged if one.is_correct])
    wrong = _distinct([one for one in entry.judged if not one.is_correct])
    walked = []
    for prompt in dict.fromkeys(one.completion.prompt_ids for one in wrong):
        ours, theirs = ([x for x in some if x.completion.prompt_ids == prompt] for some in (right, wrong))
        walked += paper_pairs(ours, theirs, max(count, len(ours), len(theirs)))
    programs = [one for one in right if programs_of(one)]
    prose = [one for one in wrong if not programs_of(one)]
    pairs = {(w.completion.id, x.completion.id): (w, x) for w, x in (*paper_pairs(programs, prose, count), *walked)}
    return list(pairs.values())


def _distinct(judged: Sequence[Judged]) -> list[Judged]:
    return list({one.completion.text.strip(): one for one in reversed(judged)}.values())[::-1]


def programs_of(judged: Judged) -> tuple[Program, ...]:
    """The programs of a solution."""
    return read_solution(judged.completion.text).programs


def type_of(winner: Judged, loser: Judged, problem: Problem) -> PairType:
    """The type of a pair."""
    if is_rounded(loser.verdict.answer, problem.answer):
        return "precision"
    programs = programs_of(winner)
    if programs and not programs_of(loser):
        return "cot_wrong_pot_right"
    if programs and max(num_steps(program.source) for program in programs) >= MIN_STEPS:
        return "multistep_pot"
    return "plain"


def is_rounded(answer: str | None, gold: str) -> bool:
    """Whether a wrong answer is the gold one but for rounding: within one per cent, and one of them is no whole number.

    >>> is_rounded("3.33", "10/3"), is_rounded("3", "3.04"), is_rounded("101", "100")
    (True, False, False)
    """
    if answer is None:
        return False
    ours, theirs = rational_of(read_answer(answer)), rational_of(read_answer(gold))
    if ours is None or theirs is None or ours == theirs:
        return False
    return abs(ours - theirs) <= PRECISION * abs(theirs) and not (ours.denominator == theirs.denominator == 1)


def num_steps(source: str) -> int:
    """Statements of a program once dead code is gone; 0 for text that is none."""
    form = canonical_program(source)
    return 0 if form is None else len(form.splitlines())


def pair_of(winner: Judged, loser: Judged, *, rule: str, stage: str) -> PreferencePair:
    """The pair of two completions, under the prompt of the rejected one."""
    w, x = winner.completion, loser.completion
    return PreferencePair(
        id=record_id(stage, w.problem_id, f"{w.id} {x.id}"), problem_id=w.problem_id, prompt_ids=x.prompt_ids,
        chosen_ids=w.token_ids, rejected_ids=x.token_ids, chosen_mask=w.loss_mask(), rejected_mask=x.loss_mask(),
        chosen_id=w.id, rejected_id=x.id, rule=rule,
    )  # fmt: skip


def best_versus_worst(
    problems: Iterable[Problem], verdicts: Verdicts, completions: Iterable[Completion], *,
    scores: Mapping[str, float], stage: str, seed: int,
) -> HardPairs:  # fmt: skip
    """One pair of each problem that has a right and a wrong path: the highest score against the lowest.

    Args:
        problems: their order is kept.
        verdicts: of the completions.
        completions: of all styles; sides of a pair are of one prompt, and a problem whose best path's has no wrong one
            counts as one-sided.
        scores: by completion id, of a judge or reward model; the grader's own where one has none.
        stage: for ids.
        seed: settles ties.
    """
    counts: Counter[str] = Counter(problems=0, one_sided=0)
    made = []
    for entry in gather(problems, completions, verdicts):
        counts["problems"] += 1
        right = [one for one in entry.judged if one.is_correct]
        wrong = [one for one in entry.judged if not one.is_correct]
        if not right or not wrong:
            counts["one_sided"] += 1
            continue
        rng = random.Random(seed_of("best-versus-worst", seed, entry.problem.id))
        rng.shuffle(right)
        rng.shuffle(wrong)
        best = max(right, key=lambda one: _score(one, scores))
        same = [one for one in wrong if one.completion.prompt_ids == best.completion.prompt_ids]
        if not same:
            counts["one_sided"] += 1
            continue
        worst = min(same, key=lambda one: _score(one, scores))
        made.append(pair_of(best, worst, rule="best-vs-worst", stage=stage))
    counts["pairs"] = len(made)
    return HardPairs(made, dict(counts))


def _score(judged: Judged, scores: Mapping[str, float]) -> float:
    return scores.get(judged.completion.id, judged.score)


def stage_of(name: str, completions: Iterable[Completion]) -> str:
    """A stage digest for pairs made of completions."""
    return digest([name, sorted({completion.stage for completion in completions})])
