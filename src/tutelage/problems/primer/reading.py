"""Reads a question of the built-in world back into the story behind it: the inverse of `story.render_question`.

So that the truth about a question that a model wrote is known exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tutelage.problems.primer.cells import OPERATIONS, RANGES, NumberRange, cell_table, depth_of
from tutelage.problems.primer.story import (
    HE,
    MAX_NUMBER,
    OBJECTS,
    SHE,
    Story,
    StoryStep,
    compute,
    expression,
    render_question,
)

_FIRST = re.compile(rf"({'|'.join(SHE + HE)}) has (\d{{1,4}}) ({'|'.join(OBJECTS)})\.")
_LAST = re.compile(rf"how many ({'|'.join(OBJECTS)}) does ({'|'.join(SHE + HE)}) have\?")
_SENTENCES = re.compile(r"(?<=[.?]) ")


@dataclass(frozen=True)
class _Told:
    """What a sentence of the middle says, and whom it names."""

    operation: str
    wording: int
    operand: int
    people: tuple[str, ...]


def read_story(question: str, *, is_strict: bool = True) -> Story | None:
    """The story that a question tells; None where there is none. The numbers need not work out: see `is_sound`.

    Args:
        is_strict: the story must render to this question, character by character. Otherwise every sentence must be one
            of the world's, but people and things may change from one to the next, as a weak writer lets them: the
            operations and numbers then count, in their order, and the story's people are those of the first sentence.
    """
    sentences = _SENTENCES.split(question)
    begin, end, middle = _FIRST.fullmatch(sentences[0]), _LAST.fullmatch(sentences[-1]), sentences[1:-1]
    if begin is None or end is None or not middle:
        return None
    depth, steps, others = depth_of(len(middle)), [], []
    for sentence in middle:
        told = _read_sentence(sentence)
        number_range = _range_of(told.operation, told.operand) if told else None
        if told is None or number_range is None:
            return None
        steps.append(StoryStep(cell_table()[f"{told.operation}/{told.wording}/{number_range}/{depth}"], told.operand))
        others += [name for name in told.people if name != begin[1]]
    second = next(iter(others), (HE if begin[1] in SHE else SHE)[0])
    story = Story(int(begin[2]), tuple(steps), (begin[1], second), begin[3])
    return story if not is_strict or render_question(story) == question else None


def is_sound(story: Story) -> bool:
    """Whether all its numbers are numbers of the world: whole, from 1 to 99, every division without remainder."""
    value = story.start
    for step in story.steps:
        left, symbol, right = expression(OPERATIONS[step.cell.operation].form, value, step.operand, story.start)
        result = compute(left, symbol, right)
        if result is None or not 1 <= result <= MAX_NUMBER or (symbol == "/" and left % right):
            return False
        value = result
    return True


def operations_of(story: Story) -> tuple[str, ...]:
    """The operations of a story in order."""
    return tuple(step.cell.operation for step in story.steps)


def _range_of(operation: str, operand: int) -> NumberRange | None:
    limits = OPERATIONS[operation].operands
    return next((name for name in RANGES if limits[name][0] <= operand <= limits[name][1]), None)


def _read_sentence(sentence: str) -> _Told | None:
    for operation, wording, pattern in _patterns():
        found = pattern.fullmatch(sentence)
        if found is not None:
            people = tuple(name for key, name in found.groupdict().items() if key[0] in "ab")
            return _Told(operation, wording, int(found["n"]), people)
    return None


@cache
def _patterns() -> list[tuple[str, int, re.Pattern[str]]]:
    """A pattern of every wording; what stands in it twice may differ."""
    names, things = "|".join(SHE + HE), "|".join(OBJECTS)
    groups = {"n": r"\d{1,4}", "s": "she|he", "a": names, "b": names, "o": things}
    patterns = []
    for operation in OPERATIONS.values():
        for wording, text in enumerate(operation.wordings):
            escaped = re.escape(text).replace(r"\{", "{").replace(r"\}", "}")
            for key, group in groups.items():
                escaped = escaped.replace(f"{{{key}}}", f"(?P<{key}>{group})", 1).replace(f"{{{key}}}", f"(?:{group})")
            patterns.append((operation.name, wording, re.compile(escaped)))
    return patterns
