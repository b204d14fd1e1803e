"""Mistakes that the world inserts, and the annotator who errs: always of the kind asked for, at the rate asked for."""

from __future__ import annotations

import random
import typing

import pytest

from tutelage.problems.primer import (
    MistakeKind,
    annotate,
    critique_of,
    mistaken,
    mistaken_line,
    primer_problems,
    story_of,
    true_critique,
)

PROBLEMS = primer_problems("dev", 60)


@pytest.mark.parametrize("kind", typing.get_args(MistakeKind))
def test_an_inserted_mistake_is_the_first_error_and_of_its_kind(kind) -> None:
    made = 0
    for problem in PROBLEMS:
        story, lines = story_of(problem), [step["line"] for step in problem.metadata["steps"]]
        value = story.start
        for index, line in enumerate(lines):
            wrong = mistaken_line(story, index, value, kind, random.Random(index))
            if wrong is not None:
                made += 1
                judged = annotate(story, "\n".join([*lines[:index], wrong]))
                assert judged.first_error == index and wrong.split("=")[1] != line.split("=")[1]
                assert judged.steps[index].kind == ("slip" if kind == "slip" else "operation")
                if kind == "skip":
                    assert int(wrong.split("=")[1]) in (value, story.steps[index].operand)
            value = int(line.split("=")[1])
    assert made > 60


def test_a_mistake_that_changes_nothing_is_not_made() -> None:
    story = story_of(PROBLEMS[0])
    lines = {mistaken_line(story, 0, 10_000, "slip", random.Random(0))}
    assert lines == {None}, "numbers outside of the world have no line"


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_an_annotator_errs_at_its_rate(rate) -> None:
    wrong = total = 0
    rng = random.Random(7)
    for problem in PROBLEMS:
        story = story_of(problem)
        lines = [step["wrong_line"] or step["line"] for step in problem.metadata["steps"]]
        truth = annotate(story, "\n".join([*lines, f"answer: {lines[-1].split('=')[1]}"]))
        said = mistaken(story, truth, rate, rng)
        flips = [a.is_correct != b.is_correct for a, b in zip(said.steps, truth.steps, strict=True)]
        wrong, total = wrong + sum(flips), total + len(flips)
        if not any(flips):
            assert said.first_error == truth.first_error
        text = critique_of(story, said)
        assert text.endswith("verdict: correct") == all(step.is_correct for step in said.steps)
        assert (rate == 0) <= (text == true_critique(story, "\n".join([*lines, f"answer: {truth.answer}"])))
        for step in said.steps:
            assert bool(step.explanation) != step.is_correct
    assert abs(wrong / total - rate) < 0.08


def test_a_wrong_answer_line_after_right_steps_stays_wrong() -> None:
    problem = PROBLEMS[0]
    lines = [step["line"] for step in problem.metadata["steps"]]
    truth = annotate(story_of(problem), "\n".join([*lines, "answer: 1000"]))
    said = mistaken(story_of(problem), truth, 0.0, random.Random(0))
    assert said.first_error is None and not said.final_is_correct
