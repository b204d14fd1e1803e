"""A stage made of flows: recorded, resumed without a model, and another model in the seat."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli.backends import open_bench
from tutelage.errors import SamplerFailed
from tutelage.recipes import iterative_rpo
from tutelage.recipes.bench import Bench
from tutelage.recipes.flow_stage import run_flows
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Completion, Problem, SamplingParams, record_id, seed_of
from tutelage.sampling.flows import child_request
from tutelage.sampling.session import SampleRequest

PARAMS = SamplingParams(max_new_tokens=24)


def solve_twice(bench: Bench, problem: Problem) -> Generator[Any, Any, tuple[Completion, Completion]]:
    """The actor solves, then the other player goes on from half of it."""
    first = yield SampleRequest(
        record_id("s", problem.id), problem.id, bench.prompter.render(problem).ids, PARAMS, seed_of("s", problem.id),
        stage="s", player="actor",
    )  # fmt: skip
    second = yield child_request(first, branch_position=len(first.token_ids) // 2, player="other")
    return first, second


def work(bench: Bench) -> dict[Any, Any]:
    other = bench.invite("primer")
    flows = [(p.id, solve_twice(bench, p)) for p in bench.train[:5]]
    return run_flows(bench, "talk", "s", flows, {"actor": (bench, bench.base), "other": (other, other.base)})


def opened(config: Any, folder: Path, *, resume: bool = False) -> Any:
    return open_bench(config, recipe="iterative-rpo", folder=folder, progress=SilentProgress(), resume=resume)


def test_a_finished_stage_comes_from_the_folder(
    small_config: Callable[..., iterative_rpo.Config], tmp_path: Path
) -> None:
    with opened(small_config(), tmp_path / "run") as bench:
        made = work(bench)
        assert len(list(bench.run.read("completions", Completion))) == 10
    with opened(small_config(), tmp_path / "run", resume=True) as bench:

        def refuse(weights: Any) -> Any:
            raise AssertionError("no model is needed")

        idle = replace(bench, open_sampler=refuse)
        assert work(replace(idle, invite=lambda name: idle)) == made


def test_a_stage_that_was_killed_draws_only_what_is_missing(
    small_config: Callable[..., iterative_rpo.Config], tmp_path: Path
) -> None:
    with opened(small_config(), tmp_path / "whole") as bench:
        whole = work(bench)
    with opened(small_config(), tmp_path / "part") as bench:
        with pytest.raises(KeyboardInterrupt):
            run_flows(
                bench, "talk", "s", [(p.id, solve_twice(bench, p)) for p in bench.train[:5]],
                {"actor": (bench, bench.base), "other": (bench, bench.base)}, on_result=interrupt,
            )  # fmt: skip
        bench.run.append_many("completions", [first for first, _ in list(whole.values())[:2]])
    with opened(small_config(), tmp_path / "part", resume=True) as bench:
        assert work(bench) == whole


def interrupt(key: Any, result: Any) -> None:
    raise KeyboardInterrupt


class Failing:
    """Fails each request `times` times before it is handed on."""

    def __init__(self, inner: Any, times: int) -> None:
        self.inner, self.times = inner, times
        self.tries: dict[str, int] = {}
        self.broken: list[SampleRequest] = []

    def submit(self, request: SampleRequest) -> None:
        self.tries[request.id] = self.tries.get(request.id, 0) + 1
        (self.broken.append if self.tries[request.id] <= self.times else self.inner.submit)(request)

    def completions(self) -> Any:
        from tutelage.sampling.completing import failed

        while self.broken:
            yield failed(self.broken.pop(), "down", model="m", tokenizer_digest="d")
        yield from self.inner.completions()


@pytest.mark.parametrize("times", [1, 2])
def test_what_fails_is_asked_once_more(
    small_config: Callable[..., iterative_rpo.Config], tmp_path: Path, times: int
) -> None:
    with opened(small_config(), tmp_path / "run") as bench:
        inner = bench.open_sampler

        @contextmanager
        def failing(weights: Any) -> Any:
            with inner(weights) as session:
                yield Failing(session, times)

        players = {"actor": (replace(bench, open_sampler=failing), bench.base), "other": (bench, bench.base)}
        flows = [(p.id, solve_once(bench, p)) for p in bench.train[:4]]
        if times == 1:
            found = run_flows(bench, "talk", "s", flows, players)
            assert all(completion.finish_reason != "error" for completion in found.values())
        else:
            with pytest.raises(SamplerFailed, match="4 of 4"):
                run_flows(bench, "talk", "s", flows, players)


def solve_once(bench: Bench, problem: Problem) -> Generator[Any, Any, Completion]:
    completion: Completion = yield SampleRequest(
        record_id("s", problem.id), problem.id, bench.prompter.render(problem).ids, PARAMS, 1, stage="s"
    )
    return completion
