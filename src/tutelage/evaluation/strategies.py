"""What a strategy is worth: values by problem from completions and verdicts, with what it costs in tokens.

Scoring is pure. Sampling, playing and grading are the caller's (`recipes/strategy_stage.py`), so that they can be
stored and resumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tutelage.errors import InputError
from tutelage.evaluation.metrics import Vote, accuracy, answer_key, majority_vote, pass_at_k
from tutelage.evaluation.plays import ACTOR, REWARD_MODEL, Chain, Cost, Play, cost_of
from tutelage.evaluation.statistics import Interval, bootstrap_mean, wilson
from tutelage.evaluation.strategy_names import KINDS, MAX_SAMPLES, Strategy, parse_strategy
from tutelage.evaluation.voting import softmax_weights, weighted_vote
from tutelage.grading.choices import choice_of
from tutelage.records import OUTCOMES, Completion, Problem, Verdict
from tutelage.selection.grouping import Verdicts, by_completion

__all__ = [
    "KINDS", "MAX_SAMPLES", "Figure", "Strategy", "StrategyResult", "extra_figures", "parse_strategy",
    "score_plays", "score_strategy", "vote_of",
]  # fmt: skip


class Figure(NamedTuple):
    """A mean over problems with its 95 % interval, and the values that it is the mean of."""

    value: float
    low: float
    high: float
    per_problem: dict[str, float]


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
        prompt_tokens: prompt tokens read for the completions that it rests on, each sample counted.
        completion_tokens: tokens written in them. Strategies that share samples rest on the same.
        costs: what answering each problem once takes of each player, by problem and player: k samples for `maj@k`,
            also where more were drawn; k times the mean sample for `pass@k`; one for `avg@k`.
        used: the completions that it rests on, by problem.
        extras: further figures by name: `start` the first answers, `vote` and `pass` over all answers of a flow,
            and what the flow itself counted.
        transitions: answers before and after a flow's work: `right_right`, `right_wrong`, `wrong_right`,
            `wrong_wrong`.
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
    costs: dict[str, dict[str, Cost]] = field(default_factory=dict)
    used: dict[str, tuple[str, ...]] = field(default_factory=dict)
    extras: dict[str, Figure] = field(default_factory=dict)
    transitions: dict[str, int] = field(default_factory=dict)

    def cost(self) -> dict[str, Cost]:
        """The tokens of each player, summed over problems."""
        total: dict[str, Cost] = {}
        for costs in self.costs.values():
            for player, cost in costs.items():
                total[player] = total.get(player, Cost()) + cost
        return total


def score_strategy(
    strategy: Strategy,
    problems: Iterable[Problem],
    completions: Iterable[Completion],
    verdicts: Verdicts,
    *,
    scores: Mapping[str, float] | None = None,
    seed: int = 0,
) -> StrategyResult:
    """Score a strategy that picks from independent samples.

    Samples of a problem are taken in order of their index. `maj`, `best-of` and `weighted` use the first k of them;
    `pass` and `avg` use all (more than k make pass@k more exact). Verdicts that are our failure do not count; see
    `StrategyResult.excluded`.

    Args:
        problems: what the value is the mean over.
        completions: independent samples; those of other problems are left out.
        verdicts: by completion id, or just all of them.
        scores: rewards by completion id, for `best-of` and `weighted`.
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
    values: dict[str, float | None] = {}
    costs: dict[str, dict[str, Cost]] = {}
    everything: list[Completion] = []
    for problem_id, drawn in samples.items():
        ordered = sorted(drawn.values(), key=lambda c: (c.index, c.id))
        everything += ordered
        judged = [known[c.id] for c in ordered if c.id in known]
        values[problem_id] = _value(strategy, by_id[problem_id], judged, scores or {})
        costs[problem_id] = _sampling_cost(strategy, ordered)
    used = {name: tuple(drawn) for name, drawn in samples.items()}
    judged_all = [known[c.id] for c in everything if c.id in known]
    return _result(strategy, values, judged_all, everything, costs, used, seed=seed)


