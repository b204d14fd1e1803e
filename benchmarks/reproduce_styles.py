"""Prose, programs and prose with programs on the built-in world: the 360 talk's and MAmmoTH's argument, in shape.

The same model is fine-tuned on worked solutions of the same 24 problems, ten seeds, in 30 updates of 16 examples:
    cot      prose                                    solves in prose
    pot      a program                                solves by a program
    mixed    a plan, a program, its output, an answer  (output masked)
    hybrid   half of the examples cot, half pot       solves in prose, by a program, and by a program with prose where
                                                      that does not run (`pot-then-cot`, MAmmoTH's decoding)
measured greedily on 600 test problems, and the model before in every style. 24 problems, because 60 bring SFT to 95 %.
Kinds of problem: `slip` where the textbooks' most frequent mistake in it is a slip of calculation, which a program does
not make; `understanding` where it is another operation, operand or a skipped step, which a program copies.

Predicted before the run on test, from how the model was schooled (one mistaken cell in ten is a slip):
    before   pot - cot is above 0 on slip problems; no prediction on the others (equal by the world's construction)
    after    pot - cot above 0 on slip problems; hybrid by pot-then-cot at least the better of cot and pot less 2 points
Seeds 1 to 3 were run and read first; then ten seeds were fixed, whatever came out, and all ten count. The pilot (dev
problems, seeds 8 and 9) gives each contrast's expected effect and the seeds for power 0.8; claims, intervals and
verdicts as in every study (`reproduce_styles_report.py`, `reproduce_statistics.py`).
Nothing in this world is like MAmmoTH's abstract problems, on which programs lose.

    python benchmarks/reproduce_styles.py --pilot         # predictions, on dev problems
    python benchmarks/reproduce_styles.py --workers 1     # about ten minutes of one core, then the report
    python benchmarks/reproduce_styles.py --report        # the section alone, from the rows
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported, here and in every worker

from cells import read_rows, run_missing  # noqa: E402

from tutelage.cli.backends import open_bench  # noqa: E402
from tutelage.problems.primer import cell_table  # noqa: E402
from tutelage.recipes import learn, sft, stages  # noqa: E402
from tutelage.recipes.bench import Bench, Weights  # noqa: E402
from tutelage.recipes.program_stage import open_runner, sample_styled  # noqa: E402
from tutelage.recipes.progress import SilentProgress  # noqa: E402
from tutelage.recipes.styles import styled, styled_examples  # noqa: E402
from tutelage.records import Problem, SamplingParams, digest  # noqa: E402
from tutelage.text.programs import Style  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "reproduce_styles.jsonl"
PILOT = RESULTS.with_name("reproduce_styles_pilot.jsonl")
SEEDS, PILOT_SEEDS = (1, 2, 3, 4, 5, 6, 7, 10, 11, 12), (8, 9)
ARMS: dict[str, tuple[Style, ...]] = {
    "before": (), "cot": ("cot",), "pot": ("pot",), "mixed": ("mixed",), "hybrid": ("cot", "pot"),
}  # fmt: skip
STEPS, BATCH, RATE, TOKENS = 30, 16, 5e-4, 128
KINDS = ("slip", "understanding")


@dataclass(frozen=True)
class Cell:
    """One arm with one seed."""

    arm: str
    seed: int
    split: str = "test"
    train: int = 24
    test: int = 600

    @property
    def key(self) -> str:
        """Tells it from others, settings included."""
        return f"{self.arm}/{self.seed}/{digest([self.split, self.train, self.test, STEPS, BATCH, RATE])}"

    def config(self, folder: Path) -> sft.Config:
        """The settings of its training and measurement."""
        return sft.Config(
            model="primer", data=f"primer:train?n={self.train}&seed={self.seed}",
            eval_data=f"primer:{self.split}?n={self.test}", eval_limit=self.test, eval_samples=0,
            styles=list(ARMS[self.arm] or ("cot",)), max_new_tokens=TOKENS, learning_rate=RATE, batch_size=BATCH,
            epochs=100.0, max_steps=STEPS, max_batch=128, seed=self.seed, output_dir=str(folder), device="cpu",
            dtype="float32", program_workers=1,
        )  # fmt: skip


def run_cell(cell: Cell) -> dict[str, Any]:
    """The row of a cell: which problems are solved, by way of decoding."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        config = cell.config(Path(scratch) / "run")
        with open_bench(config, recipe="sft", folder=Path(scratch) / "run", progress=SilentProgress()) as bench:
            weights = bench.base
            examples = styled_examples(bench, bench.train, ARMS[cell.arm])
            if examples:
                weights, _ = learn.from_examples(config, bench, bench.base, examples)
            values, ended = solve_all(config, bench, weights, ARMS[cell.arm] or ("cot", "pot", "mixed"))
            kinds = [kind_of(problem) for problem in bench.test]
    return {
        "key": cell.key, "arm": cell.arm, "seed": cell.seed, "split": cell.split, "examples": len(examples),
        "values": values, "ended": ended, "kinds": kinds, "cpu_seconds": round(time.process_time() - began, 1),
    }  # fmt: skip


