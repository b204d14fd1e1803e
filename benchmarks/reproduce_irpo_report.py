"""Tables, verdicts and plots of the Iterative RPO study, from its rows alone.

What is generated stands in `docs/papers.md` between two markers; the prose around them is written by hand. The paper's
figures are copied from arXiv 2404.19733v3, Tables 1 and 2.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from reproduce_irpo_claims import CLAIMS
from reproduce_irpo_plan import TUNED, WORLDS
from reproduce_irpo_trials import tuning_tables
from reproduce_statistics import Rows, decide
from reproduce_tables import claim_row, claims_table, spread, verdict, write_chart, write_section

from tutelage.primer import PRIMER_VERSION
from tutelage.problems.primer import primer_problems
from tutelage.store.charts import Line, Panel

ROOT = Path(__file__).parent.parent
TRIALS = Path(__file__).parent / "results" / "reproduce_iterative_rpo_tuning.jsonl"
DOCUMENT, IMAGES = ROOT / "docs" / "papers.md", ROOT / "docs" / "images"
BEGIN, END = "<!-- begin: iterative-rpo (generated) -->", "<!-- end: iterative-rpo -->"

PRIMER_TABLE = (
    ("zero-shot", "zero-shot", "55.6 (70.7)"),
    ("SFT on gold solutions", "sft-gold", "63.5"),
    ("STaR, 1 iteration (SFT on chosen)", "star-1", "65.2"),
    ("STaR, 1 iteration, twice the data", "star-2x", "66.9"),
    ("STaR, 2 iterations", "star-2", "-"),
    ("STaR, 3 iterations", "star-3", "-"),
    ("STaR, 4 iterations", "star-4", "-"),
    ("DPO without NLL, from the model", "dpo", "61.8"),
    ("DPO without NLL, from STaR", "dpo-from-star", "60.3"),
    ("Iterative RPO, iteration 1", "irpo-1", "73.1"),
    ("Iterative RPO, iteration 1, from STaR", "irpo-from-star", "73.1"),
    ("Iterative RPO, iteration 1, twice the data", "irpo-2x", "74.8"),
    ("Iterative RPO, iteration 2", "irpo-2", "78.0"),
    ("Iterative RPO, iteration 3", "irpo-3", "81.1 (88.2)"),
    ("Iterative RPO, iteration 4", "irpo-4", "81.6 (88.7)"),
    ("Iterative RPO with beta 0.1 and its best rate, iteration 1", "irpo-paper-1", "73.1"),
    ("the same, iteration 2", "irpo-paper-2", "78.0"),
    ("the same, iteration 3", "irpo-paper-3", "81.1"),
    ("the same, iteration 4", "irpo-paper-4", "81.6"),
    ("Iterative RPO, iteration 1, only beta changed to 0.1", "irpo-beta", "-"),
    ("Iterative RPO with beta 0.1, little training (3e-5 x 120)", "irpo-small", "-"),
    ("STaR, the same little training", "star-small", "-"),
)
"""Words, stage, and the paper's GSM8K figures: greedy (maj@32)."""
LUCKY_TABLE = (
    ("zero-shot", "zero-shot", "77.8 (82.9)"),
    ("STaR, 1 iteration (SFT on chosen)", "star-1", "79.8"),
    ("STaR, 2 iterations", "star-2", "-"),
    ("STaR, 3 iterations", "star-3", "-"),
    ("DPO without NLL, from the model", "dpo", "82.8"),
    ("Iterative RPO, iteration 1", "irpo-1", "84.8"),
    ("Iterative RPO, iteration 2", "irpo-2", "86.2"),
    ("Iterative RPO, iteration 3", "irpo-3", "86.7 (87.9)"),
)
"""The same with the paper's ARC-Challenge figures."""


def by_stage(rows: Iterable[dict[str, Any]], world: str) -> Rows:
    """Stage rows by name and seed; a stage that several methods pass through is taken where it was measured."""
    found: dict[str, dict[int, Any]] = {}
    for row in rows:
        for stage in row["stages"] if row["world"] == world else ():
            if "greedy" in stage:
                found.setdefault(stage["stage"], {})[row["seed"]] = stage
    return found


