"""Studies made of cells: each runs in a process of its own and leaves one row; finished rows are not run again.

A cell is any picklable object with a `key` that tells it from the others, its settings included; its row holds that
key. Rows are appended to a JSON-lines file as they end, so a study that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol, TypeVar


class Keyed(Protocol):
    """Has a key."""

    @property
    def key(self) -> str:
        """Tells it from others."""
        ...


Cell = TypeVar("Cell", bound=Keyed)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file, none where it is missing; a last line that was cut off is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"left out a row of {path.name} that was cut off", file=sys.stderr)
    return rows


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a results file, on a line of its own whatever the file ends with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_cut = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if is_cut else "") + json.dumps(row) + "\n")


def run_missing(
    cells: Sequence[Cell],
    run: Callable[[Cell], dict[str, Any]],
    path: Path,
    *,
    workers: int,
    tell: Callable[[dict[str, Any]], str],
) -> None:
    """Run the cells that have no row yet.

    Args:
        cells: all of the study.
        run: makes the row of a cell; a function of a module, for it runs in another process.
        path: file of the rows.
        workers: cells run at once.
        tell: what is printed of a finished row.
    """
    done = {row["key"] for row in read_rows(path)}
    todo = [cell for cell in cells if cell.key not in done]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, future in enumerate(as_completed([pool.submit(run, cell) for cell in todo]), start=1):
            row = future.result()
            append_row(path, row)
            print(f"{number}/{len(todo)} {tell(row)}, {row['cpu_seconds']} CPU s", file=sys.stderr, flush=True)