def solve_all(
    config: sft.Config, bench: Bench, weights: Weights, styles: tuple[Style, ...]
) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Right (1) or wrong (0) by problem and way of decoding, and how programs ended."""
    values: dict[str, list[int]] = {}
    ended: dict[str, int] = {}
    answers: dict[str, list[bool]] = {}
    params = SamplingParams(temperature=0.0, max_new_tokens=config.max_new_tokens)
    with open_runner(config, bench.run) as runner:
        for style in styles:
            plan = stages.SamplingPlan(f"after-{style}", params, 1, config.seed)
            made = sample_styled(bench, weights, bench.test, plan, style=style, runner=runner)
            verdicts = stages.grade(styled(bench, style), bench.test, made, name=f"after-{style}-grade")
            values[style] = [int(verdicts[c.id].is_correct) for c in made]
            answers[style] = [verdicts[c.id].answer is not None for c in made]
            for completion in made:
                if style != "cot":
                    word = completion.note or "no program"
                    ended[f"{style} {word}"] = ended.get(f"{style} {word}", 0) + 1
    if {"cot", "pot"} <= set(styles):
        pairs = zip(values["pot"], answers["pot"], values["cot"], strict=True)
        values["pot-then-cot"] = [pot if has_run else cot for pot, has_run, cot in pairs]
    return values, ended


def kind_of(problem: Problem) -> str:
    """Whether the textbooks' most frequent mistake in a problem is a slip of calculation."""
    cells = [cell_table()[name] for name in problem.metadata["cells"]]
    worst = max(cells, key=lambda cell: cell.rate)
    return "slip" if worst.kind == "slip" else "understanding"


def all_cells(*, is_pilot: bool) -> list[Cell]:
    """The cells of the study, or of its pilot."""
    seeds, split, test = (PILOT_SEEDS, "dev", 200) if is_pilot else (SEEDS, "test", Cell.test)
    return [Cell(arm, seed, split, test=test) for seed in seeds for arm in ARMS if arm != "before" or seed == seeds[0]]


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="only the section of docs/papers.md, from the rows")
    parser.add_argument("--pilot", action="store_true", help="dev problems, seeds of their own; writes the predictions")
    options = parser.parse_args()
    import reproduce_styles_report as report

    cells, path = all_cells(is_pilot=options.pilot), PILOT if options.pilot else RESULTS
    if not options.pilot and not report.PREDICTIONS.exists():
        sys.exit("the effects must be predicted before the study: run --pilot first")
    if not options.report:
        run_missing(cells, run_cell, path, workers=options.workers, tell=lambda row: row["key"])
    wanted = {cell.key for cell in cells}
    rows = [row for row in read_rows(path) if row["key"] in wanted]
    if len(rows) < len(cells):
        sys.exit(f"{len(cells) - len(rows)} cells are missing: run the script without --report")
    if options.pilot:
        report.predict(rows)
    else:
        report.write_report(rows)


if __name__ == "__main__":
    main()
