"""`tutelage grade`: JSON lines in, the same lines with a verdict out, in order; no model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def grade(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.jsonl", help='Lines of {"gold", "prediction"} or {"gold", "completion"}; - is stdin.'
        ),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.", show_default="stdout")] = None,
    grader: Annotated[str, typer.Option(help="`exact`, or `FILE.py:FUNCTION` for your own.")] = "exact",
) -> None:
    """Grade answers: each line comes back with equivalent, outcome, answer, decided_by and seconds.

    A prediction is a bare answer; a completion is a whole text, from which the answer is taken. `equivalent` is null
    where that cannot be told. A line may name its `answer_kind` (number, latex, choice, text) and its `choices`.
    """
    from tutelage.cli.threads import configure_threads

    configure_threads()
    from tutelage.cli.grading import grade_file

    grade_file(file, output, grader=grader)
