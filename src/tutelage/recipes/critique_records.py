"""What critique data are made of: a solution whose way of coming about is known, and what became of its critique."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tutelage.records import Completion, Record, Verdict
from tutelage.text.critiques import CritiqueForm

Way = Literal["RG1", "RG2", "RG3", "right"]
"""How a solution came about: from scratch, raised temperature from a step on, an inserted mistake; or it is right."""
WAYS: tuple[Way, ...] = ("RG1", "RG2", "RG3", "right")
Fate = Literal["kept", "unreadable", "contradicts", "unhelpful"]
"""What became of a critique: kept; not to be read; against the grader's verdict; of too little help to the actor."""
FATES: tuple[Fate, ...] = ("kept", "unreadable", "contradicts", "unhelpful")


@dataclass(frozen=True)
class Specimen:
    """A solution to be annotated, and what is known of its error.

    Args:
        solution: the completion, whole.
        verdict: the grader's, right for way "right", else wrong.
        way: how it came about.
        location: index, from 0, of the step that is known to be the first wrong one; None where nothing is known.
        mistake: name of the kind of mistake; "" where it is not known.
    """

    solution: Completion
    verdict: Verdict
    way: Way
    location: int | None = None
    mistake: str = ""


@dataclass(frozen=True)
class CritiqueSample(Record):
    """A solution, its critique, and whether the pair went into the data.

    Args:
        completion_id: the solution.
        source_id: the completion that the critique was read from; "" where no model wrote it.
        location: as in `Specimen`, from 0.
        critique: the text, in `form`.
        first_error: index, from 0, of the first step that the critique calls wrong.
        attempts: how often the annotator was asked.
        unreadable: why each attempt that could not be read could not.
        num_refined, num_right: refinements that used the critique and could be graded, and how many were right.
        fate: see `Fate`.
        refined: the first right refinement that used the critique; "" where there is none.
    """

    id: str
    problem_id: str
    question: str
    answer: str
    solution: str
    completion_id: str
    source_id: str
    way: Way
    location: int | None
    mistake: str
    critique: str
    form: CritiqueForm
    first_error: int | None
    annotator: str
    attempts: int
    unreadable: tuple[str, ...]
    num_refined: int
    num_right: int
    fate: Fate
    refined: str = ""
