"""The work of `tutelage data`: formats, what a data set holds, one as a file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from tutelage.cli.plain_text import printable
from tutelage.errors import InputError
from tutelage.problems import DATA_FORMATS, describe, load_problems, save_problems
from tutelage.records import Problem

SPELLINGS = """\
FORMAT:PATH              a .jsonl, .jsonl.gz, .json or .parquet file, or a folder of them
PATH                     the same; the format is told from the first row
...?question=Q&answer=A  with other field names
primer:SPLIT?n=N&seed=S  the built-in problems, as many as wanted"""


def print_formats() -> None:
    """What `data=` and `--data` understand."""
    from tutelage.problems.primer import PRIMER_SPLITS

    width = max(map(len, DATA_FORMATS))
    typer.echo("formats:")
    for name, text in DATA_FORMATS.items():
        typer.echo(f"  {name:<{width}}  {text}")
    typer.echo(f"\nbuilt in:\n  {'primer':<{width}}  arithmetic word problems; splits {', '.join(PRIMER_SPLITS)}")
    typer.echo("\nhow to name data:\n  " + SPELLINGS.replace("\n", "\n  "))


def print_problems(data: str, limit: int) -> None:
    """Counts of a data set, and its first problems.

    Raises:
        DataError: it cannot be read.
    """
    problems = load_problems(data)
    for line in _summary(describe(problems)):
        typer.echo(line)
    for problem in problems[:limit]:
        typer.echo("\n" + "\n".join(_lines(problem)))


def import_problems(data: str, output: Path, limit: int | None) -> None:
    """Write a data set as uniform JSON lines.

    Raises:
        InputError: the file exists.
        DataError: the data cannot be read.
    """
    if output.exists():
        raise InputError(
            "the file exists", seen=str(output), expected="a new file", advice="name another, or remove this one"
        )
    problems = load_problems(data, limit=limit)
    save_problems(problems, output)
    typer.echo(f"{len(problems)} problems written; use them with data={shlex.quote(f'jsonl:{output}')}")


def _summary(counts: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, value in counts.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {item:g}" for key, item in list(value.items())[:12])
        if value not in ("", None):
            lines.append(f"{name.replace('_', ' ')}: {printable(str(value))}")
    return lines


def _lines(problem: Problem) -> list[str]:
    fields = {"question": problem.question, "solution": problem.solution or "(none)", "answer": problem.answer}
    if problem.choices is not None:
        options = zip(problem.choices.labels, problem.choices.texts, strict=True)
        fields["question"] += "".join(f"\n({label}) {text}" for label, text in options)
    lines = [f"{problem.id} ({problem.answer_kind}, {problem.split})"]
    for name, text in fields.items():
        lines += [
            f"  {name if place == 0 else '':<9} {printable(line)}" for place, line in enumerate(text.splitlines())
        ]
    return lines
