"""When the two models learn, and on what: no model is needed to know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tutelage.errors import RunError
from tutelage.learning.named_adapters import RoleUpdate
from tutelage.recipes.bench import TimeSpent
from tutelage.recipes.flow_records import RULES, FlowTree, GrownTree
from tutelage.recipes.flow_updates import FlowUpdate, UpdatePlan, Updater
from tutelage.recipes.progress import SilentProgress
from tutelage.records import PreferencePair
from tutelage.store.run import Run

PLAN = dict(
    pairs_per_update=4, update_after="pairs", learn_leftover=True, replay_pairs=0, replay_from=6, checkpoint_every=2,
    seed=0,
)  # fmt: skip


class Team:
    """Notes what it is asked to learn; its weights are the list of that."""

    def __init__(self) -> None:
        self.weights: list[tuple[str, tuple[str, ...]]] = []
        self.saved: tuple[int, list[Any]] | None = None

    def update(self, role: str, pairs: Any) -> RoleUpdate:
        self.weights.append((role, tuple(pair.id for pair in pairs)))
        return RoleUpdate(None)

    def checkpoint(self, folder: Path, history: dict[str, int]) -> None:
        self.saved = (history["number"], list(self.weights))

    def restore(self, folder: Path) -> dict[str, int] | None:
        if self.saved is None:
            return None
        number, self.weights = self.saved[0], list(self.saved[1])
        return {"number": number}


def pair(i: int, role: str) -> PreferencePair:
    return PreferencePair(f"{role}{i}", "q", (1,), (2,), (3,), (1,), (1,), "c", "r", RULES[role])


def tree(i: int, answers: int, stops: int) -> GrownTree:
    pairs = [pair(10 * i + k, "answer") for k in range(answers)] + [pair(10 * i + k, "stop") for k in range(stops)]
    record = FlowTree(f"t{i}", f"q{i}", 1, "correct", "stop", 1, tuple(p.id for p in pairs), 0, 0)
    return GrownTree(record, (), tuple(pairs))


TREES = [tree(0, 3, 1), tree(1, 2, 0), tree(2, 6, 2), tree(3, 0, 3), tree(4, 3, 0)]
"""14 Answer pairs and 6 Stop pairs."""


@pytest.fixture
def make(tmp_path) -> Callable[..., Updater]:
    """A function `(team, resume=False, **plan) -> updater` on one run folder."""

    def open_updater(team: Team, *, resume: bool = False, **plan: Any) -> Updater:
        folder = tmp_path / "run"
        run = Run.resume(folder, recipe="r", config={}) if resume else Run.create(folder, recipe="r", config={}, seed=0)
        bench: Any = SimpleNamespace(run=run, spent=TimeSpent(), progress=SilentProgress(), track=lambda values: None)
        return Updater(bench, team, UpdatePlan(**{**PLAN, **plan}), lineage="start")  # type: ignore[arg-type]

    return open_updater


def feed(updater: Updater, trees: list[GrownTree] = TREES) -> Updater:
    for grown in trees:
        updater.take(grown)
    updater.finish(trees[-1] if trees else None)
    return updater


def recorded(updater: Updater) -> list[FlowUpdate]:
    return list(updater.bench.run.read("flow_updates", FlowUpdate))


def test_an_update_is_due_as_soon_as_a_role_has_its_pairs(make) -> None:
    team = Team()
    updater = feed(make(team))
    assert [(u.role, u.problem_id, len(u.pair_ids)) for u in recorded(updater)] == [
        ("answer", "q1", 4), ("answer", "q2", 4), ("stop", "q3", 4), ("answer", "q4", 4), ("answer", "q4", 2),
        ("stop", "q4", 2),
    ]  # fmt: skip
    assert updater.counts == {"answer": 4, "stop": 2}
    learnt = [i for role, ids in team.weights if role == "answer" for i in ids]
    assert learnt == [p.id for t in TREES for p in t.pairs if p.rule == RULES["answer"]], "in order, each once"


def test_leftover_pairs_may_be_left(make) -> None:
    updater = feed(make(Team(), learn_leftover=False))
    assert all(len(u.pair_ids) == 4 for u in recorded(updater)) and updater.number == 4


def test_updates_after_every_problem_take_all_its_pairs(make) -> None:
    updater = feed(make(Team(), update_after="problem"))
    assert [(u.problem_id, u.role, len(u.pair_ids)) for u in recorded(updater)] == [
        (f"q{i}", role, count)
        for i, counts in enumerate([(3, 1), (2, 0), (6, 2), (0, 3), (3, 0)])
        for role, count in zip(("answer", "stop"), counts, strict=True)
        if count
    ]


def test_replay_takes_some_of_the_last_pairs_of_the_role(make) -> None:
    updater = feed(make(Team(), replay_pairs=3))
    earlier: dict[str, list[str]] = {"answer": [], "stop": []}
    for update in recorded(updater):
        assert len(set(update.replayed_ids)) == min(3, len(earlier[update.role]))
        assert set(update.replayed_ids) <= set(earlier[update.role][-6:])
        earlier[update.role] += update.pair_ids


@pytest.mark.parametrize("seen", [0, 2, 3, 4, 5])
def test_a_resumed_stream_ends_with_the_same_weights_and_runs_nothing_twice(make, tmp_path, seen) -> None:
    whole = Team()
    expected = feed(make(whole, replay_pairs=2))
    updates = recorded(expected)
    expected.bench.run.close()
    (tmp_path / "run").rename(tmp_path / "whole")
    team = Team()
    first = make(team, replay_pairs=2)
    for grown in TREES[:seen]:
        first.take(grown)
    first.bench.run.close()
    ran = len(team.weights)
    kept = team.saved[0] if team.saved else 0
    second = make(team, resume=True, replay_pairs=2)  # goes back to the last checkpoint
    assert len(team.weights) == (kept if team.saved else ran)
    if team.saved is None:
        team.weights.clear()
    feed(second)
    assert team.weights == whole.weights and recorded(second) == updates
    assert second.lineage == expected.lineage


def test_an_update_is_journalled_before_it_runs(make) -> None:
    class Breaking(Team):
        def update(self, role: str, pairs: Any) -> RoleUpdate:
            raise KeyboardInterrupt

    updater = make(Breaking())
    with pytest.raises(KeyboardInterrupt):
        feed(updater)
    assert [u.number for u in recorded(updater)] == [1]


def test_records_that_were_changed_are_noticed(make) -> None:
    first = make(Team())
    first.take(TREES[2])
    first.bench.run.close()
    second = make(Team(), resume=True)
    with pytest.raises(RunError, match="cannot be run again as they were"):
        second.take(tree(7, 5, 0))
