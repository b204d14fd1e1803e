"""A strategy's value for every smaller k, from the samples or plays of the largest: `tutelage eval --curve`.

Values are means over subsets of the samples (exact for pass@k and best-of-k, over random orders for votes), or over
beginnings of a chain. So the last point of a vote may differ from the strategy's own figure by how ties are broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tutelage.evaluation.metrics import best_of_k, majority_vote, pass_at_k
from tutelage.evaluation.plays import Chain, Play
from tutelage.evaluation.strategies import vote_of
from tutelage.evaluation.strategy_names import Strategy
from tutelage.evaluation.voting import softmax_weights, vote_curve
from tutelage.records import Completion, Problem, Verdict

NUM_DRAWS = 1000
Row = list[float]
"""A problem's value for k = 1, 2, ..."""


def sampled_curve(
    strategy: Strategy,
    problems: Iterable[Problem],
    completions: Iterable[Completion],
    verdicts: Mapping[str, Verdict],
    *,
    scores: Mapping[str, float] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Points `{k, accuracy, low, high, n, tokens_per_problem}` of a strategy that picks from samples.

    Args:
        strategy: `pass`, `maj`, `best-of` or `weighted`; the others have no curve and give no point.
        problems: what values are means over; those with fewer than k usable samples are left out.
        completions: samples in canonical order; all of a problem are used, so more than k make the curve exacter.
        verdicts: by completion id.
        scores: rewards by completion id, where the strategy needs them.
        seed: of orders and of the bootstrap.
    """
    if strategy.what.rule not in ("pass", "vote", "best", "weighted"):
        return []
    drawn: dict[str, list[Completion]] = {}
    for completion in completions:
        if completion.id in verdicts and verdicts[completion.id].outcome != "error":
            drawn.setdefault(completion.problem_id, []).append(completion)
    rows, tokens = [], []
    for problem in problems:
        own = drawn.get(problem.id, [])
        row = _sampled_row(strategy, problem, [verdicts[c.id] for c in own], scores or {}, seed)
        if len(own) >= strategy.k and row is not None:
            rows.append(row[: strategy.k])
            tokens.append(_mean([sum(c.loss_mask()) for c in own]))
    costs = [k * _mean(tokens) for k in range(1, strategy.k + 1)]
    return _points(rows, costs, seed=seed)


def _sampled_row(
    strategy: Strategy, problem: Problem, judged: Sequence[Verdict], scores: Mapping[str, float], seed: int
) -> Row | None:
    rule, sizes = strategy.what.rule, range(1, len(judged) + 1)
    if rule in ("pass", "best") and not all(v.is_usable for v in judged):
        return None
    right = [v.is_correct for v in judged]
    if rule == "pass":
        return [pass_at_k(len(right), sum(right), k) for k in sizes]
    rewards = [scores[v.completion_id] for v in judged] if rule != "vote" else []
    if rule == "best":
        return [best_of_k(rewards, right, k) for k in sizes]
    weights = softmax_weights(rewards) if rule == "weighted" else None
    return vote_curve([vote_of(v, problem) for v in judged], weights=weights, seed=seed)


def played_curve(
    strategy: Strategy,
    problems: Iterable[Problem],
    plays: Iterable[Play],
    verdicts: Mapping[str, Verdict],
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Points of a strategy that was played: over parallel chains, or along a chain.

    `critic-maj` and `critic-filter` give k = 1 .. K chains; `critic-maj` also `pass`, whether any answer of k chains is
    right, first ones included. `sequential` gives k = 0 .. K refinements with `accuracy` of the last answer, and `vote`
    and `pass` over the chain so far. `grid` gives k = 1 .. K chains for each number of `steps` from 0 to S. Others give
    no point. Tokens are shared out evenly over chains, and those beyond the starts over steps.

    Args:
        strategy: which.
        problems: what values are means over; those with an answer that could not be graded are left out.
        plays: one a problem.
        verdicts: on every answer, by completion id.
        seed: of orders and of the bootstrap.
    """
    by_id = {p.id: p for p in problems}
    whole = [p for p in plays if p.problem_id in by_id and all(_is_graded(verdicts, c) for c in p.answers)]
    begun = _mean([sum(sum(chain.answers[0].loss_mask()) for chain in p.chains) for p in whole])
    spent = _mean([sum(sum(c.loss_mask()) for c in {c.id: c for _, c in p.used}.values()) for p in whole])
    if strategy.kind == "sequential":
        return _along(strategy, [(by_id[p.problem_id], p.chains[0]) for p in whole], verdicts, (begun, spent), seed)
    if strategy.kind not in ("critic-maj", "critic-filter", "grid"):
        return []
    points: list[dict[str, Any]] = []
    is_grid = strategy.kind == "grid"
    last = strategy.steps if is_grid else max((len(c.answers) - 1 for p in whole for c in p.chains), default=0)
    for steps in range(last + 1) if is_grid else [last]:
        rows = [_parallel_row(strategy, by_id[p.problem_id], p, verdicts, steps, seed) for p in whole]
        known = [row for row in rows if row is not None]
        so_far = begun + (spent - begun) * steps / last if is_grid else spent
        costs = [so_far * k / strategy.k for k in range(1, strategy.k + 1)]
        extra = {"steps": steps} if is_grid else {}
        points += [extra | point for point in _points(known, costs, seed=seed)]
    if strategy.kind == "critic-maj":
        solved = [_solved_row(p, verdicts) for p in whole if len(p.chains) == strategy.k]
        _put_beside(points, "pass", _points([row for row in solved if row is not None], costs, seed=seed))
    return points


def _solved_row(play: Play, verdicts: Mapping[str, Verdict]) -> Row | None:
    """Whether any of k chains has a right answer, exactly, for k = 1 .. K; None where one could not be graded."""
    judged = [[verdicts[answer.id] for answer in chain.answers] for chain in play.chains]
    if not all(verdict.is_usable for chain in judged for verdict in chain):
        return None
    right = sum(any(verdict.is_correct for verdict in chain) for chain in judged)
    return [pass_at_k(len(judged), right, k) for k in range(1, len(judged) + 1)]


def _put_beside(points: Sequence[dict[str, Any]], name: str, others: Sequence[Mapping[str, Any]]) -> None:
    """A second figure of the same k beside the accuracy; none where there is nothing to put."""
    for point, other in zip(points, others, strict=False):
        point[name] = {key: other[key] for key in ("accuracy", "low", "high")}


def _is_graded(verdicts: Mapping[str, Verdict], answer: Completion) -> bool:
    return answer.id in verdicts and verdicts[answer.id].outcome != "error"


def _parallel_row(
    strategy: Strategy, problem: Problem, play: Play, verdicts: Mapping[str, Verdict], steps: int, seed: int
) -> Row | None:
    finals = [chain.answers[min(steps, len(chain.answers) - 1)] for chain in play.chains]
    passed = [bool(chain.is_passed) for chain in play.chains] if strategy.what.rule == "passing" else None
    votes = [vote_of(verdicts[answer.id], problem) for answer in finals]
    return vote_curve(votes, is_passed=passed, seed=seed) if len(votes) == strategy.k else None


def _along(
    strategy: Strategy, chains: Sequence[tuple[Problem, Chain]], verdicts: Mapping[str, Verdict],
    tokens: tuple[float, float], seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """A chain that ended early keeps its last answer."""
    last, vote, solved = [], [], []
    for problem, chain in chains:
        judged = [verdicts[c.id] for c in chain.answers]
        if not all(v.is_usable for v in judged):
            continue
        judged += judged[-1:] * (strategy.k + 1 - len(judged))
        right = [v.is_correct for v in judged]
        last.append([float(r) for r in right])
        solved.append([float(any(right[: k + 1])) for k in range(len(right))])
        votes = [vote_of(v, problem) for v in judged]
        vote.append([majority_vote(votes[: k + 1]) or 0.0 for k in range(len(votes))])
    begun, spent = tokens
    costs = [begun + (spent - begun) * k / strategy.k for k in range(strategy.k + 1)]
    points = _points(last, costs, seed=seed, first=0)
    for name, rows in (("vote", vote), ("pass", solved)):
        _put_beside(points, name, _points(rows, costs, seed=seed, first=0))
    return points


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _points(rows: Sequence[Row], costs: Sequence[float], *, seed: int, first: int = 1) -> list[dict[str, Any]]:
    """Means over problems with bootstrap intervals; the same resamples of problems for every k."""
    if not rows:
        return []
    values = np.asarray(rows, dtype=np.float64)
    rng = np.random.default_rng(seed)
    picks = rng.multinomial(len(rows), [1 / len(rows)] * len(rows), size=NUM_DRAWS)
    low, high = np.percentile(picks @ values / len(rows), [2.5, 97.5], axis=0)
    means = values.mean(axis=0)
    return [
        {
            "k": first + i, "accuracy": float(means[i]), "low": float(low[i]), "high": float(high[i]),
            "n": len(rows), "tokens_per_problem": round(costs[i], 2),
        }
        for i in range(len(means))
    ]  # fmt: skip
