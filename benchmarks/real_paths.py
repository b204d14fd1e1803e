"""Diverse paths on real models' text: distinct paths a question, sampler shares and overlap, by way of `replay`.

The answers of 20 published models to GSM8K questions, and 8 samples of one model to MATH questions, go through the
stages of `diverse-rft` but sampling: graded, known by equations or programs, selected, united. Each model is a sampler.
Right answers are kept as RFT keeps them: all of their equations hold.

The data lie outside the repository (`real_outputs.py` says which). Only figures are printed, one JSON object a group of
samplers. No peer, so no `ratio`. `python benchmarks/real_paths.py --json > benchmarks/results/real_paths.jsonl`
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from paired import machine

from tutelage.evaluation.statistics import bootstrap_mean
from tutelage.grading import load_grader
from tutelage.problems.files import read_rows
from tutelage.records import Completion, Policy, Problem, SamplingParams
from tutelage.selection.diversity import Path as SolutionPath
from tutelage.selection.diversity import contributions, distinct_curve, fit_curve, select_paths, unite
from tutelage.selection.paths import path_of, with_true_equations

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
FILES = {
    "gsm8k-12-models": ["gsm8k_test_llms.jsonl.gz"],
    "gsm8k-8-small": ["gsm8k_test_small.jsonl.gz"],
    "gsm8k-20-models": ["gsm8k_test_llms.jsonl.gz", "gsm8k_test_small.jsonl.gz"],
    "math-8-samples": ["math_8samples.jsonl"],
}
BOUNDED = 8


def load(folder: Path, files: Sequence[str]) -> tuple[dict[str, Problem], list[Completion]]:
    """Problems and completions of some files; a model's answers are in the order of the file."""
    problems, completions = {}, []
    for file in files:
        for row in (one.data for one in read_rows(folder / "model_outputs" / file)):
            name = row["question_id"]
            kind = "latex" if file.startswith("math") else "number"
            problems[name] = Problem(name, row["question"], row["gold"], kind)
            completions.append(completion_of(row, len(completions)))
    return problems, completions


def completion_of(row: dict[str, Any], number: int) -> Completion:
    """A row as a record; its tokens are counted as a quarter of its characters."""
    text = row["completion"]
    return Completion(
        row["id"], row["question_id"], "answer", Policy(row["model"]), "", (), (0,) * max(1, len(text) // 4), text, (),
        (), "stop", SamplingParams(), 0, index=number,
    )  # fmt: skip


def measure(name: str, folder: Path) -> dict[str, Any]:
    """All figures of one group."""
    started = time.process_time()
    problems, completions = load(folder, FILES[name])
    graded = load_grader("exact").grade_many([(problems[c.problem_id], c) for c in completions])
    right = [c for c, verdict in zip(completions, graded, strict=True) if verdict.is_correct]
    true, false_equations = with_true_equations(right)
    found: dict[str, dict[str, list[SolutionPath]]] = {c.policy.model: {} for c in completions}
    kinds: Counter[str] = Counter()
    for completion in true:
        path = path_of(completion, sampler=completion.policy.model)
        kinds[path.key.split(":")[0] if path.key.startswith(("text:", "program:")) else "equations"] += 1
        found[completion.policy.model].setdefault(completion.problem_id, []).append(path)
    union = {
        p: unite(select_paths(by.get(p, ())) for by in found.values())
        for p in problems
        if any(p in by for by in found.values())
    }
    bounded = [unite((by.get(p, ()) for by in found.values()), size=BOUNDED) for p in union]
    each = Counter(c.policy.model for c in completions)
    tokens = {model: sum(len(c.text) for c in completions if c.policy.model == model) // 4 for model in each}
    counts = [Counter(path.key for by in found.values() for path in by.get(p, ())) for p in problems]
    samples = max(Counter(c.problem_id for c in completions).values())
    curve = distinct_curve(counts, samples)
    fit = fit_curve(curve)
    distinct = [len(union.get(p, ())) for p in problems]
    interval = bootstrap_mean([float(value) for value in distinct], seed=0)
    kept = [path for paths in union.values() for path in paths]
    return {
        "name": f"real-paths-{name}",
        "ours": {
            "questions": len(problems), "samples_a_question": samples, "answers": len(completions), "right": len(right),
            "right_behind_false_equation": false_equations, "known_by": dict(kinds),
            "distinct_a_question": {"mean": round(statistics.fmean(distinct), 3), "low": round(interval.low, 3),
                                    "high": round(interval.high, 3), "median": statistics.median(distinct)},
            "bounded_a_question": round(sum(map(len, bounded)) / len(problems), 3),
            "distinct_by_samples": [[k, round(value, 3)] for k, value in curve],
            "fit": None if fit is None else {key: round(value, 4) for key, value in fit.__dict__.items()},
            "shares": contributions(found, kept, samples=each, tokens=tokens).to_json(),
            "cpu_seconds": round(time.process_time() - started, 1),
        },
        "machine": machine(),
    }  # fmt: skip


def in_words(row: dict[str, Any]) -> str:
    """The figures of a group as a paragraph."""
    ours, shares = row["ours"], row["ours"]["shares"]
    lines = [
        f"{row['name']}: {ours['questions']} questions, {ours['right']} of {ours['answers']} answers right, "
        f"{ours['right_behind_false_equation']} of these behind an equation that does not hold; "
        f"{ours['distinct_a_question']['mean']} distinct paths a question, {shares['shared_share']:.1%} of them shared"
    ]
    for one in sorted(shares["samplers"], key=lambda s: -s["distinct"]):
        lines.append(f"  {one['sampler'][:60]:60} right {one['correct']:5} distinct {one['distinct']:5} "
                     f"exclusive {one['exclusive_share']:.1%} kept {one['kept_share']:.1%}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Print one line a group."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data")
    parser.add_argument("--json", action="store_true", help="a JSON object a group")
    parser.add_argument("--only", choices=list(FILES), help="one group")
    chosen = parser.parse_args()
    for name in [chosen.only] if chosen.only else FILES:
        row = measure(name, chosen.data)
        print(json.dumps(row) if chosen.json else in_words(row), flush=True)


if __name__ == "__main__":
    main()
