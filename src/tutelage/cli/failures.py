"""What the user sees when a command fails: a message in words and an exit code, never a bare traceback."""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path

import typer

from tutelage.errors import MissingExtra, RunFailed, StorageFull, TutelageError

BROKEN_PIPE = 1
USAGE = 2
TRAIN_PACKAGES = ("torch", "transformers", "peft", "safetensors", "tokenizers", "jinja2")
"""What the extra `train` installs; grading, data and comparing work without."""


def report_failure(error: BaseException, *, is_debug: bool = False) -> int:
    """Tell on stderr what failed, and what to do.

    Args:
        error: what was raised.
        is_debug: whether to show the traceback as well.

    Returns:
        The exit code.
    """
    if is_debug and not _is_usage(error):
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if _is_usage(error):
        error.show()  # type: ignore[attr-defined]
        return USAGE
    told = as_told(error)
    _show(told, [*getattr(told, "__notes__", ())])
    if not isinstance(error, TutelageError | KeyboardInterrupt) and told.seen is not None and not is_debug:
        typer.echo("  where:    run it again with --debug to see the traceback", err=True)
    return told.exit_code


def as_told(error: BaseException) -> TutelageError:
    """The failure as one of ours, with advice: a full disk, too little memory, Ctrl-C, or a mistake of ours."""
    match error:
        case TutelageError():
            return error
        case KeyboardInterrupt() | typer.Abort():
            return RunFailed("interrupted")
        case ModuleNotFoundError() if error.name in TRAIN_PACKAGES:
            return MissingExtra(str(error.name), "train", "Working with a model")
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageFull(
                "the disk is full", seen=error.filename, advice="free some space; a run goes on with --resume"
            )
        case PermissionError() | IsADirectoryError() | NotADirectoryError() | FileNotFoundError():
            return RunFailed(f"{error.strerror or error}", seen=error.filename, advice="check the path")
        case MemoryError():
            return _out_of_memory(error)
        case _ if type(error).__name__ == "OutOfMemoryError":  # torch's, known by name so as not to import torch
            return _out_of_memory(error)
        case _:
            return RunFailed(
                "an unexpected failure, most likely a mistake in tutelage or in a library it uses",
                seen=f"{type(error).__name__}: {error}",
            )


def write_traceback(error: BaseException, folder: Path) -> Path | None:
    """Keep the traceback in `folder/traceback.txt`; None where that cannot be written."""
    path = folder / "traceback.txt"
    try:
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return None
    return path


def _out_of_memory(error: BaseException) -> RunFailed:
    return RunFailed(
        "there is not enough memory",
        seen=str(error) or type(error).__name__,
        expected="a model and batches that fit",
        advice="lower max_batch and token_budget, set gradient_checkpointing=true, use lora_rank=16 or a smaller model",
    )


def _is_usage(error: BaseException) -> bool:
    """Whether typer's parser raised it; known by its verbs, as the class has moved between versions of typer."""
    return not isinstance(error, TutelageError) and hasattr(error, "show") and hasattr(error, "exit_code")


def _show(error: TutelageError, notes: list[str]) -> None:
    head, _, rest = error.message().partition("\n")
    label = typer.style("error:", fg=typer.colors.RED, bold=True) if sys.stderr.isatty() else "error:"
    typer.echo(f"{label} {head}", err=True)
    for line in [*rest.splitlines(), *(f"  {note}" for note in notes)]:
        typer.echo(line, err=True)
