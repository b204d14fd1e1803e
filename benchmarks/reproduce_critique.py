"""Critics (arXiv 2411.16579) on the built-in world: findings of AutoMathCritique, critique-in-the-loop, self-talk.

A cell is a part of the study with one seed; a finished cell is one row of `results/reproduce_critique.jsonl`, and
started again the script runs only what is missing there. Sizes and settings: `reproduce_critique_plan.py`; what cells
do: `reproduce_critique_lab.py`, `_loops.py`, `_strategies.py`; claims: `reproduce_critique_claims.py`. `--pilot` runs
on dev problems with other seeds and writes the predicted effects, without which the study does not start; `--report`
writes the tables, verdicts and plots of `docs/papers.md` from the rows. Critics are made once for each seed, in a
folder under the system's temporary one.

    python benchmarks/reproduce_critique.py --pilot          # predictions, dev problems
    python benchmarks/reproduce_critique.py --workers 2      # the study, then --report by itself
    python benchmarks/reproduce_critique.py --report         # seconds
    python benchmarks/reproduce_critique.py --why            # one-variable experiments on self-talk, dev problems
    python benchmarks/reproduce_critique.py --quick          # a smoke run, rows to a scratch file
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported, here and in every worker

from cells import read_rows, run_missing  # noqa: E402
from reproduce_critique_claims import CLAIMS, PREDICTIONS  # noqa: E402
from reproduce_critique_plan import PILOT, PILOT_SEEDS, SCALES, SEEDS, Scale, settings_of, sizes_there  # noqa: E402
from reproduce_tables import write_predictions  # noqa: E402

from tutelage.records import digest  # noqa: E402

FOLDER = Path(__file__).parent / "results"
FILES = {
    "full": FOLDER / "reproduce_critique.jsonl",
    "pilot": FOLDER / "reproduce_critique_pilot.jsonl",
    "quick": Path(tempfile.gettempdir()) / "reproduce_critique_quick.jsonl",
}
WHY = FOLDER / "reproduce_critique_talk.jsonl"
SEEDS_OF = {"full": SEEDS, "pilot": PILOT_SEEDS, "quick": SEEDS[:1]}
LATER = ("rounds", "talk", "ways", "strategies", "sweep", "sizes")
ONCE = ("difficulty", "votes")
KINDS = ("critics", *LATER, *ONCE)


@dataclass(frozen=True)
class Cell:
    """A part of the study with one seed."""

    kind: str
    seed: int
    scale: Scale
    variant: str = ""

    @property
    def key(self) -> str:
        """What tells a cell from others, its settings included: rows of an older plan are not taken for it."""
        parts: list[Any] = [settings_of(self.scale, self.kind), self.variant]
        if self.kind == "sizes":
            parts.append(sizes_there())
        return f"{self.kind}/{self.seed}/{digest(parts)}"


def run_cell(cell: Cell) -> dict[str, Any]:
    """The row of a cell."""
    began, wall = time.process_time(), time.perf_counter()
    import reproduce_critique_lab as lab  # torch comes with it
    import reproduce_critique_loops as loops
    import reproduce_critique_strategies as answers

    kinds = {
        "critics": lab.critics, "rounds": loops.rounds, "talk": loops.talk, "ways": loops.ways, "sweep": loops.sweep,
        "strategies": answers.strategies, "sizes": answers.sizes, "difficulty": answers.difficulty,
        "votes": answers.votes,
    }  # fmt: skip
    stages = kinds[cell.kind](cell.scale, cell.seed, *([cell.variant] if cell.variant else []))
    return {
        "key": cell.key, "kind": cell.kind, "seed": cell.seed, "variant": cell.variant, "split": cell.scale.split,
        "stages": stages, "cpu_seconds": round(time.process_time() - began, 1),
        "seconds": round(time.perf_counter() - wall, 1),
    }  # fmt: skip


def all_cells(seeds: list[int], scale: Scale, kinds: list[str]) -> tuple[list[Cell], list[Cell]]:
    """The cells that make the critics, and the others; the last parts have one seed."""
    first = [Cell("critics", seed, scale) for seed in seeds if "critics" in kinds]
    second = [Cell(kind, seed, scale) for kind in LATER if kind in kinds for seed in seeds]
    return first, [*second, *(Cell(kind, 0, scale) for kind in ONCE if kind in kinds)]


def told(row: dict[str, Any]) -> str:
    """What is printed of a finished cell."""
    shown = [f"{s['stage']} {s['greedy']['accuracy']:.1%}" for s in row["stages"] if "greedy" in s]
    return f"{row['kind']} {row['variant']} seed {row['seed']}: {', '.join(shown[:16])}"


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: the plan's")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="parts; default: all")
    scales = parser.add_mutually_exclusive_group()
    scales.add_argument("--quick", action="store_true", help="few problems and updates; rows to a scratch file")
    scales.add_argument("--pilot", action="store_true", help="dev problems, the plan's pilot seeds; writes predictions")
    scales.add_argument("--why", action="store_true", help="one-variable experiments on self-talk, dev problems")
    parser.add_argument("--report", action="store_true", help="only write tables and plots from the rows")
    parser.add_argument("--results", type=Path, help="file of the rows")
    parser.add_argument("--json", action="store_true", help="print the claims as JSON lines")
    options = parser.parse_args()
    if options.why:
        run_why(options)
        return
    name = "quick" if options.quick else "pilot" if options.pilot else "full"
    results = options.results or FILES[name]
    if name == "full" and not PREDICTIONS.exists():
        parser.error("the effects must be predicted before the study: run --pilot first")
    is_full = name == "full"
    first, second = all_cells(options.seeds or list(SEEDS_OF[name]), SCALES[name], options.kinds)
    if not options.report:
        run_missing(first, run_cell, results, workers=options.workers, tell=told)
        run_missing(second, run_cell, results, workers=options.workers, tell=told)
    import reproduce_critique_report as report

    everything = all_cells(list(SEEDS_OF[name]), SCALES[name], list(KINDS))
    wanted = {cell.key for cells in everything for cell in cells}
    rows = [row for row in read_rows(results) if row["key"] in wanted]
    if name == "pilot":
        write_predictions(CLAIMS, lambda world: report.by_stage(rows), PREDICTIONS)
    else:
        report.write_report(rows, as_json=options.json, to_docs=is_full)


def run_why(options: argparse.Namespace) -> None:
    """The one-variable experiments on self-talk; their rows stand in the report."""
    from reproduce_critique_loops import TALK_VARIANTS

    seeds = options.seeds or PILOT_SEEDS[:1]
    cells = [Cell("talk", seed, PILOT, variant) for variant in TALK_VARIANTS for seed in seeds if variant]
    run_missing(cells, run_cell, options.results or WHY, workers=options.workers, tell=told)


if __name__ == "__main__":
    main()
