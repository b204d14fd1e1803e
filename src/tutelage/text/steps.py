"""Splitting a solution into steps with exact spans: the texts of all steps, joined, are the solution.

A step is a line (the paper's unit for critiques, arXiv 2411.16579) or, by choice, a sentence. White space belongs to
the step before it, and at the head of the text to the first step, so no character is lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_LINE_END = re.compile(r"\n\s*")
_SENTENCE_END = re.compile(r"\n\s*|[.!?。！？][\"')\]}]?(?:\s+|$)")
_NOT_AN_END = re.compile(
    r"(?:(?:^|\s)(?:[0-9]{1,2}|[A-Za-z]|Mr|Mrs|Ms|Dr|St|vs|approx|e\.g|i\.e|etc|Step [0-9]{1,2}))\Z"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `text` is the solution's characters [start, end), white space included."""

    text: str
    start: int
    end: int

    @property
    def content(self) -> str:
        """The step without white space around it."""
        return self.text.strip()


def split_steps(text: str, *, by: Literal["lines", "sentences"] = "lines") -> tuple[Step, ...]:
    """The steps of a solution.

    Args:
        text: a solution; an empty one has no steps.
        by: what a step is. A sentence ends at a line's end too; numbering (`1.`) and abbreviations do not end one.
    """
    if not text:
        return ()
    ends: list[int] = []
    head = len(text) - len(text.lstrip())
    for match in (_LINE_END if by == "lines" else _SENTENCE_END).finditer(text, head):
        is_numbering = match.group()[0] == "." and _NOT_AN_END.search(text, max(0, match.start() - 12), match.start())
        if not (is_numbering and match.end() < len(text)):
            ends.append(match.end())
    if not ends or ends[-1] < len(text):
        ends.append(len(text))
    starts = [0, *ends[:-1]]
    return tuple(Step(text[start:end], start, end) for start, end in zip(starts, ends, strict=True))
