"""The work of `tutelage compare`: results by problem of two folders, side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from tutelage.cli.tables import difference_in_words, percent, result_console
from tutelage.errors import InputError
from tutelage.evaluation.comparisons import Comparison, compare
from tutelage.evaluation.results import Recorded, load_result

DEV_SUFFIX = "-dev"
Costs = dict[str, tuple[int, int]]
"""Prompt tokens read and tokens written, by player."""


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


def print_comparison(
    a: str, b: str, *, strategy: str | None, seed: int, as_json: bool, against: str | None = None
) -> None:
    """Compare B with A under each strategy that both have, or the ones named.

    Args:
        a, b: `FOLDER` or `FOLDER@NAME`.
        strategy: which one; None is all that both have.
        against: B's strategy where it is another than A's, e.g. `critic-maj@4` against `maj@12`.
        seed: of the bootstrap.
        as_json: print a JSON object a strategy instead of sentences.

    Raises:
        InputError: a folder without evaluations, no strategy in common, or fewer than two problems in common.
    """
    first, second, console = open_side(a), open_side(b), result_console()
    shared = [(strategy, against or strategy)] if strategy else [(s, s) for s in shared_strategies(first, second)]
    for name, other in shared:
        result = compare(first.recorded.values(name, first.name), second.recorded.values(other, second.name), seed=seed)
        costs = [first.recorded.costs(name, first.name), second.recorded.costs(other, second.name)]
        if as_json:
            typer.echo(json.dumps(_json((name, other), (first, second), result=result, costs=costs)))
        else:
            for line in _lines((name, other), (first, second), result=result, costs=costs):
                console.print(line, markup=False)


def _json(
    names: tuple[str, str], sides: tuple[Side, Side], *, result: Comparison, costs: list[Costs]
) -> dict[str, Any]:
    about: dict[str, Any] = {"first": sides[0].label, "second": sides[1].label}
    for key, cost in zip(("first", "second"), costs, strict=True):
        about[f"{key}_tokens"] = sum(written for _, written in cost.values())
        about[f"{key}_cost"] = {player: {"read": read, "written": out} for player, (read, out) in cost.items()}
    row = {"strategy": names[0], "sides": about, **result.to_json()}
    return row if names[0] == names[1] else row | {"against": names[1]}


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


def _lines(names: tuple[str, str], sides: tuple[Side, Side], *, result: Comparison, costs: list[Costs]) -> list[str]:
    data = [" and ".join(side.recorded.data(name, side.name)) for side, name in zip(sides, names, strict=True)]
    how = names[0] if names[0] == names[1] else f"A {names[0]}, B {names[1]}"
    lines = [f"{how} on {data[0] if data[0] == data[1] else ' against '.join(data)}"]
    columns = zip("AB", sides, (result.first, result.second), costs, strict=True)
    for letter, side, value, cost in columns:
        lines.append(f"  {letter}  {percent(value):>5} %  {_cost_in_words(cost)}  {side.label}")
    lines += [
        f"  B against A: {difference_in_words(result.to_json())}",
        f"  solved by both {result.both}, only by A {result.only_first}, only by B {result.only_second}, "
        f"by neither {result.neither}",
        f"  B wins {percent(result.win_rate)} % of the problems, loses {percent(result.lose_rate)} %, "
        f"net {percent(result.win_rate - result.lose_rate)} %",
    ]
    if result.unshared_first or result.unshared_second:
        lines.append(
            f"  left out, as only one has them: {result.unshared_first} problems of A, {result.unshared_second} of B"
        )
    return [*lines, ""]


def _cost_in_words(cost: Costs) -> str:
    """Tokens written, and by whom where several wrote."""
    total = sum(written for _, written in cost.values())
    each = ", ".join(
        f"{player} {written:,}" if written else f"{player} read {read:,}" for player, (read, written) in cost.items()
    )
    return f"{total:,} tokens written" + (f" ({each})" if len(cost) > 1 else "")
