"""What a judge is worth on graded answers, beside its teacher and a reward model: the report's card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tutelage.errors import InputError
from tutelage.evaluation.calibration import (
    RatedAnswer,
    accuracy_by_threshold,
    as_verdicts,
    correlation_between,
    correlation_with_truth,
    right_by_band,
    score_histogram,
)
from tutelage.evaluation.comparisons import compare
from tutelage.evaluation.critic_metrics import verdict_figures
from tutelage.evaluation.judge_flows import Opinion
from tutelage.evaluation.metrics import auc_across, auc_within
from tutelage.recipes.judge_data import JudgeSample
from tutelage.recipes.judging import as_scores, told_of
from tutelage.recipes.reward_card import grouped, with_interval
from tutelage.records import Completion, Score, Verdict
from tutelage.selection.filters import filter_answers, let_through
from tutelage.text.ratings import BANDS, HIGHEST, LOWEST


def data_card(samples: Sequence[JudgeSample]) -> dict[str, Any]:
    """What the training data hold: ratings by what became of them, and the scores of those that were kept."""
    kept = [sample for sample in samples if sample.fate == "kept"]
    scores = Counter(sample.score for sample in kept)
    return {
        "ratings": len(samples),
        "problems": len({sample.problem_id for sample in kept}),
        "fates": dict(Counter(sample.fate for sample in samples)),
        "unreadable": dict(Counter(reason for sample in samples for reason in sample.unreadable)),
        "scores": [scores[score] for score in range(LOWEST, HIGHEST + 1)],
    }


def figures_of(
    completions: Sequence[Completion],
    verdicts: Mapping[str, Verdict],
    opinions: Mapping[str, Opinion],
    *,
    threshold: float,
    seed: int,
) -> dict[str, Any]:
    """All figures of one judge on answers that could be graded.

    Args:
        completions: the answers, each with an opinion and a usable verdict; at least one.
        threshold: score from which an answer is called right.
        seed: of the intervals.
    """
    rated = rated_answers(completions, verdicts, opinions)
    scored = [c for c in completions if opinions[c.id].score is not None]
    groups = grouped(scored, verdicts, {c.id: float(opinions[c.id].score or 0) for c in scored})
    return {
        "verdicts": _rounded(asdict(verdict_figures(as_verdicts(rated, threshold), seed=seed))),
        "pearson": _short(correlation_with_truth(rated)),
        "auc_within": with_interval(groups, auc_within, seed) if groups else None,
        "auc_across": with_interval(groups, auc_across, seed) if groups else None,
        "histogram": asdict(score_histogram(rated)),
        "bands": [
            {"from": low, "to": high, "means": meaning, "answers": count, "right": _short(share)}
            for (low, high, meaning), (count, share) in zip(BANDS, right_by_band(rated), strict=True)
        ],
        "accuracy_by_threshold": {str(at): _short(value) for at, value in accuracy_by_threshold(rated).items()},
        "unreadable": told_of(opinions.values()),
    }  # fmt: skip


def rated_answers(
    completions: Sequence[Completion], verdicts: Mapping[str, Verdict], opinions: Mapping[str, Opinion]
) -> list[RatedAnswer]:
    """Answers with truth and score."""
    return [RatedAnswer(c.id, c.problem_id, verdicts[c.id].is_correct, opinions[c.id].score) for c in completions]


def beside(
    teacher: Sequence[RatedAnswer], student: Sequence[RatedAnswer], *, threshold: float, seed: int
) -> dict[str, Any]:
    """A student against its teacher on the same answers: accuracies paired by problem, and how scores correlate."""
    value, both = correlation_between(_scores(teacher), _scores(student))
    try:
        accuracy = asdict(compare(_accuracies(teacher, threshold), _accuracies(student, threshold), seed=seed))
    except InputError:  # fewer than two problems: there is nothing to pair
        accuracy = None
    return {"accuracy": accuracy, "pearson": _short(value), "rated_by_both": both}


def reward_figures(
    completions: Sequence[Completion], verdicts: Mapping[str, Verdict], scores: Mapping[str, float], *, seed: int
) -> dict[str, Any]:
    """A reward model's two AUCs on the answers that judges are measured on."""
    groups = grouped(completions, verdicts, scores)
    return {
        "auc_within": with_interval(groups, auc_within, seed),
        "auc_across": with_interval(groups, auc_across, seed),
    }


