"""PPO on the built-in world: what is gained at the sampled tokens of one iteration of Iterative RPO, and at which KL.

For each seed and method: accuracy on dev before and after, KL of the last weights to the first, sampled tokens. The
settings are those of configs/ppo_primer.toml; `grpo` and `rloo` change the advantage only; `irpo` is one iteration of
Iterative RPO on the same problems, with its own settings of that size. All learn from 8 samples of 300 problems, or of
60 with `--size gate`. The settings of PPO and of Iterative RPO were chosen on dev with seed 7 (LOG.md,
`primer_gate.py`); none for GRPO and RLOO. Nothing here touches the test problems.

Prints one JSON line per method and seed, then one with mean, lowest and highest over the seeds.

    python benchmarks/ppo_primer.py --json          # about 10 minutes on one core
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tutelage.cli.threads import configure_threads

CONFIG = Path(__file__).parent.parent / "configs" / "ppo_primer.toml"
METHODS: dict[str, dict[str, Any]] = {
    "ppo": {},
    "grpo": {"advantage": "grpo"},
    "rloo": {"advantage": "rloo"},
    "irpo": dict(iterations=1, num_samples=8, temperature=1.0, pairs_per_problem=4, batch_size=16),
}
SIZES: dict[str, dict[str, Any]] = {
    "demo": {},
    "gate": {"data": "primer:train?n=60", "problems_per_iteration": 12, "iterations": 5, "learning_rate": 2e-4,
             "eval_every": 5},
}  # fmt: skip
"""Whose iteration of Iterative RPO is matched: `tutelage demo`'s (300 problems x 8), or the model's gate's (60 x 8)."""
IRPO: dict[str, dict[str, Any]] = {
    "demo": dict(learning_rate=7e-5, epochs=1.0), "gate": dict(learning_rate=2e-4, epochs=4.0),
}  # fmt: skip
"""The settings of that iteration."""
SHARED = (
    "model", "data", "eval_data", "eval_limit", "eval_samples", "max_new_tokens", "max_batch",
)  # fmt: skip


def main() -> None:
    """Run all methods and seeds, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--size", choices=list(SIZES), default="demo", help="whose samples are matched")
    parser.add_argument("--json", action="store_true", help="print JSON lines only (the default prints the same)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other settings, e.g. for tuning")
    arguments = parser.parse_args()
    configure_threads()
    changes = [*(f"{key}={value}" for key, value in SIZES[arguments.size].items()), *arguments.set]
    size = arguments.size
    rows = [run_one(method, seed, changes, size) for seed in arguments.seeds for method in arguments.methods]
    print(json.dumps(summary(rows)))


def run_one(method: str, seed: int, changes: list[str], size: str) -> dict[str, Any]:
    """One method with one seed; the row that is printed."""
    from tutelage.cli.backends import open_bench
    from tutelage.config.loading import load_settings
    from tutelage.recipes import RECIPES
    from tutelage.recipes.progress import SilentProgress
    from tutelage.records import Completion
    from tutelage.store.run import Run

    ppo = importlib.import_module(RECIPES["ppo"].module)
    words = [f"{key}={value}" for key, value in METHODS[method].items()] if method != "irpo" else []
    config = load_settings(ppo.Config, file=CONFIG, overrides=[*words, *changes, f"seed={seed}"])
    recipe, module = "ppo", ppo
    if method == "irpo":
        recipe, module = "iterative-rpo", importlib.import_module(RECIPES["iterative-rpo"].module)
        shared = {key: getattr(config, key) for key in SHARED}
        config = module.Config(**shared, **METHODS["irpo"], **IRPO[size], seed=seed)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with open_bench(config, recipe=recipe, folder=path, progress=SilentProgress()) as bench:
            report = module.run(config, bench)
        practice = [c for c in Run.open(path).read("completions", Completion) if c.params.temperature > 0]
    practice = [c for c in practice if c.policy.version < config.iterations]  # the last weights' samples teach nothing
    rows = [row for row in report["iterations"] if row.get("greedy")]
    row = {
        "name": f"primer-{method}", "seed": seed, "settings": changes,
        "accuracy": [[r["iteration"], r["greedy"]["accuracy"]] for r in rows],
        "gain": round(rows[-1]["greedy"]["accuracy"] - rows[0]["greedy"]["accuracy"], 4),
        "paired_test": report["paired_test"], "samples": len(practice),
        "sampled_tokens": sum(len(c.token_ids) for c in practice),
        "kl": rows[-1].get("kl_after"), "kl_target": getattr(config, "kl_target", None),
        "kl_by_round": [round(r["kl"], 3) for r in report["iterations"] if r.get("kl") is not None],
        "practice_accuracy": [round(r["accuracy"], 3) for r in report["iterations"] if r.get("accuracy") is not None],
        "clip_fraction": rows[-1].get("clip_fraction"), "entropy": rows[-1].get("entropy"),
        "value_explained": rows[-1].get("value_explained"), "cpu_seconds": round(time.process_time() - began, 1),
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return row


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over seeds of each method's figures."""
    from tutelage.primer import PRIMER_VERSION

    out: dict[str, Any] = {"name": "ppo-primer", "primer": PRIMER_VERSION, "python": sys.version.split()[0]}
    for method in dict.fromkeys(row["name"] for row in rows):
        found = [row for row in rows if row["name"] == method]
        figures = {
            "before": [row["accuracy"][0][1] for row in found], "after": [row["accuracy"][-1][1] for row in found],
            "gain": [row["gain"] for row in found], "sampled_tokens": [row["sampled_tokens"] for row in found],
            "kl": [row["kl"] for row in found if row["kl"] is not None],
        }  # fmt: skip
        out[method] = {
            key: {"mean": round(statistics.fmean(v), 4), "min": min(v), "max": max(v), "n": len(v)}
            for key, v in figures.items()
            if v
        }
    return out


if __name__ == "__main__":
    main()
