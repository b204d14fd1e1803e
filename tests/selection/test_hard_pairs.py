"""Pairs of hard problems by type, and best against worst."""

from __future__ import annotations

import pytest

from tutelage.records import Completion, Policy, Problem, SamplingParams, Verdict
from tutelage.selection.hard_pairs import best_versus_worst, fate_of, hard_pairs, is_hard, is_rounded, num_steps

PROGRAM = "```python\na = 3\nb = a * 4\nfor i in range(2):\n    b = b + i\n    print(b)\n```"
SHORT = "```python\nprint(12)\n```"


def made(rows: list[tuple[str, str, str]]) -> tuple[list[Completion], list[Verdict]]:
    """Completions and verdicts of rows (problem, text, answer); an answer of 12 is right."""
    completions, verdicts = [], []
    for number, (problem, text, answer) in enumerate(rows):
        prompt = (1, 2) if "python" not in text else (1, 3)
        completion = Completion(
            f"c{number}", problem, "answer", Policy("m"), "", prompt, (number + 10, 2), text, ((0, 2, "model"),),
            (0.0, 0.0), "stop", SamplingParams(), 0, index=number,
        )  # fmt: skip
        completions.append(completion)
        right = answer == "12"
        outcome = "correct" if right else "incorrect"
        verdicts.append(Verdict(completion.id, problem, outcome, float(right), answer))
    return completions, verdicts


PROBLEMS = [Problem(name, "q", "12") for name in ("p", "q")]


def pairs_of(rows, rates, **changes):
    completions, verdicts = made(rows)
    settings = {"rates": rates, "count": 4, "stage": "s", **changes}
    return hard_pairs(PROBLEMS, verdicts, completions, **settings)


def test_only_problems_with_a_pass_rate_above_0_and_up_to_half_are_hard() -> None:
    assert [is_hard(rate) for rate in (None, 0.0, 0.1, 0.5, 0.51, 1.0)] == [False, False, True, True, False, False]
    fates = [fate_of(rate) for rate in (None, 0.0, 0.5, 0.6, 1.0)]
    assert fates == ["unknown", "unsolved", "hard", "easy", "all_right"]
    by_judge = [fate_of(rate, by_judge=True) for rate in (None, 0.0, 0.49, 0.5, 1.0)]
    assert by_judge == ["unknown", "hard", "hard", "easy", "all_right"], "fewer than half pass"
    found = pairs_of([("p", "12", "12"), ("p", "11", "11"), ("q", "12", "12"), ("q", "9", "9")], {"p": 0.5, "q": 0.9})
    assert [pair.problem_id for pair in found.pairs] == ["p"]
    assert found.counts["hard"] == found.counts["easy"] == found.counts["pairs"] == found.counts["plain"] == 1


@pytest.mark.parametrize(
    "right, wrong, answer, kind",
    [
        ("so 12", "so 9", "9", "plain"),
        (SHORT, "so 9", "9", "cot_wrong_pot_right"),
        (PROGRAM, SHORT, "9", "multistep_pot"),
        (SHORT, PROGRAM, "9", "plain"),
        ("so 12", "so 11.99", "11.99", "precision"),
        (PROGRAM, "so 12.01", "12.01", "precision"),
    ],
)
def test_pairs_have_a_type(right: str, wrong: str, answer: str, kind: str) -> None:
    found = pairs_of([("p", right, "12"), ("p", wrong, answer)], {"p": 0.5})
    (pair,) = found.pairs
    assert pair.rule == f"hard:{kind}" and found.counts[kind] == 1
    assert (pair.chosen_id, pair.rejected_id) == ("c0", "c1")
    assert pair.prompt_ids == ((1, 3) if "python" in wrong else (1, 2)), (
        "the prompt of what was asked, and answered wrong"
    )


def test_prose_is_never_preferred_where_a_program_was_asked_for() -> None:
    assert not pairs_of([("p", "so 12", "12"), ("p", SHORT, "9")], {"p": 0.5}).pairs
    rows = [("p", "so 12", "12"), ("p", PROGRAM, "12"), ("p", SHORT, "9"), ("p", "so 9", "9")]
    found = pairs_of(rows, {"p": 0.5})
    assert {(pair.chosen_id, pair.rejected_id) for pair in found.pairs} == {("c1", "c3"), ("c1", "c2"), ("c0", "c3")}


def test_rare_types_come_first_and_types_can_be_left_out() -> None:
    rows = [("p", "so 12", "12"), ("p", SHORT, "12"), ("p", "so 9", "9"), ("p", "so 11.9", "11.9")]
    assert pairs_of(rows, {"p": 0.5}, count=1).pairs[0].rule == "hard:precision"
    only = pairs_of(rows, {"p": 0.5}, types=["cot_wrong_pot_right"])
    assert {pair.rule for pair in only.pairs} == {"hard:cot_wrong_pot_right"}
    repeated = [("p", "so 12", "12"), ("p", "so 12", "12"), ("p", "so 9", "9"), ("p", "so 9", "9")]
    assert len(pairs_of(repeated, {"p": 0.5}).pairs) == 1, "equal texts make one pair"


@pytest.mark.parametrize(
    "answer, gold, rounded",
    [("3.33", "10/3", True), ("0.67", "2/3", True), ("101", "100", False), ("12", "12", False), (None, "3", False),
     ("abc", "3", False), ("3.5", "3", False), ("-3.33", "10/3", False)],
)  # fmt: skip
def test_a_rounding_error_is_within_one_per_cent(answer, gold, rounded) -> None:
    assert is_rounded(answer, gold) == rounded


def test_steps_of_a_program_are_counted_without_dead_code() -> None:
    assert num_steps("x = 1\nunused = 2\nprint(x)") == 2
    assert num_steps("not python (") == 0


def test_best_against_worst_has_one_prompt() -> None:
    completions, verdicts = made([("p", "so 12", "12"), ("p", SHORT, "9"), ("q", SHORT, "12"), ("q", PROGRAM, "9")])
    found = best_versus_worst(PROBLEMS, verdicts, completions, scores={}, stage="s", seed=0)
    assert [pair.problem_id for pair in found.pairs] == ["q"]
    assert found.counts == {"problems": 2, "one_sided": 1, "pairs": 1}


def test_best_against_worst_takes_the_largest_gap_of_every_problem() -> None:
    completions, verdicts = made(
        [("p", "a", "12"), ("p", "b", "12"), ("p", "c", "9"), ("p", "d", "8"), ("q", "e", "12"), ("q", "f", "12")]
    )
    scores = {"c0": 0.2, "c1": 0.9, "c2": 0.5, "c3": 0.1}
    found = best_versus_worst(PROBLEMS, verdicts, completions, scores=scores, stage="s", seed=0)
    (pair,) = found.pairs
    assert (pair.chosen_id, pair.rejected_id, pair.rule) == ("c1", "c3", "best-vs-worst")
    assert found.counts == {"problems": 2, "one_sided": 1, "pairs": 1}
    unscored = best_versus_worst(PROBLEMS, verdicts, completions, scores={}, stage="s", seed=0)
    again = best_versus_worst(PROBLEMS, verdicts, completions[::-1], scores={}, stage="s", seed=0)
    assert unscored.pairs == again.pairs, "ties are settled by the seed, not by the order"
