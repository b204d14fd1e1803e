"""Questions of the built-in world read back into stories."""

from __future__ import annotations

import pytest

from tutelage.problems.primer import PRIMER_SPLITS, keywords, primer_problems, render_question, story_of
from tutelage.problems.primer.reading import is_sound, operations_of, read_story
from tutelage.problems.primer.story import gold_answer


@pytest.mark.parametrize("split", PRIMER_SPLITS)
def test_every_question_of_every_split_reads_back(split: str) -> None:
    for problem in primer_problems(split, 20, seed=1):
        story, told = story_of(problem), read_story(problem.question)
        assert told is not None and is_sound(told)
        assert (told.start, told.steps, told.thing) == (story.start, story.steps, story.thing)
        assert str(gold_answer(told)) == problem.answer and keywords(told) == keywords(story)
        assert render_question(told) == problem.question


@pytest.mark.parametrize(
    "question",
    [
        "", "hello", "ann has 5 pens. how many pens does ann have?", "ann has 5 pens. he buys 3 more.",
        "ann has 5 pens. she buys 3 more. how many pens does ann have",
        "ann has 5 pens. she eats 3. how many pens does ann have?",
        "ann has 5 pens. she buys 10 more. how many pens does ann have?",
    ],
)  # fmt: skip
def test_what_is_no_story(question: str) -> None:
    assert read_story(question) is None and read_story(question, is_strict=False) is None


def test_people_and_things_that_do_not_fit_are_read_only_when_lenient() -> None:
    question = "ann has 6 pens. he buys 3 more. tom has 3 times as many as kim. how many cups does eve have?"
    assert read_story(question) is None
    story = read_story(question, is_strict=False)
    assert story is not None and operations_of(story) == ("gain", "times_than") and gold_answer(story) == 3
    assert is_sound(story)


def test_divisions_with_a_remainder_are_not_sound() -> None:
    story = read_story("ann has 5 pens. the pile shrinks 2 fold. how many pens does ann have?")
    assert story is not None and not is_sound(story)
    story = read_story("ann has 5 pens. she loses 9 pens. how many pens does ann have?")
    assert story is not None and not is_sound(story)
