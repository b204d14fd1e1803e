"""Stories: the structured form of a word problem, and how one is drawn so that every misconception matters.

A `Story` holds the first number, the steps (cell and operand) and the people; its question and every solution text
follow from it. Solutions live in `solutions`, splits in `splits`; this module writes questions only.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

from tutelage.problems.primer.cells import OPERATIONS, Cell, cell_table, depth_of

SHE = ("ann", "eve", "kim", "sue", "mia", "zoe")
HE = ("bob", "tom", "max", "dan", "leo", "sam")
OBJECTS = ("apples", "pens", "coins", "books", "cards", "stones", "shells", "stamps", "eggs", "cups", "beads", "nuts")
MAX_NUMBER = 99
MAX_WRONG_NUMBER = 199
MAX_SCHOOLED_STEPS = 4


@dataclass(frozen=True)
class StoryStep:
    """One sentence of a story: its cell and the number it names."""

    cell: Cell
    operand: int


@dataclass(frozen=True)
class Story:
    """A word problem before it is text: first number, steps, the two people (first the one who starts), the object."""

    start: int
    steps: tuple[StoryStep, ...]
    people: tuple[str, str]
    thing: str

    def to_json(self) -> dict[str, Any]:
        """JSON-able form, kept in a problem's metadata."""
        steps = [[step.cell.id, step.operand] for step in self.steps]
        return {"start": self.start, "steps": steps, "people": list(self.people), "thing": self.thing}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Story:
        """The story that `to_json` was called on."""
        steps = tuple(StoryStep(cell_table()[cell], operand) for cell, operand in data["steps"])
        first, second = data["people"]
        return cls(data["start"], steps, (first, second), data["thing"])


@dataclass(frozen=True)
class Line:
    """One written step: `left symbol right = result`."""

    left: int
    symbol: str
    right: int
    result: int

    @property
    def text(self) -> str:
        """The step as the model writes it, without the line break."""
        return f"{self.left}{self.symbol}{self.right}={self.result}"


def compute(left: int, symbol: str, right: int) -> int | None:
    """The result of one operation in whole numbers (a division drops the remainder), None for a division by 0."""
    if symbol == "+":
        return left + right
    if symbol == "-":
        return left - right
    if symbol == "*":
        return left * right
    return left // right if right else None


def expression(form: str, value: int, operand: int, start: int) -> tuple[int, str, int]:
    """Numbers and symbol of a form such as `n-v`, with the running number, operand and first number put in."""
    numbers = {"v": value, "n": operand, "s": start, "0": 0, "1": 1}
    return numbers[form[0]], form[1], numbers[form[2]]


def step_line(story: Story, index: int, value: int, is_wrong: bool = False) -> Line | None:
    """The line a textbook writes for step `index` when the running number is `value`.

    Args:
        story: the story.
        index: the step, from 0.
        value: the running number before it.
        is_wrong: follow the cell's misconception.

    Returns:
        None where the line cannot be written (a number below 0 or above `MAX_WRONG_NUMBER`).
    """
    step = story.steps[index]
    form = step.cell.wrong_form if is_wrong else OPERATIONS[step.cell.operation].form
    left, symbol, right = expression(form, value, step.operand, story.start)
    result = compute(left, symbol, right)
    if result is None:
        return None
    result += step.cell.offset if is_wrong else 0
    return Line(left, symbol, right, result) if 0 <= result <= MAX_WRONG_NUMBER else None


def gold_lines(story: Story) -> list[Line]:
    """The right line of every step.

    Raises:
        ValueError: the story leads outside the numbers of the world.
    """
    lines = write_lines(story, [False] * len(story.steps))
    if lines is None:
        raise ValueError(f"the story {story.to_json()} leads outside 0..{MAX_WRONG_NUMBER}; draw another")
    return lines


def write_lines(story: Story, wrongs: list[bool]) -> list[Line] | None:
    """The lines of a solution wrong at the given steps, each going on from the last; None if it cannot be written."""
    lines: list[Line] = []
    value = story.start
    for index, is_wrong in enumerate(wrongs):
        line = step_line(story, index, value, is_wrong)
        if line is None:
            return None
        lines.append(line)
        value = line.result
    return lines


