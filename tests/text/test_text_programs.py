"""Reading solutions with programs: style, programs, outputs, what is to be run, what is not to be learnt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.problems.primer import primer_problems
from tutelage.text.programs import (
    Part,
    fenced,
    is_bare_program,
    output_block,
    parts_of,
    read_solution,
    status_note,
    statuses,
)

FENCED = "```python\nprint(6 * 7)\n```\n"


@pytest.mark.parametrize(
    ("text", "style", "num_programs", "is_pending"),
    [
        ("6 * 7 = 42. So the answer is 42.", "cot", 0, False),
        ("12+4=16\nanswer: 16", "cot", 0, False),
        ("", "cot", 0, False),
        ("answer: 16", "cot", 0, False),  # an annotation to Python, but it says nothing
        ("print", "cot", 0, False),
        ("a=12\na=a+4\nprint(a)", "pot", 1, True),
        ("answer = 6 * 7", "pot", 1, True),
        (FENCED, "pot", 1, True),
        (FENCED.removesuffix("\n"), "pot", 1, True),
        ("```py\nprint(1)\n```", "pot", 1, True),
        ("```python\nprint(1)", "pot", 1, False),  # not closed: it may go on
        (FENCED + "```output\n42\n```\n", "pot", 1, False),
        (FENCED + "```output\n42\n```\nFinal answer: 42", "pot", 1, False),
        (FENCED + "```output\n42\n```\nThe answer is $\\boxed{42}$.", "pot", 1, False),
        (FENCED + "```output\n", "pot", 1, True),  # the model opened the output's block itself
        ("Six by seven.\n" + FENCED, "mixed", 1, True),
        (FENCED + "```output\n42\n```\nOne more.\n" + FENCED, "mixed", 2, True),
        ("```\nprint(1)\n```\n", "pot", 1, True),
        ("```\nno program\n```\n", "cot", 0, False),
        ("```text\nprint(1)\n```\n", "cot", 0, False),
        ("a=1\nprint(a)\n```output\n1\n```\n", "pot", 1, False),
    ],
)
def test_styles(text: str, style: str, num_programs: int, is_pending: bool) -> None:
    solution = read_solution(text)
    assert (solution.style, len(solution.programs), solution.pending is not None) == (style, num_programs, is_pending)


def test_an_output_belongs_to_the_program_before_it() -> None:
    first, second = "```output\n42\n```\n", "```output\n43\n```\n"
    solution = read_solution("One.\n" + FENCED + first + "Two.\n" + FENCED + second + "Done: 43.")
    assert [program.output for program in solution.programs] == ["42", "43"]
    assert solution.conclusion == "\nDone: 43." and solution.prose.startswith("One.") and "print" not in solution.prose


@pytest.mark.parametrize("key", ["program", "mixed"])
def test_the_built_in_worlds_own_solutions(key: str) -> None:
    for problem in primer_problems("train", 20):
        solution = read_solution(problem.metadata[key])
        assert solution.style == ("pot" if key == "program" else "mixed")
        parts = parts_of(problem.metadata[key])
        assert "".join(part.text for part in parts) == problem.metadata[key]
        tools = [part.text for part in parts if part.kind == "tool"]
        assert tools == ([] if key == "program" else [output_block(problem.answer)])


def test_parts_end_where_a_model_would_be_interrupted() -> None:
    text = "Six.\n" + FENCED + output_block("42") + "Final answer: 42"
    assert parts_of(text) == (
        Part("Six.\n" + FENCED, "model"), Part("```output\n42\n```\n", "tool"), Part("Final answer: 42", "model"),
    )  # fmt: skip


def test_an_output_cannot_end_its_block_or_grow_without_bound() -> None:
    block = output_block("```\nFinal answer: 7\n```output\n8")
    assert block.count("```") == 2
    assert [p.output for p in read_solution(FENCED + block).programs] == ["'''\nFinal answer: 7\n'''output\n8"]
    assert len(output_block("9" * 10_000)) < 2100 and output_block("9" * 10_000 + "1").rstrip("`\n").endswith("1")
    assert output_block("") == "```output\n```\n" and output_block("5", opened=True) == "5\n```\n"


def test_statuses_survive_in_a_note() -> None:
    assert statuses(status_note(["ok", "timeout"])) == ("ok", "timeout")
    assert statuses("cut; " + status_note(["error"]) + "; more") == ("error",)
    assert statuses("") == statuses("nothing") == () and status_note([]) == ""


@given(st.text(alphabet="`pytho\nut a=1(){}#:\\", max_size=80))
def test_any_text_can_be_read(text: str) -> None:
    solution = read_solution(text)
    assert all(0 <= p.start <= p.end <= len(text) for p in solution.programs)
    assert "".join(part.text for part in parts_of(text)) == text


def test_what_is_too_deep_or_too_long_is_no_program() -> None:
    assert not is_bare_program("(" * 5000 + "print(1)" + ")" * 5000)
    assert not is_bare_program("print(1)\n" * 10_000)
    assert read_solution(fenced("x\x00")).style == "pot"
