"""Where the final answer of a completion is; texts in which it must not be found come first."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.records import Choices
from tutelage.text.extraction import extract, last_box


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "I cannot solve this.", "The final answer is", "\\boxed{}", "\\boxed{36",
        "so \\boxed{\\frac{1}{2}", "Final answer:",
        "<think>\\boxed{3}</think>", "<think>\\boxed{3}", "<think>The answer is 3.", "<answer>3",
        "<answer></answer>", "####", "#### ",
        "The total is 9.", "1 + 1 = 2", "\\boxed 5 is unclosed \\boxed{", "answer", "#### Step 3: add them",
        "The answer is:\n\n",
        "The answer is 5, that is \\boxed{5", "The answer is []", "#### []", "\\boxed 36", "\\boxed 3.5",
        "\\boxed{7} \\boxed{}",
    ],
)  # fmt: skip
def test_no_answer(text: str) -> None:
    assert extract(text).answer is None


@pytest.mark.parametrize(
    ("text", "answer", "method"),
    [
        ("So $\\boxed{36}$.", "36", "boxed"),
        ("\\[ P = \\boxed{\\frac{5}{11}} \\]", r"\frac{5}{11}", "boxed"),
        ("\\boxed{35} is wrong. After checking: \\boxed{36}", "36", "boxed"),
        ("\\fbox{7}", "7", "boxed"),
        ("\\boxed{\\{1, 2\\}}", r"\{1, 2\}", "boxed"),
        ("\\boxed{a \\text{ and } b}", r"a \text{ and } b", "boxed"),
        ("\\boxed{5} and then \\boxed{", "5", "boxed"),
        ("\\boxed{\\boxed{4}}", "{4}", "boxed"),
        ("$\\boxed{2}$ and $\\boxed{9}$", "2, 9", "boxed_list"),
        ("\\boxed{2}, \\boxed{3} or \\boxed{5}", "2, 3, 5", "boxed_list"),
        ("$x=\\boxed{2} \\text{ and } y=\\boxed{9}$", "2, 9", "boxed_list"),
        ("\\boxed{1} no no no \\boxed{2}", "2", "boxed"),
        ("\\boxed{3}\\boxed{4}", "3, 4", "boxed_list"),
        ("\\boxed{1} \\boxed{2}\n\\boxed{7}", "1, 2, 7", "boxed_list"),
        ("\\[\\boxed{1}\\]\n\n\\[\\boxed{7}\\]", "1, 7", "boxed_list"),
        ("\\boxed{7}\n\\boxed{7}", "7", "boxed"),
        ("\\boxed{7}, \\boxed{7}", "7, 7", "boxed_list"),
        ("\\boxed{1} so \\boxed{7}", "7", "boxed"),
        ("\\boxed{1} = \\boxed{7}", "7", "boxed"),
        ("- \\boxed{1}\n- \\boxed{7}", "1, 7", "boxed_list"),
        ("1. \\boxed{1}\n2. \\boxed{7}", "1, 7", "boxed_list"),
        ("\\boxed{1}" + " " * 200 + "\\boxed{7}", "1, 7", "boxed_list"),
        ("\\boxed 1 \\boxed 7", "1, 7", "boxed_list"),
        ("So $\\boxed 3$.", "3", "boxed"),
        ("so \\boxed 3", "3", "boxed"),
        ("The answer is 9. \\boxed 36", "9", "answer_is"),
        ("Put it in \\boxed a moment. The answer is 9.", "9", "answer_is"),
        ("The answer is 3. Final answer: []", "3", "answer_is"),
        ("So the answer must be 3.", "3", "answer_is"),
        ("The answer is 3. The answer must be an integer.", "3", "answer_is"),
        ("#### 30. Jeff walks 30 miles in a week", "30", "hashes"),
        ("#### 3. Add all 4 numbers", "3. Add all 4 numbers", "hashes"),
        ("#### 3. Add all 3 numbers\nThat is 7.", "3. Add all 3 numbers", "hashes"),
        ("The answer is 90. $\\boxed{80}$", "80", "boxed"),
        ("\\boxed{80} The answer is 90.", "80", "boxed"),
        ("<think>26?</think> The answer is 28.", "28", "answer_is"),
        ("a</think>b</think>\\boxed{1}", "1", "boxed"),
        ("<answer> 12 </answer>", "12", "answer_tag"),
        ("<answer>The final answer is: 12</answer>", "12", "answer_tag"),
        ("<ANSWER>5</ANSWER> #### 6", "5", "answer_tag"),
        ("He has 26 left.\n#### 26", "26", "hashes"),
        ("#### 1\n#### 3,200", "3,200", "hashes"),
        ("#### Solution\n#### 18", "18", "hashes"),
        ("#### 18 The answer is 19.", "18 The answer is 19", "hashes"),
        ("work ...answer: 19", "19", "answer_is"),
        ("Final answer: 19", "19", "final_answer"),
        ("**Final Answer:** 19", "19", "final_answer"),
        ("## Final Answer\n19", "19", "final_answer"),
        ("Final Answer: The final answer is $26$. I hope it is correct.", "$26$", "final_answer"),
        ("The answer is 26.5.", "26.5", "answer_is"),
        ("The answer is: 26", "26", "answer_is"),
        ("The answer is 1. No: the answer is 2.", "2", "answer_is"),
        ("Answer: (B)", "(B)", "answer_is"),
        ("The correct option is C.", "C", "answer_is"),
        ("The answer is\n\\[ x = 4 \\]\nindeed", "\\[ x = 4 \\]", "answer_is"),
        ("Final answer:\n\n18\n", "18", "final_answer"),
        ("The answer is therefore $5.50.", "$5.50", "answer_is"),
        ("The answer is 3:30 p.m. on Monday", "3:30 p.m. on Monday", "answer_is"),
        ("答案是24。", "24", "answer_is"),
        ("所以答案为 $\\frac{3}{8}$。", "$\\frac{3}{8}$", "answer_is"),
        ("故选 B。", "B", "answer_is"),
        ("She pays 26.\nA: 26", "26", "label"),
    ],
)
def test_answer_and_method(text: str, answer: str, method: str) -> None:
    found = extract(text)
    assert (found.answer, found.method) == (answer, method)


@pytest.mark.parametrize(
    "end", ["<eos>", "</s>", "<|im_end|>", "<|endoftext|>", "<pad><pad>", "<|eot_id|>\n", " <|end|> </s>", "[PAD]"]
)
@pytest.mark.parametrize("text", ["...answer: 19", "Final answer: 19", "#### 19", "The answer is: 19", "A: 19"])
def test_special_tokens_at_the_end_are_passed_over(text: str, end: str) -> None:
    assert extract(text + end).answer == "19"


def test_the_span_is_where_the_answer_is() -> None:
    text = "First \\boxed{35}, then \\boxed{36} it is."
    found = extract(text)
    assert text[slice(*found.span)] == "36"
    assert (found.is_delimited, found.num_answers) == (True, 2)
    assert extract("Final answer: 18").is_delimited is False
    assert extract("Final answer: 18\n").num_answers == 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is that she pays $18 in all.", "$18"),
        ("#### 25 flowers in his garden after 15 days", "25"),
        ("#### 14 more pieces of candy than Ginger", "14"),
        ("Final answer: 18 dollars", "18 dollars"),
        ("The answer is not 26 but 27", "not 26 but 27"),
        ("The answer is 5 or 6 eggs", "5 or 6 eggs"),
        ("The answer is either of them, 5 perhaps", "either of them, 5 perhaps"),
        ("The answer is 3 cats and 4 dogs", "3 cats and 4 dogs"),
        ("The answer is two plus 3 = 5", "two plus 3 = 5"),
        ("Final answer: 2 and a half hours", "2 and a half hours"),
        ("\\boxed{about 18 in total}", "about 18 in total"),
    ],
)
def test_a_marked_sentence_with_one_number_gives_it_for_number_golds(text: str, answer: str) -> None:
    assert extract(text, "number").answer == answer


def test_last_number_is_a_fallback_on_request_only() -> None:
    assert extract("They are 3, then 1,200.5 in all.").answer is None
    assert extract("They are 3, then 1,200.5 in all.", last_number=True).answer == "1,200.5"
    assert extract("\\boxed{7", last_number=True).answer is None  # an unclosed box is no answer
    assert extract("none at all", last_number=True).answer is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The best answer is B. This answer is justified by the fact that a plant grows.", "B"),
        ("The answer is B. The answer is based on the second law.", "B"),
        ("The answer is B. No, the answer is not B.", "not B"),
        ("The answer is B. Actually the answer is not B but C.", "not B but C"),
        ("The answer is B. The answer is C.", "C"),
        ("The answer is C because A is wrong.", "C"),
        ("The answer is something else.", "something else"),
    ],
)
def test_in_multiple_choice_the_last_marker_that_names_an_option_counts(text: str, answer: str) -> None:
    assert extract(text, "choice").answer == answer


def test_options_are_known_by_their_text_and_labels() -> None:
    choices = Choices(("1", "2"), ("a dog", "a cat"))
    assert extract("The answer is a cat. The answer is a matter of taste.", choices=choices).answer == "a cat"
    assert extract("The answer is 2. The answer is not the dog.", choices=choices).answer == "2"


def test_a_label_line_is_no_marker_in_multiple_choice() -> None:
    assert extract("A: dry palms", "choice", Choices(("A",), ("dry palms",))).answer is None


@pytest.mark.parametrize(
    "unit",
    ["\\boxed{", "\\boxed{1} or ", "{", "}", "<think>", "</think>", "<answer>", "answer is ", "final answer",
    "#### ", "#### 1\n", "1,", "1 ", "\n", " ", "*",
     "_", "A:", "\\", "答案", "$$", "\\[", ".", "therefore ", "<eos>", "<|", "answer: a. "],
)  # fmt: skip
def test_time_is_linear_in_the_length(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    started = time.process_time()
    extract(text, last_number=True)
    extract(text + "x", "number")
    assert time.process_time() - started < 3.0


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.text(max_size=6), st.sampled_from(["\\boxed{", "{", "}", "\\{", "####", "answer is",
    "<think>", "</think>", "<answer>", "</answer>", "1", ",", "\n", "$$"])), max_size=14).map("".join))  # fmt: skip
def test_total_and_the_span_lies_in_the_text(text: str) -> None:
    found = extract(text, "number", last_number=True)
    assert 0 <= found.span[0] <= found.span[1] <= len(text)
    assert (found.answer is None) == (found.method == "none")


def test_last_box_of_a_worked_solution() -> None:
    assert last_box(r"a \boxed{1} and \boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert last_box(r"so $\boxed 5$ it is") == "5"
    assert last_box("none") is None
