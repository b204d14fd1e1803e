"""Agreement of the pure grading tiers with the labels of every labelled file; the table of docs/grading.md.

One JSON line per source: pairs, agreement, false positives (right here, wrong by the label), false negatives,
undecided.
`--table` prints the table of the documentation instead; `--disagreements` adds the pairs themselves, to be read.

    python benchmarks/grading_agreement.py --json           # a few seconds
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.grading.checker import check
from tutelage.records import AnswerKind
from tutelage.text.extraction import extract

SOURCES: dict[str, tuple[str, AnswerKind | None]] = {
    "answer_cases": ("answer_cases.jsonl", None),
    "checker_tests": ("answer_equivalence/checker_tests.jsonl", None),
    "math_predictions": ("answer_equivalence/math_predictions_rule_labelled.jsonl", None),
    "openai_gsm8k": ("example_model_solutions/gsm8k_test.jsonl", "number"),
    "gsm8k_llms": ("model_outputs/gsm8k_test_llms.jsonl.gz", "number"),
    "gsm8k_small": ("model_outputs/gsm8k_test_small.jsonl.gz", "number"),
    "math_8samples": ("model_outputs/math_8samples.jsonl", None),
    "arc_small": ("model_outputs/arc_test_small.jsonl", "choice"),
    "mr_gsm8k": ("model_outputs/mr_gsm8k_human.jsonl", "number"),
}


def main() -> None:
    """Grade all sources, print counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON lines (the default prints the same)")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--disagreements", action="store_true")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"no folder {arguments.data}: name the folder of the data sets with --data", file=sys.stderr)
        raise SystemExit(2)
    rows = [graded(name, arguments.data, is_told=arguments.disagreements) for name in SOURCES]
    print(table(rows) if arguments.table else "\n".join(json.dumps(row) for row in rows))


def graded(name: str, data: Path, *, is_told: bool = False) -> dict[str, Any]:
    """Counts of one source, and its disagreements where asked for.

    Args:
        name: a key of `SOURCES`.
        data: the folder of the data sets.
        is_told: also print every disagreement to stderr.
    """
    file, kind = SOURCES[name]
    counts: Counter[str] = Counter()
    for row in _rows(data / file):
        label = bool(row["equivalent"] if "equivalent" in row else row["correct"])
        is_text = "completion" in row
        answer = extract(row["completion"], kind).answer if is_text else row["prediction"]
        ours = False if answer is None else check(row["gold"], answer, kind=kind).equivalent
        outcome = "undecided" if ours is None else "agree" if ours is label else "FP" if ours else "FN"
        counts[outcome] += 1
        if is_told and outcome != "agree":
            seen = answer if answer is not None else row["completion"][-100:]
            print(json.dumps([name, outcome, row["gold"], seen], ensure_ascii=False), file=sys.stderr)
    total = counts.total()
    return {
        "name": name, "pairs": total, "agreement": round(counts["agree"] / total, 4),
        "false_positives": counts["FP"], "false_negatives": counts["FN"], "undecided": counts["undecided"],
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """The counts as the Markdown table of docs/grading.md."""
    lines = ["| source | pairs | agreement | FP | FN | undecided |", "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['pairs']:,} | {100 * row['agreement']:.2f} % | {row['false_positives']} "
            f"| {row['false_negatives']} | {row['undecided']} |"
        )
    return "\n".join(lines)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


if __name__ == "__main__":
    main()
