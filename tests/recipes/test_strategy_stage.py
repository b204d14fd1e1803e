"""Strategies as stages: shared answers and requests, costs by player, rewards, records, resuming without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli.backends import open_bench
from tutelage.errors import InputError
from tutelage.evaluation.results import EvaluationResult, load_result
from tutelage.evaluation.strategies import parse_strategy
from tutelage.recipes import iterative_rpo
from tutelage.recipes.bench import Bench
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.strategy_stage import Measured, Measuring, Seat, Team, run_strategies
from tutelage.records import Completion, SamplingParams, Score

PARAMS = SamplingParams(temperature=0.8, max_new_tokens=48)
HOW = Measuring(PARAMS, 3, "it0", "dev")
CRITIQUES = SamplingParams(temperature=0.0, max_new_tokens=96)


@pytest.fixture
def bench_in(small_config: Callable[..., iterative_rpo.Config]) -> Callable[..., Any]:
    @contextmanager
    def opened(folder: Path, *, resume: bool = False) -> Iterator[Bench]:
        with open_bench(
            small_config(), recipe="iterative-rpo", folder=folder, progress=SilentProgress(), resume=resume
        ) as bench:
            yield bench

    return opened


def measure(bench: Bench, *names: str, team: Team | None = None, count: int = 4) -> list[Measured]:
    critic = Team(critic=Seat.at(bench, CRITIQUES, label="primer"), self_critic=CRITIQUES)
    strategies = [parse_strategy(name) for name in names]
    return run_strategies(bench, bench.base, bench.test[:count], strategies, team or critic, HOW)


def test_strategies_share_answers_and_count_what_each_costs(bench_in: Any, tmp_path: Path) -> None:
    with bench_in(tmp_path / "run") as bench:
        greedy, refined, judged, voted, filtered = (
            one.result for one in measure(bench, "greedy", "refine", "refine-judged", "critic-maj@3", "critic-filter@3")
        )
        drawn = list(bench.run.read("completions", Completion))
    roles = [c.role for c in drawn]
    assert roles.count("answer") == 4 + 12
    assert roles.count("critique") == 4 + 12  # refine-judged and critic-filter ask what was asked before
    assert roles.count("refinement") == 4 + 12
    assert refined.cost()["actor"].completion_tokens > greedy.cost()["actor"].completion_tokens
    assert refined.cost()["critic"] == judged.cost()["critic"]
    assert voted.cost()["critic"] == filtered.cost()["critic"]
    assert sum(refined.transitions.values()) == 4 and sum(voted.transitions.values()) == 12
    recorded = load_result(tmp_path / "run")
    assert set(recorded.strategies()) >= {"greedy", "refine", "refine:start", "critic-maj@3", "critic-maj@3:vote"}
    assert recorded.values("refine") == refined.per_problem
    assert recorded.values("refine:start") == greedy.per_problem
    assert recorded.costs("refine") == {
        player: (cost.prompt_tokens, cost.completion_tokens) for player, cost in refined.cost().items()
    }
    assert recorded.tokens("refine") == sum(cost.completion_tokens for cost in refined.cost().values())


def test_resuming_needs_no_model_and_gives_the_same(bench_in: Any, tmp_path: Path) -> None:
    names = ("greedy", "critic-maj@2", "sequential@2", "grid@2x1", "self-refine")
    with bench_in(tmp_path / "run") as bench:
        first = [one.result for one in measure(bench, *names, count=3)]
        rows = list(bench.run.read("evaluations", EvaluationResult))
    with bench_in(tmp_path / "run", resume=True) as bench:

        def refuse(weights: Any) -> Any:
            raise AssertionError("no model is needed")

        again = [one.result for one in measure(replace(bench, open_sampler=refuse), *names, count=3)]
        assert list(bench.run.read("evaluations", EvaluationResult)) == rows
    assert again == first


def test_rewards_pick_and_are_kept(bench_in: Any, tmp_path: Path) -> None:
    asked: list[str] = []

    def scorer(completions: Sequence[Completion]) -> list[float]:
        asked.extend(c.id for c in completions)
        return [float(-len(c.text)) for c in completions]

    with bench_in(tmp_path / "run") as bench:
        team = Team(reward=scorer, reward_name="shortest")
        best, weighted = measure(bench, "best-of-3", "weighted@3", team=team)
        again = measure(bench, "best-of-3", team=team)[0]
        scores = list(bench.run.read("scores", Score))
    assert len(asked) == len(set(asked)) == len(scores) == 12 and {s.by for s in scores} == {"shortest"}
    assert again.result == best.result
    for problem, value in best.result.per_problem.items():
        own = [c for c in best.answers.completions if c.problem_id == problem]
        shortest = min(own, key=lambda c: (len(c.text), c.index))
        assert value == float(best.verdicts[shortest.id].is_correct)
    assert best.result.cost()["reward_model"].prompt_tokens > 0
    assert weighted.result.n == 4


def test_who_is_missing_is_named_before_anything_is_drawn(bench_in: Any, tmp_path: Path) -> None:
    with bench_in(tmp_path / "run") as bench:
        for name, need in (("refine", "--critic"), ("best-of-4", "--reward-model"), ("flow", "stop="),
                           ("pot-then-cot", "sandbox")):  # fmt: skip
            with pytest.raises(InputError, match=need):
                measure(bench, "greedy", name, team=Team())
        assert not list(bench.run.read("completions", Completion))
