"""The shell of every learner: a policy that trains, its checkpoints, and the fit over data that lie ready.

A concrete learner says what its rows are and what one step on them is; opening, resuming, saving and the loop are here
and in `policy` and `fitting`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from torch import nn

from tutelage.learning import checkpoints
from tutelage.learning.batches import Row
from tutelage.learning.export import save_policy
from tutelage.learning.fitting import FitPlan, PairProbe, Trained, run_fit
from tutelage.learning.policy import TrainablePolicy
from tutelage.learning.session import Alarm, Dropped, FitResult, Hooks, StepMetrics
from tutelage.records import PreferencePair


class FitOptions(TypedDict, total=False):
    """How a fit goes, besides what it learns from; every `fit` takes these as keywords.

    Keys:
        max_steps: most steps of this fit, besides the settings' limit.
        on_step: called after every step.
        probe: fixed pairs, measured at step 0, every `eval_every` steps (0: about twenty times) and at the end.
        eval_every: steps between `on_eval` calls; 0 calls it at the end only.
        on_eval: called with the number of steps done, the model in evaluation mode; may sample from it.
        resume: whether to go on from a checkpoint in the checkpoint folder (the default); otherwise it is removed.
    """

    max_steps: int | None
    on_step: Callable[[StepMetrics], None] | None
    probe: Sequence[PreferencePair] | None
    eval_every: int
    on_eval: Callable[[int], None] | None
    resume: bool


@dataclass(frozen=True)
class Lesson:
    """What a fit learns from, made ready.

    Args:
        items: the rows of every item that is kept.
        dropped: what was left out.
        step_on: does one step, given its number from 1, its items and its learning rate.
        objective: digest of the loss, its parameters, and whatever else of the data is not in the rows.
        alarms: what looks wrong, judged from the steps' metrics.
    """

    items: Sequence[Sequence[Row]]
    dropped: Dropped
    step_on: Callable[[int, list[int], float], StepMetrics]
    objective: str
    alarms: Callable[[Sequence[StepMetrics]], Sequence[Alarm]] = lambda metrics: ()


class Learner(ABC):
    """A session that learns; a `LearnerSession` once it has a `step`.

    Args:
        policy: what trains.
    """

    def __init__(self, policy: TrainablePolicy) -> None:
        self.policy = policy

    @property
    def model(self) -> nn.Module:
        """The model being trained."""
        return self.policy.model

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self.policy.tokenizer

    @property
    def updates(self) -> int:
        """Optimizer updates since the session was opened, those before a restore included."""
        return self.policy.updates

    @property
    def trained(self) -> Trained:
        """All that trains, as checkpoints hold it: the policy, unless more trains with it."""
        return self.policy

    @abstractmethod
    def objective_digest(self) -> str:
        """Equal for equal losses and parameters of them."""

    def checkpoint(self, folder: Path) -> None:
        """Write a checkpoint of an online session (a fit writes its own)."""
        checkpoints.write(folder, self.trained.snapshot(self.updates, {"objective": self.objective_digest()}, {}))

    def restore(self, folder: Path) -> bool:
        """Go back to the newest checkpoint that `checkpoint` wrote; False if there is none.

        Raises:
            RunError: it belongs to another training.
        """
        wanted = {"objective": self.objective_digest(), **self.trained.identity()}
        found = checkpoints.read_latest(folder, wanted)
        if found is not None:
            self.trained.restore(found)
        return found is not None

    def save(self, path: Path) -> None:
        """Write the policy as a folder that transformers or peft loads as it is."""
        save_policy(self.model, self.tokenizer, path)

    def run_lesson(self, lesson: Lesson, checkpoint_dir: Path | None, options: FitOptions) -> FitResult:
        """Train for the settings' epochs and steps; go on from a checkpoint where there is one.

        Args:
            lesson: what is learnt, and how.
            checkpoint_dir: where resumable checkpoints go; None keeps none.
            options: how the fit goes.

        Raises:
            RunError: the checkpoint there belongs to another training.
            RunFailed: training diverged.
        """
        plan = FitPlan(
            lesson.items,
            self.policy.settings,
            self.policy.seed,
            options.get("max_steps"),
            checkpoint_dir,
            options.get("resume", True),
            lesson.objective,
        )
        pairs = options.get("probe")
        probe = PairProbe(self.policy, pairs) if pairs else None  # under M_t: before a checkpoint is taken up
        hooks = Hooks(options.get("on_step"), options.get("on_eval"), options.get("eval_every", 0))
        metrics, probed = run_fit(self.trained, plan, lesson.step_on, hooks=hooks, probe=probe)
        raised = tuple(lesson.alarms(metrics))
        return FitResult(len(metrics), tuple(metrics), tuple(probed), lesson.dropped, raised)
