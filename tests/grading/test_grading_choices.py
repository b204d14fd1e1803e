"""Multiple choice: one letter, alone or with its option; two letters are two answers."""

from __future__ import annotations

import pytest

from tutelage.grading.checker import check
from tutelage.records import Choices

ROCKS = Choices(("A", "B", "C", "D"), ("igneous", "sedimentary", "a metamorphic rock", "none of these"))


@pytest.mark.parametrize(
    "answer",
    ["(A)", "B", "C or D", "(C), since D is too small", "B and D", "D is not right", "not D", "", "ABCD",
    "A, B, C, D", "(D) igneous, or (A)",
     "E", "sedimentary", "d e", "The answer is A, not D", "DD", "Dog", "igneous (D)", "5", r"\boxed{C}", "D" * 401],
)  # fmt: skip
def test_other_or_several_letters_are_wrong(answer: str) -> None:
    assert check("D", answer, kind="choice", choices=ROCKS).equivalent is not True


@pytest.mark.parametrize(
    "answer",
    ["D", "(D)", "d", "(d)", "D.", "D)", r"\textbf{(D)}", r"\text{(D) }none of these", "D: none of these",
    "(D) none of these", "none of these",
     "The answer is D.", "option D", "[D]", "**D**", "$D$", r"\boxed{D}", "Answer: (D)", "the correct answer is (D)",
     "None of these."],
)  # fmt: skip
def test_the_letter_with_or_without_its_option_is_right(answer: str) -> None:
    assert check("D", answer, kind="choice", choices=ROCKS).equivalent is True


def test_an_article_is_no_option() -> None:
    assert check("C", "A metamorphic rock", kind="choice", choices=ROCKS).equivalent is True
    assert check("A", "A metamorphic rock", kind="choice", choices=ROCKS).equivalent is False
    assert check("A", "A dog ate it", kind="choice").equivalent is None


def test_an_answer_without_any_letter_is_wrong_where_letters_were_asked_for() -> None:
    assert check("D", "granite", kind="choice", choices=ROCKS).equivalent is False
    assert check("D", "granite").equivalent is None  # D may be a symbol here


def test_a_letter_gold_that_no_data_set_calls_a_choice() -> None:
    assert check("D", "(D) 24", kind="latex").equivalent is True
    assert check(r"\text{D}", "C or D", kind="latex").equivalent is False
    assert check("e", "E", kind="latex").equivalent is False  # Euler's number is no option
    assert check("E", "e").equivalent is False


def test_several_correct_letters() -> None:
    assert check("A,C", "C, A").equivalent is True
    assert check("A,C", "(A) and (C)").equivalent is True
    assert check("A,C", "C").equivalent is False
    assert check("C", "A,C").equivalent is False
    assert check("A,C", "A, but not C").equivalent is not True
    assert check("A,C", "A or C").equivalent is not True


def test_published_numeric_labels_work_without_relabelling() -> None:
    numbered = Choices(("1", "2", "3"), ("x", "y", "z"))
    assert check("2", "2", choices=numbered).equivalent is True
    assert check("2", "(B)", choices=numbered).equivalent is True
    assert check("2", "3", choices=numbered).equivalent is False
