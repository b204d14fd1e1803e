"""Several named LoRA adapters on one frozen base, loaded once: each learns on its own, and all are sampled in turn.

What it is: one peft model, and a `PreferenceLearner` with an optimizer of its own for each adapter. The weights that an
adapter trains are chosen once, by name, when it is made: peft's `set_adapter` and `disable_adapter` flip
`requires_grad`, so an update switches its adapter on first and touches nothing but its own tensors. A sampler may work
on the same model object between updates (`LocalSampler`, which puts back what it changes). The reference of every loss
is the base, all adapters off.
What it is not: a way to train adapters together in one backward pass, or on different machines.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from tutelage.config.settings import TrainingSettings, UpdateSettings
from tutelage.errors import ConfigError
from tutelage.learning import adapters, checkpoints
from tutelage.learning.export import atomic_folder
from tutelage.learning.objectives import Objective
from tutelage.learning.policy import TrainablePolicy, recompute_activations
from tutelage.learning.preference import PairBatch, PreferenceLearner
from tutelage.learning.session import StepMetrics
from tutelage.models import loading
from tutelage.records import PreferencePair, digest, seed_of


@dataclass(frozen=True)
class RoleUpdate:
    """What an update of one adapter did: its metrics, None where no pair could be used; pairs that were left out."""

    metrics: StepMetrics | None
    dropped: tuple[str, ...] = ()


class NamedAdapters:
    """One base model with several adapters that learn apart.

    Args:
        model: a peft model that holds an adapter for every name, and nothing else that trains.
        tokenizer: its tokenizer.
        learners: a learner for every name, each over its own adapter's weights.
    """

    def __init__(self, model: Any, tokenizer: Any, learners: Mapping[str, PreferenceLearner]) -> None:
        self.model, self.tokenizer, self._learners = model, tokenizer, dict(learners)

    @classmethod
    def open(
        cls,
        path: str | Path,
        settings: UpdateSettings,
        names: Sequence[str],
        *,
        objective: Objective,
        seed: int,
        starts: Mapping[str, Path] | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> NamedAdapters:
        """Load the base once, and an adapter for every name.

        Args:
            path: folder or hub name of the base.
            settings: how weights are changed; `lora_rank` >= 1.
            names: the adapters' names, in order; each gets the same shape.
            objective: the loss, the same for all.
            seed: dropout and fresh adapters derive from it and the name.
            starts: folders of adapters to go on from, by name; the others are fresh, and change nothing until their
                first update.
            device: torch device, or auto.
            dtype: number format to compute in, or auto.

        Raises:
            ModelError: the base or an adapter cannot be used.
            ConfigError: `lora_rank` is 0 or another than an adapter's, or `lora_targets` names no module.
            MissingExtra: peft is not installed.
        """
        if not settings.lora_rank:
            raise ConfigError(
                ["lora_rank=0, but several models on one base need an adapter each"], advice="set lora_rank, e.g. 8"
            )
        objective.check()
        place = loading.resolve_device(device)
        compute = loading.resolve_dtype(dtype, place)
        model = _with_adapters(
            loading.load_model(path, device=place, dtype=compute), settings, names, starts=starts or {}, seed=seed
        )
        if settings.gradient_checkpointing:
            recompute_activations(model)
        tokenizer = loading.load_tokenizer(path)
        autocast = None if compute == torch.float32 else compute
        learners = {}
        for name in names:
            model.set_adapter(name)
            # A step needs nothing but these settings; `fit`, which asks for batch sizes too, is never called here.
            known = cast(TrainingSettings, settings)
            policy = TrainablePolicy(model, tokenizer, known, seed=seed_of(seed, name), compute_dtype=autocast)
            learners[name] = PreferenceLearner(policy, objective)
        model.eval()
        return cls(model, tokenizer, learners)

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters' names, in order."""
        return tuple(self._learners)

    @property
    def context(self) -> int:
        """Longest sequence, in tokens, that can be sampled and learnt from."""
        return min(learner.policy.max_length for learner in self._learners.values())

    @property
    def fingerprint(self) -> str:
        """Tells the adapters that the session began with from others."""
        return digest([learner.policy.fingerprint for learner in self._learners.values()])

    def updates(self, name: str) -> int:
        """Updates of an adapter since it was made."""
        return self._learners[name].updates

    def parameters(self, name: str) -> Mapping[str, torch.Tensor]:
        """The weights of an adapter, by name."""
        return self._learners[name].policy.parameters

    def update(self, name: str, pairs: Sequence[PreferencePair]) -> RoleUpdate:
        """One optimizer update of one adapter on a batch of pairs, the base being the reference.

        Args:
            name: which adapter.
            pairs: at least one; those that the model cannot read whole are left out and named.

        Raises:
            RunFailed: training diverged; the weights are left as they were.
        """
        learner = self._learners[name]
        with self.switched_on(name):
            reference = learner.reference_logprobs(pairs, under="base")
            kept = [i for i, (chosen, rejected) in enumerate(reference) if math.isfinite(chosen + rejected)]
            dropped = tuple(pair.id for i, pair in enumerate(pairs) if i not in kept)
            if not kept:
                return RoleUpdate(None, dropped)
            metrics = learner.step(PairBatch([pairs[i] for i in kept], [reference[i] for i in kept]))
        self.model.eval()
        return RoleUpdate(metrics, dropped)

    @contextmanager
    def switched_on(self, name: str) -> Iterator[None]:
        """The model computes with one adapter inside, and may train it."""
        self.model.set_adapter(name)
        yield

    def save(self, name: str, path: Path) -> None:
        """Write one adapter as a folder that peft loads as it is, with the tokenizer; it replaces an older one.

        Raises:
            StorageFull: the disk is full; nothing is left behind.
        """
        with atomic_folder(Path(path)) as folder, loading.quiet():
            self.model.save_pretrained(str(folder), selected_adapters=[name], save_embedding_layers=False)
            for file in (folder / name).iterdir():  # peft puts adapters that have a name into folders of that name
                file.replace(folder / file.name)
            shutil.rmtree(folder / name)
            self.tokenizer.save_pretrained(str(folder))

    def checkpoint(self, folder: Path, history: Mapping[str, Any] | None = None) -> None:
        """Write the weights and optimizers of all adapters, from which `restore` goes on exactly.

        Args:
            folder: where checkpoints lie; older ones are removed once this one is whole.
            history: whatever the caller wants back, JSON-able.
        """
        parts = {name: learner.policy.snapshot(learner.updates, {}, {}) for name, learner in self._learners.items()}
        checkpoints.write(
            folder,
            checkpoints.Checkpoint(
                step=sum(learner.updates for learner in self._learners.values()),
                weights={key: value for part in parts.values() for key, value in part.weights.items()},
                optimizer={key: value for part in parts.values() for key, value in part.optimizer.items()},
                identity=self._identity(),
                history={**(history or {}), "updates": {name: self.updates(name) for name in self.names}},
            ),
        )

    def restore(self, folder: Path) -> dict[str, Any] | None:
        """Go back to the newest checkpoint in a folder.

        Returns:
            The history that it was written with; None where there is no checkpoint.

        Raises:
            RunError: it belongs to another training.
        """
        found = checkpoints.read_latest(folder, self._identity())
        if found is None:
            return None
        for name, learner in self._learners.items():
            part = {"updates": found.history["updates"][name]}
            learner.policy.restore(
                checkpoints.Checkpoint(found.step, found.weights, found.optimizer, found.identity, part)
            )
        return dict(found.history)

    def _identity(self) -> dict[str, str]:
        identity: dict[str, str] = {}
        for name, learner in self._learners.items():
            own = {"objective": learner.objective.digest(), **learner.policy.identity()}
            identity |= {f"{name}/{key}": value for key, value in own.items()}
        return identity


def _with_adapters(
    model: Any, settings: UpdateSettings, names: Sequence[str], *, starts: Mapping[str, Path], seed: int
) -> Any:
    """The peft model of a base with an adapter for every name; the base's weights are frozen."""
    for name in names:
        model = adapters.attach(model, settings, seed=seed_of(seed, name), name=name)
        if name in starts:
            adapters.take_up(model, Path(starts[name]), settings, name=name)
    return model
