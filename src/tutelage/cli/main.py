"""The `tutelage` command: its commands put together, and what happens when one of them fails.

Every failure ends here: a message in words on stderr and an exit code, 1 where something ran and failed, 2 where the
user's input is wrong. A traceback is shown only with `--debug`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import tutelage
from tutelage.cli import compare, data, demo, doctor, evaluate, exec, grade, recipes, run, trace
from tutelage.cli.failures import report_failure

DEBUG = "--debug"
INTERRUPTED = 130
"""What typer returns for Ctrl-C."""

app = typer.Typer(
    name="tutelage",
    help="Let a language model practise problems whose answers can be checked.",
    epilog="Exit codes: 0 done, 1 ran and failed, 2 the input is wrong. Start with: tutelage demo",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("run", context_settings={"ignore_unknown_options": True})(run.run)
app.command("eval", context_settings={"ignore_unknown_options": True})(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("grade")(grade.grade)
app.command("exec")(exec.execute)
app.add_typer(data.app, name="data")
app.command("trace")(trace.trace)
app.command("recipes")(recipes.recipes)
app.command("doctor")(doctor.doctor)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"tutelage {tutelage.__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show the traceback when something fails; may stand anywhere.")
    ] = False,
) -> None:
    """Let a language model practise problems whose answers can be checked."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after `tutelage`; None takes them from the process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    is_debug = DEBUG in words
    words = [word for word in words if word != DEBUG]
    try:
        code = app(args=words, prog_name="tutelage", standalone_mode=False)
    except Exception as error:  # the outermost boundary: whatever it is, it is told and becomes an exit code
        return report_failure(error, is_debug=is_debug)
    if code == INTERRUPTED:
        return report_failure(KeyboardInterrupt(), is_debug=is_debug)
    return code if isinstance(code, int) else 0
