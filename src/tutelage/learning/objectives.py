"""From a batch's log-prob sums to its loss and its metrics: where the pure losses meet groups and weights.

A pair's `weight` multiplies its loss; sums are divided by the number of pairs, not by the sum of weights, so weights
that should not change the size of a step have mean 1. All divisors are of the whole optimizer batch, so that a batch
computed in groups has the loss and the gradients of the unsplit one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tutelage.errors import ConfigError, DataError
from tutelage.learning import losses
from tutelage.learning.batches import Row
from tutelage.learning.layout import Group
from tutelage.learning.losses import NllAverage
from tutelage.records import digest

Loss = Literal["dpo_nll", "dpo", "ipo", "sft"]
Reference = tuple[float, float]
"""Log-prob sums of a pair's chosen and rejected completion under the reference; NaN for a pair that is dropped."""


@dataclass(frozen=True)
class Objective:
    """Which loss, and its parameters.

    Args:
        loss: `dpo_nll`, `dpo`, `ipo`, or `sft` (NLL of the chosen; the rejected are not even computed).
        beta: strength of the tie to the reference, > 0.
        alpha: weight of the NLL term of `dpo_nll`, >= 0.
        nll_average: `sequence` (the paper's) or `token` (TRL's).
    """

    loss: Loss = "dpo_nll"
    beta: float = 0.1
    alpha: float = 1.0
    nll_average: NllAverage = "sequence"

    def check(self) -> None:
        """Refuse values out of range.

        Raises:
            ConfigError: lists all that is wrong.
        """
        wrong = []
        if self.loss not in ("dpo_nll", "dpo", "ipo", "sft"):
            wrong.append(f"loss={self.loss!r} is not one of dpo_nll, dpo, ipo, sft")
        if not 0 < self.beta < math.inf:
            wrong.append(f"beta={self.beta} is not above 0")
        if not 0 <= self.alpha < math.inf:
            wrong.append(f"alpha={self.alpha} is below 0")
        if self.nll_average not in ("sequence", "token"):
            wrong.append(f"nll_average={self.nll_average!r} is not sequence or token")
        if wrong:
            raise ConfigError(wrong)

    @property
    def needs_reference(self) -> bool:
        """Whether rejected completions and reference log-probs enter the loss."""
        return self.loss != "sft"

    @property
    def term_weights(self) -> tuple[float, float]:
        """What the preference term and the NLL term are multiplied by."""
        return {"dpo_nll": (1.0, self.alpha), "dpo": (1.0, 0.0), "ipo": (1.0, 0.0), "sft": (0.0, 1.0)}[self.loss]

    def digest(self) -> str:
        """Equal for equal objectives."""
        return digest([self.loss, self.beta, self.alpha, self.nll_average])

    def preference(self, sums: Tensor, reference: Tensor, lengths: Tensor) -> Tensor:
        """The preference loss of each pair, `(B,)`.

        Args:
            sums: `(B, 2)` log-prob sums of chosen and rejected under the policy.
            reference: `(B, 2)` the same under the reference.
            lengths: `(B, 2)` numbers of tokens summed; IPO takes means over them.
        """
        if self.loss == "ipo":
            sums, reference = sums / lengths, reference / lengths
        function = losses.ipo if self.loss == "ipo" else losses.dpo
        return function(sums[:, 0], sums[:, 1], reference[:, 0], reference[:, 1], self.beta)


