"""The tuning rows of the Iterative RPO study as two tables: the grid, and the one-variable experiments."""

from __future__ import annotations

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from cells import read_rows


def tuning_tables(path: Path) -> str:
    """Both tables, from the rows of a file."""
    rows = read_rows(path)
    grid = [row for row in rows if row["experiment"] == "grid"]
    others = [row for row in rows if row["experiment"] != "grid"]
    return "\n\n".join([_grid(grid), _experiments(others)])


def _grid(rows: list[dict[str, Any]]) -> str:
    """A line a method, a column a grid point; the best of a line in bold."""
    points = sorted({(row["how"]["updates"], row["how"]["learning_rate"]) for row in rows})
    found: dict[str, dict[tuple[int, float], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        how = row["how"]
        found[f"{row['method']} ({row['setting']})"][how["updates"], how["learning_rate"]].append(row["accuracy"])
    lines = [
        f"| updates x rate | {' | '.join(f'{updates} x {rate:g}' for updates, rate in points)} |",
        f"|---|{'--:|' * len(points)}",
    ]
    for name, values in found.items():
        means = {point: statistics.fmean(some) for point, some in values.items()}
        best = max(means.values())
        cells = [
            "-" if point not in means else f"{'**' if means[point] == best else ''}{100 * means[point]:.1f}"
            f"{'**' if means[point] == best else ''}"
            for point in points
        ]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _experiments(rows: list[dict[str, Any]]) -> str:
    """A line for each variable, value, method and training; accuracies of the seeds and of what kind errors were."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        how = row["how"]
        training = f"{how['updates']} x {how['learning_rate']:g}"
        found[row["experiment"], row["setting"], row["method"], training].append(row)
    lines = ["| variable | value | method | updates x rate | accuracy | of each seed |", "|---|--:|---|--:|--:|--:|"]
    for key, some in found.items():
        accuracies = [100 * row["accuracy"] for row in some]
        each = ", ".join(f"{value:.1f}" for value in accuracies)
        lines.append(f"| {' | '.join(key)} | {statistics.fmean(accuracies):.1f} | {each} |")
    return "\n".join(lines)
