"""The built-in world: cells, stories, splits. Every check is against the world's own exact truth."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from tutelage.errors import DataError
from tutelage.problems.primer import (
    OPERATIONS,
    PRIMER_SPLITS,
    cell_table,
    part_of,
    primer_choice_problems,
    primer_problems,
    stories,
    story_of,
)
from tutelage.problems.primer.cells import UNSEEN_WORDING
from tutelage.problems.primer.solutions import draw_moves, write_moves
from tutelage.problems.primer.story import gold_answer, render_question
from tutelage.records import Problem


def schooled_cells():
    return [c for c in cell_table().values() if c.kind != "none" and not c.is_held_out]


def test_there_are_enough_cells_each_with_its_own_misconception() -> None:
    cells = schooled_cells()
    assert len(cells) == 8 * 5 * 3 * 2 - 16
    for cell in cells:
        form = OPERATIONS[cell.operation].form
        assert cell.wrong_form != form or cell.offset != 0
        assert 0.0 < cell.rate < 1.0
    kinds = Counter(cell.kind for cell in cells)
    assert set(kinds) == {"operation", "skip", "operand", "slip"}


def test_no_cell_is_behind_more_than_two_percent_of_steps() -> None:
    problems = primer_problems("train", 1500)
    seen = Counter(cell for problem in problems for cell in problem.metadata["cells"])
    assert max(seen.values()) / sum(seen.values()) < 0.02
    assert len(seen) == len(schooled_cells())


def test_textbook_pass_rates_fill_five_bins() -> None:
    bins = Counter()
    problems = primer_problems("dev", 1000)
    for problem in problems:
        rate = 1.0
        for step in problem.metadata["steps"]:
            rate *= 1 - step["rate"]
        bins[min(4, int(rate * 5))] += 1
    assert all(bins[i] / len(problems) >= 0.11 for i in range(5)), bins


@pytest.mark.parametrize("split", PRIMER_SPLITS)
def test_splits_are_deterministic_and_prefix_stable(split: str) -> None:
    assert primer_problems(split, 30)[:10] == primer_problems(split, 10)
    assert primer_problems(split, 10, seed=1) != primer_problems(split, 10)
    assert all(problem.split == split for problem in primer_problems(split, 5))


def test_splits_do_not_share_questions() -> None:
    dev = {p.question for p in primer_problems("dev", 300)}
    train = {p.question for p in primer_problems("train", 300)} | {p.question for p in primer_problems("train", 300, 7)}
    test = {p.question for s in PRIMER_SPLITS if s.startswith("test") for p in primer_problems(s, 100)}
    schooling = {render_question(s) for _, s in zip(range(1000), stories("schooling"), strict=False)}
    groups = {"dev": dev, "train": train, "test": test, "schooling": schooling}
    for part, questions in groups.items():
        assert {part_of(question) for question in questions} == {part}
    assert len(dev) == 300  # no question twice within a split


def test_special_splits_hold_what_they_say() -> None:
    assert {p.level for p in primer_problems("test_steps", 60)} == {"5", "6"}
    assert {p.level for p in primer_problems("train", 200)} == {"1", "2", "3", "4"}
    for problem in primer_problems("test_wordings", 40):
        assert any(f"/{UNSEEN_WORDING}/" in cell for cell in problem.metadata["cells"])
    for problem in primer_problems("test_cells", 40):
        assert any(cell_table()[cell].is_held_out for cell in problem.metadata["cells"])
    for split in ("train", "dev", "test"):
        cells = [cell_table()[c] for p in primer_problems(split, 200) for c in p.metadata["cells"]]
        assert not any(cell.is_held_out or cell.wording == UNSEEN_WORDING for cell in cells)


def test_records_survive_json_and_stories_are_rebuilt() -> None:
    for problem in primer_problems("dev", 20):
        again = Problem.from_json(json.loads(json.dumps(problem.to_json())))
        assert again == problem
        assert render_question(story_of(again)) == problem.question
        assert str(gold_answer(story_of(again))) == problem.answer


def test_unknown_split_and_foreign_problem_are_refused() -> None:
    with pytest.raises(DataError, match="unknown primer split"):
        primer_problems("validation", 1)
    with pytest.raises(DataError, match="no primer problem"):
        story_of(Problem(id="x", question="1+1?", answer="2"))


def test_a_known_story_in_full() -> None:
    # written by hand from the wordings: 45+27=72, 72-7=65, 65/5=13
    from tutelage.problems.primer.story import Story, gold_lines

    steps = [["fewer_than/1/high/deep", 27], ["lose/0/low/deep", 7], ["times_than/4/high/deep", 5]]
    story = Story.from_json({"start": 45, "steps": steps, "people": ["max", "zoe"], "thing": "pens"})
    assert render_question(story) == (
        "max has 45 pens. max has 27 fewer than zoe. she gives away 7. max must multiply by 5 to reach zoe. "
        "how many pens does max have?"
    )
    assert [line.text for line in gold_lines(story)] == ["45+27=72", "72-7=65", "65/5=13"]


def test_no_misconception_is_rewarded_by_luck() -> None:
    rng = random.Random(3)
    wrong = lucky = 0
    for _, story in zip(range(800), stories("dev"), strict=False):
        moves = draw_moves(story, rng)
        lines = write_moves(story, moves) or []
        gold = [(OPERATIONS[s.cell.operation].form, 0) for s in story.steps]
        if [(m.form, m.offset) for m in moves] != gold:
            wrong += 1
            lucky += lines[-1].result == gold_answer(story)
    assert wrong > 350
    assert lucky / wrong < 0.005


def test_choices_hold_the_answer_once() -> None:
    for problem in primer_choice_problems("test", 40):
        assert problem.choices is not None
        texts = problem.choices.texts
        assert len(set(texts)) == 4
        right = texts[problem.choices.labels.index(problem.answer)]
        assert right == str(gold_answer(story_of(problem)))
        assert problem.solution is not None
        assert problem.solution.endswith(f"answer: ({problem.answer})")