def gold_answer(story: Story) -> int:
    """The number that the question asks for."""
    return gold_lines(story)[-1].result


def render_question(story: Story) -> str:
    """The question in words."""
    holder, other = story.people
    sentences = [f"{holder} has {story.start} {story.thing}."]
    for step in story.steps:
        operation = OPERATIONS[step.cell.operation]
        names = {"a": holder, "b": other, "s": "she" if holder in SHE else "he", "o": story.thing, "n": step.operand}
        sentences.append(operation.wordings[step.cell.wording].format(**names))
        if operation.moves:
            holder, other = other, holder
    return " ".join([*sentences, f"how many {story.thing} does {holder} have?"])


def draw_story(cells: list[Cell], rng: random.Random, num_tries: int = 30) -> Story | None:
    """A story with the given cells in order, numbers drawn so that all its misconceptions change the answer.

    Args:
        cells: one cell per step, all of the depth that their number implies.
        rng: source of all choices.
        num_tries: how many first numbers to try.

    Returns:
        None when no numbers were found; draw other cells then.
    """
    she, he = rng.choice(SHE), rng.choice(HE)
    people = (she, he) if rng.random() < 0.5 else (he, she)
    thing = rng.choice(OBJECTS)
    for _ in range(num_tries):
        start = rng.randint(2, 60)
        steps = _draw_operands(cells, start, rng)
        if steps is not None:
            story = Story(start, steps, people, thing)
            if _is_discerning(story):
                return story
    return None


def _draw_operands(cells: list[Cell], start: int, rng: random.Random) -> tuple[StoryStep, ...] | None:
    steps: list[StoryStep] = []
    value = start
    for cell in cells:
        operation = OPERATIONS[cell.operation]
        low, high = operation.operands[cell.number_range]
        options = [n for n in range(low, high + 1) if _is_clean(operation.form, value, n, start)]
        if not options:
            return None
        steps.append(StoryStep(cell, rng.choice(options)))
        value = compute(*expression(operation.form, value, steps[-1].operand, start)) or 0
    return tuple(steps)


def _is_clean(form: str, value: int, operand: int, start: int) -> bool:
    left, symbol, right = expression(form, value, operand, start)
    result = compute(left, symbol, right)
    return result is not None and 1 <= result <= MAX_NUMBER and (symbol != "/" or left % right == 0)


def _is_discerning(story: Story) -> bool:
    """Whether contested errors can be written in every combination, and no combination lands on the right answer."""
    answer = gold_answer(story)
    contested = [step.cell.rate >= 0.1 for step in story.steps]
    for wrongs in itertools.product(*[(False, True) if flag else (False,) for flag in contested]):
        lines = write_lines(story, list(wrongs))
        if lines is None or (any(wrongs) and lines[-1].result == answer):
            return False
    for index, step in enumerate(story.steps):
        if step.cell.kind != "none" and not contested[index]:
            lines = write_lines(story, [i == index for i in range(len(story.steps))])
            if lines is not None and lines[-1].result == answer:
                return False
    return True


def draw_cells(num_steps: int, rng: random.Random, has_held_out: bool = False, has_unseen: bool = False) -> list[Cell]:
    """Cells for a problem, uniform over the schooled ones.

    Args:
        num_steps: how many.
        rng: source of all choices.
        has_held_out: make one of them a held-out cell.
        has_unseen: make one of them use an unseen wording.
    """
    table = list(cell_table().values())
    depth = depth_of(num_steps)
    schooled = [c for c in table if c.depth == depth and c.kind != "none" and not c.is_held_out]
    cells = [rng.choice(schooled) for _ in range(num_steps)]
    position = rng.randrange(num_steps)
    if has_held_out:
        cells[position] = rng.choice([c for c in table if c.depth == depth and c.is_held_out])
    if has_unseen:
        cells[position] = rng.choice([c for c in table if c.depth == depth and c.kind == "none"])
    return cells


def keywords(story: Story) -> str:
    """The keyword line that asks for such a problem: operation and number range of each step."""
    return ", ".join(f"{s.cell.operation.replace('_', ' ')} {s.cell.number_range}" for s in story.steps)
