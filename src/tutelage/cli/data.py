"""`tutelage data`: which data sets there are, what is in one, one as a file, and test questions in training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="List, show, import and check data sets.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
DATA_HELP = "A name, a file, or `format:path`, as in data=."


@app.command("list")
def list_() -> None:
    """List the formats and built-in data sets that --data and data= understand."""
    from tutelage.cli.datasets import print_formats

    print_formats()


@app.command("show")
def show(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most problems shown.")] = 3,
) -> None:
    """Show the first problems of a data set, and what is in it."""
    from tutelage.cli.datasets import print_problems

    print_problems(data, limit)


@app.command("import")
def import_(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    output: Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="File to write; must not exist.")],
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Most problems.", show_default="all")
    ] = None,
) -> None:
    """Write a data set as a JSONL file that `jsonl:` reads back."""
    from tutelage.cli.datasets import import_problems

    import_problems(data, output, limit)


@app.command("check")
def check(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Training data: " + DATA_HELP)],
    against: Annotated[str, typer.Option("--against", help="Test data whose questions must not be in it.")],
    near: Annotated[
        float | None,
        typer.Option(
            "--near",
            min=0,
            max=1,
            show_default="0.8, where the extra synthesis is installed",
            help="ROUGE-L F above which two questions with the same numbers are one; 1 does not look for them.",
        ),
    ] = None,
    ngram: Annotated[int, typer.Option("--ngram", min=2, help="Words of a run.")] = 13,
    share: Annotated[
        float,
        typer.Option("--share", min=0.01, max=1, help="Share of a test question's runs that must be in one row."),
    ] = 0.5,
) -> None:
    """Look for test questions inside training data: the same text, the same letters, nearly the same words with the
    same numbers, or long runs of words. Exit code 1 where some are found."""
    from tutelage.cli.contamination import print_contamination

    if print_contamination(data, against, near=near, ngram=ngram, share=share):
        raise typer.Exit(1)


@app.command("taxonomy")
def taxonomy(
    output: Annotated[Path, typer.Argument(metavar="OUT.toml", help="File to write; must not exist.")],
) -> None:
    """Write a copy of the taxonomy of fields and keywords that `synthesize` uses, to be changed."""
    from tutelage.cli.contamination import copy_taxonomy

    copy_taxonomy(output)


@app.command("convert")
def convert(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    output: Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="File to write; must not exist.")],
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Most problems.", show_default="all")
    ] = None,
    records: Annotated[
        bool, typer.Option("--records", help="Rows {analysis, code, exec_output, ...} of what could be converted.")
    ] = False,
) -> None:
    """Make programs, and prose with programs, from worked solutions with <<calculations>> or program blocks."""
    from tutelage.cli.conversion import convert_problems

    convert_problems(data, output, limit=limit, as_records=records)
