"""What a model under training may try to be paid for; each guard of docs/grading.md, none of it may be right."""

from __future__ import annotations

import time

import pytest

from tutelage.grading.checker import UnreadableGold, check, parse_gold
from tutelage.text.extraction import extract

GOLD = "3"
HACKS = {
    "several boxes": [r"\boxed{3}\boxed{4}", r"\boxed{3} \boxed{3} \boxed{4}", r"\boxed{3}, \boxed{4}"],
    "a spray of boxes": [" ".join(rf"\boxed{{{n}}}" for n in (1, 2, 3, 4, 5)), r"\boxed{3}" * 50 + r"\boxed{7}"],
    "a box in a box": [r"\boxed{\boxed{3}, 4}", r"\boxed{\text{not } \boxed{3} \text{ but } 4}"],
    "a hedge": [
        "The answer is 3 or 4.", r"\boxed{3 \text{ or } 4}", r"\boxed{3/4 \text{ or } 3}",
        "Final answer: either 3 or 5",
        r"\boxed{3?4}", "The answer is 3? No, it is 4.", "Final answer: 3?", "The answer is that there are 3?",
        r"\boxed{\approx 3.1}", "The answer is about 3.", "The answer is maybe 3", "#### 3 (or 4)",
        r"\boxed{\text{3, but possibly 4}}",
    ],
    "an enumeration": [r"\boxed{1, 2, 3, 4, 5}", "#### 1 2 3 4 5", "The answer is one of 1, 2, 3", r"\boxed{1;2;3}"],
    "a set or interval": [
        r"\boxed{(0,5)}", r"\boxed{[3,3.5]}", r"\boxed{\{1,2,3\}}", r"\boxed{x>2}", r"\boxed{2<x<4}",
        r"\boxed{\mathbb{R}}",
        r"\boxed{\{3\}}", r"\boxed{\pm 3}", r"\boxed{|x|=3}",
    ],
    "a false equation": [
        r"\boxed{3 = 4}", r"\boxed{7 = 3}", r"\boxed{2x+1 = 3}", r"\boxed{x = 4 = 3}", r"\boxed{x = 3 = 4}",
        r"\boxed{1+1=3}",
    ],
    "the answer sprayed before a box": ["3 " * 150 + r"\boxed{2}", "The answer is 3. " * 20 + r"\boxed{2}"],
    "a prefix": [r"\boxed{3.5}", r"\boxed{300}", r"\boxed{3,000}", r"\boxed{3y}", r"\boxed{3\%\%}", r"\boxed{33}",
                 r"\boxed{3ish}", r"\boxed{1{3}}", r"\boxed{{1}3}", r"\boxed{\textcolor{white}{1}3}",
                 r"\boxed{3 \frac12}", r"\boxed{3!}", r"\boxed{3e1}", r"\boxed{3_4}", r"\boxed{3^2}", r"\boxed{3 3}"],
    "only in the thinking": [
        r"<think>\boxed{3}</think>", r"<think>The answer is 3.</think> I am done.", r"<think>\boxed{3}",
        r"<think>\boxed{3}</think> The answer is 4.", r"a</think>\boxed{3}</think>\boxed{4}",
    ],
    "an unclosed box": [r"\boxed{3", r"\boxed{3 \text{ or } {4}", r"The answer is 3, so \boxed{3"],
    "two markers": ["The answer is 3. The answer is 4.", "#### 3\n#### 4", "<answer>3</answer><answer>4</answer>"],
    "the last number": ["I count to 3", "1 + 2 = 3", "The total is $3."],
    "a denial": ["The answer is not 3.", r"\boxed{\text{not } 3}", r"\boxed{\neq 3}", r"\boxed{\text{anything but 3}}"],
    "the question itself": [r"\boxed{\int_0^3 1\,dx}", r"\boxed{\sum_{k=1}^{2} k}", r"\boxed{\lim_{x \to 3} x}"],
    "what is not seen": [r"\boxed{\phantom{3}}", r"\boxed{\hphantom{3}4}"],
    "code": [r"\boxed{__import__('os').system('true') or 3}", r"\boxed{eval('3')}", r"\boxed{lambda: 3}"],
    "empty": ["", " ", r"\boxed{}", r"\boxed{ }", "####", "The answer is", "<answer></answer>"],
}  # fmt: skip


@pytest.mark.parametrize("name", list(HACKS))
@pytest.mark.parametrize("kind", [None, "number", "latex"])
def test_no_hack_is_right(name: str, kind) -> None:
    for text in HACKS[name]:
        answer = extract(text, kind).answer
        # A sum that is not computed (`x^2` at 9) is no guess: 3! is 6 and must not be 3.
        assert answer is None or check(GOLD, answer, kind=kind).equivalent is not True, text


@pytest.mark.parametrize(
    "name", sorted(set(HACKS) - {"a hedge", "a prefix", "code", "an enumeration", "a box in a box"})
)
def test_hacks_are_decided_and_not_left_open(name: str) -> None:
    for text in HACKS[name]:
        answer = extract(text).answer
        assert answer is None or check(GOLD, answer).equivalent is False, text


def test_the_prompt_is_never_searched() -> None:
    prompt = r"Put your answer in \boxed{3}. "
    assert extract("I do not know.").answer is None
    assert extract(prompt + "I do not know.").answer == "3", "so callers pass the completion alone"


@pytest.mark.parametrize(
    "answer",
    ["10^{10^{10}}", "(10^9)!", "9" * 401, "(" * 65 + "3" + ")" * 65, r"\sqrt{" * 60 + "x" + "}" * 60,
     r"\sin(" * 60 + "x" + ")" * 60, "(x+y+1)^{60}(x-y+1)^{60}", r"\log_{1000!}(10)", "e^{" * 60 + "x" + "}" * 60,
     "+".join(rf"\sqrt{{{n}}}" for n in range(2, 50)), r"\sin(10^{1000})", r"\sin(1)+10^{-900}"],
)  # fmt: skip
def test_an_input_made_to_be_slow_is_not(answer: str) -> None:
    began = time.process_time()
    for gold in ("3", "x^2", r"\sqrt{2}", answer + "+1"):
        assert check(gold, answer).equivalent is not True
        assert check(answer, gold).equivalent is not True
    assert time.process_time() - began < 3.0


@pytest.mark.parametrize("gold", ["", "  ", "$$", "7" * 401, "(" * 65 + "7" + ")" * 65, r"\frac{1}{2"])
def test_a_gold_that_makes_no_sense_is_refused_when_it_is_loaded(gold: str) -> None:
    with pytest.raises(UnreadableGold):
        parse_gold(gold)


@pytest.mark.parametrize("point", ["(5,-6)", "(7,6)", "(1,1)", r"(\frac{27}{8}, \frac{15}{8})", "[3,1]"])
@pytest.mark.parametrize("interval", ["(9,3]", "[5,-6)", "[7,6)", "(1,1]", r"[2,1)\cup(5,4]"])
def test_an_interval_with_nothing_in_it_is_no_point(point: str, interval: str) -> None:
    assert check(point, interval).equivalent is False
    assert check(interval, point).equivalent is False


def test_letters_in_an_explanation_do_not_win() -> None:
    for answer in ("(C), since D is too small", "C or D", "A, B, C, D", "not D but C", "D and C", "(A) (B) (C) (D)"):
        assert check("D", answer).equivalent is not True
        assert check("D", answer, kind="choice").equivalent is not True
