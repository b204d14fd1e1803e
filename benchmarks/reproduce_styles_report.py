"""Claims, tables and verdicts of the study of prose and programs, from its rows alone, for `docs/papers.md`.

Published figures: MAmmoTH (arXiv 2309.05653), Llama-2-7B, mean of nine data sets: prose 32.0, programs 41.0, both 47.9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from cells import read_rows
from reproduce_statistics import Claim, Contrast, Rows, Term, decide
from reproduce_styles import KINDS
from reproduce_tables import claims_table, spread, verdict, write_predictions, write_section
from scipy import stats

RESULTS = Path(__file__).parent / "results"
PREDICTIONS = RESULTS / "reproduce_styles_predicted.jsonl"
DOCUMENT = Path(__file__).parent.parent / "docs" / "papers.md"
BEGIN, END = "<!-- begin: styles (generated) -->", "<!-- end: styles -->"
WORLD = "primer"
PREDICTED = {row["contrast"]: (row["mean"], row["spread"]) for row in read_rows(PREDICTIONS)}
WAYS = (
    ("before", "cot"), ("before", "pot"), ("before", "mixed"), ("before", "pot-then-cot"), ("cot", "cot"),
    ("pot", "pot"), ("mixed", "mixed"), ("hybrid", "cot"), ("hybrid", "pot"), ("hybrid", "pot-then-cot"),
)  # fmt: skip


def over(better: str, worse: str, kind: str = "") -> Contrast:
    """One arm and way of solving minus another, on one kind of problem or all."""
    at, words = (f"@{kind}", f", {kind}") if kind else ("", "")
    name = f"{better} - {worse}{words}"
    terms = (Term(1, better + at), Term(-1, worse + at))
    return Contrast(name, terms, *PREDICTED.get(f"{WORLD}: {name}", (None, None)))


def claim(name: str, text: str, paper: str, *contrasts: Contrast) -> Claim:
    """A claim about the built-in world."""
    return Claim(name, text, paper, WORLD, contrasts)


CLAIMS = (
    claim("slip", "Programs win where mistakes are slips of calculation", "-", over("pot: pot", "cot: cot", "slip")),
    claim(
        "understanding", "Programs win where they are mistakes of understanding too (the talk: no)", "-",
        over("pot: pot", "cot: cot", "understanding"),
    ),
    claim("both", "A model of both, programs first, beats prose", "47.9, 32.0",
          over("hybrid: pot-then-cot", "cot: cot")),
    claim("both-pot", "It beats programs alone", "47.9, 41.0", over("hybrid: pot-then-cot", "pot: pot")),
    claim("mixed", "Prose with programs in it beats programs alone", "-", over("mixed: mixed", "pot: pot")),
)  # fmt: skip


def by_stage(rows: Iterable[dict[str, Any]]) -> Rows:
    """Stage rows by `ARM: WAY` and seed, on one kind of problem also as `ARM: WAY@KIND`."""
    found: dict[str, dict[int, Any]] = {}
    for row in rows:
        for way, values in row["values"].items():
            for kind in ("", *KINDS):
                text = "".join(str(v) for v, k in zip(values, row["kinds"], strict=True) if kind in ("", k))
                name = f"{row['arm']}: {way}" + (f"@{kind}" if kind else "")
                greedy = {"solved": text, "accuracy": text.count("1") / max(1, len(text))}
                found.setdefault(name, {})[row["seed"]] = {"greedy": greedy}
    return found


def predict(rows: Sequence[dict[str, Any]]) -> None:
    """Write what the pilot says of every contrast."""
    stages = by_stage(rows)
    write_predictions(CLAIMS, lambda _: stages, PREDICTIONS)


def write_report(rows: Sequence[dict[str, Any]]) -> None:
    """Print the verdicts, and put the tables into the documentation."""
    stages = by_stage(rows)
    for one in CLAIMS:
        print(f"{verdict([decide(stages, contrast) for contrast in one.contrasts]):10} {one.text}")
    write_section(DOCUMENT, BEGIN, END, section(rows))


def section(rows: Sequence[dict[str, Any]]) -> str:
    """What stands between the markers of the documentation."""
    stages = by_stage(rows)
    counts = {kind: rows[0]["kinds"].count(kind) for kind in KINDS}
    heads = " | ".join(f"{kind} ({counts[kind]})" for kind in KINDS)
    lines = [f"| trained on | solves | all | {heads} |", "|---|---|--:|--:|--:|"]
    for arm, way in WAYS:
        cells = [_percent(stages, f"{arm}: {way}" + (f"@{kind}" if kind else "")) for kind in ("", *KINDS)]
        lines.append(f"| {arm} | {way} | {' | '.join(cells)} |")
    seeds = sorted({row["seed"] for row in rows if row["arm"] != "before"})
    decided = [(one, [decide(stages, contrast) for contrast in one.contrasts]) for one in CLAIMS]
    return "\n\n".join([
        f"Seeds {', '.join(map(str, seeds))}; {len(rows[0]['kinds'])} test problems greedily; "
        f"{sum(row['cpu_seconds'] for row in rows) / 60:.0f} CPU-minutes.",
        "\n".join(lines), _before(stages), claims_table(decided), _crossed(rows),
    ])  # fmt: skip


def _percent(stages: Rows, name: str) -> str:
    return spread([100 * row["greedy"]["accuracy"] for row in stages.get(name, {}).values()])


def _before(stages: Rows) -> str:
    """The model before is one model: intervals over problems, nothing over seeds."""
    shown = []
    for kind in KINDS:
        first, second = (_marks(stages, f"before: {way}@{kind}") for way in ("cot", "pot"))
        gap = second - first
        half = float(stats.t.ppf(0.975, len(gap) - 1)) * float(gap.std(ddof=1)) / sqrt(len(gap))
        mean = float(gap.mean())
        shown.append(f"{kind} {100 * mean:+.1f} ({100 * (mean - half):.1f} to {100 * (mean + half):.1f})")
    return f"Before training, programs over prose, 95 % interval over problems: {', '.join(shown)}."


def _marks(stages: Rows, name: str) -> np.ndarray:
    (row,) = stages[name].values()
    return np.array([int(c) for c in row["greedy"]["solved"]], dtype=float)


def _crossed(rows: Sequence[dict[str, Any]]) -> str:
    """Shares of problems by whether prose and program of the model of both are right."""
    hybrid = [row["values"] for row in rows if row["arm"] == "hybrid"]
    pairs = [pair for values in hybrid for pair in zip(values["cot"], values["pot"], strict=True)]
    named = ((1, 1, "both right"), (0, 1, "prose wrong, program right"), (1, 0, "prose right, program wrong"),
             (0, 0, "both wrong"))  # fmt: skip
    shares = [f"{words} {pairs.count((a, b)) / len(pairs):.1%}" for a, b, words in named]
    return f"The model of both, mean of seeds: {', '.join(shares)}."
