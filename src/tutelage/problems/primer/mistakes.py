"""Mistakes that the world itself puts into a step of a right solution, of a kind asked for.

The built-in model was not schooled to write a mistake on request, so here the world does what an annotator does
elsewhere. A mistake always changes the step's result.
"""

from __future__ import annotations

import random
from typing import Literal

from tutelage.problems.primer.cells import OPERATIONS
from tutelage.problems.primer.story import MAX_WRONG_NUMBER, Line, Story, compute, expression, step_line

MistakeKind = Literal["operation", "slip", "operand", "skip"]
_SLIPS = (-10, -2, -1, 1, 2, 10)


def mistaken_line(story: Story, index: int, value: int, kind: MistakeKind, rng: random.Random) -> str | None:
    """A line for step `index`, from 0, with a mistake of a kind in it.

    Args:
        value: the running number before the step.
        kind: `operation` another sign, `slip` a sum done wrongly, `operand` a number of another sentence, `skip` the
            sentence left out.
        rng: chooses among the mistakes of that kind.

    Returns:
        None where no such line can be written, or the step has no mistake of that kind that changes its result.
    """
    gold = step_line(story, index, value)
    if gold is None:
        return None
    step = story.steps[index]
    operation = OPERATIONS[step.cell.operation]
    if kind == "slip":
        lines = [Line(gold.left, gold.symbol, gold.right, gold.result + slip) for slip in _SLIPS]
    elif kind == "operand":
        others = {story.start, *(other.operand for other in story.steps)} - {step.operand}
        lines = [_line(operation.form, value, other, story.start) for other in sorted(others)]
    else:
        forms = [operation.skip] if kind == "skip" else sorted({f for f in operation.wrong_forms if "s" not in f})
        lines = [_line(form, value, step.operand, story.start) for form in forms]
    wrong = [x.text for x in lines if x.result != gold.result and 0 <= x.result <= MAX_WRONG_NUMBER]
    return rng.choice(wrong) if wrong else None


def _line(form: str, value: int, operand: int, start: int) -> Line:
    left, symbol, right = expression(form, value, operand, start)
    result = compute(left, symbol, right)
    return Line(left, symbol, right, -1 if result is None else result)
