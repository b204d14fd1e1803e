"""Solution formats, the exact annotator and critiques of the built-in world."""

from __future__ import annotations

import contextlib
import io
import random

from tutelage.problems.primer import (
    Story,
    annotate,
    annotate_problem,
    critique_prompt,
    parse_critique,
    primer_choice_problems,
    primer_problems,
    refine_prompt,
    stories,
    story_of,
    true_critique,
)
from tutelage.problems.primer.critiques import belief_critique, follow_critique
from tutelage.problems.primer.solutions import (
    cot_text,
    draw_moves,
    gold_moves,
    program_text,
    without_slips,
    write_moves,
)


def known_story() -> Story:
    steps = [["gain/0/low/deep", 7], ["times/0/low/deep", 2], ["rest/2/mid/deep", 50]]
    return Story.from_json({"start": 12, "steps": steps, "people": ["ann", "bob"], "thing": "apples"})


def run(program: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(program, {})  # our own generated program, not model text
    return output.getvalue().strip()


def test_programs_run_and_print_the_answer() -> None:
    for problem in primer_problems("dev", 100):
        assert run(problem.metadata["program"]) == problem.answer


def test_programs_of_misconceptions_print_what_their_steps_lead_to() -> None:
    rng = random.Random(0)
    for _, story in zip(range(100), stories("dev"), strict=False):
        moves = without_slips(draw_moves(story, rng))
        lines = write_moves(story, moves)
        if lines is not None:
            assert run(program_text(story, moves)) == str(lines[-1].result)


def test_mixed_text_holds_program_output_and_answer() -> None:
    problem = primer_problems("dev", 1)[0]
    mixed = problem.metadata["mixed"]
    program = mixed.split("```python\n")[1].split("\n```")[0]
    assert run(program) == mixed.split("```output\n")[1].split("\n```")[0] == problem.answer
    assert mixed.endswith(f"answer: {problem.answer}")


def test_chunks_join_to_the_solution_and_end_with_line_breaks() -> None:
    for problem in primer_problems("test", 20):
        chunks = problem.metadata["chunks"]
        assert "".join(chunks) == problem.solution
        assert all(chunk.endswith("\n") for chunk in chunks[:-1])
        assert len(chunks) == int(problem.level or 0) + 1


def test_annotator_accepts_gold_and_other_order() -> None:
    story = known_story()
    for text in ("12+7=19\n19*2=38\n50-38=12\nanswer: 12", "7+12=19\n2*19=38\n50-38=12\nanswer: 12"):
        note = annotate(story, text)
        assert note.first_error is None
        assert note.final_is_correct
        assert note.is_complete
    assert all(annotate_problem(p, p.solution or "").final_is_correct for p in primer_problems("dev", 30))
    assert all(annotate_problem(p, p.solution or "").final_is_correct for p in primer_choice_problems("dev", 30))


def test_annotator_judges_each_step_by_its_own_doing() -> None:
    note = annotate(known_story(), "12-7=5\n5*2=11\n50-11=39\nanswer: 39")
    assert [step.kind for step in note.steps] == ["operation", "slip", "none"]
    assert [step.is_correct for step in note.steps] == [False, False, True]
    assert [step.explanation for step in note.steps] == ["use +7", "5*2=10", ""]
    assert not any(step.is_on_track for step in note.steps)
    assert note.first_error == 0
    assert not note.final_is_correct


def test_annotator_takes_any_text() -> None:
    story = known_story()
    for text in ("", "\n\n", "answer:", "hello", "12+7=19\n\u00b2+3=5", "1/0=0\n" * 9, "9" * 400 + "+1=2", "a\x00b"):
        assert not annotate(story, text).final_is_correct
    note = annotate(story, "12+7=19\nanswer: 19")
    assert [step.kind for step in note.steps] == ["none", "missing", "missing"]
    assert note.first_error == 1
    unfinished = annotate(story, "12+7=19\n")
    assert unfinished.first_error is None
    assert not unfinished.is_complete
    assert annotate(story, "12+7=19\n19*2=38\n50-38=12\n12+1=13\nanswer: 13").steps[3].kind == "extra"


def test_critique_text_and_back() -> None:
    text = true_critique(known_story(), "12-7=5\n5*2=11\n50-11=39\nanswer: 39")
    assert text == "step 1: -7 wrong, use +7.\nstep 2: *2 wrong, 5*2=10.\nstep 3: 50- correct.\nverdict: wrong"
    parsed = parse_critique(text)
    assert parsed.steps == ((False, "use +7"), (False, "5*2=10"), (True, ""))
    assert parsed.final_is_correct is False
    assert parsed.first_error == 0
    assert parse_critique("gibberish\nverdict: perhaps").final_is_correct is None


def test_true_critique_is_the_belief_of_one_who_knows() -> None:
    rng = random.Random(5)
    for _, story in zip(range(300), stories("train"), strict=False):
        moves = draw_moves(story, rng)
        lines = write_moves(story, moves) or []
        known, told = belief_critique(story, moves, gold_moves(story)), true_critique(story, cot_text(lines))
        assert parse_critique(known) == parse_critique(told)
        if not any(line.left == line.right for line in lines):  # 66+66 may be read as +66 or 66+
            assert known == told


def test_following_the_truth_repairs_a_solution() -> None:
    rng = random.Random(6)
    for _, story in zip(range(100), stories("train"), strict=False):
        assert follow_critique(draw_moves(story, rng), gold_moves(story)) == gold_moves(story)


def test_prompts_nest() -> None:
    problem = primer_problems("dev", 1)[0]
    solution = problem.solution or ""
    prompt = critique_prompt(problem.question, solution)
    assert prompt == f"{problem.question}\nsolve:\n{solution}\ncritique:\n"
    critique = true_critique(story_of(problem), solution)
    assert refine_prompt(problem.question, solution, critique) == f"{prompt}{critique}\nrefine:\n"
