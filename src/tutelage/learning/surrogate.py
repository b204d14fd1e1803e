"""What a policy gradient minimises: episodes become rewards and advantages, these become losses of minibatches.

Pure but for the metrics that a `Minibatch` remembers; the equations are in `advantages` and `losses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tutelage.errors import DataError
from tutelage.learning import advantages, losses
from tutelage.learning.advantages import KLEstimator
from tutelage.learning.batches import Row, completion_row
from tutelage.learning.layout import Group
from tutelage.learning.losses import NllAverage
from tutelage.records import Completion, Trajectory

Advantage = Literal["gae", "grpo", "rloo"]


@dataclass(frozen=True)
class Surrogate:
    """The loss and how advantages are made.

    Args:
        advantage: `gae` needs a value network; `grpo` and `rloo` compare the completions of one problem.
        clip: how far a token's ratio may move before its gradient stops, in (0, 1).
        value_clip: how far a value may move from the old one before that is no longer rewarded, > 0.
        gamma: discount per token, in [0, 1].
        gae_lambda: in [0, 1].
        kl_estimator: of the penalty: `k1` or `k3`.
        whiten: shift and scale GAE's advantages to mean 0 and standard deviation 1 over the tokens of an iteration.
        average: of the losses: over all `token`s of a minibatch, or over each `sequence` and then the minibatch.
    """

    advantage: Advantage = "gae"
    clip: float = 0.2
    value_clip: float = 0.2
    gamma: float = 1.0
    gae_lambda: float = 0.95
    kl_estimator: KLEstimator = "k1"
    whiten: bool = True
    average: NllAverage = "token"


@dataclass(frozen=True)
class Episode:
    """A completion and what it earned, KL aside."""

    completion: Completion
    score: float


@dataclass(frozen=True)
class Estimates:
    """Rewards and advantages of a batch, `(B, T)`: one entry per written token, padded on the right."""

    rewards: Tensor
    advantages: Tensor

    def of(self, index: int, length: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Rewards and advantages of one completion of `length` written tokens."""
        return tuple(self.rewards[index, :length].tolist()), tuple(self.advantages[index, :length].tolist())


def estimate(
    surrogate: Surrogate,
    episodes: Sequence[Episode],
    old: Sequence[Sequence[float]],
    reference: Sequence[Sequence[float]],
    *,
    values: Sequence[Sequence[float]],
    beta: float,
) -> Estimates:
    """Rewards and advantages of episodes, from log-probs and values of the tokens that the model wrote.

    Args:
        surrogate: which advantages.
        episodes: B of them.
        old: log-probs under the policy that sampled, a list per episode.
        reference: the same under the reference.
        values: predicted returns; unused by the group baselines.
        beta: what a nat of KL costs.
    """
    mask = _padded([[1.0] * len(row) for row in old])
    kl = advantages.kl_per_token(_padded(old), _padded(reference), surrogate.kl_estimator)
    scores = torch.tensor([episode.score for episode in episodes], dtype=torch.float64)
    rewards = advantages.token_rewards(scores, kl, mask, beta=beta)
    if surrogate.advantage == "gae":
        made = advantages.gae(rewards, _padded(values), mask, gamma=surrogate.gamma, gae_lambda=surrogate.gae_lambda)
        return Estimates(rewards, made)
    places = {name: i for i, name in enumerate(dict.fromkeys(e.completion.problem_id for e in episodes))}
    groups = torch.tensor([places[e.completion.problem_id] for e in episodes])
    baseline = advantages.grpo if surrogate.advantage == "grpo" else advantages.rloo
    return Estimates(rewards, baseline(rewards.sum(1), groups)[:, None] * mask)


def _padded(rows: Sequence[Sequence[float]]) -> Tensor:
    """`(B, T)`, padded with 0, in double precision: what is summed here enters records."""
    parts = [torch.tensor(row, dtype=torch.float64) for row in rows]
    return nn.utils.rnn.pad_sequence(parts, batch_first=True)


@dataclass(frozen=True)
class Targets:
    """A completion's row and what the losses need of its written tokens; every tensor is `(S,)`."""

    row: Row
    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor


