"""Judging solutions: the exact annotator, critique texts, and the judge that shares the textbooks' misconceptions.

A step is judged on its own: it is correct when it does what its sentence says to the number written before it, and
calculates rightly. So a step after an error can be correct (`is_on_track` is then False), and fixing exactly the steps
judged wrong repairs the solution. This deviates from process labels that stop at the first error: see `first_error`.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from typing import Literal

from tutelage.problems.primer.cells import OPERATIONS
from tutelage.problems.primer.solutions import ANSWER_MARK, Move, draw_moves, tag, write_moves
from tutelage.problems.primer.story import Line, Story, compute, expression, gold_answer, gold_lines

ErrorKind = Literal["none", "operation", "slip", "extra", "missing", "unreadable"]
_LINE = re.compile(r"(-?\d{1,9})([+\-*/])(-?\d{1,9})=(-?\d{1,9})")
_STEP = re.compile(r"step (\d+): (\S+) (correct|wrong)(?:, (.+?))?\.?")
JUDGE_TRUST = 0.6
"""How much of each cell's misconception the schooled judge shares: it believes in the wrong move at this x the rate."""


@dataclass(frozen=True)
class StepVerdict:
    """The truth about one written step (or one missing: its text is then empty)."""

    text: str
    is_correct: bool
    kind: ErrorKind
    explanation: str
    is_on_track: bool


@dataclass(frozen=True)
class Annotation:
    """The truth about a solution text, finished or not.

    `first_error` is the index, from 0, of the first wrong step, None if there is none; `answer` the text after the
    answer mark, None if it is not there yet; a solution without an answer is not `final_is_correct`.
    """

    steps: tuple[StepVerdict, ...]
    first_error: int | None
    answer: str | None
    final_is_correct: bool

    @property
    def is_complete(self) -> bool:
        """Whether the answer line is there."""
        return self.answer is not None


def parse_line(text: str) -> Line | None:
    """A written step, None if it is not one."""
    match = _LINE.fullmatch(text.strip())
    return Line(int(match[1]), match[2], int(match[3]), int(match[4])) if match else None


def annotate(story: Story, text: str) -> Annotation:
    """Judge a steps-and-answer text exactly. Never raises on model text."""
    rows = [row.strip() for row in text.splitlines() if row.strip()]
    answers = [row for row in rows if row.startswith(ANSWER_MARK.strip())]
    written = rows[: rows.index(answers[0])] if answers else rows
    gold = gold_lines(story)
    value: int | None = story.start
    verdicts: list[StepVerdict] = []
    for index, row in enumerate(written):
        line = parse_line(row)
        on_track = line is not None and index < len(gold) and line.result == gold[index].result
        verdicts.append(_judge_row(story, index, row, value, on_track))
        value = line.result if line else value
    if answers:
        verdicts += [_missing(story, index) for index in range(len(written), len(gold))]
    answer = answers[0][len(ANSWER_MARK.strip()) :].strip() if answers else None
    first_error = next((i for i, verdict in enumerate(verdicts) if not verdict.is_correct), None)
    return Annotation(tuple(verdicts), first_error, answer, answer == str(gold_answer(story)))


def _judge_row(story: Story, index: int, row: str, value: int | None, on_track: bool) -> StepVerdict:
    line = parse_line(row)
    if line is None or value is None:
        return StepVerdict(row, False, "unreadable", "drop it", False)
    if index >= len(story.steps):
        return StepVerdict(row, False, "extra", "drop it", False)
    step = story.steps[index]
    form = OPERATIONS[step.cell.operation].form
    wanted = expression(form, value, step.operand, story.start)
    found = (line.left, line.symbol, line.right)
    if found != wanted and not (line.symbol in "+*" and found == wanted[::-1]):
        return StepVerdict(row, False, "operation", f"use {tag(form, step.operand, story.start)}", on_track)
    result = compute(*wanted)
    if result != line.result:
        return StepVerdict(row, False, "slip", f"{line.left}{line.symbol}{line.right}={result}", False)
    return StepVerdict(row, True, "none", "", on_track)


def _missing(story: Story, index: int) -> StepVerdict:
    step = story.steps[index]
    explanation = f"use {tag(OPERATIONS[step.cell.operation].form, step.operand, story.start)}"
    return StepVerdict("", False, "missing", explanation, False)


def _row(index: int, name: str, explanation: str) -> str:
    return f"step {index + 1}: {name} " + (f"wrong, {explanation}." if explanation else "correct.")