def write_report(rows: list[dict[str, Any]], *, as_json: bool, to_docs: bool) -> None:
    """Print the claims' verdicts; put tables and plots into the documentation unless it is a smoke run."""
    worlds = {name: by_stage(rows, name) for name in WORLDS}
    decided = [(claim, [decide(worlds[claim.world], contrast) for contrast in claim.contrasts]) for claim in CLAIMS]
    for claim, decisions in decided:
        words = f"{verdict(decisions):10} {claim.text}"
        print(json.dumps(claim_row("iterative-rpo", claim, decisions)) if as_json else words)
    text = "\n\n".join(
        [
            _setting(rows),
            "#### Table 1: word problems\n\n" + _accuracies(worlds["primer"], PRIMER_TABLE, "GSM8K, 70B"),
            "#### Table 2: lucky guesses\n\n" + _accuracies(worlds["lucky"], LUCKY_TABLE, "ARC-C, 70B"),
            "#### Pairs and lucky guesses\n\n" + _practice_table(worlds),
            "#### Where the methods differ\n\n" + _difficulty(worlds["primer"]),
            "#### Claims\n\n" + claims_table(decided),
            "#### Log-probs\n\n" + _log_probs(worlds),
            "#### Tuning and one-variable experiments (dev)\n\n" + tuning_tables(TRIALS),
        ]
    )
    if not to_docs:
        print(text)
        return
    _plots(worlds)
    write_section(DOCUMENT, BEGIN, END, text)


def _setting(rows: Sequence[dict[str, Any]]) -> str:
    seeds = sorted({row["seed"] for row in rows})
    minutes = sum(row["cpu_seconds"] for row in rows) / 60
    world = WORLDS["primer"]
    best = ", ".join(f"{name} {how.learning_rate:g} x {how.updates}" for name, how in TUNED["primer"].items())
    return (
        f"Primer version {PRIMER_VERSION}; seeds {', '.join(map(str, seeds))}; {world.num_train} training problems for "
        f"each seed, {world.num_samples} samples each, {world.pairs_per_problem} pairs a problem, temperatures "
        f"{', '.join(map(str, world.temperatures))}; {world.num_greedy:,} test problems greedily, the first "
        f"{world.num_votes} by a vote over {world.votes} samples at temperature 0.8. Learning rate x updates of 16: "
        f"{best}; twice the data has twice the updates. {minutes:.0f} CPU-minutes. "
        "Accuracies in percent: mean ± standard deviation over seeds."
    )


def _accuracies(rows: Rows, entries: Sequence[tuple[str, str, str]], paper: str) -> str:
    lines = [f"| method | greedy | maj@32 | paper: {paper} |", "|---|--:|--:|--:|"]
    for words, stage, published in entries:
        found = rows.get(stage, {}).values()
        greedy = spread([100 * row["greedy"]["accuracy"] for row in found])
        votes = spread([100 * row["votes"]["accuracy"] for row in found if "votes" in row])
        lines.append(f"| {words} | {greedy} | {votes} | {published} |")
    return "\n".join(lines)


def _practice_table(worlds: dict[str, Rows]) -> str:
    """Pairs of each iteration, and how much of what is chosen, rejected and answered is rightly reasoned."""
    columns = (
        "world", "iteration", "pairs", "problems with pairs", "chosen rightly reasoned, %",
        "rejected rightly reasoned, %", "test: right answers, %", "test: rightly reasoned, %", "paper: pairs",
    )  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", f"|---|{'--:|' * (len(columns) - 1)}"]
    published = {"primer": ("55-60k",) * 4, "lucky": ("20k", "11k", "5k"), "choice": ("20k", "11k", "5k")}
    for name, rows in worlds.items():
        for t, told in enumerate(published[name], start=1):
            found = list(rows.get(f"irpo-{t}", {}).values())
            facts = [row["practice"] for row in found]
            cells = [
                spread([fact["pairs"] for fact in facts], 0),
                spread([fact["pairing"]["paired"] for fact in facts], 0),
                *(
                    spread([100 * fact[f"{side}_sound"] / max(1, fact[side]) for fact in facts])
                    for side in ("chosen", "rejected")
                ),
                spread([100 * row["greedy"]["accuracy"] for row in found]),
                spread([_share(row["greedy"]["reasoned"], lambda index: True) for row in found]),
            ]
            lines.append(f"| {name} | {t} | {' | '.join(cells)} | {told} |")
    return "\n".join(lines)