def score_plays(
    strategy: Strategy, problems: Iterable[Problem], plays: Iterable[Play], verdicts: Verdicts, *, seed: int = 0
) -> StrategyResult:
    """Score a strategy that was played.

    Args:
        problems: what the value is the mean over.
        plays: one a problem; those of other problems are left out.
        verdicts: on every answer in every chain, by completion id or just all of them.
        seed: of the bootstrap.

    Raises:
        InputError: no problem is left to score.
    """
    known = by_completion(verdicts)
    by_id = {p.id: p for p in problems}
    played = {play.problem_id: play for play in plays if play.problem_id in by_id}
    values: dict[str, float | None] = {}
    for problem_id, problem in by_id.items():
        play = played.get(problem_id)
        values[problem_id] = None if play is None else _value_of_play(strategy, problem, play, known)
    used = [c for play in played.values() for _, c in play.used]
    judged = [known[c.id] for play in played.values() for c in play.answers if c.id in known]
    result = _result(
        strategy, values, judged, used, {name: cost_of(play.used) for name, play in played.items()},
        {name: tuple(dict.fromkeys(c.id for _, c in play.used)) for name, play in played.items()}, seed=seed,
    )  # fmt: skip
    counted = [(by_id[name], played[name]) for name in result.per_problem]
    return replace(
        result, extras=extra_figures(strategy, counted, known, seed=seed), transitions=_transitions(counted, known)
    )


def _result(
    strategy: Strategy,
    values: Mapping[str, float | None],
    judged: Sequence[Verdict],
    used: Sequence[Completion],
    costs: dict[str, dict[str, Cost]],
    ids: dict[str, tuple[str, ...]],
    *,
    seed: int,
) -> StrategyResult:
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    outcomes.update(v.outcome for v in judged)
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        raise _nothing(strategy, len(values), outcomes)
    figure = _figure(known, seed, is_binary=strategy.what.rule in ("last", "vote"))
    return StrategyResult(
        strategy, figure.value, figure.low, figure.high, len(known), known,
        excluded=tuple(name for name, value in values.items() if value is None),
        outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES},
        prompt_tokens=sum(len(c.prompt_ids) for c in used),
        completion_tokens=sum(sum(c.loss_mask()) for c in used), costs=costs, used=ids,
    )  # fmt: skip


def _value(
    strategy: Strategy, problem: Problem, judged: Sequence[Verdict], scores: Mapping[str, float]
) -> float | None:
    """What a problem counts, in [0, 1]; None where it cannot count."""
    usable = [v for v in judged if v.is_usable]
    rule = strategy.what.rule
    if rule in ("vote", "best", "weighted"):
        # An answer that could not be compared with the gold still votes: losing it could turn the vote.
        first = [v for v in judged if v.outcome != "error"][: strategy.k]
        if len(first) < strategy.k:
            return None
        if rule == "vote":
            return majority_vote([vote_of(v, problem) for v in first])
        rewards = [scores[v.completion_id] for v in first]
        if rule == "weighted":
            return weighted_vote([vote_of(v, problem) for v in first], softmax_weights(rewards))
        best = first[rewards.index(max(rewards))]
        return float(best.is_correct) if best.is_usable else None
    if len(usable) < strategy.k:
        return None
    num_correct = sum(v.is_correct for v in usable)
    if rule == "pass":
        return pass_at_k(len(usable), num_correct, strategy.k)
    return num_correct / len(usable) if rule == "mean" else float(usable[0].is_correct)


def _sampling_cost(strategy: Strategy, ordered: Sequence[Completion]) -> dict[str, Cost]:
    if strategy.what.rule in ("mean", "pass"):
        wanted = 1 if strategy.what.rule == "mean" else strategy.k
        whole = cost_of(tuple((ACTOR, c) for c in ordered)).get(ACTOR, Cost())
        return {ACTOR: whole.times(wanted / max(1, len(ordered)))}
    first = tuple((ACTOR, c) for c in ordered[: strategy.k])
    costs = cost_of(first)
    if "reward_model" in strategy.what.needs:
        costs[REWARD_MODEL] = Cost(sum(len(c.prompt_ids) + len(c.token_ids) for _, c in first), 0)
    return costs


