"""`tutelage doctor`: whether this machine can do what tutelage needs, found out by doing it."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    model: Annotated[str, typer.Option("--model", "-m", help="Model whose prompt and stop token to show.")] = "primer",
) -> None:
    """Show versions, devices and disk space, try every part, and show a prompt with the stop token that is trained."""
    from tutelage.cli.threads import configure_threads

    configure_threads()
    from tutelage.cli.checkup import print_checkup

    if not print_checkup(model):
        raise typer.Exit(1)
