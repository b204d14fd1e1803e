"""Plays scored: final answers, votes of chains, those that pass, figures beside them, and what each player cost."""

from __future__ import annotations

from typing import Any

import pytest

from tutelage.evaluation.curves import played_curve, sampled_curve
from tutelage.evaluation.plays import Chain, Cost, Play, Player, Table, cost_of
from tutelage.evaluation.strategies import parse_strategy, score_plays, score_strategy
from tutelage.records import Completion, Policy, Problem, SamplingParams, Verdict
from tutelage.text.prompts import Prompt

ANSWERS = {
    "c": ("correct", "4"),
    "i": ("incorrect", "5"),
    "j": ("incorrect", "6"),
    "u": ("undecided", "x"),
    "e": ("error", None),
}


class World:
    """Completions, each named by its verdict's letter and a number."""

    def __init__(self) -> None:
        self.verdicts: dict[str, Verdict] = {}

    def answer(self, letter: str, problem: str = "a", tokens: int = 3) -> Completion:
        name = f"{letter}{len(self.verdicts)}"
        outcome, said = ANSWERS[letter]
        self.verdicts[name] = Verdict(name, problem, outcome, None, answer=said)  # type: ignore[arg-type]
        return Completion(
            name, problem, "answer", Policy("m"), "t", (1, 2), (3,) * tokens, "x", ((0, tokens, "model"),),
            (0.0,) * tokens, "stop", SamplingParams(), 0, index=len(self.verdicts),
        )  # fmt: skip

    def play(self, *chains: str, problem: str = "a", passed: tuple[Any, ...] = (), **figures: float) -> Play:
        made = []
        for number, letters in enumerate(chains):
            answers = tuple(self.answer(letter, problem) for letter in letters)
            judged = (None,) * (len(answers) - 1) + (passed[number],) if passed else ()
            made.append(Chain(answers, judged))
        used = [("actor", c) for chain in made for c in chain.answers] + [("critic", self.answer("c", problem, 5))]
        return Play(problem, tuple(made), tuple(used), figures)


def score(name: str, world: World, *plays: Play) -> Any:
    problems = [Problem(play.problem_id, "2+2?", "4") for play in plays]
    return score_plays(parse_strategy(name), problems, plays, world.verdicts)


def test_the_final_answer_counts() -> None:
    world = World()
    result = score(
        "refine", world, world.play("ic", problem="a"), world.play("ci", problem="b"), world.play("cc", problem="c")
    )
    assert result.per_problem == {"a": 1.0, "b": 0.0, "c": 1.0} and result.value == pytest.approx(2 / 3)
    assert result.extras["start"].value == pytest.approx(2 / 3) and result.extras["pass"].value == 1.0
    assert result.transitions == {"right_right": 1, "right_wrong": 1, "wrong_right": 1, "wrong_wrong": 0}
    assert result.cost() == {"actor": Cost(12, 18), "critic": Cost(6, 15)}
    assert result.costs["a"] == {"actor": Cost(4, 6), "critic": Cost(2, 5)}
    assert "vote" not in result.extras


def test_chains_vote_with_their_final_answers() -> None:
    world = World()
    result = score(
        "critic-maj@3", world, world.play("ic", "jc", "i", problem="a"), world.play("ci", "ci", "c", problem="b")
    )
    assert result.per_problem == {"a": 1.0, "b": 0.0}
    assert result.extras["start"].per_problem == {"a": 0.0, "b": 1.0}
    assert result.extras["vote"].per_problem == {"a": 0.0, "b": 1.0}  # over all five answers: i c j c i, first of a tie


def test_only_those_that_pass_vote() -> None:
    world = World()
    result = score(
        "critic-filter@3", world,
        world.play("i", "i", "c", problem="a", passed=(False, None, True)),
        world.play("i", "i", "c", problem="b", passed=(False, False, None)),
    )  # fmt: skip
    assert result.per_problem == {"a": 1.0, "b": 0.0}


def test_what_could_not_be_graded_is_left_out() -> None:
    world = World()
    result = score(
        "critic-maj@2", world, world.play("e", "c", problem="a"), world.play("u", "u", problem="b"),
        world.play("c", "c", problem="d"),
    )  # fmt: skip
    assert result.per_problem == {"d": 1.0} and result.excluded == ("a", "b")


def test_figures_of_flows_are_averaged() -> None:
    world = World()
    result = score(
        "pot-then-cot", world, world.play("c", problem="a", fell_back=1.0), world.play("c", problem="b", fell_back=0.0)
    )
    assert result.extras["fell_back"].value == 0.5 and result.extras.keys() == {"fell_back"}
    assert result.transitions == {}


def test_a_completion_that_serves_twice_costs_once() -> None:
    answer = World().answer("c")
    assert cost_of((("actor", answer), ("actor", answer), ("critic", answer))) == {
        "actor": Cost(2, 3), "critic": Cost(2, 3),
    }  # fmt: skip
    assert Cost(3, 5).times(0.5) == Cost(2, 2)


