"""Each alarm: fires on what it is for, stays quiet beside it."""

from __future__ import annotations

import pytest

from tutelage.learning import alarms
from tutelage.learning.session import StepMetrics


def steps(shifts: list[float | None], gap: float | None = None) -> list[StepMetrics]:
    common = {"loss": 1.0, "nll": 1.0, "chosen_logprob": -5.0, "grad_norm": 1.0, "learning_rate": 1e-3}
    counts = {"num_items": 1, "num_tokens": 1, "num_padded": 1, "seconds": 0.1}
    return [
        StepMetrics(step=i + 1, chosen_shift=shift, first_step_gap=gap if i == 0 else None, **common, **counts)
        for i, shift in enumerate(shifts)
    ]


def test_chosen_falling_looks_at_the_last_tenth():
    falling = [-0.2 * i for i in range(20)]
    (alarm,) = alarms.chosen_falling(steps(falling))
    assert alarm.name == "chosen_falling" and alarm.value == pytest.approx(-0.2 * 18.5) and "3.7 nats" in alarm.message
    assert alarms.chosen_falling(steps([*falling, 0.0, 0.0, 0.0])) == []
    assert alarms.chosen_falling(steps([-0.9])) == []
    assert alarms.chosen_falling(steps([None, None])) == alarms.chosen_falling([]) == []


def test_first_step_loss():
    (alarm,) = alarms.first_step_loss(steps([0.0, 0.0], gap=0.01), tolerance=1e-4)
    assert alarm.value == 0.01 and "ln 2" in alarm.message
    assert alarms.first_step_loss(steps([0.0], gap=1e-5), tolerance=1e-4) == []
    assert alarms.first_step_loss([], tolerance=1e-4) == alarms.first_step_loss(steps([0.0]), tolerance=1e-4) == []


@pytest.mark.parametrize(
    ("lengths", "fires"), [([100, 90, 140], True), ([100, 60], True), ([100, 125], False), ([100], False), ([], False)]
)
def test_length_drift(lengths, fires):
    assert [a.name for a in alarms.length_drift(lengths)] == ["length_drift"] * fires


@pytest.mark.parametrize(
    ("chosen", "rejected", "fires"), [(10, 14, True), (14, 10, True), (10, 12, False), (0, 5, False)]
)
def test_length_gap(chosen, rejected, fires):
    assert [a.name for a in alarms.length_gap(chosen, rejected)] == ["length_gap"] * fires


@pytest.mark.parametrize(
    ("rates", "names"),
    [
        ([0.0] * 19 + [0.5], ["all_wrong"]),
        ([1.0] * 19 + [None, 0.5], ["all_right"]),
        ([0.0] * 9 + [1.0] * 9, []),
        ([None, float("nan")], []),
        ([], []),
    ],
)
def test_degenerate_groups(rates, names):
    assert [a.name for a in alarms.degenerate_groups(rates)] == names
