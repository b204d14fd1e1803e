"""The loop that every `fit` is: batches in seeded order, schedule, probe, callbacks, checkpoints, resume.

The order of a step is fixed: update, `on_step`, probe and `on_eval`, checkpoint. So an interrupted fit resumes at the
step after its last checkpoint and ends with the weights of an uninterrupted one (same machine, same settings).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import nn

from tutelage.config.settings import TrainingSettings
from tutelage.errors import DataError, NothingToLearn
from tutelage.learning import checkpoints
from tutelage.learning.batches import Row, batch_indices, check_row, num_items_to_visit, pair_rows
from tutelage.learning.checkpoints import Checkpoint
from tutelage.learning.optimizer import learning_rate
from tutelage.learning.policy import TrainablePolicy
from tutelage.learning.session import Dropped, Hooks, ProbeMetrics, StepMetrics
from tutelage.records import PreferencePair, digest


@dataclass(frozen=True)
class FitPlan:
    """What a fit will do.

    Args:
        items: the rows of every item that is trained on.
        settings: batch size, steps, schedule, checkpoint interval.
        seed: the order of the items derives from it.
        max_steps: most steps, besides the settings' own limit; None sets none.
        checkpoint_dir: where resumable checkpoints go; None keeps none.
        resume: whether to go on from a checkpoint found there; otherwise it is removed.
        objective: digest of the loss and its parameters.
    """

    items: Sequence[Sequence[Row]]
    settings: TrainingSettings
    seed: int
    max_steps: int | None
    checkpoint_dir: Path | None
    resume: bool
    objective: str

    @property
    def visits(self) -> int:
        """Items visited if no step limit ends the fit."""
        return num_items_to_visit(len(self.items), self.settings.epochs)

    @property
    def total_steps(self) -> int:
        """Steps of the whole fit."""
        steps = -(-self.visits // self.settings.batch_size)
        limits = [self.settings.max_steps] if self.max_steps is None else [self.settings.max_steps, self.max_steps]
        return min(steps, *limits)

    def indices(self, step: int) -> list[int]:
        """The items of a step, from 0."""
        size = self.settings.batch_size
        return batch_indices(len(self.items), step=step, batch_size=size, visits=self.visits, seed=self.seed)

    def identity(self) -> dict[str, str]:
        """Digests of the data and of what is done with them."""
        state = hashlib.blake2b(digest_size=8)
        for rows in self.items:
            for row in rows:
                state.update(np.array([len(row.ids), row.start, *row.ids], dtype=np.int64).tobytes())
                state.update(np.array(row.weights, dtype=np.float64).tobytes())
        return {"data": state.hexdigest(), "objective": self.objective, "steps": digest(self.total_steps)}


class Trained(Protocol):
    """Weights whose training can be interrupted: a policy, or several models that train together."""

    @property
    def model(self) -> nn.Module:
        """The model that evaluations sample from."""
        ...

    def snapshot(self, step: int, identity: Mapping[str, str], history: Mapping[str, Any]) -> Checkpoint:
        """The state from which `restore` goes on exactly."""
        ...

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a snapshot of the same training."""
        ...

    def identity(self) -> dict[str, str]:
        """Digests of the settings and of the weights that the training started from."""
        ...


class PairProbe:
    """A fixed set of pairs, measured again and again; the reference is the policy when the probe is made.

    Args:
        policy: the policy that will be measured.
        pairs: the set; pairs that the model cannot read whole are left out.

    Raises:
        DataError: no pair is left.
    """

    def __init__(self, policy: TrainablePolicy, pairs: Sequence[PreferencePair]) -> None:
        self._policy = policy
        self._items, _, _ = keep_items(policy, [(pair.id, pair_rows(pair)) for pair in pairs])
        if not self._items:
            raise DataError("no probe pair can be scored", expected="pairs within max_length, with loss tokens")
        self._reference = policy.score(self._items)

    def measure(self, step: int) -> ProbeMetrics:
        """The set under the policy as it is now."""
        now = self._policy.score(self._items)
        margins = [(w - rw) - (x - rx) for (w, x), (rw, rx) in zip(now, self._reference, strict=True)]
        return ProbeMetrics(
            step=step,
            chosen_logprob=float(np.mean([chosen for chosen, _ in now])),
            rejected_logprob=float(np.mean([rejected for _, rejected in now])),
            margin=float(np.mean(margins)),
            accuracy=float(np.mean([h > 0 for h in margins])),
        )


