"""When the two models learn: pairs gathered by role, an update when there are enough, journalled before it runs.

Every update has a number. A run that is resumed walks the same stream again, reading trees from its folder: updates up
to the last checkpoint are in the weights already, later ones are run again on the pairs that were journalled.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tutelage.errors import RunError
from tutelage.learning.named_adapters import NamedAdapters
from tutelage.learning.session import StepMetrics
from tutelage.recipes.bench import Bench
from tutelage.recipes.flow_records import ROLES, GrownTree, RoleName, role_of
from tutelage.recipes.learn import tracked
from tutelage.records import PreferencePair, Record, digest, record_id, seed_of

SCRATCH = "flow"


@dataclass(frozen=True)
class FlowUpdate(Record):
    """One update of one model, as `flow_updates` keeps it; written before the update runs.

    `number` counts the updates of both models from 1; `pair_ids` are the new pairs in order, `replayed_ids` those that
    were learnt from before; `problem_id` is the problem whose tree was added last.
    """

    id: str
    number: int
    role: RoleName
    problem_id: str
    pair_ids: tuple[str, ...]
    replayed_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class UpdatePlan:
    """When there is an update, and on what; the fields of the recipe's config of the same names."""

    pairs_per_update: int
    update_after: Literal["pairs", "problem"]
    learn_leftover: bool
    replay_pairs: int
    replay_from: int
    checkpoint_every: int
    seed: int


class Updater:
    """Gathers pairs and updates the two models.

    Args:
        bench: the run folder, time, trackers.
        team: the two adapters.
        plan: when to update.
        lineage: of the weights that the run started from.
    """

    def __init__(self, bench: Bench, team: NamedAdapters, plan: UpdatePlan, *, lineage: str) -> None:
        self.bench, self.team, self.plan = bench, team, plan
        self.lineage = lineage
        self.counts: dict[RoleName, int] = dict.fromkeys(ROLES, 0)
        self.dropped: list[str] = []
        self._waiting: dict[RoleName, list[PreferencePair]] = {role: [] for role in ROLES}
        self._learnt: dict[RoleName, list[PreferencePair]] = {role: [] for role in ROLES}
        self._journalled = {u.number: u for u in bench.run.read("flow_updates", FlowUpdate)}
        self._folder: Path = bench.run.scratch_path(SCRATCH)
        found = team.restore(self._folder)
        self._in_weights = int(found["number"]) if found else 0

    @property
    def number(self) -> int:
        """Updates so far, of both models."""
        return sum(self.counts.values())

    def take(self, grown: GrownTree) -> None:
        """Add a tree's pairs, and run every update that is due."""
        for pair in grown.pairs:
            self._waiting[role_of(pair)].append(pair)
        least = 1 if self.plan.update_after == "problem" else self.plan.pairs_per_update
        for role in ROLES:
            while len(self._waiting[role]) >= least:
                self._update(role, grown.tree.problem_id)

    def finish(self, last: GrownTree | None) -> None:
        """Learn from what is left, if the plan says so, and keep the weights."""
        if self.plan.learn_leftover and last is not None:
            for role in ROLES:
                if self._waiting[role]:
                    self._update(role, last.tree.problem_id)
        if self.number > self._in_weights:
            self._keep()

    def _update(self, role: RoleName, problem_id: str) -> None:
        count = len(self._waiting[role]) if self.plan.update_after == "problem" else self.plan.pairs_per_update
        fresh, self._waiting[role] = self._waiting[role][:count], self._waiting[role][count:]
        replayed = self._replayed(role)
        update = self._journal(role, problem_id, fresh, replayed)
        self.lineage = digest([self.lineage, update.id])
        self.counts[role] += 1
        self._learnt[role] += fresh
        if update.number <= self._in_weights:
            return
        with self.bench.spent.on("learning"):
            result = self.team.update(role, [*fresh, *replayed])
        self.dropped += result.dropped
        if result.metrics is not None:
            self._tell(role, result.metrics)
        if update.number % self.plan.checkpoint_every == 0:
            self._keep()

    def _journal(
        self, role: RoleName, problem_id: str, fresh: Sequence[PreferencePair], replayed: Sequence[PreferencePair]
    ) -> FlowUpdate:
        number = self.number + 1
        ids, old = tuple(p.id for p in fresh), tuple(p.id for p in replayed)
        update = FlowUpdate(record_id("update", problem_id, digest([role, ids, old]), number), number, role, problem_id,
                            ids, old)  # fmt: skip
        known = self._journalled.get(number)
        if known is not None and known != update:
            raise RunError(
                "the updates of this run cannot be run again as they were", seen=f"update {number} of {role}",
                expected=f"update {number} of {known.role} on {len(known.pair_ids)} recorded pairs",
                advice="records in the run folder were changed: begin a new run",
            )  # fmt: skip
        if known is None:
            self.bench.run.append("flow_updates", update)
        return update

    def _replayed(self, role: RoleName) -> list[PreferencePair]:
        """Pairs from recent updates that are learnt from once more."""
        recent = self._learnt[role][-self.plan.replay_from :]
        count = min(self.plan.replay_pairs, len(recent))
        rng = random.Random(seed_of("replay", self.plan.seed, role, self.counts[role]))
        return [recent[i] for i in sorted(rng.sample(range(len(recent)), count))] if count else []

    def _tell(self, role: RoleName, metrics: StepMetrics) -> None:
        stage, run = f"flow-{role}", self.bench.run
        run.metrics("train", dataclasses.asdict(metrics), stage=stage, step=self.counts[role])
        self.bench.track(tracked(metrics, stage))
        self.bench.progress.status(**{f"{role}_loss": f"{metrics.loss:.3f}"})

    def _keep(self) -> None:
        self.team.checkpoint(self._folder, {"number": self.number})
