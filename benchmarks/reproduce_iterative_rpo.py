"""Iterative RPO (arXiv 2404.19733) on the built-in world: Tables 1 and 2 and Figures 2 to 4 in shape.

Every method with every seed is a cell; a finished cell is one row of `results/reproduce_iterative_rpo.jsonl`, and
started again the script runs only what is missing there. Methods, hyperparameters and claims are in
`reproduce_irpo_plan.py` and `reproduce_irpo_claims.py`; `--pilot` predicts effects and seeds needed.
All methods of a seed start from the same model and the same samples of the same problems; all seeds are measured
on the same 1,000 test problems. `--report` writes the tables, verdicts and plots of `docs/papers.md` from the rows.

    python benchmarks/reproduce_iterative_rpo.py --pilot         # about 20 CPU-minutes: predictions, dev problems
    python benchmarks/reproduce_iterative_rpo.py --workers 2     # about 34 CPU-minutes, then --report by itself
    python benchmarks/reproduce_iterative_rpo.py --report        # seconds
    python benchmarks/reproduce_iterative_rpo.py --quick         # a smoke run: 3 CPU-minutes, rows to a scratch file
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported, here and in every worker

from cells import read_rows, run_missing  # noqa: E402
from reproduce_irpo_claims import CLAIMS, PREDICTIONS  # noqa: E402
from reproduce_irpo_plan import PILOT_SEEDS, SEEDS, WORLDS, Step, methods  # noqa: E402
from reproduce_lab import Lab, World, open_lab, practice_facts, timed  # noqa: E402
from reproduce_tables import write_predictions  # noqa: E402

from tutelage.records import digest  # noqa: E402

FOLDER = Path(__file__).parent / "results"
FILES = {
    "full": FOLDER / "reproduce_iterative_rpo.jsonl",
    "pilot": FOLDER / "reproduce_iterative_rpo_pilot.jsonl",
    "quick": Path(tempfile.gettempdir()) / "reproduce_iterative_rpo_quick.jsonl",
}
SEEDS_OF = {"full": SEEDS, "pilot": PILOT_SEEDS, "quick": SEEDS[:1]}


@dataclass(frozen=True)
class Cell:
    """One method with one seed in one world."""

    world: World
    method: str
    seed: int
    steps: tuple[Step, ...]

    @property
    def key(self) -> str:
        """What tells a cell from others, its settings included: rows of an older plan are not taken for it."""
        settings = digest([asdict(self.world), [asdict(step) for step in self.steps]])
        return f"{self.world.name}/{self.method}/{self.seed}/{settings}"


def all_cells(seeds: list[int], scale: str) -> list[Cell]:
    """The cells of the study, longest first, so that two workers end together.

    Args:
        seeds: one cell of each method and world for each.
        scale: `full`; `quick` for a smoke run; `pilot` for dev problems and fewer votes.
    """
    cells, quick = [], scale == "quick"
    for name, world in WORLDS.items():
        if quick:
            world = replace(world, num_train=24, num_greedy=60, num_votes=min(20, world.num_votes), votes=4)
        if scale == "pilot" and name == "choice":
            continue  # nothing is predicted there but chance
        if scale == "pilot":
            world = replace(world, eval_data="dev", num_greedy=500, num_votes=min(150, world.num_votes), votes=16)
        for method, steps in methods(name).items():
            if quick:
                steps = tuple(replace(step, how=replace(step.how, updates=8)) for step in steps)
            cells += [Cell(world, method, seed, steps) for seed in seeds]
    return sorted(cells, key=lambda cell: (-len(cell.steps), cell.seed))


def run_cell(cell: Cell) -> dict[str, Any]:
    """The row of a cell."""
    began, wall = time.process_time(), time.perf_counter()
    with open_lab(cell.world, cell.seed) as lab:
        stages = _measure_base(lab) if not cell.steps else _follow(lab, cell.steps)
    return {
        "key": cell.key, "world": cell.world.name, "method": cell.method, "seed": cell.seed,
        "settings": asdict(cell.world), "stages": stages, "cpu_seconds": timed(began),
        "seconds": round(time.perf_counter() - wall, 1),
    }  # fmt: skip


def _measure_base(lab: Lab) -> list[dict[str, Any]]:
    return [{"stage": "zero-shot", **lab.measure(lab.base)}]


def _follow(lab: Lab, steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    """The stages of a method: practise, learn, measure, step by step."""
    weights, stages = lab.base, []
    first = lab.practise(lab.base, 1, doubled=steps[0].practice == "doubled")
    practice, iteration = first, 1
    for step in steps:
        how = step.how
        if step.practice == "fresh":
            iteration += 1
            practice = lab.practise(weights, iteration)
            share = len(practice.pairing.pairs) / len(first.pairing.pairs)
            how = replace(how, updates=max(1, round(how.updates * share)))
        row: dict[str, Any] = {"stage": step.stage, "how": asdict(how), "practice": practice_facts(lab, practice)}
        if not practice.pairing.pairs:
            stages.append(row | {"stopped": "no problem had both a right and a wrong sample"})
            break
        start = lab.base if step.start == "base" else weights
        weights, facts = lab.learn(how, start, practice.pairing.pairs, curves=step.curves)
        row |= facts
        if step.measured != "no":
            row |= lab.measure(weights, votes=step.measured == "full")
        stages.append(row)
    return stages


def told(row: dict[str, Any]) -> str:
    """What is printed of a finished cell."""
    figures = (f"{s['stage']} {s['greedy']['accuracy']:.1%}" for s in row["stages"] if "greedy" in s)
    return f"{row['world']} seed {row['seed']}: {', '.join(figures)}"


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: the plan's")
    scales = parser.add_mutually_exclusive_group()
    scales.add_argument(
        "--quick", action="store_true", help="few problems, samples and updates; rows to a scratch file"
    )
    scales.add_argument("--pilot", action="store_true", help="dev problems, the plan's pilot seeds; prints predictions")
    parser.add_argument("--report", action="store_true", help="only write tables and plots from the rows")
    parser.add_argument("--results", type=Path, help="file of the rows")
    parser.add_argument("--json", action="store_true", help="print the claims as JSON lines")
    options = parser.parse_args()
    scale = "quick" if options.quick else "pilot" if options.pilot else "full"
    results = options.results or FILES[scale]
    if scale == "full" and not PREDICTIONS.exists():
        parser.error("the effects must be predicted before the study: run --pilot first")
    cells = all_cells(options.seeds or list(SEEDS_OF[scale]), scale)
    if not options.report:
        run_missing(cells, run_cell, results, workers=options.workers, tell=told)
    import reproduce_irpo_report as report

    wanted = {cell.key for cell in cells}
    rows = [row for row in read_rows(results) if row["key"] in wanted]
    if scale == "pilot":
        write_predictions(CLAIMS, lambda world: report.by_stage(rows, world), PREDICTIONS)
    else:
        report.write_report(rows, as_json=options.json, to_docs=scale == "full")


if __name__ == "__main__":
    main()
