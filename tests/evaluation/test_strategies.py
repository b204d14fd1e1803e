"""Strategies scored from completions and verdicts."""

from __future__ import annotations

import random

import pytest

from tutelage.errors import InputError
from tutelage.evaluation.statistics import wilson
from tutelage.evaluation.strategies import Strategy, parse_strategy, score_strategy
from tutelage.records import Choices, Completion, Policy, Problem, SamplingParams, Verdict

ANSWERS = {
    "c": ("correct", "4"),
    "f": ("correct", "4.0"),
    "i": ("incorrect", "5"),
    "j": ("incorrect", "6"),
    "n": ("no_answer", None),
    "t": ("truncated", None),
    "u": ("undecided", "x^2"),
    "e": ("error", None),
}


def drawn(**problems: str) -> tuple[list[Problem], list[Completion], dict[str, Verdict]]:
    completions, verdicts = [], {}
    for name, letters in problems.items():
        for index, letter in enumerate(letters):
            completion = Completion(
                f"{name}{index}", name, "answer", Policy("m"), "t", (1, 2), (3, 4, 5), "x", ((0, 2, "model"),),
                (0.0,) * 3, "stop", SamplingParams(), 0, index=index,
            )  # fmt: skip
            outcome, answer = ANSWERS[letter]
            completions.append(completion)
            verdicts[completion.id] = Verdict(completion.id, name, outcome, None, answer=answer)  # type: ignore[arg-type]
    random.Random(0).shuffle(completions)
    return [Problem(name, "2+2?", "4") for name in problems], completions, verdicts


@pytest.mark.parametrize(
    ("text", "strategy", "name"),
    [
        ("greedy", Strategy("greedy"), "greedy"),
        (" Maj@8 ", Strategy("maj", 8), "maj@8"),
        ("pass@1", Strategy("pass", 1), "pass@1"),
        ("avg@32", Strategy("avg", 32), "avg@32"),
    ],
)
def test_names(text: str, strategy: Strategy, name: str) -> None:
    assert parse_strategy(text) == strategy
    assert strategy.name == name and parse_strategy(name) == strategy and strategy.num_samples == strategy.k


@pytest.mark.parametrize(
    "text", ["", "maj", "maj@0", "maj@-1", "pass@10001", "maj@8.5", "greedy@2", "pass@" + "9" * 50]
)
def test_what_is_no_strategy(text: str) -> None:
    with pytest.raises(InputError, match=r"e\.g\. maj@8"):
        parse_strategy(text)


def test_near_misses_are_named() -> None:
    with pytest.raises(InputError, match="did you mean maj@k"):
        parse_strategy("maj8")


def test_greedy() -> None:
    result = score_strategy(Strategy("greedy"), *drawn(a="c", b="i", c="n", d="u", e="e", f="t", g="c"))
    assert result.per_problem == {"a": 1.0, "b": 0.0, "c": 0.0, "f": 0.0, "g": 1.0}
    assert result.value == 0.4 and result.n == 5 and (result.low, result.high) == wilson(2, 5)
    assert result.excluded == ("d", "e")
    assert result.outcomes == {
        "correct": 2, "incorrect": 1, "no_answer": 1, "truncated": 1, "timeout": 0, "undecided": 1, "error": 1,
    }  # fmt: skip
    assert result.prompt_tokens == 14 and result.completion_tokens == 14


def test_majority() -> None:
    result = score_strategy(
        Strategy("maj", 4),
        *drawn(
            two_spellings="cfij",  # 4 and 4.0 vote together against 5 and 6
            tie_first_right="ciic",
            tie_first_wrong="icci",
            no_answers="nnnc",
            lost="iicn",
            short="ccc",
            broken="ccec",
            unjudged="uuci",
            only_silence="nntn",
        ),
    )
    assert result.per_problem == {
        "two_spellings": 1.0, "tie_first_right": 1.0, "tie_first_wrong": 0.0, "no_answers": 1.0, "lost": 0.0,
        "only_silence": 0.0,
    }  # fmt: skip
    assert result.excluded == ("short", "broken", "unjudged")
    assert (result.low, result.high) == wilson(3, 6)


def test_majority_takes_the_first_k_samples() -> None:
    assert score_strategy(Strategy("maj", 3), *drawn(a="iiccc")).per_problem == {"a": 0.0}
    assert score_strategy(Strategy("maj", 3), *drawn(a="eccii")).per_problem == {"a": 1.0}


def test_pass_at_k_uses_all_samples() -> None:
    result = score_strategy(Strategy("pass", 2), *drawn(a="ciii", b="cccc", c="iu", d="ci"), seed=1)
    assert result.per_problem == {"a": 0.5, "b": 1.0, "d": 1.0}
    assert result.excluded == ("c",) and result.value == pytest.approx(2.5 / 3)
    assert 0.5 <= result.low < result.value < result.high <= 1.0
    assert result == score_strategy(Strategy("pass", 2), *drawn(a="ciii", b="cccc", c="iu", d="ci"), seed=1)


def test_mean_accuracy_of_samples() -> None:
    result = score_strategy(Strategy("avg", 4), *drawn(a="ciii", b="ccii"))
    assert result.per_problem == {"a": 0.25, "b": 0.5} and result.value == 0.375


def test_verdicts_in_a_list_and_completions_of_other_problems() -> None:
    problems, completions, verdicts = drawn(a="c", b="i")
    result = score_strategy(Strategy("greedy"), problems[:1], completions, list(verdicts.values()))
    assert result.per_problem == {"a": 1.0} and result.prompt_tokens == 2


@pytest.mark.parametrize("letters", ["u", "e", ""])
def test_nothing_to_score(letters: str) -> None:
    with pytest.raises(InputError, match="greedy cannot be scored"):
        score_strategy(Strategy("greedy"), *drawn(a=letters))


def test_of_several_verdicts_on_a_sample_the_first_counts() -> None:
    problems, completions, verdicts = drawn(a="c", b="i")
    later = [Verdict("a0", "a", "incorrect", 0.0), Verdict("b0", "b", "correct", 1.0)]
    result = score_strategy(Strategy("greedy"), problems, completions, [*verdicts.values(), *later])
    assert result.per_problem == {"a": 1.0, "b": 0.0}


def test_one_option_in_other_words_is_one_vote() -> None:
    _, completions, _ = drawn(a="ccccc")
    problem = Problem("a", "Which?", "B", "choice", choices=Choices(("A", "B", "C"), ("a cat", "a dog", "an owl")))
    said = {0: "C", 1: "(B)", 2: "C", 3: "B) a dog", 4: "a dog"}
    verdicts = [
        Verdict(f"a{i}", "a", "incorrect" if answer == "C" else "correct", None, answer=answer)
        for i, answer in said.items()
    ]
    assert score_strategy(Strategy("maj", 5), [problem], completions, verdicts).per_problem == {"a": 1.0}
