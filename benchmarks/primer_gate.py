"""The gate of the built-in model: do the methods come apart on it, and is none at the ceiling?

For each seed: zero-shot, SFT on gold solutions, STaR (SFT on the model's own right samples), DPO without NLL, and
Iterative RPO (three iterations), all from the same model on the same 60 training problems with 8 samples each, full
fine-tune, measured greedily on 1,000 dev problems. 60 problems touch about half of the cells; with 600 all methods but
plain DPO come near the ceiling. Learning rates were chosen for each method on dev with seed 7 from 1e-4, 2e-4, 5e-4,
1e-3 (DPO: 3e-5, 1e-4; STaR: 5e-4, 1e-3; Iterative RPO: 1e-4, 2e-4).

Prints one JSON line per method and seed, with the paired test of last against first, then a line with mean, lowest and
highest over the seeds.

    python benchmarks/primer_gate.py --json                 # about 3 minutes on one core
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tutelage.cli.threads import configure_threads

SHARED: dict[str, Any] = dict(
    model="primer", data="primer:train?n=60", eval_data="primer:dev?n=1000", eval_limit=1000, eval_samples=0,
    max_new_tokens=96, batch_size=16, max_batch=128,
)  # fmt: skip
RPO: dict[str, Any] = dict(num_samples=8, temperature=1.0, pairs_per_problem=4, epochs=4.0)
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "sft-gold": ("sft", dict(learning_rate=5e-4, epochs=8.0)),
    "star": ("iterative-rpo", dict(RPO, loss="sft", iterations=1, learning_rate=1e-3)),
    "dpo": ("iterative-rpo", dict(RPO, loss="dpo", iterations=1, learning_rate=1e-4)),
    "irpo": ("iterative-rpo", dict(RPO, iterations=3, learning_rate=2e-4)),
}


def main() -> None:
    """Run all methods and seeds, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--json", action="store_true", help="print JSON lines only (the default prints the same)")
    arguments = parser.parse_args()
    configure_threads()
    rows = [run_one(method, seed) for seed in arguments.seeds for method in arguments.methods]
    print(json.dumps(summary(rows)))


def run_one(method: str, seed: int) -> dict[str, Any]:
    """One method with one seed; the row that is printed."""
    import importlib

    from tutelage.cli.backends import open_bench
    from tutelage.recipes import RECIPES
    from tutelage.recipes.progress import SilentProgress

    recipe, changes = METHODS[method]
    module = importlib.import_module(RECIPES[recipe].module)
    config = module.Config(**{**SHARED, **changes, "seed": seed})
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        open_bench(config, recipe=recipe, folder=Path(folder) / "run", progress=SilentProgress()) as bench,
    ):
        report = module.run(config, bench)
    accuracy = [row["greedy"]["accuracy"] for row in report["iterations"]]
    row = {
        "name": f"gate-{method}", "seed": seed, "accuracy": accuracy, "paired_test": report["paired_test"],
        "pairs": [r["pairs"] for r in report["iterations"]], "seconds": round(time.perf_counter() - began, 1),
        "chosen_logprob": [(r["chosen_logprob_before"], r["chosen_logprob"]) for r in report["iterations"][1:]],
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return row


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over seeds: each method's last accuracy, and Iterative RPO's after every iteration."""
    from tutelage.primer import PRIMER_VERSION

    out: dict[str, Any] = {"name": "primer-gate", "primer": PRIMER_VERSION, "python": sys.version.split()[0]}
    for method in dict.fromkeys(row["name"] for row in rows):
        series = [row["accuracy"] for row in rows if row["name"] == method]
        out[method] = [
            {"mean": round(statistics.fmean(values), 4), "min": min(values), "max": max(values), "n": len(values)}
            for values in zip(*series, strict=True)
        ]
    return out


if __name__ == "__main__":
    main()