class PairWork:
    """The loss of one optimizer batch of pairs, group by group, and what was seen on the way.

    Args:
        objective: which loss.
        items: chosen and rejected row of every pair.
        weights: one per pair, >= 0.
        reference: log-prob sums under the reference; may be empty where the objective needs none.
        device: where the losses are computed.

    Raises:
        DataError: a reference log-prob is missing or not finite, or a weight is out of range.
    """

    def __init__(
        self,
        objective: Objective,
        items: Sequence[Sequence[Row]],
        *,
        weights: Sequence[float],
        reference: Sequence[Reference],
        device: torch.device,
    ) -> None:
        if any(not 0 <= weight < math.inf for weight in weights):
            raise DataError("a pair's weight is out of range", seen=min(weights), expected="finite, >= 0")
        if objective.needs_reference and len(reference) != len(items):
            raise DataError(
                "every pair needs its reference log-probs",
                seen=f"{len(reference)} references of {len(items)} pairs",
                expected="one each, in the same order",
                advice="compute them with reference_logprobs before the first update",
            )
        if objective.needs_reference and not all(math.isfinite(value) for pair in reference for value in pair):
            raise DataError(
                "a pair's reference log-prob is not a number",
                expected="what reference_logprobs gave for this pair",
                advice="compute the reference with the same max_length as the training",
            )
        self.objective = objective
        self.rows = items if objective.needs_reference else [rows[:1] for rows in items]
        lengths = [[rows[0].num_scored, rows[1].num_scored] for rows in items]
        self._lengths = torch.tensor(lengths, dtype=torch.float32, device=device)
        self._weights = torch.tensor(weights, dtype=torch.float32, device=device)
        self._reference = torch.tensor(reference, dtype=torch.float32, device=device)
        self._nll_weights = self._weights * losses.nll_coefficients(self._lengths[:, 0], objective.nll_average)
        self._seen: list[tuple[tuple[int, ...], Tensor, Tensor | None]] = []

    def group_loss(self, group: Group, sums: Tensor) -> Tensor:
        """A group's share of the batch loss, a scalar.

        Args:
            group: which pairs.
            sums: `(pairs in the group, 1 or 2)` log-prob sums under the policy, with gradients.
        """
        index = torch.tensor(group.items, device=sums.device)
        nll = -(self._nll_weights[index] * sums[:, 0]).sum()
        if not self.objective.needs_reference:
            self._seen.append((group.items, sums.detach(), None))
            return nll
        pairwise = self.objective.preference(sums, self._reference[index], self._lengths[index])
        self._seen.append((group.items, sums.detach(), pairwise.detach()))
        preference = (self._weights[index] * pairwise).sum() / len(self.rows)
        preference_weight, nll_weight = self.objective.term_weights
        return preference_weight * preference + nll_weight * nll if nll_weight else preference

    def first_step_gap(self, sums: Tensor | None = None) -> float:
        """Largest difference of a pair's preference loss from its value at policy = reference (ln 2 for DPO).

        Args:
            sums: `(B, 2)` log-prob sums in evaluation mode; None takes those of the training pass.
        """
        if sums is None:
            values = torch.cat([pairwise for _, _, pairwise in self._seen if pairwise is not None])
        else:
            values = self.objective.preference(sums, self._reference, self._lengths)
        beta = self.objective.beta
        expected = 1 / (4 * beta**2) if self.objective.loss == "ipo" else losses.LN2
        return float((values - expected).abs().max())

    def means(self) -> dict[str, Any]:
        """The batch's metrics, by the names of `StepMetrics`, once all groups have been computed."""
        index = torch.tensor([item for items, _, _ in self._seen for item in items], device=self._weights.device)
        sums = torch.cat([sums for _, sums, _ in self._seen])
        nll = float(-(self._nll_weights[index] * sums[:, 0]).sum())
        found: dict[str, Any] = {"loss": nll, "nll": nll, "chosen_logprob": float(sums[:, 0].mean())}
        if not self.objective.needs_reference:
            return found
        pairwise = torch.cat([pairwise for _, _, pairwise in self._seen if pairwise is not None])
        preference = float((self._weights[index] * pairwise).sum()) / len(self.rows)
        shifts = sums - self._reference[index]
        margins = shifts[:, 0] - shifts[:, 1]
        first, second = self.objective.term_weights
        return found | {
            "loss": first * preference + second * nll,
            "preference_loss": preference,
            "rejected_logprob": float(sums[:, 1].mean()),
            "chosen_shift": float(shifts[:, 0].mean()),
            "margin": float(margins.mean()),
            "accuracy": float((margins > 0).float().mean()),
        }
