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
A right solution of this world has one line a step, so distinct right paths cannot vary. In `paths` the textbooks
therefore write the operands of + and * in either order, by chance; RFT's key tells them apart (3+4, 4+3). A first pilot
(rows in `results/reproduce_pipeline_pilot.jsonl`) with samplers that learnt one way of each problem for 3 epochs still
had one path a problem, so samplers learn four ways for 6 epochs at 5e-4.

Predicted before any run, from the sources and from how this world is made:
    rft - sft above 0 (10 points: four times the updates); union - rft above 0, small (1 point), since operand order
    teaches nothing new of a problem; rft - sft-long near 0; union - thrice near 0, above 0 in distinct paths;
    distinct paths follow log k better than k; the small sampler's are more than the built-in model's if it is worse;
    hard - best-worst above 0 (2 points); ppo and hard above start; dynamic - plain on hard problems above 0 (1 point)
The pilot (dev problems, seeds 8 and 9) then gives each contrast's predicted effect and the seeds for power 0.8; the
test run does not start without. Intervals and verdicts: `reproduce_statistics.py`. Nothing is tuned on test.

    python benchmarks/reproduce_pipeline.py --pilot --workers 2     # dev, writes the predictions
    python benchmarks/reproduce_pipeline.py --workers 2             # about 10 minutes of one core; resumable
    python benchmarks/reproduce_pipeline.py --report                # the section of docs/papers.md, from the rows
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported, here and in every worker

from cells import read_rows, run_missing  # noqa: E402
from reproduce_pipeline_claims import PREDICTIONS  # noqa: E402
from reproduce_styles import solve_all  # noqa: E402

from tutelage.cli.backends import open_bench  # noqa: E402
from tutelage.primer import sibling_path  # noqa: E402
from tutelage.recipes import diverse_rft, hard_dpo, learn, ppo, sft, stages  # noqa: E402
from tutelage.recipes.answer_spread import spread_by_difficulty, spread_of  # noqa: E402
from tutelage.recipes.bench import Bench, Weights  # noqa: E402
from tutelage.recipes.path_drawing import Drawn, draw  # noqa: E402
from tutelage.recipes.progress import SilentProgress  # noqa: E402
from tutelage.recipes.styles import styled_examples  # noqa: E402
from tutelage.records import Example, Problem, SamplingParams, digest  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "reproduce_pipeline.jsonl"
PILOT = RESULTS.with_name("reproduce_pipeline_pilot.jsonl")
PARTS = ("before", "paths", "preference", "dynamic")
SEEDS, PILOT_SEEDS = (1, 2, 3), (8, 9)
SHARED: dict[str, Any] = dict(
    model="primer", eval_samples=0, max_new_tokens=96, max_batch=128, device="cpu", dtype="float32",
)  # fmt: skip
SFT: dict[str, Any] = dict(learning_rate=3e-4, batch_size=16, epochs=3.0, schedule="constant")
SAMPLERS: dict[str, Any] = dict(learning_rate=5e-4, epochs=6.0)
ORDERS = 4
PAIRS: dict[str, Any] = dict(
    num_samples=8, temperature=1.0, learning_rate=2e-4, batch_size=16, beta=1.0, epochs=1000.0, max_steps=30
)
PPO: dict[str, Any] = dict(
    iterations=5, problems_per_iteration=12, num_samples=8, batch_size=32, epochs=4, learning_rate=2e-4,
    value_learning_rate=1e-3, kl_coef=0.02, kl_target=2.0, eval_every=5, kl_problems=60,
)  # fmt: skip
STYLES: dict[str, Any] = dict(
    styles=["cot", "pot"], learning_rate=5e-4, batch_size=16, epochs=1000.0, max_steps=24, hardness_samples=8,
    dynamic_loss=True, program_workers=1,
)  # fmt: skip
PLAIN: dict[str, Any] = dict(hard_gamma=0.0, program_weight=1.0, hardness_every="once")
PATHS: dict[str, Any] = dict(num_samples=16, temperature=1.0)
NUM_TRAIN, NUM_FEW, NUM_SPREAD, HARD_SAMPLES = 60, 24, 60, 8


