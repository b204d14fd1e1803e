"""The work of `tutelage compare`: results by problem of two folders, side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import typer

from tutelage.cli.tables import difference_in_words, percent, result_console
from tutelage.errors import InputError
from tutelage.evaluation.comparisons import Comparison, compare
from tutelage.evaluation.results import Recorded, load_result

DEV_SUFFIX = "-dev"


@dataclass(frozen=True)
class Side:
    """One of the two.

    Args:
        recorded: what its folder holds.
        name: which of the weights measured there.
    """

    recorded: Recorded
    name: str

    @property
    def label(self) -> str:
        """As the user may write it."""
        return f"{self.recorded.path}@{self.name}"


def print_comparison(a: str, b: str, *, strategy: str | None, seed: int, as_json: bool) -> None:
    """Compare B with A under each strategy that both have, or the one named.

    Args:
        a, b: `FOLDER` or `FOLDER@NAME`.
        strategy: which one; None is all that both have.
        seed: of the bootstrap.
        as_json: print a JSON object a strategy instead of sentences.

    Raises:
        InputError: a folder without evaluations, no strategy in common, or fewer than two problems in common.
    """
    first, second, console = open_side(a), open_side(b), result_console()
    for name in [strategy] if strategy else shared_strategies(first, second):
        result = compare(first.recorded.values(name, first.name), second.recorded.values(name, second.name), seed=seed)
        costs = [side.recorded.tokens(name, side.name) for side in (first, second)]
        if as_json:
            sides = {"first": first.label, "second": second.label, "first_tokens": costs[0], "second_tokens": costs[1]}
            typer.echo(json.dumps({"strategy": name, "sides": sides, **result.to_json()}))
        else:
            for line in _lines(name, (first, second), result=result, costs=costs):
                console.print(line, markup=False)


def open_side(text: str) -> Side:
    """The folder, and the weights, that a word names.

    Args:
        text: `FOLDER`, whose last weights are meant, or `FOLDER@NAME`, e.g. `runs/demo-seed0@it0`.

    Raises:
        InputError: nothing was evaluated there, or no weights of that name.
    """
    folder, _, name = text.rpartition("@")
    if Path(text).exists() or not folder:
        folder, name = text, ""
    recorded = load_result(folder)
    names = recorded.names()
    if not name:
        # A recipe measures its dev problems for its own decisions; the last weights are those of the report.
        return Side(recorded, [*names, *(n for n in names if not n.endswith(DEV_SUFFIX))][-1])
    if name not in names:
        raise InputError(
            f"{folder} holds no evaluation of {name!r}", seen=name, expected="one of " + ", ".join(names),
            advice=f"write {folder}@{names[-1]}",
        )  # fmt: skip
    return Side(recorded, name)


def shared_strategies(first: Side, second: Side) -> list[str]:
    """Strategies under which both were measured.

    Raises:
        InputError: there is none.
    """
    ours, theirs = (side.recorded.strategies(side.name) for side in (first, second))
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise InputError(
            "these two were not measured in the same way",
            seen=f"{first.label}: {', '.join(ours)}; {second.label}: {', '.join(theirs)}",
            expected="a strategy that both have",
            advice="evaluate both with the same --strategy",
        )
    return shared


def _lines(name: str, sides: tuple[Side, Side], *, result: Comparison, costs: list[int]) -> list[str]:
    data = [" and ".join(side.recorded.data(name, side.name)) for side in sides]
    lines = [f"{name} on {data[0] if data[0] == data[1] else ' against '.join(data)}"]
    columns = zip("AB", sides, (result.first, result.second), costs, strict=True)
    for letter, side, value, tokens in columns:
        lines.append(f"  {letter}  {percent(value):>5} %  {tokens:,} tokens written  {side.label}")
    lines += [
        f"  B against A: {difference_in_words(result.to_json())}",
        f"  solved by both {result.both}, only by A {result.only_first}, only by B {result.only_second}, "
        f"by neither {result.neither}",
    ]
    if result.unshared_first or result.unshared_second:
        lines.append(
            f"  left out, as only one has them: {result.unshared_first} problems of A, {result.unshared_second} of B"
        )
    return [*lines, ""]
