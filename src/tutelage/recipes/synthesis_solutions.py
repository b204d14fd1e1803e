"""The worked solution that a synthetic problem comes with, and the programs that are made of it.

The solution is the first of those that give the agreed answer, so `sft` has something to learn from. Programs make the
very moves of that solution: the truth about a question, which the built-in world would know, does not come in, so what
is learnt from synthetic problems is worth there what it is worth on any other model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tutelage.problems.conversion import NotConverted, converted
from tutelage.problems.primer import ANSWER_MARK, OPERATIONS, Story
from tutelage.problems.primer.critiques import parse_line
from tutelage.problems.primer.reading import read_story
from tutelage.problems.primer.solutions import Move, mixed_parts, program_text, write_moves
from tutelage.problems.primer.story import compute, expression
from tutelage.records import Completion, Problem
from tutelage.text.programs import read_solution

_CLOSING = re.compile(
    r"(?:^|\n)[^\w\n]*(?:(?:the\s+)?final\s+answer\b[^\w\n]{0,20}(?:\n[^\w\n]{0,20}\\boxed)?|####)[^\n]*\s*\Z",
    re.IGNORECASE,
)
_ANSWER_LINE = re.compile(r"[^\w\n]*(?:(?:the\s+)?(?:final\s+)?answer\b|####|\\boxed)[^\n]*", re.IGNORECASE)
_CALCULATION = re.compile(r"[\d)}a-z]\s*(?:[-+*/×÷^]|\\(?:times|cdot|div))\s*[\d({\\a-z]", re.IGNORECASE)
_WORD, _COMMAND = re.compile(r"[^\W\d_]{2,}"), re.compile(r"\\[a-z]+", re.IGNORECASE)
_ANNOUNCING = frozenset(
    ("therefore", "so", "thus", "hence", "the", "final", "answer", "solution", "result", "is", "it", "equals", "equal",
     "to", "of", "we", "get")
)  # fmt: skip
_OTHER_STEPS = "its steps are not those of the question"


def worked(solutions: Iterable[Completion]) -> Completion | None:
    """The solution that a problem is kept with: the first that says more than its answer; None where none does.

    The first, because draws are alike before they are looked at: it is as good as one drawn at random, the same after
    a restart, and not chosen for its length or form, which would teach those.

    Args:
        solutions: those that ended by themselves and give the agreed answer, in canonical order.
    """
    return next((solution for solution in solutions if has_working(solution.text)), None)


def has_working(text: str) -> bool:
    """Whether anything but the answer is written: a calculation, or words that do not merely announce it.

    >>> [has_working(text) for text in ("= 4", "So the answer is 4.", "There are 4.", "1 + 3 = 4")]
    [False, False, True, True]
    """
    rest = "\n".join(line for line in text.splitlines() if not _ANSWER_LINE.fullmatch(line))
    if _CALCULATION.search(rest):
        return True
    words = _WORD.findall(_COMMAND.sub(" ", rest).lower())
    return any(word not in _ANNOUNCING for word in words)


def without_closing(text: str) -> str:
    """A sampled solution as data keep it: a last `Final answer:` line is left out, as prompts add their own.

    The built-in model's solutions keep their answer line, which is part of them.

    >>> without_closing("2 + 2 = 4.\\nFinal answer: 4"), without_closing("2+2=4\\nanswer: 4")
    ('2 + 2 = 4.', '2+2=4\\nanswer: 4')
    """
    return _CLOSING.sub("", text.strip()).rstrip()


def with_programs(problem: Problem) -> Problem:
    """A problem with `metadata["program"]` and `metadata["mixed"]`, made from its solution.

    Raises:
        NotConverted: they cannot be made; the reason is one of few.
    """
    solution = problem.solution or ""
    if read_solution(solution).programs:
        raise NotConverted("its program was not run")
    story = read_story(problem.question, is_strict=False)
    if story is None or ANSWER_MARK not in solution:
        return converted(problem)
    moves = moves_of(story, solution, problem.answer)
    made = {"program": program_text(story, moves), "mixed": "".join(mixed_parts(story, moves))}
    return replace(problem, metadata={**problem.metadata, **made})


def moves_of(story: Story, solution: str, answer: str) -> list[Move]:
    """What a solution in the built-in model's form does about each sentence, right or wrong.

    Raises:
        NotConverted: a program of the same moves would not give the answer.
    """
    *rows, last = [row.strip() for row in solution.splitlines() if row.strip()]
    if not last.startswith(ANSWER_MARK) or len(rows) != len(story.steps):
        raise NotConverted(_OTHER_STEPS)
    value, moves = story.start, []
    for step, row in zip(story.steps, rows, strict=True):
        line = parse_line(row)
        if line is None:
            raise NotConverted("a calculation cannot be read")
        if compute(line.left, line.symbol, line.right) != line.result:
            raise NotConverted("a calculation is wrong")
        others = (left + line.symbol + right for left in "vns" for right in "nvs01")
        wanted = (line.left, line.symbol, line.right)
        for form in (OPERATIONS[step.cell.operation].form, *others):
            if expression(form, value, step.operand, story.start) == wanted:
                moves.append(Move(form))
                break
        else:
            raise NotConverted(_OTHER_STEPS)
        value = line.result
    if not last.removeprefix(ANSWER_MARK).strip() == str(value) == answer:
        raise NotConverted("the last result is not the gold")
    if write_moves(story, moves) is None:
        raise NotConverted("its numbers leave the built-in world")
    return moves


def solution_figures(problems: Sequence[Problem]) -> dict[str, Any]:
    """How many problems come with a solution, and with programs; why the others have none, by reason."""
    reasons: Counter[str] = Counter()
    for problem in problems:
        if problem.solution and "program" not in problem.metadata:
            try:
                with_programs(problem)
            except NotConverted as reason:
                reasons[str(reason)] += 1
    return {
        "with_solution": sum(bool(problem.solution) for problem in problems),
        "with_programs": sum("program" in problem.metadata for problem in problems),
        "not_converted": dict(sorted(reasons.items())),
    }
