"""Where an announced answer ends: at its explanation, but never inside the answer."""

from __future__ import annotations

import pytest

from tutelage.text.extraction import extract


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is $3$, since $1+2=3$.", "$3$"),
        ("The answer is 3 because 1+2=3.", "3"),
        ("The answer is 3, since 1+2 is 3.", "3"),
        ("The answer is $x=3$, where x is the length.", "$x=3$"),
        ("The answer is $x^2+c$ where $c$ is constant.", "$x^2+c$"),
        ("The answer is 3, as 1+2=3.", "3"),
        ("The answer is **3**, not 4.", "3"),
        ("The answer is **3** or **4**.", "3 or 4"),
        ("The answer is $5 because it costs 2 and 3.", "$5"),
        ("The answer is Tom, because he is older than Ann.", "Tom"),
        ("答案为3，因为1+2=3。", "3"),
        ("答案是 $\\frac{1}{2}$，其中 x 是长度。", "$\\frac{1}{2}$"),
    ],
)
def test_an_explanation_is_not_part_of_the_answer(text: str, answer: str) -> None:
    found = extract(text)
    assert found.answer == answer
    assert answer in text.replace("**", "")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is $x$, where $x=3$.", "$x$, where $x=3$"),
        ("The answer is 3, as well as 4.", "3, as well as 4"),
        ("The answer is 3, not sure.", "3, not sure"),
        ("The answer is 3 or 4 because of the sign.", "3 or 4"),
        ("The answer is about 3 because of rounding.", "about 3"),
        ("The answer is not 3, since 4 is larger.", "not 3"),
        ("The answer is 5 times as many as 3.", "5 times as many as 3"),
        ("The answer is (1, since 2).", "(1, since 2)"),
        ("The answer is 3 if x is 2.", "3 if x is 2"),
        ("The answer is 3 unless 4 counts.", "3 unless 4 counts"),
    ],
)
def test_what_belongs_to_the_answer_stays(text: str, answer: str) -> None:
    assert extract(text).answer == answer
