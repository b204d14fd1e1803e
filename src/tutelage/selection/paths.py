"""A solution as a path: what makes it the same as another, and the text that its distance to others is measured on.

A solution with programs is known by their canonical form (the 360 talk), one without by its equations (RFT,
arXiv 2308.01825), one with neither by its words. Each kind of key has its own beginning, so that a program that cannot
be read, and a text, never share a key with another by accident.
"""

from __future__ import annotations

from collections.abc import Iterable

from tutelage.records import Completion
from tutelage.selection.canonical_programs import Fold, canonical_program
from tutelage.selection.diversity import Path
from tutelage.selection.equations import all_hold, equations_of, path_key
from tutelage.text.programs import read_solution


def path_of(completion: Completion, *, sampler: str = "", fold: Fold = "inside") -> Path:
    """The path of a completion.

    Args:
        completion: a right solution.
        sampler: who wrote it.
        fold: how literals in programs are worked out; `inside` keeps apart two ways to calculate from literals.
    """
    key, text = key_and_text(completion.text, fold=fold)
    return Path(completion.id, key, text, sampler)


def key_and_text(text: str, *, fold: Fold = "inside") -> tuple[str, str]:
    """A solution's key, and what its distances are measured on."""
    programs = program_forms(text, fold=fold)
    if programs is not None:
        form = "\n".join(programs)
        return "program:" + form, form
    return path_key(text), text


def program_forms(text: str, *, fold: Fold = "inside") -> list[str] | None:
    """The canonical forms of a solution's programs; None where it has none or one of them is not Python."""
    programs = read_solution(text).programs
    forms = [canonical_program(program.source, fold=fold) for program in programs]
    return None if not forms or None in forms else [form for form in forms if form is not None]


def with_true_equations(completions: Iterable[Completion]) -> tuple[list[Completion], int]:
    """Those all of whose equations hold, and how many were left out; programs are not looked into.

    Source: arXiv 2308.01825 §3.2: a right answer behind a wrong equation is no path to learn from.
    """
    kept, dropped = [], 0
    for completion in completions:
        is_program = bool(read_solution(completion.text).programs)
        if is_program or all_hold(equations_of(completion.text)):
            kept.append(completion)
        else:
            dropped += 1
    return kept, dropped
