"""Several models that train together and must be resumed together, as one `Trained`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tutelage.learning.checkpoints import Checkpoint
from tutelage.learning.policy import TrainablePolicy


@dataclass(frozen=True)
class Together:
    """Several models that train together, as one snapshot."""

    parts: Mapping[str, TrainablePolicy]

    @property
    def model(self) -> nn.Module:
        """The first one, which evaluations sample from."""
        return next(iter(self.parts.values())).model

    def snapshot(self, step: int, identity: Mapping[str, str], history: Mapping[str, Any]) -> Checkpoint:
        """The state of all; tensors are shared, so write it before the next update."""
        found = {name: policy.snapshot(step, {}, {}) for name, policy in self.parts.items()}
        return Checkpoint(
            step,
            {f"{name}:{key}": value for name, part in found.items() for key, value in part.weights.items()},
            {f"{name}:{key}": value for name, part in found.items() for key, value in part.optimizer.items()},
            {**identity, **self.identity()},
            {**history, "parts": {name: part.history["updates"] for name, part in found.items()}},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a snapshot of the same training."""
        for name, policy in self.parts.items():
            policy.restore(
                Checkpoint(
                    checkpoint.step,
                    _under(name, checkpoint.weights),
                    _under(name, checkpoint.optimizer),
                    {},
                    {"updates": checkpoint.history["parts"][name]},
                )
            )

    def identity(self) -> dict[str, str]:
        """Digests of the settings and of the weights that each started from."""
        return {f"{name} {key}": v for name, policy in self.parts.items() for key, v in policy.identity().items()}


def _under(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}:"): value for key, value in tensors.items() if key.startswith(f"{name}:")}
