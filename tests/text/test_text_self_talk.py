"""Trains of thought as text, in plain words and in the built-in model's."""

from __future__ import annotations

from tutelage.problems.primer import annotate_problem, primer_problems
from tutelage.text.extraction import extract
from tutelage.text.self_talk import Piece, Thought, body_and_ending, inner_talk, joined, second_thoughts

THOUGHTS = [
    Thought("9+7=16", 0, False, "+7", "use -7"),
    Thought("9-7=2", 0, True, "-7"),
    Thought("2*3=6", 1, True, "*3"),
]


def test_feedback_follows_its_step() -> None:
    assert joined(inner_talk(THOUGHTS, "answer: 6", "primer", "all")) == (
        "9+7=16\nstep 1: +7 wrong, use -7.\n9-7=2\nstep 1: -7 correct.\n2*3=6\nstep 2: *3 correct.\nanswer: 6"
    )
    assert joined(inner_talk(THOUGHTS, "answer: 6", "primer", "wrong")) == (
        "9+7=16\nstep 1: +7 wrong, use -7.\n9-7=2\n2*3=6\nanswer: 6"
    )


def test_plain_words() -> None:
    text = joined(inner_talk(THOUGHTS[:2], "The answer is 2.", "labelled", "all"))
    assert text.split("\n") == [
        "9+7=16", "Wait, this step is wrong. use -7 I will do it again.", "9-7=2", "Let me check this. It is right.",
        "The answer is 2.",
    ]  # fmt: skip


def test_second_thoughts_hold_one_answer() -> None:
    wrong, right = "9+7=16\nanswer: 16", "9-7=2\nanswer: 2"
    assert second_thoughts(wrong, right, "primer") == [
        Piece("9+7=16", True), Piece("verdict: wrong"), Piece("9-7=2\nanswer: 2")
    ]  # fmt: skip
    assert joined(second_thoughts(right, "9-7=2\n answer: 2", "primer")) == "9-7=2\nverdict: correct\nanswer: 2"


def test_only_what_is_taken_back_is_an_error() -> None:
    pieces = inner_talk(THOUGHTS, "answer: 6", "primer", "all")
    assert [piece.text for piece in pieces if piece.is_error] == ["9+7=16"]


def test_the_answer_is_read_behind_the_talk() -> None:
    text = joined(inner_talk(THOUGHTS, "answer: 6", "primer", "all"))
    assert extract(text).answer == "6"


def test_body_and_ending_are_the_whole() -> None:
    (problem,) = primer_problems("train", 1)
    assert problem.solution is not None
    steps, ending = body_and_ending(problem.solution)
    assert f"{steps}\n{ending}" == problem.solution and ending.startswith("answer: ")
    assert annotate_problem(problem, problem.solution).final_is_correct
    assert body_and_ending("") == ("", "")
