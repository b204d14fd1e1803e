"""Steps tile the text exactly."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.text.steps import split_steps


def test_a_step_is_a_line_and_blank_lines_belong_to_the_step_before() -> None:
    steps = split_steps("a=1\n\n  b=2\nc=3\n")
    assert [step.content for step in steps] == ["a=1", "b=2", "c=3"]
    assert [step.text for step in steps] == ["a=1\n\n  ", "b=2\n", "c=3\n"]


def test_sentences_do_not_end_at_decimals_numbering_or_abbreviations() -> None:
    steps = split_steps("1. Mr. Lee pays $3.50 a day. That is 7. Done!\nAnswer: 7", by="sentences")
    assert [step.content for step in steps] == ["1. Mr. Lee pays $3.50 a day.", "That is 7. Done!", "Answer: 7"]


def test_nothing_has_no_steps_and_white_space_is_one() -> None:
    assert split_steps("") == ()
    assert [step.text for step in split_steps(" \n ")] == [" \n "]


@pytest.mark.parametrize("by", ["lines", "sentences"])
@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.text(alphabet="ab1. \n!?)", max_size=40))
def test_joining_the_steps_gives_the_text_back(text: str, by) -> None:
    steps = split_steps(text, by=by)
    assert "".join(step.text for step in steps) == text
    assert all(step.text == text[step.start : step.end] and step.text for step in steps)
    assert all(a.end == b.start for a, b in pairwise(steps))
    if text.strip():
        assert all(step.content for step in steps)
