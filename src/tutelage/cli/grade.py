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
) -> None:
    """Grade answers: each line comes back with equivalent, outcome, answer, decided_by and seconds.

    A prediction is a bare answer; a completion is a whole text, from which the answer is taken. `equivalent` is null
    where it cannot be told. A line may name its answer_kind (number, latex, choice, text), its choices, and the
    finish_reason of its completion (length: it was cut off).
    """
    from tutelage.cli.grading import grade_file

    grade_file(file, output)
