"""The 360 pipeline's findings on the built-in world: rejection tuning on diverse paths, hard pairs, PPO, dynamic loss.

Parts, each a cell of every seed; accuracies are greedy, on the same 300 test problems:
    before      the model as it is: greedy, and pass rates of 8 samples, which say what test problems are hard (< 0.5)
    paths       D = 60 problems with one worked solution each. Samplers: the built-in model, and the small sibling twice
                (two orders of its batches), each fine-tuned on D, written in up to four ways; 16 samples a problem each
                sft         D alone                              sft-long  D, for as many updates as rft
                rft         D + diverse paths of one sampler     thrice    D + those of one sampler drawn three times
                union       D + those of three samplers
                all from the built-in model, 3 epochs of batch 16
    preference  start: the built-in model after SFT on D; 60 other problems, 8 samples each
                hard        30 updates on pairs of hard problems (4 a problem)
                best-worst  30 updates on one pair of every problem that has both (by the grader: any right, any wrong)
                ppo         5 rounds of 12 problems x 8 samples: as many samples
    dynamic     SFT on prose and programs of 24 problems, 24 updates of 16: plain, and with the dynamic loss at defaults
and, later than these (`reproduce_pipeline_more.py`), each with its own control:
    sizes       rft-again   as rft               rft-all      D + every right path of that sampler, repeats included
                union-sizes D + paths of the built-in model, the small and the tiny sibling
    schools     union-schools  D + paths of two tiny siblings of two schooling seeds     tiny-twice  of one, drawn twice
    judged      start and samples of `preference`; a judge taught by the world's truth on 100 problems of its own, which
                is not shown the reference answer
                hard-judged       pairs of problems of which at most half of the samples pass the judge (none: unsolved)
                best-worst-judged the right path with the highest score against the wrong one with the lowest
                hard-styles       hard pairs where half of the samples are programs; measured in prose
A right solution of this world has one line a step, so distinct right paths cannot vary. In `paths` the textbooks
therefore write the operands of + and * in either order, by chance; RFT's key tells them apart (3+4, 4+3). A first pilot
(rows in `results/reproduce_pipeline_pilot.jsonl`) with samplers that learnt one way of each problem for 3 epochs still
had one path a problem, so samplers learn four ways for 6 epochs at 5e-4.

Predicted before any run, from the sources and from how this world is made:
    rft - sft above 0 (10 points: four times the updates); union - rft above 0, small (1 point), since operand order
    teaches nothing new of a problem; rft - sft-long near 0; union - thrice near 0, above 0 in distinct paths;
    distinct paths follow log k better than k; the small sampler's are more than the built-in model's if it is worse;
    hard - best-worst above 0 (2 points); ppo and hard above start; dynamic - plain on hard problems above 0 (1 point)
and of the later parts, before any run of theirs:
    rft-again - rft-all above 0, small (1 point): repeats only add updates, which did not help SFT; union-sizes -
    rft-again and union-schools - tiny-twice near 0, above 0 in distinct paths; hard and hard-judged - best-worst-judged
    near 0, best-worst-judged - start above 0 (10 points), as with the grader's; hard-styles - start above 0 (10 points)
The pilot (dev problems, seeds 8 and 9) then gives each contrast's predicted effect and the seeds for power 0.8; the
test run does not start without. Intervals and verdicts: `reproduce_statistics.py`. Nothing is tuned on test.

    python benchmarks/reproduce_pipeline.py --pilot --workers 2     # dev, writes the predictions
    python benchmarks/reproduce_pipeline.py --workers 2             # about 20 minutes of one core; resumable
    python benchmarks/reproduce_pipeline.py --report                # the section of docs/papers.md, from the rows
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported, here and in every worker

from cells import read_rows, run_missing  # noqa: E402
from reproduce_pipeline_claims import PREDICTIONS  # noqa: E402
from reproduce_pipeline_lab import (  # noqa: E402
    HARD_SAMPLES,
    NUM_FEW,
    NUM_TRAIN,
    PAIRS,
    PARTS,
    PATHS,
    PLAIN,
    PPO,
    SFT,
    SHARED,
    STYLES,
    Cell,
    all_cells,
    bench_for,
    in_either_order,
    learn_paths,
    sampler_figures,
    solved,
    spread,
    start_of_pairs,
    teach_sampler,
)
from reproduce_pipeline_more import MORE, missing_siblings  # noqa: E402
from reproduce_styles import solve_all  # noqa: E402

from tutelage.recipes import diverse_rft, hard_dpo, learn, ppo, sft, stages  # noqa: E402
from tutelage.recipes.answer_spread import spread_by_difficulty  # noqa: E402
from tutelage.recipes.bench import Bench, Weights  # noqa: E402
from tutelage.recipes.path_drawing import draw  # noqa: E402
from tutelage.recipes.styles import styled_examples  # noqa: E402
from tutelage.records import SamplingParams, digest  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "reproduce_pipeline.jsonl"
PILOT = RESULTS.with_name("reproduce_pipeline_pilot.jsonl")


def run_cell(cell: Cell) -> dict[str, Any]:
    """The row of a cell."""
    began = time.process_time()
    parts = {"before": before, "paths": paths, "preference": preference, "dynamic": dynamic, **MORE}
    figures = parts[cell.part](cell)
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


def paths(cell: Cell) -> dict[str, Any]:
    """Samplers, their paths, and what is learnt from which."""
    config = diverse_rft.Config(**cell.problems(NUM_TRAIN), **SFT, **PATHS)
    found: dict[str, Any] = {}
    with bench_for(config, diverse_rft.NAME) as bench:
        samplers = []
        for name, size, shift in (("primer", "", 0), ("small", "small", 0), ("small-b", "small", 100)):
            weights, found[f"sampler-{name}"] = teach_sampler(config, bench, name, size=size, shift=shift)
            samplers.append(weights.model)
        bench = replace(bench, train=[in_either_order(problem, cell.seed, 0) for problem in bench.train])
        gold = styled_examples(bench, bench.train, ["cot"])
        weights, _ = learn.from_examples(config, bench, bench.base, gold, label="sft")
        found["sft"] = solved(bench, weights, "sft", cell.seed)
        drawn = draw(config, bench, [*samplers, samplers[0], samplers[0]], bench.train)
        arms = {"rft": drawn[:1], "union": drawn[:3], "thrice": [drawn[0], *drawn[3:]]}
        for arm, some in arms.items():
            found[arm] = learn_paths(config, bench, arm, some)
        for part in found["union"]["paths"]["samplers"]:
            found[part["sampler"]]["figures"] = sampler_figures(found["union"]["paths"], part["sampler"])
        long = config.model_copy(update={"epochs": 1000.0, "max_steps": found["rft"]["updates"]})
        weights, _ = learn.from_examples(long, bench, bench.base, gold, label="sft-long")
        found["sft-long"] = solved(bench, weights, "sft-long", cell.seed)
    return {"stages": found}


def preference(cell: Cell) -> dict[str, Any]:
    """Hard pairs, best-versus-worst pairs and PPO from the same model, on as many samples."""
    config = hard_dpo.Config(**cell.problems(2 * NUM_TRAIN), **PAIRS)
    found: dict[str, Any] = {}
    with bench_for(config, hard_dpo.NAME) as bench:
        start, bench = start_of_pairs(cell, bench)
        found["start"] = solved(bench, start, "start", cell.seed)
        spreads = {"start": spread(bench, start, "start", cell.seed)}
        (drawn,) = draw(config, bench, [""], bench.train)
        for arm, kind in (("hard", "hard"), ("best-worst", "best-vs-worst")):
            pairing = hard_dpo.make_pairs(config.model_copy(update={"pairs": kind}), bench, drawn)
            weights, figures = learn.from_pairs(config, bench, start, pairing.pairs, iteration=1, label=arm)
            spreads[arm] = spread(bench, weights, arm, cell.seed)
            found[arm] = solved(bench, weights, arm, cell.seed) | {
                "pairs": pairing.counts, "updates": figures.steps,
                "by_difficulty": spread_by_difficulty(spreads["start"], spreads[arm]),
            }  # fmt: skip
        found["ppo"] = run_ppo(cell, bench)
    return {"stages": found}


def run_ppo(cell: Cell, bench: Bench) -> dict[str, Any]:
    """PPO from the bench's model, its last weights measured."""
    config = ppo.Config(**cell.problems(2 * NUM_TRAIN), **PPO)
    report = ppo.run(config, replace(bench, test=bench.test[:40]))
    last = config.iterations
    folder, lineage = bench.run.checkpoint_path(f"it{last}"), digest([bench.base.lineage, "ppo", last])
    policy = replace(bench.base.policy, version=bench.base.policy.version + last)
    weights = Weights(policy, str(folder), None, lineage)
    return solved(bench, weights, "ppo", cell.seed) | {"kl": report["iterations"][-1].get("kl_after")}


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
            text = "".join(map(str, values[style]))
            found[name] = {"greedy": {"solved": text, "accuracy": round(text.count("1") / len(text), 4)}}
        found[arm] |= {"loss": figures.details["loss_by_hardness"], "problems": figures.details["problems_by_hardness"]}
    return {"stages": found}


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