def _line_tag(row: str, value: int) -> str:
    line = parse_line(row)
    if line is None:
        return "missing" if not row else "unclear"
    if line.left == value:
        return f"{line.symbol}{line.right}"
    return f"{line.left}{line.symbol}" if line.right == value else f"{line.left}{line.symbol}{line.right}"


def true_critique(story: Story, text: str) -> str:
    """The right critique of a solution text, in the format that the built-in model writes."""
    return critique_of(story, annotate(story, text))


def critique_of(story: Story, annotation: Annotation) -> str:
    """A judgement as critique text."""
    rows = []
    value = story.start
    for index, step in enumerate(annotation.steps):
        rows.append(_row(index, _line_tag(step.text, value), step.explanation))
        line = parse_line(step.text)
        value = line.result if line else value
    is_right = annotation.first_error is None and annotation.final_is_correct
    return "\n".join([*rows, f"verdict: {'correct' if is_right else 'wrong'}"])


def mistaken(story: Story, annotation: Annotation, rate: float, rng: random.Random) -> Annotation:
    """The judgement of an annotator who gets each step's verdict wrong with probability `rate`.

    A wrong step passes for right; a right one is called wrong, with another move as the explanation. The final verdict
    follows from the steps, and stays the truth where no step is wrong in truth.
    """
    steps = []
    for index, step in enumerate(annotation.steps):
        if rng.random() >= rate:
            steps.append(step)
        elif step.is_correct:
            operation = OPERATIONS[story.steps[index].cell.operation]
            other = tag(rng.choice(operation.wrong_forms), story.steps[index].operand, story.start)
            steps.append(replace(step, is_correct=False, kind="operation", explanation=f"use {other}"))
        else:
            steps.append(replace(step, is_correct=True, kind="none", explanation=""))
    first = next((i for i, step in enumerate(steps) if not step.is_correct), None)
    is_right = first is None and (annotation.final_is_correct or annotation.first_error is not None)
    return Annotation(tuple(steps), first, annotation.answer, is_right)


def belief_critique(story: Story, moves: list[Move], beliefs: list[Move]) -> str:
    """The critique, by a judge who holds `beliefs` about the right moves, of a solution that made `moves`.

    With `beliefs` the gold moves this is `true_critique` of the written solution.
    """
    lines = write_moves(story, moves) or []
    rows = []
    for index, (line, move, belief) in enumerate(zip(lines, moves, beliefs, strict=False)):
        operand = story.steps[index].operand
        explanation = ""
        if move.form != belief.form:
            explanation = f"use {tag(belief.form, operand, story.start)}"
        elif move.offset != belief.offset:
            explanation = f"{line.left}{line.symbol}{line.right}={line.result - move.offset + belief.offset}"
        rows.append(_row(index, tag(move.form, operand, story.start), explanation))
    is_right = all(row.endswith("correct.") for row in rows)
    return "\n".join([*rows, f"verdict: {'correct' if is_right else 'wrong'}"])


def draw_beliefs(story: Story, rng: random.Random) -> list[Move]:
    """What a schooled judge takes for right: the textbooks' misconceptions, held at `JUDGE_TRUST` times their rates."""
    return draw_moves(story, rng, trust=JUDGE_TRUST)


def follow_critique(moves: list[Move], beliefs: list[Move]) -> list[Move]:
    """The moves of a solution rewritten as a critique held by `beliefs` says."""
    return [belief if move != belief else move for move, belief in zip(moves, beliefs, strict=True)]


@dataclass(frozen=True)
class ParsedCritique:
    """A critique text read back: (is_correct, explanation) of each step, and the final verdict, None if not given."""

    steps: tuple[tuple[bool, str], ...]
    final_is_correct: bool | None

    @property
    def first_error(self) -> int | None:
        """Index, from 0, of the first step called wrong."""
        return next((i for i, (is_correct, _) in enumerate(self.steps) if not is_correct), None)


def parse_critique(text: str) -> ParsedCritique:
    """Read a critique in the built-in model's format. Rows that do not fit are skipped; never raises."""
    steps = []
    final: bool | None = None
    for row in text.splitlines():
        match = _STEP.fullmatch(row.strip())
        if match:
            steps.append((match[3] == "correct", match[4] or ""))
        elif row.startswith("verdict: "):
            final = {"correct": True, "wrong": False}.get(row.removeprefix("verdict: ").strip())
    return ParsedCritique(tuple(steps), final)
