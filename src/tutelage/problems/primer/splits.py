"""The splits of the built-in world, as `Problem` records.

A question belongs to one part of the world by a hash of its text, so splits are disjoint by construction, whatever
their size or seed, and none of them shares a question with the schooling texts of the built-in model.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tutelage.errors import DataError
from tutelage.problems.primer.cells import OPERATIONS
from tutelage.problems.primer.critiques import Annotation, annotate
from tutelage.problems.primer.prompts import with_choices
from tutelage.problems.primer.solutions import (
    Move,
    chunks_of,
    cot_text,
    gold_moves,
    mixed_parts,
    program_text,
    write_moves,
)
from tutelage.problems.primer.story import (
    MAX_SCHOOLED_STEPS,
    Story,
    draw_cells,
    draw_story,
    gold_answer,
    gold_lines,
    render_question,
    step_line,
)
from tutelage.records import Choices, Problem

SUBJECT_SEPARATOR = "+"
LABELS = ("A", "B", "C", "D")
# part of the world -> share of question hashes, in percent, up to which it reaches
_PARTS = (("schooling", 60), ("train", 76), ("dev", 84), ("test", 100))


@dataclass(frozen=True)
class _Split:
    part: str
    fewest: int
    most: int
    has_held_out: bool = False
    has_unseen: bool = False


_SPLITS = {
    "train": _Split("train", 1, MAX_SCHOOLED_STEPS),
    "dev": _Split("dev", 1, MAX_SCHOOLED_STEPS),
    "test": _Split("test", 1, MAX_SCHOOLED_STEPS),
    "test_steps": _Split("test", 5, 6),
    "test_wordings": _Split("test", 1, MAX_SCHOOLED_STEPS, has_unseen=True),
    "test_cells": _Split("test", 1, MAX_SCHOOLED_STEPS, has_held_out=True),
    "schooling": _Split("schooling", 1, MAX_SCHOOLED_STEPS),
    "schooling_unseen": _Split("schooling", 1, MAX_SCHOOLED_STEPS, has_unseen=True),
}
PRIMER_SPLITS = ("train", "dev", "test", "test_steps", "test_wordings", "test_cells")


def part_of(question: str) -> str:
    """The part of the world (`schooling`, `train`, `dev`, `test`) that a question text belongs to."""
    percent = int.from_bytes(hashlib.sha256(question.encode()).digest()[:8], "big") % 100
    return next(part for part, upto in _PARTS if percent < upto)


def stories(split: str, seed: int = 0) -> Iterator[Story]:
    """Endless distinct stories of a split; `schooling` and `schooling_unseen` are for the built-in model's texts.

    Args:
        split: one of `PRIMER_SPLITS`, or a schooling part.
        seed: other seeds give other stories of the same split.
    """
    rules = _SPLITS[split]
    rng = random.Random(f"primer/{split}/{seed}")
    seen: set[str] = set()
    while True:
        cells = draw_cells(rng.randint(rules.fewest, rules.most), rng, rules.has_held_out, rules.has_unseen)
        story = draw_story(cells, rng)
        question = render_question(story) if story else ""
        if story and part_of(question) == rules.part and question not in seen:
            seen.add(question)
            yield story


def primer_problems(split: str, n: int, seed: int = 0) -> list[Problem]:
    """The first `n` problems of a split; the first 10 of 100 are those of 10.

    Args:
        split: one of `PRIMER_SPLITS`.
        n: how many, at least 0.
        seed: other seeds give other problems of the same split (splits stay disjoint across seeds).

    Raises:
        DataError: no such split.
    """
    if split not in PRIMER_SPLITS:
        advice = "name one of the splits"
        raise DataError("unknown primer split", seen=split, expected=", ".join(PRIMER_SPLITS), advice=advice)
    return [_problem(story, split, number, seed) for number, story in zip(range(n), stories(split, seed), strict=False)]


def primer_choice_problems(split: str, n: int, seed: int = 0) -> list[Problem]:
    """The same problems as multiple choice: `answer` is the letter, `choices` the four options.

    The wrong options are what misconceptions lead to, filled up with near numbers.
    """
    return [_as_choice(problem) for problem in primer_problems(split, n, seed)]


def story_of(problem: Problem) -> Story:
    """The story behind a primer problem.

    Raises:
        DataError: the problem is not from this world.
    """
    if "story" not in problem.metadata:
        advice = "load problems with primer_problems"
        raise DataError("no primer problem", seen=problem.id, expected="metadata with a story", advice=advice)
    return Story.from_json(problem.metadata["story"])


def annotate_problem(problem: Problem, text: str) -> Annotation:
    """The exact truth about a solution text of a primer problem, multiple choice included."""
    annotation = annotate(story_of(problem), text)
    answer = annotation.answer.strip("() .") if annotation.answer is not None else None
    return Annotation(annotation.steps, annotation.first_error, answer, answer == problem.answer)


def _problem(story: Story, split: str, number: int, seed: int) -> Problem:
    moves = gold_moves(story)
    solution = cot_text(gold_lines(story))
    metadata = {
        "story": story.to_json(),
        "cells": [step.cell.id for step in story.steps],
        "program": program_text(story, moves),
        "mixed": "".join(mixed_parts(story, moves)),
        "chunks": chunks_of(solution),
        "steps": _step_truths(story, moves),
    }
    return Problem(
        id=f"primer-{split}-{seed}-{number}",
        question=render_question(story),
        answer=str(gold_answer(story)),
        solution=solution,
        subject=SUBJECT_SEPARATOR.join(sorted({step.cell.operation for step in story.steps})),
        level=str(len(story.steps)),
        split=split,
        source="primer",
        metadata=metadata,
    )


def _step_truths(story: Story, moves: list[Move]) -> list[dict[str, object]]:
    truths = []
    value = story.start
    for index, (step, line) in enumerate(zip(story.steps, gold_lines(story), strict=True)):
        wrong = step_line(story, index, value, is_wrong=True) if step.cell.kind != "none" else None
        truths.append(
            {
                "cell": step.cell.id,
                "line": line.text,
                "form": moves[index].form,
                "kind": step.cell.kind,
                "rate": step.cell.rate,
                "wrong_line": wrong.text if wrong else None,
                "operation": OPERATIONS[step.cell.operation].name,
            }
        )
        value = line.result
    return truths


def draw_choices(story: Story, rng: random.Random) -> tuple[Choices, str]:
    """Four options and the letter of the right one."""
    gold = gold_answer(story)
    wrong: list[int] = []
    for index, step in enumerate(story.steps):
        moves = gold_moves(story)
        if step.cell.kind != "none":
            moves[index] = Move(step.cell.wrong_form, step.cell.offset)
        lines = write_moves(story, moves)
        if lines and lines[-1].result not in (gold, *wrong):
            wrong.append(lines[-1].result)
    wrong = rng.sample(wrong, min(3, len(wrong)))
    while len(wrong) < 3:
        near = max(0, gold + rng.randint(-9, 9))
        if near not in (gold, *wrong):
            wrong.append(near)
    options = [gold, *wrong]
    rng.shuffle(options)
    return Choices(LABELS, tuple(str(option) for option in options)), LABELS[options.index(gold)]


def _as_choice(problem: Problem) -> Problem:
    story = story_of(problem)
    choices, letter = draw_choices(story, random.Random(f"choices/{problem.question}"))
    solution = cot_text(gold_lines(story), f"({letter})")
    return Problem(
        id=problem.id.replace("primer-", "primer-choice-", 1),
        question=problem.question,
        answer=letter,
        answer_kind="choice",
        solution=solution,
        subject=problem.subject,
        level=problem.level,
        split=problem.split,
        source="primer-choice",
        choices=choices,
        metadata=problem.metadata | {"chunks": chunks_of(solution), "prompt": with_choices(problem.question, choices)},
    )
