"""`tutelage grade`: JSON lines in, the same lines with a verdict out, in order; no model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def grade(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.jsonl", help="JSON lines of gold and prediction or completion; - is stdin."),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.", show_default="stdout")] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=256, help="Sympy workers, where they are needed; one a core at most.")
    ] = 1,
    symbolic: Annotated[
        str, typer.Option("--symbolic", help="Whether sympy is asked what other tiers leave undecided: auto, on, off.")
    ] = "auto",
    audit: Annotated[
        bool,
        typer.Option(
            "--audit",
            help="Tally outcomes and tiers by class, and list disagreements with the lines' labels and with "
            "math-verify; lines are written only with -o.",
        ),
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help="Field that an audit's classes are taken from.",
            show_default="class, source, model, or what stands before the number in id",
        ),
    ] = None,
) -> None:
    """Grade answers: each line comes back with equivalent, outcome, answer, decided_by and seconds.

    A prediction is a bare answer; a completion is a whole text, from which the answer is taken. `equivalent` is null
    where it cannot be told. A line may name its answer_kind (number, latex, choice, text), its choices, and the
    finish_reason of its completion (length: it was cut off). An audit takes a line's own equivalent or correct, where
    it is true or false, for a label.
    """
    from tutelage.cli.grading import GradeOptions, grade_file

    grade_file(file, output, GradeOptions(workers=workers, symbolic=symbolic, audit=audit, by=by))
