"""Paired comparison, and reading recorded evaluations back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.errors import InputError, RunError
from tutelage.evaluation.comparisons import compare
from tutelage.evaluation.results import EvaluationResult, load_result
from tutelage.records import Completion, Policy, SamplingParams
from tutelage.store.run import Run


def values(text: str) -> dict[str, float]:
    return {f"p{i}": float(c) for i, c in enumerate(text)}


def test_by_hand() -> None:
    result = compare(values("1100000000"), values("1011111000"), seed=3)
    # Discordant: 1 against 5, p = 2 (1 + 6) / 2^6.
    assert (result.only_first, result.only_second, result.both, result.neither) == (1, 5, 1, 3)
    assert result.p_value == 0.21875 and result.test == "mcnemar"
    assert result.difference == pytest.approx(0.4) and (result.first, result.second) == (0.2, 0.6)
    assert result.n == 10 and result.low < 0.4 < result.high
    assert result == compare(values("1100000000"), values("1011111000"), seed=3)
    assert set(result.to_json()) >= {"difference", "low", "high", "p_value", "n"}


def test_the_other_way_round() -> None:
    there = compare(values("1100010"), values("0111111"))
    back = compare(values("0111111"), values("1100010"))
    assert there.difference == -back.difference and there.p_value == back.p_value
    assert (there.only_first, there.only_second) == (back.only_second, back.only_first)


def test_values_between_zero_and_one() -> None:
    first = {f"p{i}": 0.25 for i in range(8)}
    second = {f"p{i}": 0.75 for i in range(8)}
    result = compare(first, second)
    # All eight differences point one way: 2 of 2^8 sign patterns are as extreme.
    assert result.test == "sign-flip" and result.p_value == pytest.approx(2 / 256)
    assert result.difference == result.low == result.high == 0.5


def test_only_shared_problems_count() -> None:
    first, second = values("1100"), values("110011")
    del second["p0"]
    result = compare(first, second)
    assert result.n == 3 and result.unshared_first == 1 and result.unshared_second == 2
    with pytest.raises(InputError, match="1 shared of 1 and 5"):
        compare({"p1": 1.0}, second)


def recorded(name: str, strategy: str, problem: str, value: float, data: str = "test") -> EvaluationResult:
    return EvaluationResult(f"{name}{strategy}{problem}{data}", name, strategy, data, problem, value, (f"c-{name}",))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", recipe="eval", config={}, seed=0)
    run.append_many(
        "evaluations",
        [
            recorded("it0", "greedy", "p", 0.0),
            recorded("it0", "greedy", "q", 0.0),
            recorded("it0", "maj@8", "p", 1.0),
            recorded("it1", "greedy", "p", 1.0),
            recorded("it1", "greedy", "q", 0.0),
            recorded("it1", "greedy", "r", 1.0, data="dev"),
        ],
    )
    return run


def test_results_come_back_by_name_strategy_and_data(run: Run) -> None:
    run.write_report({"recipe": "eval"})
    loaded = load_result(run.path)
    assert loaded.names() == ["it0", "it1"] and loaded.names("maj@8") == ["it0"]
    assert loaded.strategies() == ["greedy", "maj@8"] and loaded.strategies("it1") == ["greedy"]
    assert loaded.data() == ["test", "dev"]
    assert loaded.values() == {"p": 1.0, "q": 0.0, "r": 1.0}
    assert loaded.values(data="test") == {"p": 1.0, "q": 0.0}
    assert loaded.values(name="it0") == {"p": 0.0, "q": 0.0}
    assert loaded.values("maj@8") == {"p": 1.0}
    assert loaded.report == {"recipe": "eval"}
    assert compare(loaded.values(name="it0"), loaded.values()).difference == 0.5
    with pytest.raises(InputError, match=r"it1 pass@8[\s\S]*it0 greedy on test"):
        loaded.values("pass@8", "it1")


def test_a_run_that_is_still_going_on_can_be_read(run: Run) -> None:
    assert load_result(run.path).report == {}


def test_the_cost_in_tokens(run: Run) -> None:
    completion = Completion(
        "c-it1", "p", "answer", Policy("m"), "t", (1,), (2, 3, 4), "x", ((0, 2, "model"), (2, 3, "tool")),
        (0.0,) * 3, "stop", SamplingParams(), 0,
    )  # fmt: skip
    run.append("completions", completion)
    assert load_result(run.path).tokens() == 2 and load_result(run.path).tokens("maj@8") == 0


def test_a_run_without_evaluations(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", recipe="sft", config={}, seed=0).close()
    with pytest.raises(RunError, match="holds no evaluation"):
        load_result(tmp_path / "run")


def test_wins_and_losses_are_shares_of_all_problems() -> None:
    first = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 1.0, "e": 0.0}
    second = {"a": 0.0, "b": 1.0, "c": 1.0, "d": 1.0, "e": 0.0}
    result = compare(first, second)
    assert (result.win_rate, result.lose_rate) == (0.4, 0.2)
    assert result.to_json()["win_rate"] - result.to_json()["lose_rate"] == pytest.approx(result.difference)
