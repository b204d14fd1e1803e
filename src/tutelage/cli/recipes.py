"""`tutelage recipes`: which recipes there are, and every setting of one of them."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.errors import InputError
from tutelage.recipes import RECIPES, RecipeInfo

if TYPE_CHECKING:
    from tutelage.config.describing import FieldDoc


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="RECIPE", help="A recipe, to see its settings.")] = None,
) -> None:
    """List the recipes, or every setting of one of them."""
    if name is None:
        width = max(map(len, RECIPES))
        for info in RECIPES.values():
            typer.echo(f"{info.name:<{width}}  {info.summary}\n{'':<{width}}  ({info.paper})")
        typer.echo("\ntutelage recipes NAME shows a recipe's settings; tutelage run NAME runs it")
        return
    from tutelage.cli.threads import configure_threads
    from tutelage.config.describing import describe

    info = find_recipe(name)
    configure_threads()
    module = load_recipe(info)
    typer.echo(f"{info.name}: {info.summary}\n{info.paper}\n")
    group = ""
    for doc in describe(module.Config):
        if doc.group != group:
            group = doc.group
            typer.echo(f"{group}:")
        typer.echo("\n".join(_lines(doc)))


def find_recipe(name: str) -> RecipeInfo:
    """The recipe of that name.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    from tutelage.config.loading import nearest

    if name in RECIPES:
        return RECIPES[name]
    near = nearest(name, RECIPES)
    raise InputError(
        f"there is no recipe {name!r}" + (f"; did you mean {near}?" if near else ""),
        seen=name,
        expected="one of " + ", ".join(RECIPES),
        advice=f"tutelage run {near} ..." if near else "`tutelage recipes` lists them",
    )


def load_recipe(info: RecipeInfo) -> ModuleType:
    """Import a recipe's module; it has `Config` and `run`."""
    return importlib.import_module(info.module)


def _lines(doc: FieldDoc) -> list[str]:
    limits = f", {doc.range}" if doc.range else ""
    unit = f", in {doc.unit}" if doc.unit else ""
    lines = [f"  {doc.name} = {doc.default}   ({doc.kind}{limits}{unit})", f"      {doc.text}"]
    if doc.source != "ours":
        lines.append(f"      Source: {doc.source}")
    return lines