def make_targets(
    surrogate: Surrogate, batch: Sequence[tuple[Completion, Trajectory]], *, device: torch.device
) -> list[Targets]:
    """What the losses need of a batch; GAE's advantages are whitened over all its tokens, returns are left as they are.

    Raises:
        DataError: a completion and its trajectory do not belong together.
    """
    rows = [_row_of(completion, trajectory) for completion, trajectory in batch]
    raw = [torch.tensor(trajectory.advantages, dtype=torch.float64) for _, trajectory in batch]
    values = [torch.tensor(trajectory.values, dtype=torch.float64) for _, trajectory in batch]
    shown = raw
    if surrogate.advantage == "gae" and surrogate.whiten and raw:
        together = torch.cat(raw)[None]
        shown = list(advantages.whiten(together, torch.ones_like(together))[0].split([len(row) for row in raw]))
    return [
        Targets(
            row,
            torch.tensor(trajectory.old_logprobs, dtype=torch.float32, device=device),
            values[i].float().to(device),
            shown[i].float().to(device),
            (raw[i] + values[i]).float().to(device),
        )
        for i, (row, (_, trajectory)) in enumerate(zip(rows, batch, strict=True))
    ]


def _row_of(completion: Completion, trajectory: Trajectory) -> Row:
    row = completion_row(completion)
    lengths = {len(trajectory.old_logprobs), len(trajectory.values), len(trajectory.advantages), row.num_scored}
    if completion.id != trajectory.completion_id or len(lengths) != 1:
        raise DataError(
            "a completion and its trajectory do not belong together",
            seen=f"{completion.id} with {row.num_scored} written tokens, {trajectory.completion_id} with "
            f"{len(trajectory.advantages)}",
            expected="one entry per token that the model wrote",
        )
    return row


@dataclass
class Minibatch:
    """The losses of one minibatch, group by group, and what was seen on the way."""

    surrogate: Surrogate
    targets: Sequence[Targets]
    seen: dict[str, list[Tensor]] = field(default_factory=dict)

    def _gather(self, group: Group, name: str) -> Tensor:
        return torch.cat([getattr(self.targets[i], name) for i in group.items])

    def _weights(self, group: Group) -> Tensor:
        """What each token's loss is multiplied by; they add up to 1 over the minibatch."""
        lengths = torch.tensor([t.row.num_scored for t in self.targets], dtype=torch.float32)
        weights = losses.nll_coefficients(lengths, self.surrogate.average)
        parts = [weights[i].expand(self.targets[i].row.num_scored) for i in group.items]
        return torch.cat(parts).to(self.targets[0].advantages.device)

    def policy_loss(self, group: Group, logprobs: Tensor) -> Tensor:
        """A group's share of the clipped policy loss."""
        old, found = self._gather(group, "old_logprobs"), self._gather(group, "advantages")
        clip = self.surrogate.clip
        share = (self._weights(group) * losses.clipped_policy(logprobs, old, found, clip=clip)).sum()
        now = logprobs.detach()
        self._note("loss", share)
        self._note("clipped", losses.is_clipped(now, old, found, clip=clip).float())
        self._note("moved", advantages.kl_per_token(old, now, "k3"))
        return share

    def value_loss(self, group: Group, values: Tensor) -> Tensor:
        """A group's share of the clipped value loss."""
        old, returns = self._gather(group, "old_values"), self._gather(group, "returns")
        each = losses.clipped_value(values, old, returns, clip=self.surrogate.value_clip)
        share = (self._weights(group) * each).sum()
        self._note("value", share)
        return share

    def _note(self, name: str, value: Tensor) -> None:
        self.seen.setdefault(name, []).append(value.detach().reshape(-1))

    def means(self) -> dict[str, Any]:
        """The minibatch's metrics, by the names of `StepMetrics`."""
        value = self.seen.get("value")
        return {
            "loss": float(torch.cat(self.seen["loss"]).sum()),
            "value_loss": float(torch.cat(value).sum()) if value else None,
            "clip_fraction": float(torch.cat(self.seen["clipped"]).mean()),
            "step_kl": float(torch.cat(self.seen["moved"]).mean()),
        }
