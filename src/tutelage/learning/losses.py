"""The losses as pure functions: tensors in, tensors out.

Not here: batching, reference models, devices. Notation: `s(o|x)`, a *log-prob sum*, is the sum of the natural
log-probs of a completion's tokens that enter the loss (mask 1; the prompt, tool output and forced text are masked);
`|o|` is the number of those tokens, the end token included. All inputs and outputs have shape `(B,)`, one entry per
pair, unless said otherwise; no function averages over the batch.

Deviations from the sources: none for `dpo`, `nll` and `dpo_nll`; `ipo` takes whatever log-probs it is given, and the
learner gives it per-token means (as TRL does, on the authors' advice), where the paper writes sequence log-probs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

NllAverage = Literal["sequence", "token"]
LN2 = 0.6931471805599453
"""The DPO loss of every pair while the policy equals the reference."""


@dataclass(frozen=True)
class PairLogProbs:
    """What the preference losses need of a batch of pairs; every field has shape `(B,)`.

    Args:
        policy_chosen: log-prob sums of the chosen completions under the policy; carries gradients.
        policy_rejected: the same of the rejected ones.
        reference_chosen: log-prob sums of the chosen completions under the frozen reference M_t.
        reference_rejected: the same of the rejected ones.
        chosen_lengths: numbers of chosen tokens in the loss, >= 1.
        rejected_lengths: numbers of rejected tokens in the loss, >= 1.
    """

    policy_chosen: Tensor
    policy_rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_lengths: Tensor
    rejected_lengths: Tensor


def margin(
    policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor
) -> Tensor:
    """`h = [s_pi(o_w) - s_ref(o_w)] - [s_pi(o_l) - s_ref(o_l)]`, in nats; positive when chosen gained on rejected.

    Args:
        policy_chosen: `(B,)` log-prob sums of the chosen completions under the policy.
        policy_rejected: `(B,)` the same of the rejected ones.
        reference_chosen: `(B,)` log-prob sums of the chosen completions under the reference.
        reference_rejected: `(B,)` the same of the rejected ones.

    Returns:
        `(B,)` margins; 0 while the policy equals the reference.

    Source: arXiv 2305.18290, Eq. 7 (the argument of the sigmoid, without beta).
    """
    return (policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)


def dpo(
    policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> Tensor:
    """`-log sigmoid(beta * h)`: sums, not means, over tokens.

    Args:
        policy_chosen: `(B,)` log-prob sums of the chosen completions under the policy.
        policy_rejected: `(B,)` the same of the rejected ones.
        reference_chosen: `(B,)` log-prob sums of the chosen completions under the reference.
        reference_rejected: `(B,)` the same of the rejected ones.
        beta: strength of the tie to the reference, > 0.

    Returns:
        `(B,)` losses, >= 0; ln 2 while the policy equals the reference.

    Source: arXiv 2305.18290, Eq. 7.
    """
    h = margin(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return -F.logsigmoid(beta * h)


def ipo(
    policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> Tensor:
    """`(h - 1 / (2 beta))^2`, with h of the log-probs as given (sums, or per-token means).

    Args:
        policy_chosen: `(B,)` log-probs of the chosen completions under the policy.
        policy_rejected: `(B,)` the same of the rejected ones.
        reference_chosen: `(B,)` log-probs of the chosen completions under the reference.
        reference_rejected: `(B,)` the same of the rejected ones.
        beta: the paper's tau, > 0; the margin is drawn to `1 / (2 beta)`.

    Returns:
        `(B,)` losses, >= 0; `1 / (4 beta^2)` while the policy equals the reference.

    Source: arXiv 2310.12036, Eq. 17.
    """
    h = margin(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return (h - 1 / (2 * beta)) ** 2


def nll(logprob_sums: Tensor, lengths: Tensor) -> Tensor:
    """`-s(o|x) / |o|`: the mean over a sequence's own tokens, one value per sequence.

    Args:
        logprob_sums: `(B,)` log-prob sums of the completions.
        lengths: `(B,)` numbers of tokens summed, >= 1.

    Returns:
        `(B,)` losses, >= 0.

    Source: arXiv 2404.19733v3, Eq. 1 (the second term, without alpha).
    """
    return -logprob_sums / lengths


def dpo_nll(logprobs: PairLogProbs, *, beta: float, alpha: float) -> Tensor:
    """`-log sigmoid(beta * h) - alpha * s_pi(o_w|x) / |o_w|`, the loss of Iterative RPO.

    The DPO term takes sums over tokens; only the NLL term is divided by the chosen length. `alpha` multiplies the NLL
    term (v3 of the paper; v1 had it on the DPO term).

    Args:
        logprobs: log-prob sums and lengths of B pairs.
        beta: strength of the tie to the reference, > 0; the paper's is 0.1.
        alpha: weight of the NLL term, >= 0; the paper's is 1.

    Returns:
        `(B,)` losses. Their mean is the paper's loss; TRL's `sft` term is another: one mean over all chosen tokens
        of the batch (`nll_coefficients` with "token").

    Source: arXiv 2404.19733v3, Eq. 1.
    """
    preference = dpo(
        logprobs.policy_chosen,
        logprobs.policy_rejected,
        logprobs.reference_chosen,
        logprobs.reference_rejected,
        beta,
    )
    return preference + alpha * nll(logprobs.policy_chosen, logprobs.chosen_lengths)


def nll_coefficients(lengths: Tensor, average: NllAverage) -> Tensor:
    """Coefficients c with batch NLL `= -sum_i c_i s_i`, so that a batch may be split without changing its loss.

    Args:
        lengths: `(B,)` numbers of tokens in the loss of *every* sequence of the optimizer batch, >= 1.
        average: "sequence" is the paper's per-sequence mean, then the mean over the batch: `c_i = 1 / (B |o_i|)`;
            "token" is one mean over all tokens of the batch: `c_i = 1 / sum_j |o_j|`, which weights long ones more.

    Returns:
        `(B,)` coefficients, > 0.
    """
    if average == "sequence":
        return 1.0 / (lengths * lengths.numel())
    return torch.ones_like(lengths) / lengths.sum()


def bradley_terry(chosen: Tensor, rejected: Tensor, *, margin: float | Tensor = 0.0) -> Tensor:
    """`-log sigmoid(r_w - r_l - m)`: the chosen answer's reward must exceed the rejected one's, by a margin if set.

    Args:
        chosen: `(B,)` rewards r_w of the chosen answers.
        rejected: `(B,)` rewards r_l of the rejected answers, of the same problems.
        margin: m >= 0, one number or `(B,)`.

    Returns:
        `(B,)` losses, >= 0; ln 2 for equal rewards without a margin.

    Source: arXiv 2203.02155 §3.5, Eq. 1 (for one pair); the margin is that of arXiv 2307.09288 §3.2.2, Eq. 2.
    """
    return -F.logsigmoid(chosen - rejected - margin)


def clipped_policy(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip: float) -> Tensor:
    """`-min(rho A, clip(rho, 1 - c, 1 + c) A)` with `rho = exp(log pi - log pi_old)`: PPO's surrogate, to be minimised.

    Args:
        logprobs: `(S,)` log-probs of sampled tokens under the policy; carries gradients.
        old_logprobs: `(S,)` the same under the policy that sampled them.
        advantages: `(S,)` advantages of the tokens.
        clip: c in (0, 1); the published value is 0.2.

    Returns:
        `(S,)` losses; while the policy equals the old one they are `-advantages`.

    Source: arXiv 1707.06347, Eq. 7, with the sign turned.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def is_clipped(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip: float) -> Tensor:
    """`(S,)` True where `clipped_policy` has no gradient: the ratio left its range to where the advantage pulls."""
    ratio = torch.exp(logprobs - old_logprobs)
    return torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip) & (advantages != 0)


def clipped_value(values: Tensor, old_values: Tensor, returns: Tensor, *, clip: float) -> Tensor:
    """`0.5 max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2)`: the value network's loss.

    Args:
        values: `(S,)` predicted returns of the states before the tokens; carries gradients.
        old_values: `(S,)` the same when the tokens were sampled.
        returns: `(S,)` what the predictions should have been.
        clip: c > 0, in units of the return; infinity clips nothing.

    Returns:
        `(S,)` losses, >= 0.

    Source: the PPO of arXiv 1707.06347's authors (openai/baselines, ppo2); not in the paper.
    """
    near = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (near - returns) ** 2)
