"""Flow-DPO (arXiv 2410.22304) on the built-in world: Figures 3 and 4 and Table 1 in shape, and a chunk-size sweep.

What is compared, three seeds each, every seed with its own stream of 2,000 problems:
    trained     the flow, learning online from its trees: progressive accuracy, measured before each problem is learnt
    untrained   the same flow on the same stream, never updated
    single      the model alone, greedily and in one go, on the same stream
    compile     the model fine-tuned on as many right traces from gold, itself and the trained flow, and on the
                format-only control, on 80 other problems; greedy accuracy on 1,000 test problems
    chunks      the trained flow on the first 480 problems with chunks of 4, 8, 16 and 64 tokens (the whole answer)
Settings are those of configs/flow_dpo_primer.toml, tuned on primer:dev; nothing here was tuned on what it measures.
A finished cell is one row of `results/reproduce_flow_dpo.jsonl`; started again the script runs only what is missing.

    python benchmarks/reproduce_flow_dpo.py --workers 2     # about ten minutes on two cores
    python benchmarks/reproduce_flow_dpo.py --report        # tables in Markdown from the rows
    python benchmarks/reproduce_flow_dpo.py --quick         # a smoke run: a minute or two, rows to a scratch file
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported, here and in every worker

from cells import read_rows, run_missing  # noqa: E402

from tutelage.cli.backends import open_bench  # noqa: E402
from tutelage.recipes import compile as compile_recipe  # noqa: E402
from tutelage.recipes import flow_dpo, stages  # noqa: E402
from tutelage.recipes.flow_records import FlowTree  # noqa: E402
from tutelage.recipes.progress import SilentProgress  # noqa: E402
from tutelage.records import SamplingParams, digest  # noqa: E402

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "reproduce_flow_dpo.jsonl"
CONFIG = HERE.parent / "configs" / "flow_dpo_primer.toml"
SEEDS = (1, 2, 3)
CHUNKS = {4: 16, 8: 8, 16: 4, 64: 1}
"""Chunk size in tokens -> most chunks: each may write 64 tokens."""


@dataclass(frozen=True)
class Study:
    """How much is done: problems of the stream, of the sweep, for traces, and to measure on."""

    stream: int = 2000
    sweep: int = 480
    traces: int = 80
    test: int = 1000
    window: int = 320

    @classmethod
    def quick(cls) -> Study:
        """A smoke run."""
        return cls(stream=96, sweep=32, traces=24, test=40, window=32)


@dataclass(frozen=True)
class Cell:
    """One part of the study with one seed."""

    kind: str
    seed: int
    study: Study
    chunk: int = 8

    @property
    def key(self) -> str:
        """Tells it from others, settings included: rows of other settings are not taken for it."""
        settings = digest([self.study.__dict__, CONFIG.read_text(encoding="utf-8"), COMPILE])
        return f"{self.kind}/{self.chunk}/{self.seed}/{settings}"

    def config(self, count: int, **changes: Any) -> flow_dpo.Config:
        """The flow's settings on the first `count` problems of this seed's stream."""
        settings = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
        shape = {"chunk_tokens": self.chunk, "max_chunks": CHUNKS[self.chunk]}
        mine = {
            "data": f"primer:train?n={count}&seed={self.seed}", "eval_data": f"primer:test?n={self.study.test}",
            "seed": self.seed, "eval_limit": self.study.test, "progressive_window": self.study.window, "max_batch": 128,
            "device": "cpu", "dtype": "float32",
        }  # fmt: skip
        return flow_dpo.Config(**{**settings, **shape, **mine, **changes})


COMPILE = {"learning_rate": 1e-3, "epochs": 3.0, "batch_size": 16, "lora_rank": 16, "tries": 4}


def run_cell(cell: Cell) -> dict[str, Any]:
    """The row of a cell."""
    began, wall = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        found = {"trained": trained, "untrained": untrained, "single": single, "chunks": chunks}[cell.kind](
            cell, Path(scratch)
        )
    return {
        "key": cell.key, "kind": cell.kind, "seed": cell.seed, "chunk": cell.chunk, **found,
        "cpu_seconds": round(time.process_time() - began, 1), "seconds": round(time.perf_counter() - wall, 1),
    }  # fmt: skip


def trained(cell: Cell, folder: Path) -> dict[str, Any]:
    """The trained flow, and what compiling it gives."""
    began = time.process_time()
    report = _run(flow_dpo, cell.config(cell.study.stream), folder / "flow")
    seconds = round(time.process_time() - began, 1)
    config = compile_recipe.Config(
        model="primer", data=f"primer:train?n={cell.study.traces}&seed={100 + cell.seed}",
        eval_data=f"primer:test?n={cell.study.test}", eval_limit=cell.study.test, seed=cell.seed,
        flow=str(folder / "flow" / "checkpoints"), chunk_tokens=cell.chunk, max_chunks=CHUNKS[cell.chunk],
        stop_prompt="completeness", stop_decision="compare", num_traces=None, max_batch=128, device="cpu",
        dtype="float32", **COMPILE,
    )  # fmt: skip
    compiled = _run(compile_recipe, config, folder / "compile")
    return {
        **_flow_figures(report, cell, folder / "flow"), "practice_cpu_seconds": seconds,
        "compile": compiled["compile"], "comparisons": compiled["comparisons"],
    }  # fmt: skip


def untrained(cell: Cell, folder: Path) -> dict[str, Any]:
    """The same flow on the same stream, never updated."""
    config = cell.config(cell.study.stream, train=False, eval_flow=False, eval_limit=1)
    return _flow_figures(_run(flow_dpo, config, folder / "flow"), cell, folder / "flow")


def single(cell: Cell, folder: Path) -> dict[str, Any]:
    """The model alone on the same stream, greedily."""
    config = cell.config(cell.study.stream, train=False)
    with open_bench(config, recipe=flow_dpo.NAME, folder=folder / "run", progress=SilentProgress()) as bench:
        params = SamplingParams(max_new_tokens=config.max_new_tokens)
        result = stages.evaluate(
            bench, bench.base, bench.train, "greedy", name="single", data="stream", params=params, seed=cell.seed
        )
    values = [result.per_problem[problem.id] for problem in bench.train if problem.id in result.per_problem]
    return {"cumulative": result.value, "windowed": statistics.fmean(values[-cell.study.window :])}


def chunks(cell: Cell, folder: Path) -> dict[str, Any]:
    """The trained flow with another chunk size, on the beginning of the stream."""
    config = cell.config(cell.study.sweep, eval_limit=min(500, cell.study.test))
    return _flow_figures(_run(flow_dpo, config, folder / "flow"), cell, folder / "flow")


def _run(recipe: Any, config: Any, folder: Path) -> dict[str, Any]:
    with open_bench(config, recipe=recipe.NAME, folder=folder, progress=SilentProgress()) as bench:
        report: dict[str, Any] = recipe.run(config, bench)
    return report


def _flow_figures(report: dict[str, Any], cell: Cell, folder: Path) -> dict[str, Any]:
    flow = report["flow"]
    paths = (folder / "flow_trees").glob("*.jsonl")
    trees = [FlowTree.from_json(json.loads(line)) for path in sorted(paths) for line in path.open(encoding="utf-8")]
    last = trees[-cell.study.window :]
    stopped = flow["nodes"]["stop"]
    return {
        "cumulative": flow["progressive"]["cumulative"], "windowed": flow["progressive"]["windowed"],
        "curve": flow["progressive"]["curve"], "pairs": flow["pairs"], "updates": flow["updates"],
        "tokens": flow["tokens"], "mean_chunks_at_end": round(statistics.fmean(t.num_chunks for t in last), 2),
        "flow_before": (flow.get("flow_before") or {}).get("accuracy"),
        "flow_after": (flow.get("flow_after") or {}).get("accuracy"),
        "alone": [row["greedy"]["accuracy"] for row in report["iterations"]],
        "stop": {key: value for key, value in stopped.items() if key != "by_chunk"},
        "answer": flow["nodes"]["answer"],
    }  # fmt: skip


def all_cells(study: Study, seeds: list[int]) -> list[Cell]:
    """The cells, longest first, so that two workers end together."""
    cells = [Cell("trained", seed, study) for seed in seeds]
    cells += [Cell("chunks", seed, study, chunk) for chunk in CHUNKS for seed in seeds]
    return cells + [Cell(kind, seed, study) for kind in ("untrained", "single") for seed in seeds]


def told(row: dict[str, Any]) -> str:
    """What is printed of a finished cell."""
    return f"{row['kind']} {row['chunk']} seed {row['seed']}: windowed {row['windowed']:.3f}"


def report(rows: list[dict[str, Any]]) -> str:
    """The tables, in Markdown: means and standard deviations over seeds."""
    lines = ["| on the stream | cumulative | last window | windowed, against untrained |", "|---|--:|--:|--:|"]
    windows = {(row["kind"], row["seed"]): row["windowed"] for row in rows if row["kind"] != "chunks"}
    for kind in ("single", "untrained", "trained"):
        own = [row for row in rows if row["kind"] == kind]
        gaps = [r["windowed"] - windows["untrained", r["seed"]] for r in own if ("untrained", r["seed"]) in windows]
        cells = [_percent([row["cumulative"] for row in own]), _percent([row["windowed"] for row in own])]
        lines.append(f"| {kind} | {' | '.join(cells)} | {_percent(gaps)} |")
    lines += ["", "| compiled from | traces | greedy | cannot be read |", "|---|--:|--:|--:|"]
    compiled = [row["compile"] for row in rows if row["kind"] == "trained"]
    for source in ("zero-shot", "format", "self", "gold", "flow"):
        own = [entry for entries in compiled for entry in entries if entry["source"] == source]
        traces = ", ".join(str(entry["traces"]) for entry in own)
        figures = f"{_percent([e['accuracy'] for e in own])} | {_percent([e['unread'] for e in own])}"
        lines.append(f"| {source} | {traces} | {figures} |")
    lines += ["", "| chunk | chunks at most | last window | flow after | Answer alone after | pairs | tokens |",
              "|--:|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for chunk, most in CHUNKS.items():
        own = [row for row in rows if row["kind"] == "chunks" and row["chunk"] == chunk]
        if own:
            figures = [_percent([r["windowed"] for r in own]), _percent([r["flow_after"] for r in own]),
                       _percent([r["alone"][-1] for r in own]),
                       f"{statistics.fmean(sum(r['pairs'].values()) for r in own):.0f}",
                       f"{statistics.fmean(sum(r['tokens'].values()) for r in own):,.0f}"]  # fmt: skip
            lines.append(f"| {chunk} | {most} | {' | '.join(figures)} |")
    seconds = sum(row["cpu_seconds"] for row in rows)
    practice = [row["practice_cpu_seconds"] for row in rows if row["kind"] == "trained"]
    lines += ["", f"CPU seconds: {seconds:.0f} in all; a trained stream {min(practice, default=0):.0f} to "
              f"{max(practice, default=0):.0f}."]  # fmt: skip
    return "\n".join(lines)


def _percent(values: list[float]) -> str:
    if not values:
        return "-"
    spread = f" +- {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{spread}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1, help="cells run at once")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--quick", action="store_true", help="a smoke run; rows go to a scratch file")
    parser.add_argument("--report", action="store_true", help="print the tables of the finished rows")
    parser.add_argument("--json", action="store_true", help="print the rows when done")
    words = parser.parse_args()
    study = Study.quick() if words.quick else Study()
    path = Path(tempfile.mkdtemp()) / "quick.jsonl" if words.quick else RESULTS
    cells = all_cells(study, words.seeds[:1] if words.quick else words.seeds)
    if not words.report:
        run_missing(cells, run_cell, path, workers=words.workers, tell=told)
    keys = {cell.key for cell in cells}
    rows = [row for row in read_rows(path) if row["key"] in keys]
    if words.json:
        print("\n".join(json.dumps(row) for row in rows))
    else:
        print(report(rows))


if __name__ == "__main__":
    main()