def test_costs_of_what_picks_from_samples() -> None:
    world = World()
    drawn = [world.answer("c"), world.answer("i"), world.answer("i"), world.answer("c")]
    scores = {c.id: float(number) for number, c in enumerate(drawn)}
    for name, tokens, value in (("maj@2", 6, 1.0), ("pass@2", 6, 5 / 6), ("avg@4", 3, 0.5), ("best-of-3", 9, 0.0),
                                ("best-of-4", 12, 1.0), ("weighted@2", 6, 0.0)):  # fmt: skip
        result = score_strategy(parse_strategy(name), [Problem("a", "q", "4")], drawn, world.verdicts, scores=scores)
        assert result.per_problem == {"a": pytest.approx(value)}, name
        assert result.cost()["actor"].completion_tokens == tokens and result.completion_tokens == 12
    best = score_strategy(parse_strategy("best-of-3"), [Problem("a", "q", "4")], drawn, world.verdicts, scores=scores)
    assert best.cost()["reward_model"] == Cost(15, 0)  # three prompts of 2 and answers of 3 tokens, read


def test_curves_over_samples() -> None:
    world = World()
    drawn = [world.answer(letter) for letter in "ciic"]
    problems = [Problem("a", "q", "4")]
    points = sampled_curve(parse_strategy("pass@3"), problems, drawn, world.verdicts)
    assert [(p["k"], round(p["accuracy"], 4), p["tokens_per_problem"]) for p in points] == [
        (1, 0.5, 3.0), (2, 0.8333, 6.0), (3, 1.0, 9.0),
    ]  # fmt: skip
    scores = {c.id: float(number) for number, c in enumerate(drawn)}
    best = sampled_curve(parse_strategy("best-of-4"), problems, drawn, world.verdicts, scores=scores)
    assert best[0]["accuracy"] == 0.5 and best[-1]["accuracy"] == 1.0 and best[-1]["n"] == 1
    assert len(sampled_curve(parse_strategy("maj@4"), problems, drawn, world.verdicts)) == 4
    assert sampled_curve(parse_strategy("avg@4"), problems, drawn, world.verdicts) == []
    assert sampled_curve(parse_strategy("maj@5"), problems, drawn, world.verdicts) == []


def test_curves_along_and_across_chains() -> None:
    world = World()
    problems = [Problem("a", "q", "4")]
    along = played_curve(parse_strategy("sequential@3"), problems, [world.play("icij")], world.verdicts)
    assert [(p["k"], p["accuracy"], p["pass"]["accuracy"], p["vote"]["accuracy"]) for p in along] == [
        (0, 0.0, 0.0, 0.0), (1, 1.0, 1.0, 0.0), (2, 0.0, 1.0, 0.0), (3, 0.0, 1.0, 0.0),
    ]  # fmt: skip
    assert [p["tokens_per_problem"] for p in along] == [3.0, 7.67, 12.33, 17.0]
    early = played_curve(parse_strategy("sequential@3"), problems, [world.play("ic")], world.verdicts)
    assert [p["accuracy"] for p in early] == [0.0, 1.0, 1.0, 1.0]  # a chain that ended keeps its last answer
    grid = played_curve(parse_strategy("grid@2x1"), problems, [world.play("ic", "jc")], world.verdicts)
    assert [(p["steps"], p["k"], p["accuracy"]) for p in grid] == [(0, 1, 0.0), (0, 2, 0.0), (1, 1, 1.0), (1, 2, 1.0)]
    assert played_curve(parse_strategy("refine"), problems, [world.play("ic")], world.verdicts) == []
    voted = played_curve(parse_strategy("critic-maj@2"), problems, [world.play("ic", "ic")], world.verdicts)
    assert [p["accuracy"] for p in voted] == [1.0, 1.0]
    mixed = played_curve(parse_strategy("critic-maj@2"), problems, [world.play("ij", "ci")], world.verdicts)
    assert [p["pass"]["accuracy"] for p in mixed] == [0.5, 1.0]  # one chain of two has a right answer, its first
    filtered = played_curve(parse_strategy("critic-filter@2"), problems, [world.play("ic", "ic")], world.verdicts)
    assert len(filtered) == 2 and "pass" not in filtered[0]


def test_requests_are_named_by_what_is_asked_of_whom() -> None:
    world = World()
    start = world.answer("i")
    player = Player("critic", Policy("c", "lora", 2), None, SamplingParams(max_new_tokens=9))  # type: ignore[arg-type]
    table = Table(Problem("a", "2+2?", "4"), {"critic": player}, "st", 7, (start,))
    asked = table.ask("critic", Prompt((5, 6), "judge"), role="critique", parent=start, facts={"solution": "x"})
    assert (asked.player, asked.stage, asked.adapter, asked.version) == ("critic", "st", "lora", 2)
    assert asked.prompt_ids == (5, 6) and asked.prompt_text == "judge" and asked.params.max_new_tokens == 9
    assert asked.parent_id == start.id and asked.metadata == {"question": "2+2?", "answer": "4", "solution": "x"}
    again = table.ask("critic", Prompt((5, 6), "judge"), role="critique", parent=start, facts={"solution": "x"})
    other = table.ask("critic", Prompt((5, 6), "judge"), role="critique", parent=start, index=1)
    first = table.ask("critic", Prompt((5, 6), "judge"), role="answer")
    assert again == asked and len({asked.id, other.id, first.id}) == 3 and len({asked.seed, other.seed}) == 2
