"""Trains of thought as text: steps with feedback between them, errors taken back and done again, then the answer.

Two ways to write one. `inner_talk` puts the feedback on each step right after it, as in self-talk (arXiv 2411.16579);
`second_thoughts` lets a whole solution stand, says that it is wrong, and writes another one: correction at the level of
whole trajectories. Both in plain words, or in the words that the built-in model knows. The first answer of a wrong
solution is left out, so that one answer stands in the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.text.critiques import CritiqueForm, judged_steps

Feedback = Literal["all", "wrong"]


@dataclass(frozen=True)
class Thought:
    """A step and what was said of it.

    Args:
        text: the step.
        place: its place in the solution that it stands in, from 0; a step that is done again has the same.
        is_right: the critic's verdict.
        name: the critic's short name of the step, for the built-in model's words.
        explanation: why.
    """

    text: str
    place: int
    is_right: bool
    name: str = ""
    explanation: str = ""


@dataclass(frozen=True)
class Piece:
    """Some lines of a text; `is_error` where they hold a mistake that is taken back later."""

    text: str
    is_error: bool = False


def inner_talk(thoughts: Sequence[Thought], ending: str, form: CritiqueForm, feedback: Feedback) -> list[Piece]:
    """Steps with their feedback, then the ending; the lines of a text, in order.

    Args:
        ending: what follows the last step: the answer line.
        feedback: on all steps, or on wrong ones only.
    """
    pieces = []
    for thought in thoughts:
        pieces.append(Piece(thought.text, not thought.is_right))
        if feedback == "all" or not thought.is_right:
            pieces.append(Piece(_primer_feedback(thought) if form == "primer" else _spoken_feedback(thought)))
    return [*pieces, Piece(ending.strip())]


def second_thoughts(first: str, last: str, form: CritiqueForm) -> list[Piece]:
    """A solution, the verdict on it, and the right one; the same solution twice stands once, found right."""
    steps, ending = body_and_ending(first)
    if "".join(first.split()) == "".join(last.split()):
        said = "verdict: correct" if form == "primer" else "I have gone through these steps again, and they are right."
        return [Piece(part) for part in (steps, said, ending) if part]
    said = "verdict: wrong" if form == "primer" else "Wait, there is a mistake in this. I will solve it again."
    return [*([Piece(steps, True)] if steps else []), Piece(said), Piece(last.strip())]


def joined(pieces: Sequence[Piece]) -> str:
    """The pieces as one text."""
    return "\n".join(piece.text for piece in pieces).strip()


def body_and_ending(text: str) -> tuple[str, str]:
    """A solution's steps and what follows them: its answer line, if it has one."""
    steps = judged_steps(text)
    if not steps:
        return "", text.strip()
    return text[: steps[-1].end].strip(), text[steps[-1].end :].strip()


def _primer_feedback(thought: Thought) -> str:
    why = " ".join(thought.explanation.split()).rstrip(".")
    head = f"step {thought.place + 1}: {thought.name or 'unclear'}"
    return f"{head} correct." if thought.is_right else f"{head} wrong" + (f", {why}." if why else ".")


def _spoken_feedback(thought: Thought) -> str:
    why = " ".join(thought.explanation.split())
    if thought.is_right:
        return f"Let me check this. {why}".strip() if why else "Let me check this. It is right."
    return " ".join(part for part in ("Wait, this step is wrong.", why, "I will do it again.") if part)
