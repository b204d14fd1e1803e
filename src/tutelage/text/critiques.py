"""Critique texts: reading them strictly and writing them, in the two forms that critics here use.

`labelled` is the form of the MathCritique data (arXiv 2411.16579): for each step `Step sentence:`, `Correctness of the
step: Correct|Wrong` and `Explanation:`, then `Correctness of the final answer:` and its `Explanation:`. `primer` is the
built-in model's: `step 1: +7 wrong, use -7.` and `verdict: wrong`.

A text that does not fit its form is `Unreadable` with a reason, to be counted or asked for again; no verdict is ever
guessed. Released critiques mark most steps after the first wrong one wrong too, so the first error is the first step
with a Wrong verdict. Model text is hostile: reading takes time in proportion to its length, and nothing that stands in
a step or an explanation can pass for a verdict when it is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.records import Completion, Critique, CritiqueStep, record_id
from tutelage.text.steps import Step, split_steps

CritiqueForm = Literal["labelled", "primer"]
Reason = Literal[
    "no step is judged",
    "a step has no verdict",
    "a verdict is neither Correct nor Wrong",
    "the parts are out of order",
    "the final verdict is missing",
]

_SENTENCE, _STEP, _FINAL, _WHY = (
    "step sentence", "correctness of the step", "correctness of the final answer", "explanation",
)  # fmt: skip
_LABEL = re.compile(rf"[ \t*_#>]*({_SENTENCE}|{_STEP}|{_FINAL}|{_WHY})[ \t*_]*:[*_]*(.*)", re.IGNORECASE | re.DOTALL)
_RULE = re.compile(r"\s*(?:-{3,}|\*{3,}|={3,}|_{3,})\s*")
_VERDICTS = {"correct": True, "wrong": False, "incorrect": False}
_PRIMER_STEP = re.compile(r"step ([0-9]{1,4}): (\S+) (correct|wrong)(?:, (.*?))?\.?", re.DOTALL)
_PRIMER_FINAL = re.compile(r"verdict: (correct|wrong)\.?")
_LEAD_IN = re.compile(r"let(?:'|’)?s .{0,80}step.by.step.{0,20}[:.]?|step.by.step[:.]?", re.IGNORECASE)
_ANSWER_LINE = re.compile(r"(?:the )?(?:final )?answer(?: is\b|:)|####", re.IGNORECASE)


@dataclass(frozen=True)
class CritiqueText:
    """A critique as its text says it: what each step's sentence, verdict and explanation are, and the final ones."""

    steps: tuple[CritiqueStep, ...]
    final_is_correct: bool
    final_explanation: str = ""

    @property
    def first_error(self) -> int | None:
        """Index, from 0, of the first step called wrong; None if none is."""
        return next((i for i, step in enumerate(self.steps) if not step.is_correct), None)

    def about(self, solution: Completion, *, source_id: str = "", stage: str = "", note: str = "") -> Critique:
        """The record of this critique of a completion.

        Args:
            source_id: the completion that the critique was read from; "" where no model wrote it.
            stage: the stage digest, for the id.
            note: what a reader of the record must know.
        """
        return Critique(
            id=record_id(stage or solution.stage, solution.problem_id, f"{solution.id}/critique/{source_id}"),
            completion_id=solution.id,
            steps=self.steps,
            final_is_correct=self.final_is_correct,
            source_id=source_id,
            final_explanation=self.final_explanation,
            note=note,
        )


@dataclass(frozen=True)
class Unreadable:
    """A text that is no critique of its form, and why."""

    reason: Reason


def read_critique(text: str, form: CritiqueForm) -> CritiqueText | Unreadable:
    """Read a critique. Never raises on model text.

    In `labelled` form, text before the first label is left aside, a field may go over several lines, labels may be in
    bold type, and a step sentence directly before the final verdict (the answer line, copied) has none of its own.
    """
    return _read_labelled(text) if form == "labelled" else _read_primer(text)


def write_critique(critique: CritiqueText | Critique, form: CritiqueForm) -> str:
    """The critique as text; `read_critique` of it gives the critique back, white space and markup at the edges aside.

    In `primer` form a step's text becomes its tag; one that is not a single word is written as `unclear`, and the
    final explanation has no place.
    """
    if form == "primer":
        rows = [_primer_row(number, step) for number, step in enumerate(critique.steps, start=1)]
        return "\n".join([*rows, f"verdict: {'correct' if critique.final_is_correct else 'wrong'}"])
    blocks = [
        f"Step sentence: {_field(step.text)}\nCorrectness of the step: {_word(step.is_correct)}\n"
        f"Explanation: {_field(step.explanation)}"
        for step in critique.steps
    ]
    blocks.append(
        f"Correctness of the final answer: {_word(critique.final_is_correct)}\n"
        f"Explanation: {_field(critique.final_explanation)}"
    )
    return "\n\n".join(block.rstrip() for block in blocks)


