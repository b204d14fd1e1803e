"""Test questions inside training data, by kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.evaluation.contamination import Contamination, TestQuestions, find_contamination, summary
from tutelage.problems import load_problems
from tutelage.records import Problem

TEST = "Tom has 12 red apples and gives 5 of them to Ann, who has 3 green pears. How many apples does Tom have now?"


def problem(name: str, question: str, solution: str | None = None) -> Problem:
    return Problem(name, question, "7", solution=solution)


@pytest.mark.parametrize(
    "question, kind",
    [
        (TEST, "text"), (TEST.upper().replace(",", ";"), "letters"),
        (TEST.replace("Tom", "Bob").replace("Ann", "Eve"), "near"),
        (TEST.replace("12", "13"), "ngrams"),
        (TEST.replace("12", "13").replace("red ", "").replace("green ", "").replace("How many", "What count of"), None),
        ("In the morning it rained for hours. " * 9 + TEST.replace("12", "13"), "ngrams"),
        ("Something else is asked here.", None),
    ],
)  # fmt: skip
def test_kinds(question: str, kind: str | None) -> None:
    train, test = [problem("t0", "Nothing of the kind at all?"), problem("t1", question)], [problem("e0", TEST)]
    found = find_contamination(train, test)
    assert [(o.train_id, o.test_id, o.kind) for o in found] == ([("t1", "e0", kind)] if kind else [])
    inside = TestQuestions(test).inside(train)
    assert {name: overlap.kind for name, overlap in inside.items()} == ({"t1": kind} if kind else {})


def test_a_question_in_a_solution_is_found_by_its_runs() -> None:
    train = [problem("t0", "Make up a problem.", solution=f"Here is one. {TEST} It has 7.")]
    found = find_contamination(train, [problem("e0", TEST)])
    assert [(o.kind, o.likeness) for o in found] == [("ngrams", 1.0)]


def test_siblings_with_other_numbers_do_not_hide_the_one_with_the_same() -> None:
    siblings = [problem(f"t{n}", TEST.replace("12", str(n)).replace("Tom", "Bob")) for n in range(20, 60)]
    same = problem("same", TEST.replace("Tom", "Bob").replace("Ann", "Eve"))
    found = find_contamination([*siblings, same], [problem("e0", TEST)], Contamination(share=None))
    assert [(o.train_id, o.kind) for o in found] == [("same", "near")]


def test_rules_can_be_turned_off_and_counts_add_up() -> None:
    train = [problem("t", TEST.replace("Tom", "Bob").replace("Ann", "Eve"))]
    assert find_contamination(train, [problem("e", TEST)], Contamination(near=None, share=None)) == []
    found = find_contamination(train, [problem("e", TEST), problem("f", "Other?")])
    assert summary(found) == {"text": 0, "letters": 0, "near": 1, "ngrams": 0}
    assert find_contamination([], [problem("e", TEST)]) == find_contamination(train, []) == []


def test_published_train_and_test_files(shared_data: Path) -> None:
    train = load_problems(str(shared_data / "gsm8k" / "train.jsonl"), limit=500)
    test = load_problems(str(shared_data / "gsm8k" / "test.jsonl"), limit=100)
    assert find_contamination(train, test) == []
    planted = [*train, problem("planted", test[7].question.replace("the", "a", 1))]
    assert [(o.train_id, o.test_id) for o in find_contamination(planted, test)] == [("planted", test[7].id)]
