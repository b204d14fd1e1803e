"""A run that failed on what the user wrote, before anything was sampled, leaves no folder that refuses the next try."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tutelage.errors import InputError
from tutelage.store.header import HEADER
from tutelage.store.journal import FILE as JOURNAL

LOCK = ".lock"
WRITTEN_FIRST = (HEADER, JOURNAL, LOCK)
"""Files that a run folder has before its recipe does anything; besides them, the problems that it was given."""
PROBLEMS = "problems"


@contextmanager
def unless_unbegun(folder: Path) -> Iterator[None]:
    """A context around a run: a wrong input raised in it takes its new folder away, if nothing is in it yet.

    A folder that was there before is emptied and stays, as does everything that holds more than the header of a run (a
    completion, a file of the user's, a link) or that another process wrote last. Only files known by name are removed,
    one by one.

    Args:
        folder: the run folder.
    """
    was_there = folder.exists()
    is_new = not was_there or (folder.is_dir() and not any(folder.iterdir()))
    try:
        yield
    except InputError as error:
        if is_new and _is_ours(folder) and remove_header(folder):
            if not was_there:
                with suppress(OSError):
                    folder.rmdir()
            done = "emptied" if was_there else "removed"
            error.add_note(f"nothing was sampled, so the run folder {folder} was {done} again")
        raise


def _is_ours(folder: Path) -> bool:
    """Whether this process was the last to write there: the lock's file keeps its number."""
    try:
        return (folder / LOCK).read_text().strip() == str(os.getpid())
    except OSError:
        return False


def remove_header(folder: Path) -> bool:
    """Empty a run folder with nothing but its header in it; any other is left as it is.

    Returns:
        Whether it was emptied.
    """
    problems = [path for path in sorted((folder / PROBLEMS).glob("*.jsonl")) if path.stem.isdigit()]
    known = {folder / name for name in WRITTEN_FIRST} | {folder / PROBLEMS, *problems}
    found = {*folder.rglob("*")}
    if found - known or any(path.is_symlink() for path in (folder, *found)):
        return False
    with suppress(OSError):
        for path in (*problems, *(folder / name for name in WRITTEN_FIRST)):
            path.unlink(missing_ok=True)
        if (folder / PROBLEMS).is_dir():
            (folder / PROBLEMS).rmdir()
    return not any(folder.iterdir())
