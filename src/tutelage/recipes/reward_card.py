"""What a reward model is worth on graded solutions: pure functions from scores to the report's card."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tutelage.evaluation.metrics import ScoredGroup, auc_across, auc_within, best_of_k
from tutelage.evaluation.statistics import bootstrap_mean
from tutelage.evaluation.strategies import parse_strategy, score_strategy
from tutelage.records import Completion, Problem, Score, Verdict, seed_of
from tutelage.selection.filters import keep_top as keep_best
from tutelage.selection.filters import let_through

DRAWS = 200


def card_of(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    verdicts: Mapping[str, Verdict],
    scores: Mapping[str, float],
    *,
    keep_top: int,
    seed: int,
) -> dict[str, Any]:
    """All figures of a reward model.

    Args:
        problems: none of them trained on.
        completions: usable solutions of them, several each.
        verdicts: by completion id.
        scores: by completion id.
        keep_top: M of the filter that is counted.
        seed: of the intervals.
    """
    groups = grouped(completions, verdicts, scores)
    mixed = [group for group in groups if group.right and group.wrong]
    records = [Score(name, "reward_model", value, "") for name, value in scores.items()]
    kept = keep_best(completions, records, keep_top)
    passed = let_through("reward_model", completions, kept, verdicts, records)
    return {
        "problems": len(groups),
        "problems_with_both": len(mixed),
        "solutions": len(completions),
        "pair_accuracy": with_interval(mixed, auc_within, seed),
        "pairs": sum(len(group.right) * len(group.wrong) for group in mixed),
        "auc_across": with_interval(groups, auc_across, seed),
        "mean_right": _mean(score for group in groups for score in group.right),
        "mean_wrong": _mean(score for group in groups for score in group.wrong),
        "best_of": best_of(problems, completions, verdicts, scores, seed=seed),
        "filter": {"keep_top": keep_top, **asdict(passed), "precision_in": passed.precision_in,
                   "precision_out": passed.precision_out, "recall": passed.recall},
    }  # fmt: skip


def grouped(
    completions: Iterable[Completion], verdicts: Mapping[str, Verdict], scores: Mapping[str, float]
) -> list[ScoredGroup]:
    """Scores of right and of wrong solutions, problem by problem."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for completion in completions:
        sides = found.setdefault(completion.problem_id, ([], []))
        sides[0 if verdicts[completion.id].is_correct else 1].append(scores[completion.id])
    return [ScoredGroup(tuple(right), tuple(wrong)) for right, wrong in found.values()]


def with_interval(
    groups: Sequence[ScoredGroup], statistic: Callable[[Sequence[ScoredGroup]], float | None], seed: int
) -> dict[str, float] | None:
    """A statistic over problems with its 95 % bootstrap interval, problems drawn anew; None where it is not defined."""
    value = statistic(groups)
    if value is None:
        return None
    rng = random.Random(seed_of("reward-card", seed))
    drawn = [statistic(rng.choices(groups, k=len(groups))) for _ in range(DRAWS)]
    known = sorted(draw for draw in drawn if draw is not None)
    low, high = known[int(0.025 * len(known))], known[min(len(known) - 1, int(0.975 * len(known)))]
    return {"value": value, "low": low, "high": high}


def best_of(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    verdicts: Mapping[str, Verdict],
    scores: Mapping[str, float],
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """For k = 1, 2, 4, ...: accuracy of the best of k by score, the majority vote of k, and whether any of k is right.

    Over problems with as many usable solutions as most have; k = 1 is a random sample.
    """
    of: dict[str, list[Completion]] = {}
    for completion in completions:
        of.setdefault(completion.problem_id, []).append(completion)
    most = max(map(len, of.values()), default=0)
    full = {name: found for name, found in of.items() if len(found) == most}
    chosen = [problem for problem in problems if problem.id in full]
    rows, k = [], 1
    while k <= most:
        values = [
            best_of_k([scores[c.id] for c in found], [verdicts[c.id].is_correct for c in found], k)
            for found in full.values()
        ]
        low, high = bootstrap_mean(values, seed=seed)
        some = [completion for found in full.values() for completion in found]
        others = {
            name: score_strategy(parse_strategy(f"{name}@{k}"), chosen, some, verdicts).value
            for name in ("maj", "pass")
        }
        best = {"accuracy": statistics.fmean(values), "low": low, "high": high, "n": len(values)}
        rows.append({"k": k, "best_of": best, **others})
        k *= 2
    return rows


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None


def remarks(card: Mapping[str, Any]) -> list[str]:
    """What a reader should know first, in sentences."""
    within, across = card["pair_accuracy"], card["auc_across"]
    told = [f"scored {card['solutions']} solutions of {card['problems']} problems that were not trained on"]
    if within is None:
        told.append("none of these problems had both a right and a wrong solution: ranking cannot be measured")
    else:
        told.append(f"pairs of one problem in the right order (AUC within): {_shown(within)} of {card['pairs']} pairs")
    if across is not None:
        told.append(f"pairs of two problems in the right order (AUC across): {_shown(across)}")
    if len(card["best_of"]) > 1:
        first, last = card["best_of"][0], card["best_of"][-1]
        told.append(
            f"best of {last['k']} by score {last['best_of']['accuracy']:.1%}, a random sample "
            f"{first['best_of']['accuracy']:.1%}, majority {last['maj']:.1%}, any of them {last['pass']:.1%}"
        )
    kept = card["filter"]
    told.append(
        f"keeping the top {kept['keep_top']} of a problem lets {kept['right_out']} of {kept['right_in']} right and "
        f"{kept['wrong_out']} of {kept['wrong_in']} wrong solutions through"
    )
    return told


def _shown(value: Mapping[str, float]) -> str:
    return f"{value['value']:.1%} (95 % interval {value['low']:.1%} to {value['high']:.1%})"
