"""The losses against numbers worked out by hand, a slow reference and their invariances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.learning import losses

# Two pairs by hand. Pair 1: h = (-10 - -12) - (-9 - -8) = 2 + 1 = 3. Pair 2: h = (-20 - -18) - (-7 - -7) = -2.
POLICY_CHOSEN = torch.tensor([-10.0, -20.0])
POLICY_REJECTED = torch.tensor([-9.0, -7.0])
REFERENCE_CHOSEN = torch.tensor([-12.0, -18.0])
REFERENCE_REJECTED = torch.tensor([-8.0, -7.0])
LENGTHS = torch.tensor([4.0, 5.0])
FOUR = (POLICY_CHOSEN, POLICY_REJECTED, REFERENCE_CHOSEN, REFERENCE_REJECTED)
sums = st.lists(st.floats(-200, 0), min_size=4, max_size=4)


def test_margin_by_hand():
    assert losses.margin(*FOUR).tolist() == [3.0, -2.0]


def test_dpo_by_hand():
    # -log sigmoid(0.5 * 3) = log(1 + e^-1.5) = 0.2014133; -log sigmoid(0.5 * -2) = log(1 + e) = 1.3132617
    assert losses.dpo(*FOUR, 0.5).tolist() == pytest.approx([0.2014133, 1.3132617], abs=1e-6)


def test_dpo_of_the_reference_itself_is_ln_2():
    value = losses.dpo(POLICY_CHOSEN, POLICY_REJECTED, POLICY_CHOSEN, POLICY_REJECTED, 0.1)
    assert value.tolist() == pytest.approx([math.log(2)] * 2, abs=1e-7)
    assert math.log(2) == losses.LN2


def test_ipo_by_hand():
    # 1 / (2 * 0.25) = 2: (3 - 2)^2 = 1, (-2 - 2)^2 = 16
    assert losses.ipo(*FOUR, 0.25).tolist() == [1.0, 16.0]


def test_nll_is_a_mean_per_sequence_and_positive():
    assert losses.nll(POLICY_CHOSEN, LENGTHS).tolist() == [2.5, 4.0]


def test_dpo_nll_by_hand_alpha_is_on_the_nll_term():
    value = losses.dpo_nll(losses.PairLogProbs(*FOUR, LENGTHS, LENGTHS), beta=0.5, alpha=0.5)
    assert value.tolist() == pytest.approx([0.2014133 + 0.5 * 2.5, 1.3132617 + 0.5 * 4.0], abs=1e-6)


def test_gradient_signs_dpo_pushes_rejected_down_and_nll_lifts_chosen():
    chosen, rejected = torch.tensor([-3.0], requires_grad=True), torch.tensor([-3.0], requires_grad=True)
    fixed = torch.tensor([-3.0])
    losses.dpo(chosen, rejected, fixed, fixed, 0.1).sum().backward()
    # d/dh -log sigmoid(beta h) = -beta sigmoid(-beta h) = -0.05 at h = 0
    assert chosen.grad.item() == pytest.approx(-0.05) and rejected.grad.item() == pytest.approx(0.05)


def test_nll_coefficients_are_the_two_averages():
    lengths = torch.tensor([2.0, 6.0])
    totals = torch.tensor([-4.0, -6.0])
    sequence = -(losses.nll_coefficients(lengths, "sequence") * totals).sum().item()
    token = -(losses.nll_coefficients(lengths, "token") * totals).sum().item()
    assert sequence == pytest.approx((4 / 2 + 6 / 6) / 2) and token == pytest.approx((4 + 6) / (2 + 6))
    assert sequence == pytest.approx(losses.nll(totals, lengths).mean().item())


@settings(max_examples=50, deadline=None)
@given(sums, st.floats(0.01, 2))
def test_dpo_agrees_with_plain_arithmetic(values: list[float], beta: float):
    chosen, rejected, ref_chosen, ref_rejected = values
    h = (chosen - ref_chosen) - (rejected - ref_rejected)
    expected = max(0.0, -beta * h) + math.log1p(math.exp(-abs(beta * h)))
    got = losses.dpo(*(torch.tensor([v], dtype=torch.float64) for v in values), beta).item()
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(sums, st.floats(-50, 50))
def test_a_constant_added_to_policy_and_reference_changes_nothing(values: list[float], shift: float):
    a = torch.tensor(values, dtype=torch.float64)
    b = a + torch.tensor([shift, 0, shift, 0], dtype=torch.float64)
    assert losses.dpo(*a[:, None], 0.1).item() == pytest.approx(losses.dpo(*b[:, None], 0.1).item(), abs=1e-9)
    assert losses.ipo(*a[:, None], 0.1).item() == pytest.approx(losses.ipo(*b[:, None], 0.1).item(), abs=1e-6)


def test_extreme_margins_stay_finite():
    big = torch.tensor([1e5, -1e5])
    zero = torch.zeros(2)
    value = losses.dpo(big, zero, zero, zero, 1.0)
    assert value.tolist() == [0.0, 1e5]
