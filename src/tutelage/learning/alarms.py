"""Alarms: pure functions from histories to warnings; they never stop a run.

Thresholds are ours: no source gives any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tutelage.learning.session import Alarm, StepMetrics

MAX_CHOSEN_FALL = 1.0
"""Nats by which chosen log-probs may fall below the reference's."""
MAX_LENGTH_RATIO = 1.3
MAX_DEGENERATE_SHARE = 0.9


def chosen_falling(metrics: Sequence[StepMetrics], *, max_fall: float = MAX_CHOSEN_FALL) -> list[Alarm]:
    """Whether chosen completions lost probability against the reference, as plain DPO makes them.

    Args:
        metrics: steps in order; their `chosen_shift` (policy minus reference, the same tokens) is free of the noise of
            changing batches. The last tenth of the steps is averaged.
        max_fall: nats allowed.
    """
    shifts = [m.chosen_shift for m in metrics if m.chosen_shift is not None]
    if not shifts:
        return []
    tail = shifts[-max(1, len(shifts) // 10) :]
    value = sum(tail) / len(tail)
    if value >= -max_fall:
        return []
    return [
        Alarm(
            "chosen_falling",
            f"chosen completions lost {-value:.1f} nats against the reference; add an NLL term (loss dpo_nll), or "
            "lower learning_rate",
            value,
        )
    ]


def first_step_loss(metrics: Sequence[StepMetrics], *, tolerance: float) -> list[Alarm]:
    """Whether the policy differed from its reference before the first update (the DPO loss was not ln 2).

    Args:
        metrics: steps in order; the first one's `first_step_gap` is judged.
        tolerance: largest gap allowed for a pair.
    """
    gap = metrics[0].first_step_gap if metrics else None
    if gap is None or gap <= tolerance:
        return []
    return [
        Alarm(
            "first_step_loss",
            f"a pair's first loss is {gap:.2g} off its value for a policy equal to the reference (ln 2 for DPO): the "
            "reference log-probs are not of these weights, these tokens or this number format",
            gap,
        )
    ]


def length_drift(mean_lengths: Sequence[float], *, max_ratio: float = MAX_LENGTH_RATIO) -> list[Alarm]:
    """Whether completions grow or shrink from iteration to iteration.

    Args:
        mean_lengths: mean completion length of each iteration, in tokens, in order.
        max_ratio: largest ratio of last to first, either way.
    """
    lengths = [length for length in mean_lengths if length > 0]
    if len(lengths) < 2:
        return []
    ratio = lengths[-1] / lengths[0]
    if 1 / max_ratio <= ratio <= max_ratio:
        return []
    way = "grew" if ratio > 1 else "shrank"
    return [Alarm("length_drift", f"completions {way} from {lengths[0]:.0f} to {lengths[-1]:.0f} tokens", ratio)]


def length_gap(chosen: float, rejected: float, *, max_ratio: float = MAX_LENGTH_RATIO) -> list[Alarm]:
    """Whether chosen and rejected completions differ so much in length that length itself is learnt.

    Args:
        chosen: mean length of chosen completions, in tokens.
        rejected: mean length of rejected ones.
        max_ratio: largest ratio, either way.
    """
    if min(chosen, rejected) <= 0:
        return []
    ratio = chosen / rejected
    if 1 / max_ratio <= ratio <= max_ratio:
        return []
    text = f"chosen completions have {chosen:.0f} tokens on average, rejected ones {rejected:.0f}: length may be learnt"
    return [Alarm("length_gap", text, ratio)]


def degenerate_groups(pass_rates: Sequence[float | None], *, max_share: float = MAX_DEGENERATE_SHARE) -> list[Alarm]:
    """Whether nearly all problems are all-wrong, or all-right, so that there is little to learn from.

    Args:
        pass_rates: one per problem, in [0, 1]; None where no verdict was usable.
        max_share: share of problems of one such kind that is allowed.
    """
    known = [rate for rate in pass_rates if rate is not None and not math.isnan(rate)]
    if not known:
        return []
    alarms = []
    for name, value, advice in (
        ("all_wrong", 0.0, "take easier problems, more samples or a higher temperature"),
        ("all_right", 1.0, "take harder problems or a higher temperature"),
    ):
        share = sum(1 for rate in known if rate == value) / len(known)
        if share > max_share:
            text = f"{share:.0%} of {len(known)} problems are {name.replace('_', '-')}: {advice}"
            alarms.append(Alarm(name, text, share))
    return alarms