@dataclass(frozen=True)
class Cell:
    """One part with one seed."""

    part: str
    seed: int
    split: str = "test"
    test: int = 300

    @property
    def key(self) -> str:
        """Tells it from others, settings included."""
        settings = [SHARED, SFT, PAIRS, PPO, STYLES, PLAIN, PATHS, NUM_TRAIN, NUM_FEW, NUM_SPREAD, HARD_SAMPLES]
        settings += [SAMPLERS, ORDERS] if self.part == "paths" else []
        return f"{self.part}/{self.seed}/{digest([self.split, self.test, settings])}"

    def problems(self, num_train: int) -> dict[str, Any]:
        """The settings of its problems."""
        return dict(
            SHARED, data=f"primer:train?n={num_train}&seed={self.seed}", eval_limit=self.test, seed=self.seed,
            eval_data=f"primer:{self.split}?n={self.test}",
        )  # fmt: skip


@contextmanager
def bench_for(config: Any, recipe: str) -> Iterator[Bench]:
    """A bench on a scratch run."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        config = config.model_copy(update={"output_dir": str(folder)})
        with open_bench(config, recipe=recipe, folder=folder, progress=SilentProgress()) as bench:
            yield bench


def run_cell(cell: Cell) -> dict[str, Any]:
    """The row of a cell."""
    began = time.process_time()
    figures = {"before": before, "paths": paths, "preference": preference, "dynamic": dynamic}[cell.part](cell)
    return {"key": cell.key, "part": cell.part, "seed": cell.seed, "split": cell.split, **figures,
            "cpu_seconds": round(time.process_time() - began, 1)}  # fmt: skip


def solved(bench: Bench, weights: Weights, name: str, seed: int) -> dict[str, Any]:
    """Which test problems are solved greedily, as a stage's row: one character each."""
    params = SamplingParams(max_new_tokens=SHARED["max_new_tokens"])
    result = stages.evaluate(
        bench, weights, bench.test, "greedy", name=f"{name}-greedy", data="test", params=params, seed=seed
    )
    values = "".join(str(int(result.per_problem.get(problem.id, 0) >= 1)) for problem in bench.test)
    return {"greedy": {"solved": values, "accuracy": round(values.count("1") / len(values), 4)}}


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


def in_all_orders(seat: Bench, seed: int) -> list[Example]:
    """Worked solutions of the seat's problems in up to `ORDERS` orders of operands."""
    made = [
        example for number in range(ORDERS)
        for example in styled_examples(seat, [in_either_order(p, seed, number) for p in seat.train], ["cot"])
    ]  # fmt: skip
    return list({example.id: example for example in made}.values())


def in_either_order(problem: Problem, seed: int, number: int) -> Problem:
    """The problem with the operands of + and * in its worked solution swapped or not, by chance."""
    rng = random.Random(f"order/{seed}/{number}/{problem.id}")

    def swap(found: re.Match[str]) -> str:
        left, sign, right = found.groups()
        return f"{right}{sign}{left}=" if rng.random() < 0.5 else found[0]

    return replace(problem, solution=re.sub(r"(?m)^(\d+)([+*])(\d+)=", swap, problem.solution or ""))


def paths(cell: Cell) -> dict[str, Any]:
    """Samplers, their paths, and what is learnt from which."""
    config = diverse_rft.Config(**cell.problems(NUM_TRAIN), **SFT, **PATHS)
    found: dict[str, Any] = {}
    with bench_for(config, diverse_rft.NAME) as bench:
        samplers = []
        for name, model, shift in (("primer", "", 0), ("small", str(sibling_path("small", 0)), 0),
                                   ("small-b", str(sibling_path("small", 0)), 100)):  # fmt: skip
            seat = bench.invite(model) if model else bench
            other = config.model_copy(update={**SAMPLERS, "seed": cell.seed + shift})
            weights, _ = learn.from_examples(
                other, seat, seat.base, in_all_orders(seat, cell.seed), label=f"sampler-{name}"
            )
            found[f"sampler-{name}"] = solved(seat, weights, name, cell.seed)
            samplers.append(weights.model)
        bench = replace(bench, train=[in_either_order(problem, cell.seed, 0) for problem in bench.train])
        gold = styled_examples(bench, bench.train, ["cot"])
        weights, _ = learn.from_examples(config, bench, bench.base, gold, label="sft")
        found["sft"] = solved(bench, weights, "sft", cell.seed)
        drawn = draw(config, bench, [*samplers, samplers[0], samplers[0]], bench.train)
        arms = {"rft": drawn[:1], "union": drawn[:3], "thrice": [drawn[0], *drawn[3:]]}
        for arm, some in arms.items():
            found[arm] = learn_paths(config, bench, arm, some)
        add_sampler_figures(found)
        long = config.model_copy(update={"epochs": 1000.0, "max_steps": found["rft"]["updates"]})
        weights, _ = learn.from_examples(long, bench, bench.base, gold, label="sft-long")
        found["sft-long"] = solved(bench, weights, "sft-long", cell.seed)
    return {"stages": found}


