"""The 360 pipeline's findings on the built-in world: rejection tuning on diverse paths, hard pairs, PPO, dynamic loss.

Parts, each a cell of every seed; accuracies are greedy, on the same 300 test problems:
    before      the model as it is: greedy, and pass rates of 8 samples, which say what test problems are hard (< 0.5)
    dynamic     SFT on prose and programs of 24 problems, 24 updates of 16: plain, and with the dynamic loss at defaults
    paths, sizes, repeats, schools, answers                    in `reproduce_pipeline_paths.py`
    preference, judged, styled                                 in `reproduce_pipeline_pairs.py`
A right solution of this world has one line a step, so distinct right paths cannot vary. In all parts on paths but
`answers` the textbooks therefore write the operands of + and * in either order, by chance; RFT's key tells them apart
(3+4, 4+3). A first pilot (rows in `results/reproduce_pipeline_pilot.jsonl`) with samplers that learnt one way of each
problem for 3 epochs still had one path a problem, so samplers learn four ways for 6 epochs at 5e-4.

Predicted before any run, from the sources and from how this world is made:
    rft - sft above 0 (10 points: four times the updates); union - rft above 0, small (1 point), since operand order
    teaches nothing new of a problem; rft - sft-long near 0; union - thrice near 0, above 0 in distinct paths;
    distinct paths follow log k better than k; the small sampler's are more than the built-in model's if it is worse;
    hard - best-worst above 0 (2 points); ppo and hard above start; dynamic - plain on hard problems above 0 (1 point)
of the parts that came next, before any run of theirs:
    rft-again - rft-all above 0, small (1 point): repeats only add updates, which did not help SFT; union-sizes -
    rft-again and union-schools - tiny-twice near 0, above 0 in distinct paths; hard and hard-judged - best-worst-judged
    near 0, best-worst-judged - start above 0 (10 points), as with the grader's
and of the last (repeats, answers, styled), before any run of theirs:
    rft-long - rft-all below 0 (5 points): a sampler's repeats weigh what it is sure of; all-short - rft-again near 0;
    few-rft - few above 0 (15 points), few-rft - few-long above 0 (10): other problems teach what updates do not;
    few-union - few-rft above 0, small (2 points): problems that only another sampler solves; hard-both - start-both
    above 0 by programs and with what programs come run (5 points), below 0 in prose whose programs are not run
The pilot (dev problems, seeds 8 and 9) then gives each contrast's predicted effect and the seeds for power 0.8; the
test run does not start without. Seeds 1 to 3 of the first seven parts were run and read first and left most claims
open; then ten seeds were fixed for every part, whatever came out, and all ten count. Intervals and verdicts:
`reproduce_statistics.py`. Nothing is tuned on test.

    python benchmarks/reproduce_pipeline.py --pilot --workers 2     # dev, writes the predictions
    python benchmarks/reproduce_pipeline.py --workers 2             # 45 minutes of one core; resumable
    python benchmarks/reproduce_pipeline.py --report                # the section of docs/papers.md, from the rows
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported, here and in every worker

from cells import read_rows, run_missing  # noqa: E402
from reproduce_pipeline_claims import PREDICTIONS  # noqa: E402
from reproduce_pipeline_lab import (  # noqa: E402
    HARD_SAMPLES,
    NUM_FEW,
    PARTS,
    PLAIN,
    SHARED,
    STYLES,
    Cell,
    all_cells,
    bench_for,
    marks,
    missing_siblings,
    solved,
)
from reproduce_pipeline_pairs import judged, preference, styled_pairs  # noqa: E402
from reproduce_pipeline_paths import answers, paths, repeats, schools, sizes  # noqa: E402
from reproduce_styles import solve_all  # noqa: E402

from tutelage.recipes import learn, sft, stages  # noqa: E402
from tutelage.recipes.styles import styled_examples  # noqa: E402
from tutelage.records import SamplingParams  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "reproduce_pipeline.jsonl"
PILOT = RESULTS.with_name("reproduce_pipeline_pilot.jsonl")


def run_cell(cell: Cell) -> dict[str, Any]:
    """The row of a cell."""
    began = time.process_time()
    figures = RUN[cell.part](cell)
    return {"key": cell.key, "part": cell.part, "seed": cell.seed, "split": cell.split, **figures,
            "cpu_seconds": round(time.process_time() - began, 1)}  # fmt: skip


def before(cell: Cell) -> dict[str, Any]:
    """The model as it is, and how often it solves each test problem."""
    with bench_for(sft.Config(**cell.problems(1)), sft.NAME) as bench:
        stage = solved(bench, bench.base, "before", cell.seed)
        params = SamplingParams(temperature=0.7, max_new_tokens=SHARED["max_new_tokens"])
        plan = stages.SamplingPlan("before-rates", params, HARD_SAMPLES, cell.seed)
        made = stages.sample(bench, bench.base, bench.test, plan)
        verdicts = stages.grade(bench, bench.test, made, name="before-rates-grade")
        right = [sum(verdicts[c.id].is_correct for c in made if c.problem_id == p.id) for p in bench.test]
    return {"stages": {"before": stage}, "rates": [count / HARD_SAMPLES for count in right]}


def dynamic(cell: Cell) -> dict[str, Any]:
    """SFT on prose and programs, plain and with the dynamic loss."""
    found: dict[str, Any] = {}
    for arm, changes in (("plain", PLAIN), ("dynamic", {})):
        config = sft.Config(**cell.problems(NUM_FEW), **(STYLES | changes))
        with bench_for(config, sft.NAME) as bench:
            examples = styled_examples(bench, bench.train, config.styles)
            weights, figures = learn.from_examples(config, bench, bench.base, examples)
            values, _ = solve_all(config, bench, weights, ("cot", "pot"))
        for style, name in (("cot", arm), ("pot", f"{arm}-pot")):
            found[name] = marks(value == 1 for value in values[style])
        found[arm] |= {"loss": figures.details["loss_by_hardness"], "problems": figures.details["problems_by_hardness"]}
    return {"stages": found}


RUN: dict[str, Callable[[Cell], dict[str, Any]]] = {
    "before": before, "paths": paths, "preference": preference, "dynamic": dynamic, "sizes": sizes, "schools": schools,
    "judged": judged, "repeats": repeats, "answers": answers, "styled": styled_pairs,
}  # fmt: skip
"""Parts by name."""


def told(row: dict[str, Any]) -> str:
    """What is printed of a finished cell."""
    return f"{row['part']} {row['seed']}: " + ", ".join(
        f"{name} {stage['greedy']['accuracy']:.1%}" for name, stage in row["stages"].items()
    )


def runnable(parts: Sequence[str]) -> list[str]:
    """The parts whose samplers are there; of the others it is told how to make them."""
    for part in parts:
        for size, seed in missing_siblings(part):
            print(f"left out {part}: python -m tutelage.primer.build --size {size} --seed {seed}", file=sys.stderr)
    return [part for part in parts if not missing_siblings(part)]


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pilot", action="store_true", help="dev problems, seeds of their own; writes the predictions")
    parser.add_argument("--report", action="store_true", help="only the section of docs/papers.md, from the rows")
    parser.add_argument("--seeds", type=int, nargs="+", help="run these only, e.g. beside another process")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="run these parts only")
    options = parser.parse_args()
    if not options.pilot and not PREDICTIONS.exists():
        sys.exit("the effects must be predicted before the study: run --pilot first")
    cells, path = all_cells(is_pilot=options.pilot), PILOT if options.pilot else RESULTS
    if not options.report:
        chosen = [cell for cell in cells if cell.part in runnable(options.parts)]
        mine = [cell for cell in chosen if options.seeds is None or cell.seed in options.seeds]
        run_missing(mine, run_cell, path, workers=options.workers, tell=told)
    import reproduce_pipeline_report as report

    wanted = {cell.key: cell for cell in cells}
    rows = [row for row in read_rows(path) if row["key"] in wanted]
    if options.pilot:
        report.predict(rows, [row for row in read_rows(path) if row["key"] not in wanted])
    else:
        report.write_report(rows, missing=[c for k, c in wanted.items() if k not in {row["key"] for row in rows}])


if __name__ == "__main__":
    main()
