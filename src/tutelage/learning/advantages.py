"""Advantages as pure functions: GAE with a value network, group baselines without one, and what the KL costs.

All tensors are `(B, T)`: B completions padded to T tokens. `mask` is 1 for tokens that the model wrote and 0 for tool
output, forced text and padding. A masked token is no action: it has no reward, no advantage, and a completion goes on
after it as if it were not there. All log-probs are natural logs.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

KLEstimator = Literal["k1", "k3"]
LEAST_SPREAD = 1e-6
"""Standard deviations below it count as none: there is nothing to tell apart."""


def kl_per_token(logprobs: Tensor, reference: Tensor, estimator: KLEstimator) -> Tensor:
    """Estimates of KL(policy || reference) from tokens that the policy sampled, one a token, any shape.

    With `d = log pi - log ref`: `k1 = d` is unbiased and may be negative; `k3 = exp(-d) - 1 + d` is unbiased too, never
    negative and varies less near d = 0, but grows without bound where the policy makes a token rare.

    Args:
        logprobs: under the policy that sampled the tokens.
        reference: under the frozen reference.
        estimator: `k1` or `k3`.

    Source: J. Schulman, "Approximating KL divergence" (2020).
    """
    difference = logprobs - reference
    return difference if estimator == "k1" else torch.expm1(-difference) + difference


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, *, beta: float) -> Tensor:
    """`-beta KL_t`, plus the completion's score on the last token that the model wrote.

    Args:
        scores: `(B,)` what each completion earned.
        kl: `(B, T)` estimates per token.
        mask: `(B, T)`.
        beta: what a nat of KL costs, >= 0.

    Returns:
        `(B, T)` rewards, 0 where masked; a completion without a written token earns nothing.

    Source: arXiv 1909.08593, Eq. 2, written per token.
    """
    weights = mask.to(kl.dtype)
    return torch.where(mask.bool(), -beta * kl, torch.zeros_like(kl)) + is_last(mask) * scores[:, None] * weights


def is_last(mask: Tensor) -> Tensor:
    """`(B, T)`: 1 at the last unmasked token of each row, else 0."""
    following = mask.flip(1).cumsum(1).flip(1)
    return ((following == 1) & mask.bool()).to(mask.dtype)


def gae(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    *,
    gamma: float = 1.0,
    gae_lambda: float = 0.95,
    final_values: Tensor | None = None,
) -> Tensor:
    """Generalized advantage estimates: `A_t = delta_t + gamma lambda A_{t'}`, `delta_t = r_t + gamma V_{t'} - V_t`.

    t' is the next token that the model wrote. After the last one the episode is over: `V` there is 0, whatever ended
    the completion, unless `final_values` says otherwise.

    Args:
        rewards: `(B, T)`.
        values: `(B, T)` predicted returns of the states in which the tokens were chosen.
        mask: `(B, T)`.
        gamma: discount per written token, in [0, 1].
        gae_lambda: lambda in [0, 1]; 0 trusts the values, 1 the rewards.
        final_values: `(B,)` value of the state after the last token, where an episode was cut off rather than ended.

    Returns:
        `(B, T)` advantages, 0 where masked; `advantages + values` are the returns that values are trained on.

    Source: arXiv 1506.02438, Eq. 16.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0]) if final_values is None else final_values
    carried = torch.zeros_like(following)
    written = mask.bool()
    for t in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * following - values[:, t]
        found = delta + gamma * gae_lambda * carried
        advantages[:, t] = torch.where(written[:, t], found, 0.0)
        carried = torch.where(written[:, t], found, carried)
        following = torch.where(written[:, t], values[:, t], following)
    return advantages


def grpo(returns: Tensor, groups: Tensor) -> Tensor:
    """`(R - mean) / std` over the completions of one prompt; 0 where all of them earned the same.

    Args:
        returns: `(B,)` what each completion earned in all.
        groups: `(B,)` which prompt each answers, in [0, number of prompts).

    Returns:
        `(B,)`; the standard deviation is that of the sample (divided by n - 1), as in the authors' implementations.

    Source: arXiv 2402.03300 §4.1.2.
    """
    count = torch.bincount(groups)[groups].to(returns.dtype)
    centred = returns - _sums(returns, groups) / count
    spread = (_sums(centred**2, groups) / (count - 1).clamp(min=1)).sqrt()
    return torch.where(spread > LEAST_SPREAD, centred / spread.clamp(min=LEAST_SPREAD), 0.0)


def rloo(returns: Tensor, groups: Tensor) -> Tensor:
    """`R - mean of the others` over the completions of one prompt; 0 for one that is alone.

    Args:
        returns: `(B,)` what each completion earned in all.
        groups: `(B,)` which prompt each answers, in [0, number of prompts).

    Source: arXiv 2402.14740, Eq. 6.
    """
    count = torch.bincount(groups)[groups].to(returns.dtype)
    others = (_sums(returns, groups) - returns) / (count - 1).clamp(min=1)
    return torch.where(count > 1, returns - others, 0.0)


def _sums(values: Tensor, groups: Tensor) -> Tensor:
    """Each entry's group total."""
    totals = torch.zeros(int(groups.max()) + 1, dtype=values.dtype, device=values.device)
    return totals.index_add(0, groups, values)[groups]


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale so that unmasked entries have mean 0 and standard deviation 1; masked ones become 0.

    Entries that are all alike become 0. The mean is over all tokens of the batch, not of a completion.

    Args:
        values: `(B, T)`.
        mask: `(B, T)`.
    """
    found = values[mask.bool()]
    spread = found.std(correction=0) if len(found) else torch.zeros(())
    if not len(found) or float(spread) <= LEAST_SPREAD:
        return torch.zeros_like(values)
    return torch.where(mask.bool(), (values - found.mean()) / spread, 0.0)


def adapted_beta(beta: float, kl: float, *, target: float, gain: float) -> float:
    """The KL's price for the next iteration: `beta (1 + gain clip(KL / target - 1, -1, 1))`.

    Args:
        beta: the price in force.
        kl: measured KL to the reference, nats a completion; a negative estimate counts as 0.
        target: the KL aimed at, > 0.
        gain: largest relative change, in [0, 1).

    Returns:
        The next price, > 0 for `beta` > 0.

    Source: arXiv 1909.08593 §2.2, which clips at 0.2 and takes a gain of 0.1 (an update every few thousand episodes).
    """
    error = min(1.0, max(-1.0, max(kl, 0.0) / target - 1))
    return beta * (1 + gain * error)
