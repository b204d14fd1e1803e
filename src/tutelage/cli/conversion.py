"""The work of `tutelage data convert`: worked solutions as programs and as prose with programs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import typer

from tutelage.errors import InputError
from tutelage.problems import load_problems
from tutelage.problems.conversion import convert, solution_record
from tutelage.problems.loading import save_problems


def convert_problems(data: str, output: Path, *, limit: int | None, as_records: bool) -> None:
    """Write a data set with programs and mixed solutions where they can be made, and tell what could not be converted.

    Args:
        data: what is converted.
        output: a new file.
        limit: most problems.
        as_records: write only what could be converted, as `{analysis, code, exec_output, ...}` rows.

    Raises:
        InputError: the file exists.
        DataError: the data cannot be read.
    """
    if output.exists():
        raise InputError(
            "the file exists", seen=str(output), expected="a new file", advice="name another, or remove this one"
        )
    problems, dropped = convert(load_problems(data, limit=limit))
    made = [problem for problem in problems if problem.metadata.get("mixed")]
    if as_records:
        rows = [
            solution_record(
                p.id, p.question, f"{p.metadata['mixed'].rstrip()}\nFinal answer: {p.answer}", answer=p.answer
            )
            for p in made
        ]
        output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        save_problems(problems, output)
    typer.echo(f"{len(made)} of {len(problems)} problems have a program and a mixed solution")
    for reason, count in sorted(dropped.items(), key=lambda item: -item[1]):
        typer.echo(f"  not converted: {count}, {reason}")
    if not as_records:
        words = shlex.quote(f"jsonl:{output}")
        typer.echo(f"use them with: tutelage run sft model=MODEL data={words} styles=cot,pot,mixed")
