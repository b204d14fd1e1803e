"""What `synthesize` keeps of every question that was written: where it came from, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tutelage.records import Record
from tutelage.text.prompts import Prompt

Mode = Literal["new", "keywords", "harder"]
KEPT = "kept"
FORM_FAULTS = ("too_short", "too_long", "banned_word", "program", "bad_start")
FATES = (KEPT, "truncated", *FORM_FAULTS, "similar", "contaminated", "unreadable_answer", "no_answer", "no_agreement")
"""What may become of a question; `truncated` are items that a length limit cut."""


@dataclass(frozen=True)
class Ask:
    """One request for questions, before it is sent.

    Args:
        id: names it within the run.
        mode: `new` in the manner of examples, `keywords` built around given words, `harder` than a given problem.
        field: of the taxonomy.
        keywords: what was asked for.
        seed_ids: the problems that the prompt shows, or is made from.
        prompt: the prompt.
        is_list: a numbered list is expected; otherwise the whole text is one question.
        is_begun: the prompt ends with the first item's number.
        stop: texts that end the completion.
    """

    id: str
    mode: Mode
    field: str
    keywords: tuple[str, ...]
    seed_ids: tuple[str, ...]
    prompt: Prompt
    is_list: bool = False
    is_begun: bool = False
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate(Record):
    """A question that a model wrote.

    Args:
        source_id: the completion that it was read from.
        fate: one of `FATES`.
        similar_to: the seed, candidate or test problem that it is too much like, if that is its fate.
        rule: the measure or kind of likeness that said so.
        likeness: its value, in [0, 1].
        answer: what most of the sampled solutions answer; "" where it was not solved.
        agreement: the share of all sampled solutions that answer it, in [0, 1].
        num_solutions: how many were sampled.
        problem_id: under which its solutions were asked for, and under which it is kept.
        solution: a worked solution that gives the answer; "" where none says more than that.
        solution_id: the completion that it was read from.
    """

    id: str
    question: str
    field: str
    mode: str
    keywords: tuple[str, ...]
    source_id: str
    round: int
    fate: str = KEPT
    similar_to: str = ""
    rule: str = ""
    likeness: float | None = None
    answer: str = ""
    agreement: float | None = None
    num_solutions: int = 0
    problem_id: str = ""
    solution: str = ""
    solution_id: str = ""