def _difficulty(rows: Rows) -> str:
    """Greedy accuracy by steps of the problem, and what became of what the first model solved."""
    stages = ("zero-shot", "sft-gold", "star-1", "dpo", "irpo-1", "irpo-4", "irpo-paper-1", "irpo-beta")
    levels = [problem.level for problem in primer_problems("test", WORLDS["primer"].num_greedy)]
    columns = (
        "stage", "1 step", "2 steps", "3 steps", "4 steps", "solved before, lost, %", "unsolved before, gained, %",
        "first error: operation", "slip", "other",
    )  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", f"|---|{'--:|' * (len(columns) - 1)}"]
    first = {seed: row["greedy"]["solved"] for seed, row in rows.get("zero-shot", {}).items()}
    for stage in stages:
        found = {seed: row["greedy"]["solved"] for seed, row in rows.get(stage, {}).items()}
        cells = [spread([_share(solved, lambda i, n=n: levels[i] == n) for solved in found.values()]) for n in "1234"]
        for before in "10":
            kept = [
                _share(solved, lambda i, old=first[seed], before=before: old[i] == before)
                for seed, solved in found.items()
                if seed in first
            ]
            cells.append(spread([100 - share for share in kept] if before == "1" else kept))
        errors = [row["greedy"]["errors"] for row in rows.get(stage, {}).values()]
        named = [(some.get("operation", 0), some.get("slip", 0), sum(some.values())) for some in errors]
        cells += [spread([counts[i] for counts in named], 0) for i in (0, 1)]
        cells.append(spread([total - operation - slip for operation, slip, total in named], 0))
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(solved: str, belongs: Callable[[int], bool]) -> float:
    """Percent solved of the problems that belong."""
    values = [int(value) for index, value in enumerate(solved) if belongs(index)]
    return 100 * statistics.fmean(values) if values else 0.0


def _log_probs(worlds: dict[str, Rows]) -> str:
    lines = ["| world | method | chosen, training pairs | rejected, training pairs | chosen, unseen pairs | rejected, unseen pairs |",  # noqa: E501
             "|---|---|--:|--:|--:|--:|"]  # fmt: skip
    for name, rows in worlds.items():
        for stage in (
            "sft-gold",
            "star-1",
            "dpo",
            "dpo-from-star",
            "irpo-1",
            "irpo-from-star",
            "irpo-paper-1",
            "irpo-beta",
        ):
            found = [row["curves"] for row in rows.get(stage, {}).values() if row.get("curves")]
            if not found:
                continue
            cells = [
                f"{spread([c[which][0][key] for c in found], 2)} → {spread([c[which][-1][key] for c in found], 2)}"
                for which in ("train", "unseen")
                for key in ("chosen_logprob", "rejected_logprob")
            ]
            lines.append(f"| {name} | {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _plots(worlds: dict[str, Rows]) -> None:
    titles = {"star-1": "SFT on chosen (STaR)", "sft-gold": "SFT on gold", "dpo": "DPO without NLL",
              "dpo-from-star": "DPO from STaR", "irpo-1": "DPO + NLL",
              "irpo-paper-1": "DPO + NLL, beta 0.1"}  # fmt: skip
    for name, shown in (
        ("primer", ("irpo-1", "irpo-paper-1", "star-1", "sft-gold", "dpo", "dpo-from-star")),
        ("lucky", ("irpo-1", "dpo", "star-1")),
    ):
        panels = [panel for stage in shown if (panel := _curve_panel(worlds[name].get(stage, {}), titles[stage]))]
        if panels:
            write_chart(panels, IMAGES / f"iterative-rpo-logprobs-{name}.svg", columns=3)
    panels = [_accuracy_panel(worlds[name], title) for name, title in (("primer", "word problems"),
                                                                      ("lucky", "lucky guesses"))]  # fmt: skip
    if all(panels):
        write_chart([panel for panel in panels if panel], IMAGES / "iterative-rpo-accuracy.svg")


def _curve_panel(rows: Any, title: str) -> Panel | None:
    """Chosen and rejected log-probs of training and unseen pairs, means over seeds."""
    lines = []
    for colour, which in enumerate(("train", "unseen")):
        curves = [row["curves"][which] for row in rows.values() if row.get("curves", {}).get(which)]
        for side in ("chosen", "rejected") if curves else ():
            points = [
                (at[0]["step"], statistics.fmean(point[f"{side}_logprob"] for point in at))
                for at in zip(*curves, strict=False)
            ]
            pairs = "training pairs" if which == "train" else "unseen pairs"
            lines.append(Line(f"{side}, {pairs}", points, colour, side == "rejected"))
    return Panel(title, "updates", "log-prob (nats)", lines) if lines else None


def _accuracy_panel(rows: Rows, title: str) -> Panel | None:
    lines = []
    for colour, (words, name, metric) in enumerate(
        (
            ("Iterative RPO", "irpo", "greedy"),
            ("STaR", "star", "greedy"),
            ("Iterative RPO, maj@32", "irpo", "votes"),
            ("Iterative RPO, beta 0.1", "irpo-paper", "greedy"),
        )
    ):
        stages = ["zero-shot", *(f"{name}-{t}" for t in range(1, 5))]
        means = [
            (float(t), 100 * statistics.fmean(found))
            for t, stage in enumerate(stages)
            if (found := [row[metric]["accuracy"] for row in rows.get(stage, {}).values() if metric in row])
        ]
        if means:
            lines.append(Line(words, means, colour, metric == "votes"))
    return Panel(title, "iteration", "accuracy (%)", lines) if lines else None