def _value_of_play(strategy: Strategy, problem: Problem, play: Play, known: Mapping[str, Verdict]) -> float | None:
    """As `_value`, of a play: one final answer, or a vote of the final answers of all chains."""
    if strategy.what.rule == "last":
        verdict = known.get(play.chains[0].last.id)
        return float(verdict.is_correct) if verdict is not None and verdict.is_usable else None
    chains: Sequence[Chain] = play.chains
    if strategy.what.rule == "passing":  # where the critic passes none, all vote
        chains = [chain for chain in chains if chain.is_passed] or chains
    return _vote_over([chain.last for chain in chains], problem, known)


def _vote_over(answers: Iterable[Completion], problem: Problem, known: Mapping[str, Verdict]) -> float | None:
    verdicts = [known.get(answer.id) for answer in answers]
    cast = [vote_of(v, problem) for v in verdicts if v is not None and v.outcome != "error"]
    return majority_vote(cast) if len(cast) == len(verdicts) else None


def extra_figures(
    strategy: Strategy, plays: Sequence[tuple[Problem, Play]], known: Mapping[str, Verdict], *, seed: int
) -> dict[str, Figure]:
    """What else plays tell: `start`, and over all answers of a problem `pass` and, where there are many, `vote`."""
    found: dict[str, dict[str, float]] = {}
    for problem, play in plays:
        for name, number in play.figures.items():
            found.setdefault(name, {})[problem.id] = float(number)
        verdicts = {c.id: known.get(c.id) for c in play.answers}
        if "critic" not in strategy.what.needs and strategy.kind != "self-refine":
            continue
        if any(v is None or not v.is_usable for v in verdicts.values()):
            continue
        right = {name: v is not None and v.is_correct for name, v in verdicts.items()}
        starts = [right[chain.answers[0].id] for chain in play.chains]
        found.setdefault("start", {})[problem.id] = sum(starts) / len(starts)
        found.setdefault("pass", {})[problem.id] = float(any(right.values()))
        vote = _vote_over(play.answers, problem, known)
        if "@" in strategy.name and vote is not None:
            found.setdefault("vote", {})[problem.id] = vote
    return {name: _figure(values, seed) for name, values in found.items()}


def _transitions(plays: Sequence[tuple[Problem, Play]], known: Mapping[str, Verdict]) -> dict[str, int]:
    """Chains of more than one answer, by whether their first and their last are right; empty where there is none."""
    counts: Counter[str] = Counter()
    for _, play in plays:
        for chain in play.chains:
            ends = [known.get(c.id) for c in (chain.answers[0], chain.last)]
            if len(chain.answers) > 1 and all(v is not None and v.is_usable for v in ends):
                counts["_".join("right" if v is not None and v.is_correct else "wrong" for v in ends)] += 1
    names = ("right_right", "right_wrong", "wrong_right", "wrong_wrong")
    return {name: counts[name] for name in names} if counts else {}


def vote_of(verdict: Verdict, problem: Problem) -> Vote:
    """What a judged sample votes for; an answer that could not be compared votes too."""
    return Vote(_key(verdict, problem), verdict.is_correct if verdict.is_usable else None)


def _key(verdict: Verdict, problem: Problem) -> Hashable | None:
    """What a sample votes for; `B`, `(B)` and the option's text are one vote where the options are known."""
    if not verdict.answer or not verdict.answer.strip():
        return None
    is_choice = problem.answer_kind == "choice" or problem.choices is not None
    return (choice_of(verdict.answer, problem.choices) if is_choice else None) or answer_key(verdict.answer)


def _figure(values: dict[str, float], seed: int, *, is_binary: bool = False) -> Figure:
    numbers = list(values.values())
    # A mean of 0s and 1s has a Wilson interval; figures outside of [0, 1] (counts) and shares are bootstrapped.
    is_binary = is_binary or all(v in (0.0, 1.0) for v in numbers)
    interval: Interval = wilson(sum(numbers), len(numbers)) if is_binary else bootstrap_mean(numbers, seed=seed)
    return Figure(accuracy(numbers), interval.low, interval.high, values)


def _nothing(strategy: Strategy, num_problems: int, outcomes: Counter[str]) -> InputError:
    shown = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count) or "no verdicts"
    return InputError(
        f"{strategy.name} cannot be scored",
        seen=f"{num_problems} problems; {shown}",
        expected=f"problems with {max(1, strategy.num_samples)} graded samples",
        advice="look at the notes of failed samples and verdicts; draw more samples, or choose a smaller k",
    )
