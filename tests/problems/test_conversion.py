"""Worked solutions as programs and mixed solutions; solutions with programs as records."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tutelage.problems.conversion import (
    NotConverted,
    analysis_of,
    convert,
    converted,
    evaluate,
    program_of,
    solution_record,
)
from tutelage.problems.primer import primer_problems
from tutelage.records import Problem
from tutelage.sandbox import open_sandbox
from tutelage.text.programs import read_solution

SOLUTION = "Ann sells 48/2 = <<48/2=24>>24 pens.\nIn all she sells 48+24 = $<<48+24=72>>72."


def problem(solution: str | None, answer: str = "72") -> Problem:
    return Problem("p", "How many?", answer, solution=solution)


def test_a_program_of_calculations() -> None:
    assert program_of(SOLUTION, "72") == "x1 = 48/2\nx2 = 48+x1\nprint(round(x2))"
    assert analysis_of(SOLUTION) == "Ann sells 48/2 pens.\nIn all she sells 48+24."
    made = converted(problem(SOLUTION))
    assert made.metadata["mixed"].startswith("Ann sells 48/2 pens.") and made.metadata["mixed"].endswith("72\n```\n")
    assert read_solution(made.metadata["mixed"]).style == "mixed"
    assert read_solution(made.metadata["program"]).style == "pot"


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (SOLUTION, "72"),
        ("Half of 25% is <<25%/2=0.125>>0.125.", "0.125"),
        ("<<1,000*3=3000>>3000 and <<3000-05=2995>>2995", "2995"),
        ("<<10/3=3.333333>>3.33 thirds", "3.333333"),
        ("<<2**5=32>>32", "32"),
        ("<<7x6=42>>42", "42"),
    ],
)
def test_what_was_converted_gives_the_gold(solution: str, answer: str) -> None:
    with open_sandbox(preload=()) as sandbox:
        execution = sandbox.run(program_of(solution, answer))
    assert execution.status == "ok" and execution.value is not None
    assert abs(Fraction(execution.value) - Fraction(answer)) < Fraction(1, 100_000)


@pytest.mark.parametrize(
    ("solution", "answer", "reason"),
    [
        (None, "72", "no solution"),
        ("It is 72.", "72", "no calculation"),
        ("<<48/2=25>>25", "25", "a calculation is wrong"),
        ("<<__import__('os')=1>>1", "1", "a calculation cannot be read"),
        ("<<9**9**9=1>>1", "1", "a calculation cannot be read"),
        ("<<1/0=1>>1", "1", "a calculation cannot be read"),
        ("<<1+1=2>>2", "3", "the last result is not the gold"),
        ("<<1+1=2>>2", "two", "the gold is no number"),
        ("<<1=1>>" * 101, "1", "too many calculations"),
    ],
)
def test_what_cannot_be_converted_says_why(solution: str | None, answer: str, reason: str) -> None:
    with pytest.raises(NotConverted, match=reason):
        converted(problem(solution, answer))
    made, dropped = convert([problem(solution, answer), problem(SOLUTION)])
    assert dropped == {reason: 1} and "program" not in made[0].metadata and "program" in made[1].metadata


def test_a_number_within_another_is_no_variable() -> None:
    rows = program_of("<<1+1=2>>2 <<2*22=44>>44 <<2.5*44=110>>110", "110").splitlines()
    assert rows[1:3] == ["x2 = x1*22", "x3 = 2.5*x2"]


def test_programs_are_taken_as_they_are() -> None:
    made = converted(problem("Twice.\n```python\nprint(36 * 2)\n```\n```output\n72\n```\nFinal answer: 72"))
    assert made.metadata["program"] == "print(36 * 2)" and made.metadata["mixed"].startswith("Twice.")
    known = primer_problems("train", 3)
    assert convert(known) == (known, {})


@pytest.mark.parametrize(("text", "value"), [("2*(3+4)", 14), ("-5+.5", Fraction(-9, 2)), ("1e3", 1000), ("a+1", None),
                                             ("(" * 400, None), ("2**65", None), ("True+1", None)])  # fmt: skip
def test_arithmetic_is_exact_and_nothing_else_is_read(text: str, value: object) -> None:
    assert evaluate(text) == value


def test_records_of_solutions() -> None:
    text = "Twice.\n```python\nprint(36 * 2)\n```\n```output\n72\n```\nSo $\\boxed{72}$."
    assert solution_record("i", "q", text, answer="72") == {
        "id": "i", "question": "q", "answer": "72", "analysis": "Twice.", "code": "print(36 * 2)", "exec_output": "72",
        "final_answer": "So $\\boxed{72}$.", "style": "mixed",
    }  # fmt: skip
    plain = solution_record("i", "q", "It is 72.")
    assert (plain["style"], plain["code"], plain["exec_output"]) == ("cot", None, None)