def learn_paths(config: diverse_rft.Config, bench: Bench, arm: str, drawn: Sequence[Drawn]) -> dict[str, Any]:
    """One arm: selection, training and measurement, as the recipe does them."""
    passed, _ = diverse_rft.passing(config, bench, drawn)
    kept = diverse_rft.choose(config, passed)
    examples, _ = diverse_rft.learnt_from(config, bench, drawn, kept)
    weights, figures = learn.from_examples(config, bench, bench.base, examples, label=arm)
    card = diverse_rft.card_of(config, drawn, passed, kept)
    share = card["distinct"] / len(bench.train)
    return {**solved(bench, weights, arm, config.seed), "updates": figures.steps, "examples": len(examples),
            "paths": card, "figures": {"distinct": share},
            "solved": {name: len(by) for name, by in passed.items()}, "solved_by_any": len(kept)}  # fmt: skip


def add_sampler_figures(found: dict[str, Any]) -> None:
    """Distinct paths a problem of each sampler, and how well log k and k fit their growth."""
    card = found["union"]["paths"]
    for part in card["samplers"]:
        curve = card["distinct_by_samples"][part["sampler"]]
        found[part["sampler"]]["figures"] = {
            "distinct": part["distinct"] / NUM_TRAIN, "log_over_linear": curve["fit"]["log"] - curve["fit"]["linear"],
        }  # fmt: skip


def preference(cell: Cell) -> dict[str, Any]:
    """Hard pairs, best-versus-worst pairs and PPO from the same model, on as many samples."""
    config = hard_dpo.Config(**cell.problems(2 * NUM_TRAIN), **PAIRS)
    found: dict[str, Any] = {}
    with bench_for(config, hard_dpo.NAME) as bench:
        teaching = sft.Config(**cell.problems(NUM_TRAIN), **{k: v for k, v in SFT.items() if k != "schedule"})
        gold = styled_examples(bench, bench.train[:NUM_TRAIN], ["cot"])
        start, _ = learn.from_examples(teaching, bench, bench.base, gold, label="start")
        bench = replace(bench, train=bench.train[NUM_TRAIN:], base=start)
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


def spread(bench: Bench, weights: Weights, name: str, seed: int) -> Any:
    """How the answers to the first test problems spread."""
    problems = bench.test[:NUM_SPREAD]
    params = SamplingParams(temperature=0.7, max_new_tokens=SHARED["max_new_tokens"])
    made = stages.sample(bench, weights, problems, stages.SamplingPlan(f"{name}-spread", params, 8, seed))
    return spread_of(made, stages.grade(bench, problems, made, name=f"{name}-spread-grade"))


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


def all_cells(*, is_pilot: bool) -> list[Cell]:
    """The cells of the study, or of its pilot; what is longest first."""
    seeds, split, test = (PILOT_SEEDS, "dev", 150) if is_pilot else (SEEDS, "test", Cell.test)
    parts = [Cell(part, seed, split, test) for part in ("paths", "preference", "dynamic") for seed in seeds]
    return [*parts, Cell("before", seeds[0], split, test)]


def told(row: dict[str, Any]) -> str:
    """What is printed of a finished cell."""
    return f"{row['part']} {row['seed']}: " + ", ".join(
        f"{name} {stage['greedy']['accuracy']:.1%}" for name, stage in row["stages"].items()
    )


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pilot", action="store_true", help="dev problems, seeds of their own; writes the predictions")
    parser.add_argument("--report", action="store_true", help="only the section of docs/papers.md, from the rows")
    parser.add_argument("--seeds", type=int, nargs="+", help="run these only, e.g. beside another process")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="run these parts only")
    options = parser.parse_args()
    if not sibling_path("small", 0).exists():
        sys.exit("the small sibling is missing: python -m tutelage.primer.build --size small")
    if not options.pilot and not PREDICTIONS.exists():
        sys.exit("the effects must be predicted before the study: run --pilot first")
    cells, path = all_cells(is_pilot=options.pilot), PILOT if options.pilot else RESULTS
    if not options.report:
        chosen = [cell for cell in cells if cell.part in options.parts]
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
