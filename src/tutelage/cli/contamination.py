"""The work of `tutelage data check` and `tutelage data taxonomy`."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from tutelage.cli.plain_text import printable
from tutelage.config.taxonomy import PACKAGED
from tutelage.errors import InputError
from tutelage.evaluation.contamination import Contamination, can_find_near, find_contamination, summary
from tutelage.problems import Overlap, load_problems

SHOWN = 10
WORDS = {
    "text": "the same text",
    "letters": "the same but for signs and spaces",
    "near": "nearly the same words, the same numbers",
    "ngrams": "long runs of its words",
}
NEAR = 0.8


def print_contamination(data: str, against: str, *, near: float | None, ngram: int, share: float) -> int:
    """Tell of test questions that are in the training data; returns how many there are.

    Args:
        near: ROUGE-L F for nearly equal questions; None is `NEAR` where their packages are installed.

    Raises:
        DataError: either cannot be read.
        MissingExtra: `near` is given and its packages are not installed.
    """
    train, test = load_problems(data), load_problems(against)
    absent = can_find_near() if near is None else ""
    limit = None if absent or near == 1 else near or NEAR
    rules = Contamination(near=limit, ngram=ngram, share=share)
    found = find_contamination(train, test, rules, workers=min(2, os.cpu_count() or 1))
    if absent:
        typer.echo("nearly equal questions were not looked for: pip install 'tutelage[synthesis]'")
    if not found:
        typer.echo(f"none of the {len(test)} questions of {against} is among the {len(train)} of {data}")
        return 0
    counts = ", ".join(f"{count} {WORDS[kind]}" for kind, count in summary(found).items() if count)
    told = f"{len(found)} of the {len(test)} questions of {against} are among the {len(train)} of {data}"
    typer.echo(f"{told} ({counts}):")
    for overlap in found[:SHOWN]:
        typer.echo(f"  {_line(overlap)}")
    if len(found) > SHOWN:
        typer.echo(f"  and {len(found) - SHOWN} more")
    return len(found)


def _line(overlap: Overlap) -> str:
    question = printable(" ".join(overlap.question.split()))
    shown = question if len(question) <= 100 else question[:97] + "..."
    share = f", {overlap.likeness:.2f}" if overlap.kind in ("near", "ngrams") else ""
    return f"{overlap.test_id} is {overlap.train_id} ({WORDS[overlap.kind]}{share}): {shown}"


def copy_taxonomy(output: Path) -> None:
    """Write a copy of the packaged taxonomy.

    Raises:
        InputError: the file exists.
    """
    if output.exists():
        raise InputError(
            "the file exists", seen=str(output), expected="a new file", advice="name another, or remove this one"
        )
    output.write_text(PACKAGED.read_text(encoding="utf-8"), encoding="utf-8")
    typer.echo(f"written; use it with tutelage run synthesize taxonomy={output}")
