"""Advantages, KL, rewards and the losses of PPO and the reward model: numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tutelage.learning import losses
from tutelage.learning.advantages import (
    adapted_beta,
    gae,
    grpo,
    is_last,
    kl_per_token,
    rloo,
    token_rewards,
    whiten,
)

T = torch.tensor


def test_gae_by_hand() -> None:
    """gamma 0.9, lambda 0.5. From the end (V = 0 after it):

    delta_2 = 1 + 0 - 0.8 = 0.2                       A_2 = 0.2
    delta_1 = 0 + 0.9 x 0.8 - 0.6 = 0.12              A_1 = 0.12 + 0.45 x 0.2 = 0.21
    delta_0 = -0.1 + 0.9 x 0.6 - 0.5 = -0.06          A_0 = -0.06 + 0.45 x 0.21 = 0.0345
    """
    found = gae(T([[-0.1, 0.0, 1.0]]), T([[0.5, 0.6, 0.8]]), T([[1, 1, 1]]), gamma=0.9, gae_lambda=0.5)
    assert found[0].tolist() == pytest.approx([0.0345, 0.21, 0.2])


def test_gae_passes_over_tool_output_and_padding() -> None:
    """The trajectory of the contract test, its tool token and padding in place: the same four advantages."""
    rewards = T([[-0.02, 0.02, 9.0, 0.0, 0.97, 7.0]])
    values = T([[0.5, 0.6, -5.0, 0.7, 0.8, 3.0]])
    mask = T([[1, 1, 0, 1, 1, 0]])
    found = gae(rewards, values, mask, gamma=1.0, gae_lambda=0.5)
    assert found[0].tolist() == pytest.approx([0.18625, 0.2125, 0.0, 0.185, 0.17, 0.0])


def test_the_episode_ends_with_the_last_token_unless_it_was_cut_off() -> None:
    rewards, values, mask = T([[0.0, 1.0], [0.0, 1.0]]), torch.zeros(2, 2), T([[1, 1], [1, 1]])
    found = gae(rewards, values, mask, gamma=0.5, gae_lambda=1.0, final_values=T([0.0, 4.0]))
    # Ended: 1, then 0.5 x 1. Cut off before a state worth 4: 1 + 0.5 x 4 = 3, then 0.5 x 3.
    assert found.tolist() == [[0.5, 1.0], [1.5, 3.0]]


def test_lambda_1_is_the_return_less_the_value_and_lambda_0_the_one_step_error() -> None:
    rewards, values, mask = torch.randn(3, 5), torch.randn(3, 5), torch.ones(3, 5)
    returns = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(gae(rewards, values, mask, gae_lambda=1.0), returns - values)
    following = torch.cat([values[:, 1:], torch.zeros(3, 1)], 1)
    torch.testing.assert_close(gae(rewards, values, mask, gae_lambda=0.0), rewards + following - values)


def test_a_completion_without_a_written_token_gives_nothing() -> None:
    mask = T([[0, 0]])
    assert gae(T([[1.0, 1.0]]), T([[1.0, 1.0]]), mask).tolist() == [[0.0, 0.0]]
    assert token_rewards(T([1.0]), T([[0.3, 0.3]]), mask, beta=0.1).tolist() == [[0.0, 0.0]]


def test_group_baselines_by_hand() -> None:
    returns, groups = T([1.0, 0.0, 0.0, 1.0, 1.0, 5.0]), T([0, 0, 0, 1, 1, 2])
    # Group 0: mean 1/3, sample variance (4/9 + 1/9 + 1/9) / 2 = 1/3. Group 1 is of one mind, group 2 of one member.
    spread = math.sqrt(1 / 3)
    assert grpo(returns, groups).tolist() == pytest.approx([2 / 3 / spread, *[-1 / 3 / spread] * 2, 0.0, 0.0, 0.0])
    assert rloo(returns, groups).tolist() == pytest.approx([1.0, -0.5, -0.5, 0.0, 0.0, 0.0])


def test_group_baselines_do_not_depend_on_the_order() -> None:
    returns, groups, order = torch.randn(8), T([0, 1, 0, 1, 1, 0, 2, 2]), torch.randperm(8)
    for advantage in (grpo, rloo):
        torch.testing.assert_close(advantage(returns[order], groups[order]), advantage(returns, groups)[order])


def test_kl_estimators_by_hand_and_in_the_mean() -> None:
    logprobs, reference = T([-0.5, -1.0]), T([-0.7, -0.8])
    assert kl_per_token(logprobs, reference, "k1").tolist() == pytest.approx([0.2, -0.2])
    expected = [math.exp(-0.2) - 1 + 0.2, math.exp(0.2) - 1 - 0.2]
    assert kl_per_token(logprobs, reference, "k3").tolist() == pytest.approx(expected, abs=1e-6)
    p, q = torch.softmax(torch.randn(6), 0), torch.softmax(torch.randn(6), 0)
    exact = float((p * (p / q).log()).sum())
    for kind in ("k1", "k3"):
        assert float((p * kl_per_token(p.log(), q.log(), kind)).sum()) == pytest.approx(exact, abs=1e-6)


def test_the_score_lands_on_the_last_written_token() -> None:
    mask = T([[1, 0, 1, 0], [1, 1, 1, 1]])
    assert is_last(mask).tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
    found = token_rewards(T([1.0, -2.0]), T([[0.2, 9.0, 0.3, 9.0], [0.0, 0.1, 0.0, -0.1]]), mask, beta=0.1)
    expected = [-0.02, 0.0, 0.97, 0.0, 0.0, -0.01, 0.0, -1.99]
    assert found.flatten().tolist() == pytest.approx(expected)


def test_whitening_is_of_written_tokens_only() -> None:
    found = whiten(T([[1.0, 100.0], [3.0, -100.0]]), T([[1, 0], [1, 0]]))
    assert found.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert whiten(T([[2.0, 2.0]]), T([[1, 1]])).tolist() == [[0.0, 0.0]]


def test_the_price_of_kl_follows_the_target() -> None:
    assert adapted_beta(0.1, 6.0, target=3.0, gain=0.5) == pytest.approx(0.15)
    assert adapted_beta(0.1, 60.0, target=3.0, gain=0.5) == pytest.approx(0.15), "the error is clipped at 1"
    assert adapted_beta(0.1, 3.0, target=3.0, gain=0.5) == pytest.approx(0.1)
    assert adapted_beta(0.1, -1.0, target=3.0, gain=0.5) == pytest.approx(0.05)
    assert adapted_beta(0.1, 1.5, target=3.0, gain=0.5) == pytest.approx(0.075)


def test_the_clipped_surrogate_by_hand() -> None:
    """Ratios 1.5, 1.5, 0.5, 0.5 with advantages 2, -2, 2, -2 and c = 0.2.

    -min(3, 2.4) = -2.4; -min(-3, -2.4) = 3; -min(1, 1.6) = -1; -min(-1, -1.6) = 1.6.
    """
    new = T([1.5, 1.5, 0.5, 0.5]).log().requires_grad_()
    advantages = T([2.0, -2.0, 2.0, -2.0])
    found = losses.clipped_policy(new, torch.zeros(4), advantages, clip=0.2)
    assert found.tolist() == pytest.approx([-2.4, 3.0, -1.0, 1.6])
    clipped = losses.is_clipped(new, torch.zeros(4), advantages, clip=0.2)
    assert clipped.tolist() == [True, False, False, True]
    found.sum().backward()
    assert (new.grad == 0).tolist() == clipped.tolist(), "clipped is what has no gradient"


def test_the_first_surrogate_is_the_policy_gradient() -> None:
    new, advantages = T([-0.3, -1.2]).requires_grad_(), T([0.7, -0.4])
    found = losses.clipped_policy(new, new.detach(), advantages, clip=0.2)
    assert found.tolist() == pytest.approx([-0.7, 0.4])
    found.sum().backward()
    assert new.grad.tolist() == pytest.approx([-0.7, 0.4])


def test_the_clipped_value_loss_by_hand() -> None:
    # V 1 -> old 0, R 2, c 0.5: max((1-2)^2, (0.5-2)^2) / 2 = 1.125. V 1, R 0: max(1, 0.25) / 2 = 0.5.
    found = losses.clipped_value(T([1.0, 1.0]), T([0.0, 0.0]), T([2.0, 0.0]), clip=0.5)
    assert found.tolist() == pytest.approx([1.125, 0.5])
    assert losses.clipped_value(T([1.0]), T([0.0]), T([2.0]), clip=math.inf).tolist() == pytest.approx([0.5])


def test_bradley_terry_by_hand() -> None:
    found = losses.bradley_terry(T([0.0, 2.0]), T([0.0, 0.0]))
    assert found.tolist() == pytest.approx([math.log(2), math.log(1 + math.exp(-2))])
    margin = losses.bradley_terry(T([1.0]), T([0.0]), margin=1.0)
    assert margin.tolist() == pytest.approx([math.log(2)])
