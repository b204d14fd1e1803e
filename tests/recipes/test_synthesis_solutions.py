"""Worked solutions of synthetic problems: which is taken, how it is kept, and the programs that are made of it."""

from __future__ import annotations

import random

import pytest

from tutelage.problems.conversion import NotConverted
from tutelage.problems.primer import primer_problems, story_of
from tutelage.problems.primer.solutions import cot_text, draw_moves, write_moves
from tutelage.recipes.synthesis_solutions import (
    has_working,
    moves_of,
    solution_figures,
    with_programs,
    without_closing,
    worked,
)
from tutelage.records import Completion, Policy, Problem, SamplingParams
from tutelage.sandbox import open_sandbox
from tutelage.text.programs import read_solution

STORY = "mia has 45 stones. she loses 5 stones. the pile grows 2 fold. how many stones does mia have?"


def said(text: str) -> Completion:
    return Completion(
        id=text, problem_id="p", role="answer", policy=Policy("m"), tokenizer_digest="t", prompt_ids=(1,),
        token_ids=(2,), text=text, segments=((0, 1, "model"),), token_logprobs=(0.0,), finish_reason="stop",
        params=SamplingParams(), seed=0,
    )  # fmt: skip


def test_the_first_that_says_more_than_its_answer_is_taken() -> None:
    texts = ["Final answer: 7", "3 + 4 = 7\nFinal answer: 7", "It is 7.\nFinal answer: 7"]
    chosen = worked(map(said, texts))
    assert chosen is not None and chosen.text == texts[1]
    assert worked(map(said, texts[:1])) is None


@pytest.mark.parametrize(
    ("text", "is_worked"),
    [
        ("answer: 8", False), ("", False), ("**Final Answer:** 8\n\n", False), ("#### 8", False),
        ("\\boxed{8}", False), ("5+3=8\nanswer: 8", True), ("There are 8 of them.", True), ("8", False),
        ("= 8", False), ("Answer:\n8", False), ("$$\n\\boxed{8}\n$$", False), ("So the answer is 8.", False),
        ("\\frac{1}{2}", False), ("$5 \\times 3$", True), ("答案是八。", True),
    ],
)  # fmt: skip
def test_an_answer_line_alone_is_no_working(text: str, is_worked: bool) -> None:
    assert has_working(text) is is_worked


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" 2 + 2 = 4.\n\nFinal answer: 4\n", "2 + 2 = 4."),
        ("2 + 2 = 4.\n**Final Answer:** $\\boxed{4}$", "2 + 2 = 4."),
        ("2 + 2 = 4.\n#### 4", "2 + 2 = 4."),
        ("2 + 2 = 4.\nThe final answer is 4.", "2 + 2 = 4."),
        ("2 + 2 = 4.\n**Final Answer**\n\\boxed{4}", "2 + 2 = 4."),
        ("Final answer: 3? No.\n2 + 2 = 4.\nFinal answer: 4", "Final answer: 3? No.\n2 + 2 = 4."),
        ("2+2=4\nanswer: 4", "2+2=4\nanswer: 4"),
        ("So it is \\boxed{4}.", "So it is \\boxed{4}."),
    ],
)
def test_prompts_add_the_closing_line_once(text: str, kept: str) -> None:
    assert without_closing(text) == kept


def test_programs_make_the_moves_of_the_solution_right_or_wrong() -> None:
    rng, results = random.Random(0), []
    for problem in primer_problems("train", 40):
        story = story_of(problem)
        moves = draw_moves(story, rng)
        lines = write_moves(story, moves)
        assert lines is not None
        sampled = Problem("p", problem.question, str(lines[-1].result), solution=cot_text(lines))
        if any(move.offset for move in moves):
            with pytest.raises(NotConverted, match="a calculation is wrong"):
                with_programs(sampled)
            continue
        made = with_programs(sampled)
        results.append((made.metadata["program"], made.answer, problem.answer))
        assert read_solution(made.metadata["mixed"]).programs[0].output == made.answer
    assert any(answer != truth for _, answer, truth in results) and len(results) > 20
    with open_sandbox(preload=()) as sandbox:
        printed = [sandbox.run(program).stdout.strip() for program, _, _ in results]
    assert printed == [answer for _, answer, _ in results]


@pytest.mark.parametrize(
    ("solution", "reason"),
    [
        ("45-5=40\nanswer: 40", "its steps are not those of the question"),
        ("45-7=38\n38*2=76\nanswer: 76", "its steps are not those of the question"),
        ("45-5=41\n41*2=82\nanswer: 82", "a calculation is wrong"),
        ("45-5=40\nforty twice\nanswer: 80", "a calculation cannot be read"),
        ("45-5=40\n40*2=80\nanswer: 81", "the last result is not the gold"),
        ("45*5=225\n225*2=450\nanswer: 450", "its numbers leave the built-in world"),
    ],
)
def test_steps_that_no_program_makes_say_why(solution: str, reason: str) -> None:
    answer = solution.rpartition(" ")[2]
    with pytest.raises(NotConverted, match=reason):
        with_programs(Problem("p", STORY, answer, solution=solution))


def test_a_right_solution_makes_the_right_moves() -> None:
    for problem in primer_problems("train", 20):
        story = story_of(problem)
        lines = write_moves(story, moves_of(story, str(problem.solution), problem.answer))
        assert lines is not None and cot_text(lines) == problem.solution


def test_other_models_prose_is_converted_or_counted() -> None:
    prose = Problem("a", "How many?", "72", solution="48/2 = <<48/2=24>>24, 24+48 = <<24+48=72>>72")
    made = with_programs(prose)
    assert made.metadata["program"] == "x1 = 48/2\nx2 = x1+48\nprint(round(x2))"
    kept = [
        made, Problem("b", "How many?", "7", solution="It is 7."), Problem("c", "How many?", "7"),
        Problem("d", "How many?", "7", solution="So:\n```python\nprint(8)\n```"),
    ]  # fmt: skip
    assert solution_figures(kept) == {
        "with_solution": 3, "with_programs": 1,
        "not_converted": {"its program was not run": 1, "no calculation": 1},
    }  # fmt: skip