def judged_steps(text: str) -> tuple[Step, ...]:
    """The lines of a solution that a critic judges, with their places: lead-in, answer and empty lines left out.

    A solution that is nothing but its answer line has that line as its only step.
    """
    lines = [step for step in split_steps(text) if step.content]
    if lines and _LEAD_IN.fullmatch(lines[0].content[:200]):
        lines = lines[1:]
    if len(lines) > 1 and _ANSWER_LINE.match(lines[-1].content.lstrip("*$ ")):
        lines = lines[:-1]
    return tuple(lines)


def solution_steps(text: str) -> tuple[str, ...]:
    """The texts of `judged_steps`, without white space around them."""
    return tuple(step.content for step in judged_steps(text))


def place_of_first_error(
    critique: CritiqueText | Critique, solution: Sequence[str]
) -> int | Literal["unplaced"] | None:
    """Which step of a solution the critique calls wrong first, from 0; None where it calls none wrong.

    A critic that judged as many steps as there are (the answer line aside) is taken by number. Otherwise the wrong
    step's sentence is looked for in the solution; where no single step holds it, the place is "unplaced".

    Args:
        solution: the steps of the solution, e.g. `solution_steps` of it or numbered steps of a data set.
    """
    first = critique.first_error
    if first is None:
        return None
    if len(critique.steps) in (len(solution), len(solution) - 1) and first < len(solution):
        return first
    wanted = _bare(critique.steps[first].text)
    found = [i for i, step in enumerate(solution) if wanted and wanted in _bare(step)]
    return found[0] if len(found) == 1 else "unplaced"


def _bare(text: str) -> str:
    """Letters, digits and signs only: calculator marks, spaces and markup do not count."""
    return re.sub(r"[\s*_$\\]+", "", re.sub(r"<<[^<>\n]*>>", "", text)).lower()


def _fields(text: str) -> list[tuple[str, str]]:
    """The labelled fields in order, each label in small letters; what stands before the first is dropped."""
    found: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        match = _LABEL.fullmatch(line)
        if match:
            found.append((match[1].lower(), [match[2]]))
        elif found and not _RULE.fullmatch(line):
            found[-1][1].append(line)
    return [(label, "\n".join(part.rstrip() for part in parts).strip()) for label, parts in found]


def _verdict(said: str) -> bool | None:
    return _VERDICTS.get(said.strip("*_. \t\n").lower()) if len(said) < 40 else None


def _read_labelled(text: str) -> CritiqueText | Unreadable:
    fields = _fields(text)
    steps: list[CritiqueStep] = []
    at = 0
    while at < len(fields) and fields[at][0] == _SENTENCE:
        labels = [label for label, _ in fields[at : at + 3]]
        if labels[1:2] == [_FINAL]:
            at += 1
            break
        if labels[1:] != [_STEP, _WHY]:
            return Unreadable("a step has no verdict" if labels[1:2] != [_STEP] else "the parts are out of order")
        verdict = _verdict(fields[at + 1][1])
        if verdict is None:
            return Unreadable("a verdict is neither Correct nor Wrong")
        steps.append(CritiqueStep(fields[at][1], verdict, fields[at + 2][1]))
        at += 3
    if not steps:
        return Unreadable("no step is judged")
    if at >= len(fields):
        return Unreadable("the final verdict is missing")
    if [label for label, _ in fields[at:]] not in ([_FINAL, _WHY], [_FINAL]):
        return Unreadable("the parts are out of order")
    final = _verdict(fields[at][1])
    if final is None:
        return Unreadable("a verdict is neither Correct nor Wrong")
    return CritiqueText(tuple(steps), final, fields[at + 1][1] if at + 1 < len(fields) else "")


def _read_primer(text: str) -> CritiqueText | Unreadable:
    rows = [row.strip() for row in text.split("\n") if row.strip()]
    final = _PRIMER_FINAL.fullmatch(rows[-1]) if rows else None
    if final is None:
        return Unreadable("the final verdict is missing")
    steps: list[CritiqueStep] = []
    for row in rows[:-1]:
        match = _PRIMER_STEP.fullmatch(row)
        if match is None:
            return Unreadable("a step has no verdict")
        if int(match[1]) != len(steps) + 1:
            return Unreadable("the parts are out of order")
        steps.append(CritiqueStep(match[2], match[3] == "correct", match[4] or ""))
    return CritiqueText(tuple(steps), final[1] == "correct") if steps else Unreadable("no step is judged")


def _word(is_correct: bool) -> str:
    return "Correct" if is_correct else "Wrong"


def _field(text: str) -> str:
    """A field's text such that no line of it passes for a label: such a line is joined to the one before it."""
    lines = [line.rstrip() for line in text.strip().split("\n") if not _RULE.fullmatch(line)]
    kept: list[str] = []
    for line in lines:
        if kept and _LABEL.fullmatch(line):
            kept[-1] = f"{kept[-1]} {line.strip()}".strip()
        else:
            kept.append(line)
    return "\n".join(kept).strip()


def _primer_row(number: int, step: CritiqueStep) -> str:
    tag = step.text.strip()
    tag = tag if tag and not re.search(r"\s", tag) else "unclear"
    why = " ".join(step.explanation.split()).rstrip(".")
    verdict = "correct" if step.is_correct else "wrong"
    return f"step {number}: {tag} {verdict}" + (f", {why}." if why else ".")
