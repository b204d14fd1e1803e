"""Critique texts: strict reading, writing that gives the same back, the released rows, and hostile text."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.problems.primer import primer_problems, story_of, true_critique
from tutelage.records import CritiqueStep
from tutelage.text.critiques import (
    CritiqueText,
    Unreadable,
    place_of_first_error,
    read_critique,
    solution_steps,
    write_critique,
)

LABELLED = """Step sentence: 3 * 4 = 12
Correctness of the step: Correct
Explanation: Right.

Step sentence: 12 + 2 = 15
Correctness of the step: Wrong
Explanation: It is 14.

Correctness of the final answer: Wrong
Explanation: 15 is not 14."""
STEPS = (CritiqueStep("3 * 4 = 12", True, "Right."), CritiqueStep("12 + 2 = 15", False, "It is 14."))


def test_the_labelled_form_is_read_and_written() -> None:
    critique = read_critique(LABELLED, "labelled")
    assert critique == CritiqueText(STEPS, False, "15 is not 14.")
    assert critique.first_error == 1
    assert write_critique(critique, "labelled") == LABELLED


@pytest.mark.parametrize(
    "change",
    [
        lambda t: "Here is my critique.\n\n" + t,
        lambda t: t.replace("\n\n", "\n\n---\n\n"),
        lambda t: t.replace("\n", "  \n\n"),
        lambda t: t.replace("Step sentence:", "**Step sentence:**").replace(": Wrong", ": **Wrong**."),
        lambda t: t.replace(": Wrong", ": Incorrect").replace("\n", "\r\n"),
        lambda t: t.lower().replace("right.", "Right.").replace("it is", "It is"),
        lambda t: t.replace("Correctness of the final", "Step sentence: The answer is 15.\nCorrectness of the final"),
    ],
)
def test_markup_around_labels_does_not_matter(change) -> None:
    assert read_critique(change(LABELLED), "labelled") == CritiqueText(STEPS, False, "15 is not 14.")


@pytest.mark.parametrize(
    ("text", "form", "reason"),
    [
        ("", "labelled", "no step is judged"),
        ("The solution is wrong.", "labelled", "no step is judged"),
        ("Correctness of the final answer: Wrong\nExplanation: no", "labelled", "no step is judged"),
        (LABELLED.replace(": Correct\n", ": Correct but wrong in context\n"), "labelled", "a verdict is neither"),
        (LABELLED.replace(": Correct\n", ":\n"), "labelled", "a verdict is neither"),
        (LABELLED.replace("Correctness of the step: Wrong\n", ""), "labelled", "a step has no verdict"),
        (LABELLED.replace("Explanation: It is 14.\n", ""), "labelled", "out of order"),
        (LABELLED.split("\n\nCorrectness of the final")[0], "labelled", "final verdict is missing"),
        (LABELLED + "\n" + LABELLED, "labelled", "out of order"),
        ("step 1: +7 correct.", "primer", "final verdict is missing"),
        ("verdict: wrong", "primer", "no step is judged"),
        ("step 2: +7 correct.\nverdict: correct", "primer", "out of order"),
        ("step 1: +7 perhaps.\nverdict: correct", "primer", "a step has no verdict"),
        ("verdict: wrong\nstep 1: +7 correct.", "primer", "final verdict is missing"),
    ],
)
def test_what_does_not_fit_is_unreadable_with_a_reason(text, form, reason) -> None:
    found = read_critique(text, form)
    assert isinstance(found, Unreadable) and reason in found.reason


def test_primers_own_critiques_are_read_and_written_character_by_character() -> None:
    for problem in primer_problems("dev", 40):
        steps = problem.metadata["steps"]
        for lines in ([s["line"] for s in steps], [s["wrong_line"] or s["line"] for s in steps], [steps[0]["line"]]):
            text = true_critique(story_of(problem), "\n".join([*lines, "answer: 7"]))
            critique = read_critique(text, "primer")
            assert isinstance(critique, CritiqueText)
            assert write_critique(critique, "primer") == text


def test_a_critique_crosses_to_the_other_form() -> None:
    critique = read_critique(LABELLED, "labelled")
    assert write_critique(critique, "primer") == (
        "step 1: unclear correct, Right.\nstep 2: unclear wrong, It is 14.\nverdict: wrong"
    )
    crossed = read_critique(write_critique(critique, "primer"), "primer")
    assert [s.is_correct for s in crossed.steps] == [True, False] and not crossed.final_is_correct


HOSTILE = st.text(st.sampled_from("ab \n:*-_.") | st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    [
        "a\nCorrectness of the step: Correct",
        "Explanation: x\nCorrectness of the final answer: Correct\nExplanation: y",
        "---",
        "x\n---\ny",
        "step 1: +7 correct.\nverdict: correct",
        "**Step sentence:** z",
    ]
)


@given(st.lists(st.tuples(HOSTILE, st.booleans(), HOSTILE), min_size=1, max_size=4), st.booleans(), HOSTILE)
def test_no_text_in_a_field_changes_a_verdict(steps, final, why) -> None:
    critique = CritiqueText(tuple(CritiqueStep(*step) for step in steps), final, why)
    for form in ("labelled", "primer"):
        read = read_critique(write_critique(critique, form), form)
        assert isinstance(read, CritiqueText)
        assert [s.is_correct for s in read.steps] == [s.is_correct for s in critique.steps]
        assert read.final_is_correct == final
        assert read_critique(write_critique(read, form), form) == read


@given(st.text(max_size=200))
def test_reading_never_raises(text) -> None:
    for form in ("labelled", "primer"):
        assert isinstance(read_critique(text, form), Unreadable | CritiqueText)


@pytest.mark.parametrize(
    "text", ["*" * 200_000, "Step sentence:" * 20_000, "Step sentence: a\n" * 20_000, "step 1: " + "a" * 200_000]
)
def test_long_hostile_text_takes_linear_time(text) -> None:
    started = time.process_time()
    for form in ("labelled", "primer"):
        assert isinstance(read_critique(text, form), Unreadable)
    assert time.process_time() - started < 2


def test_steps_are_lines_without_lead_in_and_answer() -> None:
    text = "Let's break it down step by step:\n\nTim has 3.\nHe gets 4: 3 + 4 = <<3+4=7>>7.\nThe answer is 7."
    assert solution_steps(text) == ("Tim has 3.", "He gets 4: 3 + 4 = <<3+4=7>>7.")
    assert solution_steps("3+4=7\nanswer: 7") == ("3+4=7",)
    assert solution_steps("Final answer: 7") == ("Final answer: 7",)
    assert solution_steps(" \n") == ()


def test_the_first_error_is_placed_by_number_or_by_its_sentence() -> None:
    critique = read_critique(LABELLED, "labelled")
    assert place_of_first_error(critique, ["a", "b"]) == 1
    assert place_of_first_error(critique, ["a", "b", "#### 15"]) == 1
    assert place_of_first_error(critique, ["Tim thinks.", "3*4 = <<3*4=12>>12", "So", "12 + 2 = $15$", "Done"]) == 3
    assert place_of_first_error(critique, ["nothing", "like", "it", "here"]) == "unplaced"
    assert place_of_first_error(critique, ["12+2=15", "12+2=15", "x", "y"]) == "unplaced", "not guessed"
    assert place_of_first_error(CritiqueText(STEPS[:1], True), ["a"]) is None


def test_released_rows_are_read_and_written_back(shared_data) -> None:
    path = shared_data / "mathcritique_sample" / "sample.jsonl"
    if not path.is_file():
        pytest.skip("no released sample")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    read = {row["id"]: read_critique(row["critique"], "labelled") for row in rows}
    bad = [row for row in rows if isinstance(read[row["id"]], Unreadable)]
    assert len(rows) == 200 and len(bad) == 1, "one row judges a step `Correct for the equation but wrong in context`"
    assert read[bad[0]["id"]].reason == "a verdict is neither Correct nor Wrong"
    placed = 0
    for row in rows:
        critique = read[row["id"]]
        if isinstance(critique, Unreadable):
            continue
        assert [s.is_correct for s in critique.steps] == [s["label"] == "Correct" for s in row["steps"]]
        assert critique.final_is_correct == (row["final_answer_label"] == "Correct")
        assert read_critique(write_critique(critique, "labelled"), "labelled") == critique
        placed += isinstance(place_of_first_error(critique, solution_steps(row["initial_solution"])), int)
    assert placed == 180
