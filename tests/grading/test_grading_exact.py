"""The built-in grader: outcomes of whole completions."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.grading.exact import ExactGrader
from tutelage.grading.grader import CompletionGrader, tally
from tutelage.records import OUTCOMES, Choices, Completion, FinishReason, Policy, Problem, SamplingParams, Verdict

NUMBER = Problem("p", "How many?", "18")
LATEX = Problem("m", "Find it.", r"\cos^2 x", "latex")
CHOICE = Problem("c", "Which?", "B", "choice", choices=Choices(("A", "B"), ("ice", "water")))
GRADER = ExactGrader()


def completion(text: str, finish_reason: FinishReason = "stop", note: str = "") -> Completion:
    return Completion(
        id="c1", problem_id="p", role="answer", policy=Policy("m"), tokenizer_digest="", prompt_ids=(), token_ids=(),
        text=text,
        segments=(), token_logprobs=(), finish_reason=finish_reason, params=SamplingParams(), seed=0, note=note,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "text", "outcome", "score"),
    [
        (NUMBER, "16 - 7 = 9, twice: 18.\nFinal answer: 18", "correct", 1.0),
        (NUMBER, "so \\boxed{18}", "correct", 1.0),
        (NUMBER, "#### 19", "incorrect", 0.0),
        (NUMBER, "It is 18 in all.", "no_answer", 0.0),
        (NUMBER, "", "no_answer", 0.0),
        (NUMBER, "<think>18, \\boxed{18}</think> I do not know.", "no_answer", 0.0),
        (NUMBER, "<think>Final answer: 18", "no_answer", 0.0),
        (NUMBER, "\\boxed{18} or \\boxed{19}", "incorrect", 0.0),
        (NUMBER, "\\boxed{" + "8" * 500 + "}", "incorrect", 0.0),
        (NUMBER, "Final answer: not 18 but 19", "incorrect", 0.0),
        (LATEX, r"\boxed{1-\sin^2 x}", "correct", 1.0),
        (LATEX, r"\boxed{\nabla x}", "undecided", None),
        (CHOICE, "Final answer: (B)", "correct", 1.0),
        (CHOICE, "Final answer: water", "correct", 1.0),
        (CHOICE, "Final answer: (A) or (B)", "incorrect", 0.0),
    ],
)
def test_outcome_and_score(problem: Problem, text: str, outcome: str, score: float | None) -> None:
    verdict = GRADER.grade(problem, completion(text))
    assert (verdict.outcome, verdict.score) == (outcome, score)
    assert (verdict.completion_id, verdict.problem_id) == ("c1", problem.id)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("so the sum is 9 + 9 =", "truncated"),
        ("so \\boxed{18", "truncated"),
        ("Final answer: 1", "truncated"),  # 18 cut off after its first digit
        ("Final answer: 18", "truncated"),  # may go on to 180
        ("#### 18", "truncated"),
        ("\\boxed{18}", "correct"),
        ("\\boxed{18} and that is", "correct"),
        ("Final answer: 18\n\nQuestion: Tom has", "correct"),
        ("#### 18\nWait", "correct"),
        ("<answer>18</answer> as", "correct"),
        ("\\boxed{19} is what", "incorrect"),
        ("\\boxed{17} no, \\boxed{18} or maybe", "truncated"),
        ("Final answer: 17\nFinal answer: 18\nor", "truncated"),
        ("\\boxed{18} or is it \\boxed{1", "truncated"),
        ("<think>it is \\boxed{18} but", "truncated"),
    ],
)
def test_a_cut_completion_is_paid_only_for_a_closed_and_single_answer(text: str, outcome: str) -> None:
    assert GRADER.grade(NUMBER, completion(text, "length")).outcome == outcome


def test_a_failed_sample_is_ours() -> None:
    verdict = GRADER.grade(NUMBER, completion("\\boxed{18}", "error", "server gone"))
    assert (verdict.outcome, verdict.score, verdict.note) == ("error", None, "server gone")
    assert not verdict.is_usable


def test_tolerance_of_the_grader_and_of_the_problem() -> None:
    third = Problem("t", "?", "1/3")
    loose = Problem("t", "?", "1/3", metadata={"tolerance": 0.01})
    assert GRADER.grade_text(third, "Final answer: 0.333").outcome == "incorrect"
    assert GRADER.grade_text(loose, "Final answer: 0.333").outcome == "correct"
    assert ExactGrader(tolerance=0.01).grade_text(third, "Final answer: 0.333").outcome == "correct"


def test_the_span_is_where_the_answer_stands_and_survives_the_disk() -> None:
    text = r"so it is \boxed{18} in all"
    verdict = GRADER.grade_text(NUMBER, text)
    assert verdict.span is not None and text[slice(*verdict.span)] == verdict.answer == "18"
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
    assert GRADER.grade_text(NUMBER, "no idea").span is None
    older = {key: value for key, value in verdict.to_json().items() if key != "span"}
    assert Verdict.from_json(older).span is None


def test_last_number_is_off_for_rewards() -> None:
    assert GRADER.grade_text(NUMBER, "It is 18 in all.").outcome == "no_answer"
    assert ExactGrader(last_number=True).grade_text(NUMBER, "It is 18 in all.").outcome == "correct"
    assert ExactGrader(last_number=True).name != GRADER.name


def test_grade_many_keeps_the_order_and_tally_counts_all_outcomes() -> None:
    texts = ["#### 18", "#### 1", "?", r"Final answer: $\nabla x$"]
    verdicts = GRADER.grade_many([(NUMBER, completion(text)) for text in texts])
    assert [v.outcome for v in verdicts] == ["correct", "incorrect", "no_answer", "undecided"]
    counts = tally(verdicts)
    assert set(counts) == set(OUTCOMES)
    assert (counts["correct"], counts["undecided"], counts["timeout"]) == (1, 1, 0)
    assert isinstance(GRADER, CompletionGrader)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=10),
            st.sampled_from(["\\boxed{", "}", "{", "<think>", "</think>", "<answer>", "</answer>", "####",
            "Final answer:", "answer is", "18", "\n", "."]),
        ),
        max_size=14,
    ).map("".join),
    st.sampled_from(["stop", "length", "pause"]),
)  # fmt: skip
def test_grading_is_total(text: str, finish_reason: FinishReason) -> None:
    verdict = GRADER.grade(NUMBER, completion(text, finish_reason))
    assert verdict.outcome in OUTCOMES
    assert (verdict.score is None) == (verdict.outcome in ("undecided", "error"))
    assert verdict.outcome != "truncated" or finish_reason == "length"
