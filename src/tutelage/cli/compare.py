"""`tutelage compare`: two measurements on the same problems, tested pair by pair."""

from __future__ import annotations

from typing import Annotated

import typer


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A folder of eval or run; FOLDER@it0 names weights.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another, or the same with other weights.")],
    strategy: Annotated[
        str | None, typer.Option("--strategy", "-s", help="Which one to compare.", show_default="all that both have")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="B's strategy, where it is another.", show_default="as A's")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a strategy.")] = False,
) -> None:
    """Compare B with A: difference, interval, p-value and cost, on the problems that both answered."""
    from tutelage.cli.comparison import print_comparison

    print_comparison(a, b, strategy=strategy, seed=seed, as_json=as_json, against=against)