def keep_items(
    policy: TrainablePolicy, named: Sequence[tuple[str, tuple[Row, ...]]]
) -> tuple[list[tuple[Row, ...]], list[int], Dropped]:
    """Sort out what the model cannot be trained on.

    Args:
        policy: gives the longest row and the vocabulary.
        named: id and rows of every item.

    Returns:
        The items kept, their indices in `named`, and what was dropped.

    Raises:
        DataError: a token id is not in the model's vocabulary.
    """
    kept: list[tuple[Row, ...]] = []
    indices: list[int] = []
    reasons: dict[str, list[str]] = {"too_long": [], "no_loss_tokens": []}
    ids: list[str] = []
    for index, (name, rows) in enumerate(named):
        found = [check_row(name, row, max_length=policy.max_length, vocab_size=policy.vocab_size) for row in rows]
        why = next((reason for reason in found if reason), None)
        if why:
            reasons[why].append(name)
            ids.append(name)
        else:
            kept.append(rows)
            indices.append(index)
    return kept, indices, Dropped(len(reasons["too_long"]), len(reasons["no_loss_tokens"]), tuple(ids))


def check_not_empty(items: Sequence[object], dropped: Dropped, *, what: str) -> None:
    """Refuse to train on nothing.

    Raises:
        NothingToLearn: there is no item.
    """
    if not items:
        raise NothingToLearn(
            f"there is no {what} to train on",
            seen=f"{dropped.too_long} too long, {dropped.no_loss_tokens} without a token in the loss",
            expected="at least one",
            advice="raise max_length, or shorten max_new_tokens",
        )


def run_fit(
    trained: Trained,
    plan: FitPlan,
    step_on: Callable[[int, list[int], float], StepMetrics],
    *,
    hooks: Hooks,
    probe: PairProbe | None = None,
) -> tuple[list[StepMetrics], list[ProbeMetrics]]:
    """Train to the end of the plan, from its start or from its last checkpoint.

    Args:
        trained: what trains.
        plan: on what, how long, and where checkpoints go.
        step_on: does one step, given its number from 1, its items and its learning rate.
        hooks: callbacks and their interval.
        probe: the fixed set to measure at step 0, at every evaluation and at the end.

    Returns:
        The metrics of all steps and of all probes, those before a resume included.

    Raises:
        RunError: the checkpoint belongs to another training.
        RunFailed: training diverged.
    """
    identity = plan.identity()
    metrics, probed = _take_up(trained, plan, identity)
    if probe is not None and not probed:
        probed.append(probe.measure(0))
    total = plan.total_steps
    probe_every = hooks.eval_every or max(1, total // 20)
    for step in range(len(metrics), total):
        rate = learning_rate(step, plan.settings, total_steps=total)
        metrics.append(step_on(step + 1, plan.indices(step), rate))
        if hooks.on_step:
            hooks.on_step(metrics[-1])
        done = step + 1
        if probe is not None and (done % probe_every == 0 or done == total):
            probed.append(probe.measure(done))
        if hooks.on_eval and (done == total or (hooks.eval_every and done % hooks.eval_every == 0)):
            trained.model.eval()
            hooks.on_eval(done)
        if plan.checkpoint_dir and (done % plan.settings.checkpoint_every == 0 or done == total):
            history = {"metrics": [m.to_json() for m in metrics], "probe": [p.to_json() for p in probed]}
            checkpoints.write(plan.checkpoint_dir, trained.snapshot(done, identity, history))
    trained.model.eval()
    return metrics, probed


def _take_up(trained: Trained, plan: FitPlan, identity: dict[str, str]) -> tuple[list[StepMetrics], list[ProbeMetrics]]:
    if plan.checkpoint_dir is None:
        return [], []
    if not plan.resume:
        checkpoints.clear(plan.checkpoint_dir)
        return [], []
    found = checkpoints.read_latest(plan.checkpoint_dir, {**identity, **trained.identity()})
    if found is None:
        return [], []
    trained.restore(found)
    return (
        [StepMetrics.from_json(m) for m in found.history["metrics"]],
        [ProbeMetrics.from_json(p) for p in found.history["probe"]],
    )