def filter_table(
    completions: Sequence[Completion],
    verdicts: Mapping[str, Verdict],
    opinions: Mapping[str, Opinion],
    *,
    threshold: float,
    rewards: Mapping[str, float] | None = None,
    top: int = 1,
) -> list[dict[str, Any]]:
    """How many right and wrong answers pass: the reward model's best `top` of each problem, the judge's cut, both.

    Args:
        rewards: a reward model's scores by completion id; None leaves out the rows that need one.
    """
    judged = as_scores({key: said.score for key, said in opinions.items() if said.score is not None}, "judge")
    filters: dict[str, dict[str, Any]] = {"judge": {"judged_by": judged, "at_least": threshold}}
    if rewards is not None:
        ranked = [Score(key, "reward_model", value, "") for key, value in rewards.items()]
        own = {"ranked_by": ranked, "top": top}
        filters = {"reward_model": own, **filters, "both": {**own, **filters["judge"]}}
    rows = []
    for name, words in filters.items():
        kept, _ = filter_answers(completions, verdicts, **words)
        passed = let_through(name, completions, kept, verdicts)
        rows.append(
            {**asdict(passed), "precision_in": passed.precision_in, "precision_out": passed.precision_out,
             "recall": passed.recall}
        )  # fmt: skip
    return rows


def remarks(card: Mapping[str, Any]) -> list[str]:
    """What a reader should know first, in sentences."""
    data, answers = card["data"], card["answers"]
    told = [
        f"{data['fates'].get('kept', 0)} of {data['ratings']} ratings learnt from; measured on {answers['n']} answers, "
        f"{answers['right']} of them right; called right from {card['threshold']} on"
    ]
    judges = [("teacher", card["teacher"])] if card["teacher"] else []
    judges += [(f"{own['student']} ({own['checkpoint']})", own["after"]) for own in card["students"]]
    for name, own in judges:
        verdicts = own["verdicts"]
        told.append(
            f"{name}: {verdicts['accuracy']:.1%} right (95 % interval {verdicts['low']:.1%} to {verdicts['high']:.1%})"
            f", {verdicts['unreadable']:.1%} unreadable, Pearson {_word(own['pearson'])}, AUC within "
            f"{_word(own['auc_within'])}, across {_word(own['auc_across'])}"
        )
        found = own["histogram"]
        told.append(f"  scores 1 to 10: right answers {_counts(found['right'])}, wrong {_counts(found['wrong'])}")
    if own := card["reward_model"]:
        told.append(f"reward model: AUC within {_word(own['auc_within'])}, across {_word(own['auc_across'])}")
    for own in card["students"]:
        told += [
            f"{own['checkpoint']}, filter {row['name']}: {row['right_out']} of {row['right_in']} right and "
            f"{row['wrong_out']} of {row['wrong_in']} wrong answers pass"
            for row in own["filters"]
        ]  # fmt: skip
    return told


def _scores(rated: Sequence[RatedAnswer]) -> dict[str, int]:
    return {one.id: one.score for one in rated if one.score is not None}


def _accuracies(rated: Sequence[RatedAnswer], threshold: float) -> dict[str, float]:
    """By problem, the share of its answers whose verdict is right."""
    found: dict[str, list[bool]] = {}
    for case in as_verdicts(rated, threshold):
        found.setdefault(case.problem_id, []).append(case.said_right == case.is_right)
    return {name: sum(own) / len(own) for name, own in found.items()}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _short(value) if isinstance(value, float) else value for key, value in values.items()}


def _word(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value['value']:.3f}" if isinstance(value, Mapping) else f"{value:.3f}"


def _counts(values: Sequence[int]) -> str:
    return " ".join(map(str, values))
