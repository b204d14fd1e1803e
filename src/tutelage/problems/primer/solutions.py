"""Solutions of a story in every format the built-in model writes: steps (CoT), program (PoT), mixed.

A solution is a list of moves, one per sentence of the story; a textbook's moves follow its cells' misconceptions at the
cells' rates. Texts are exact: what these functions return is what the model was schooled on, character by character.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tutelage.problems.primer.cells import OPERATIONS
from tutelage.problems.primer.story import MAX_WRONG_NUMBER, Line, Story, compute, expression

ANSWER_MARK = "answer: "
OUTPUT_MARK = "```output\n"
"""Where a mixed solution pauses: the program before it is run, and `output_text` put in."""


@dataclass(frozen=True)
class Move:
    """What is done about one sentence: the expression's form (`v` running number, `n` operand, `s` first number) and
    what is added to its result by a slip (0 if none)."""

    form: str
    offset: int = 0


def gold_moves(story: Story) -> list[Move]:
    """The right move of every step."""
    return [Move(OPERATIONS[step.cell.operation].form) for step in story.steps]


def draw_moves(story: Story, rng: random.Random, trust: float = 1.0) -> list[Move]:
    """One textbook's moves: each step wrong, in its cell's way, with the cell's rate times `trust` (0 to 1).

    Moves that would leave the numbers of the world are drawn again, and given up for the right ones in the end.
    """
    for _ in range(20):
        moves = gold_moves(story)
        for index, step in enumerate(story.steps):
            if rng.random() < step.cell.rate * trust:
                moves[index] = Move(step.cell.wrong_form, step.cell.offset)
        if write_moves(story, moves) is not None:
            return moves
    return gold_moves(story)


def write_moves(story: Story, moves: list[Move]) -> list[Line] | None:
    """The lines of a solution that makes these moves; None if a number leaves 0..`MAX_WRONG_NUMBER`."""
    lines: list[Line] = []
    value = story.start
    for step, move in zip(story.steps, moves, strict=False):
        left, symbol, right = expression(move.form, value, step.operand, story.start)
        result = compute(left, symbol, right)
        if result is None or not 0 <= result + move.offset <= MAX_WRONG_NUMBER:
            return None
        lines.append(Line(left, symbol, right, result + move.offset))
        value = lines[-1].result
    return lines


def cot_text(lines: list[Line], answer: str | None = None) -> str:
    """Steps, one a line, then the answer line; `answer` replaces the last result (the letter of a choice)."""
    return "".join(f"{line.text}\n" for line in lines) + ANSWER_MARK + (answer or str(lines[-1].result))


def chunks_of(text: str) -> list[str]:
    """The text cut after every line break: the units that chunk-level methods choose between."""
    return text.splitlines(keepends=True)


def program_text(story: Story, moves: list[Move]) -> str:
    """A Python program of the same moves that prints its answer. Python does not slip, so offsets are dropped."""
    rows = [f"a={story.start}"]
    for step, move in zip(story.steps, moves, strict=True):
        numbers = {"v": "a", "n": str(step.operand), "s": str(story.start), "0": "0", "1": "1"}
        symbol = "//" if move.form[1] == "/" else move.form[1]
        rows.append(f"a={numbers[move.form[0]]}{symbol}{numbers[move.form[2]]}")
    return "\n".join([*rows, "print(a)"])


def without_slips(moves: list[Move]) -> list[Move]:
    """The same moves calculated rightly, as a program would."""
    return [Move(move.form) for move in moves]


def tag(form: str, operand: int, start: int) -> str:
    """A move in short, the running number left out: `+7`, `*2`, `30-`."""
    numbers = {"v": "", "n": str(operand), "s": str(start), "0": "0", "1": "1"}
    return f"{numbers[form[0]]}{form[1]}{numbers[form[2]]}"


def plan_text(story: Story, moves: list[Move]) -> str:
    """The line of reasoning that opens a mixed solution."""
    tags = [tag(move.form, step.operand, story.start) for step, move in zip(story.steps, moves, strict=True)]
    return f"plan: {', '.join(tags)}"


def output_text(output: str) -> str:
    """What is put in after `OUTPUT_MARK`: a program's output and the end of its block."""
    return output.rstrip("\n") + "\n```\n"


def mixed_parts(story: Story, moves: list[Move]) -> tuple[str, str, str]:
    """A mixed solution in three parts: written before the program runs, put in by the runner, written after it.

    Returns:
        Plan and program up to the opening of the output block; the output with the block's end; the answer line.
        Their concatenation is the whole text.
    """
    lines = write_moves(story, without_slips(moves))
    if lines is None:
        raise ValueError(f"moves {moves} lead outside 0..{MAX_WRONG_NUMBER} in story {story.to_json()}; draw others")
    before = f"{plan_text(story, moves)}\n```python\n{program_text(story, moves)}\n```\n{OUTPUT_MARK}"
    return before, output_text(str(lines[-1].result)), f"{ANSWER_MARK}{lines[-1].result}"
