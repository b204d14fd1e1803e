"""Tables, verdicts and plots of the critics study, from its rows alone.

What is generated stands in `docs/papers.md` between two markers; the prose around them is written by hand.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cells import read_rows
from reproduce_critique_claims import CLAIMS
from reproduce_critique_pictures import draw
from reproduce_critique_plan import COUNTS, FULL, QUALITIES, SIZES
from reproduce_statistics import Rows, decide
from reproduce_tables import claim_row, claims_table, spread, verdict, write_section

from tutelage.primer import PRIMER_VERSION
from tutelage.problems.primer import primer_problems, story_of

ROOT = Path(__file__).parent.parent
TALK = Path(__file__).parent / "results" / "reproduce_critique_talk.jsonl"
PILOT = TALK.with_name("reproduce_critique_pilot.jsonl")
DOCUMENT, IMAGES = ROOT / "docs" / "papers.md", ROOT / "docs" / "images"
BEGIN, END = "<!-- begin: critique (generated) -->", "<!-- end: critique -->"
ROUNDS = range(FULL.rounds + 1)
WAYS = (
    ("the base model", None), ("D_0", "loop-0"), ("D_0 and refinements after critiques", "refine-data-0"),
    ("D_0 and self-corrections", "correct-data-0"), ("vanilla self-improvement, round 3", "vanilla-3"),
    ("critique in the loop, round 3", "loop-3"), ("gold solutions of all problems (control)", "gold-0"),
)  # fmt: skip


def by_stage(rows: Iterable[dict[str, Any]]) -> Rows:
    """Stage rows by name and seed."""
    found: dict[str, dict[int, Any]] = {}
    for row in rows:
        for stage in row["stages"] if not row["variant"] else ():
            found.setdefault(stage["stage"], {})[row["seed"]] = stage
    return found


def write_report(rows: list[dict[str, Any]], *, as_json: bool, to_docs: bool) -> None:
    """Print the claims' verdicts; put tables and plots into the documentation unless it is a smoke run."""
    stages = by_stage(rows)
    decided = [(claim, [decide(stages, contrast) for contrast in claim.contrasts]) for claim in CLAIMS]
    for claim, decisions in decided:
        words = f"{verdict(decisions):10} {claim.text}"
        print(json.dumps(claim_row("critique", claim, decisions)) if as_json else words)
    sections = {
        "Critics": _critics(stages), "Gain by level of difficulty": _gains(stages), "At test time": _strategies(stages),
        "Round by round": _rounds(stages), "Test accuracy by level of difficulty": _levels(stages),
        "Number of samples": _sweep(stages), "Four ways to train, and the control": _ways(stages),
        "Self-talk": _talk(stages), "Self-talk, one variable at a time (dev)": _why(TALK, PILOT),
        "Sizes": _sizes(stages), "Claims": claims_table(decided),
    }  # fmt: skip
    text = "\n\n".join([_setting(rows), *(f"#### {title}\n\n{table}" for title, table in sections.items() if table)])
    if not to_docs:
        print(text)
        return
    draw(stages, IMAGES)
    write_section(DOCUMENT, BEGIN, END, text)


def _setting(rows: Sequence[dict[str, Any]]) -> str:
    seeds = {kind: sorted({row["seed"] for row in rows if row["kind"] == kind}) for kind in {r["kind"] for r in rows}}
    told = "; ".join(f"{kind} {', '.join(map(str, found))}" for kind, found in sorted(seeds.items()))
    minutes = sum(row["cpu_seconds"] for row in rows) / 60
    return (
        f"Primer version {PRIMER_VERSION}; seeds by part: {told}. {FULL.num_train} training problems for each seed, "
        f"{FULL.num_start} of them with worked solutions (D_0), {FULL.num_samples} samples and {FULL.num_refinements} "
        f"refinements; every actor is trained for {FULL.updates} updates of 16 at {FULL.learning_rate:g}, every critic "
        f"for {FULL.critic_updates} at {FULL.critic_rate:g} on critiques of {FULL.num_critique} problems. "
        f"{FULL.num_greedy} test problems greedily, {FULL.num_votes} by vote, {FULL.num_judged} x 2 answers for "
        f"critics; levels of difficulty by {FULL.levels} samples. {minutes:.0f} CPU-minutes. In percent: mean ± "
        "standard deviation over seeds."
    )


def _figure(stages: Rows, stage: str, name: str) -> list[float]:
    found = [row["figures"].get(name) for row in stages.get(stage, {}).values()]
    return [float(value) for value in found if value is not None]


def _percent(stages: Rows, stage: str, name: str = "") -> str:
    """Accuracy of a stage, or one of its figures, in percent."""
    if name:
        return spread([100 * value for value in _figure(stages, stage, name)])
    return spread([100 * row["greedy"]["accuracy"] for row in stages.get(stage, {}).values()])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}", *lines]) if lines else ""


def _critics(stages: Rows) -> str:
    names = ("verdict_accuracy", "verdict_precision", "verdict_recall", "verdict_specificity", "f1", "before", "after",
             "right_to_wrong", "wrong_to_right")  # fmt: skip
    head = ("critic", "verdicts right", "precision", "recall", "specificity", "F1 of the first wrong step",
            "actor before", "after", "right to wrong", "wrong to right")  # fmt: skip
    shown = [name for name in ("untrained", *QUALITIES) if name in stages]
    return _table(head, ([f"trained, {name}" if name != "untrained" else name,
                          *(_percent(stages, name, figure) for figure in names)] for name in shown))  # fmt: skip


def _gains(stages: Rows) -> str:
    shown = [name for name in ("untrained", "exact") if name in stages]
    words = {"untrained": "untrained", "exact": "trained, exact"}
    rows = [[words[name], *(_percent(stages, name, f"gain_{level}") for level in range(1, 6))] for name in shown]
    rows += [["answers", *(spread(_figure(stages, "exact", f"n_{level}"), 0) for level in range(1, 6))]]
    return _table(("critic", "hardest", "2", "3", "4", "easiest"), rows) if shown else ""


def _strategies(stages: Rows) -> str:
    most = max(FULL.ks)
    names = ["greedy", "self-refine", "refine", "refine-judged", "refine-oracle"]
    names += [f"maj@{k}" for k in COUNTS]
    names += [f"critic-maj@{k}" for k in FULL.ks] + [f"critic-filter@{most}", f"grid@{most // 2}x2"]
    for k in FULL.ks:
        names += [f"sequential@{k}", f"sequential@{k}:vote"]
    names += [f"pass@{k}" for k in COUNTS] + [f"critic-maj@{k}:pass" for k in FULL.ks]
    names += [f"sequential@{k}:pass" for k in FULL.ks]
    return _table(("strategy", "accuracy", "tokens written a problem"),
                  ([name, _percent(stages, name), spread(_figure(stages, name, "tokens"), 0)]
                   for name in names if name in stages))  # fmt: skip


def _rounds(stages: Rows) -> str:
    rows = []
    for t in ROUNDS:
        for name in ("vanilla", "loop"):
            stage = f"{name}-{t}"
            if stage in stages:
                counts = [spread(_figure(stages, stage, figure), 0) for figure in ("kept", "solved_problems", "tokens")]
                rows.append([f"{name}, round {t}", _percent(stages, stage), _percent(stages, f"{stage}+critic"),
                             _percent(stages, stage, "hard_share"), *counts])  # fmt: skip
    return _table(("", "accuracy", "with the critic", "hard problems' share of the data", "solutions kept",
                   "problems with one", "tokens written"), rows)  # fmt: skip


def _levels(stages: Rows) -> str:
    found = next(iter(stages.get("levels", {}).values()), None)
    if found is None:
        return ""
    levels = found["levels"]
    rows = []
    for words, stage in (("vanilla, round 3", "vanilla-3"), ("loop, round 3", "loop-3"), ("D_0", "loop-0"),
                         ("gold solutions", "gold-0")):  # fmt: skip
        own = [row["greedy"]["solved"] for row in stages.get(stage, {}).values()]
        if own:
            values = [[_at_level(solved, levels, str(level)) for solved in own] for level in range(5)]
            rows.append([words, *map(spread, values)])
    rows.append(["test problems", *(str(levels.count(str(level))) for level in range(5))])
    return _table(("", "hardest", "2", "3", "4", "easiest"), rows)


def _at_level(solved: str, levels: str, level: str) -> float:
    own = [int(value) for value, at in zip(solved, levels, strict=True) if at == level]
    return 100 * statistics.fmean(own) if own else 0.0


def _sweep(stages: Rows) -> str:
    counts = sorted({*FULL.sweep, FULL.num_samples})
    rows = []
    for count in counts:
        ending = "-1" if count == FULL.num_samples else f"@{count}-1"
        if f"loop{ending}" in stages:
            names = [f"{name}{ending}" for name in ("vanilla", "loop")]
            tokens = [spread(_figure(stages, name, "tokens"), 0) for name in names]
            rows.append([str(count), *(_percent(stages, name) for name in names), *tokens])
    return _table(("N", "vanilla, one round", "loop, one round", "tokens, vanilla", "tokens, loop"), rows)


def _ways(stages: Rows) -> str:
    rows = [
        [words, _percent(stages, stage or "greedy"), _percent(stages, f"{stage}+critic" if stage else "refine")]
        for words, stage in WAYS if (stage or "greedy") in stages
    ]  # fmt: skip
    return _table(("trained on", "alone", "with the critic at test time"), rows)


def _talk(stages: Rows) -> str:
    arms = ("actor alone", "two players", "self-talk", "self-correct", "plain")
    return _table(
        ("", "greedy", "maj@4", "pass@4", "says `wrong` in", "of these right in the end", "wrong and nothing said"),
        ([arm, _percent(stages, arm), _percent(stages, f"{arm}:vote"), _percent(stages, f"{arm}:pass"),
          *(spread(_figure(stages, arm, name), 0) for name in ("noticed", "mended", "wrong_unnoticed"))]
         for arm in arms if arm in stages),
    )  # fmt: skip


def _why(path: Path, pilot: Path) -> str:
    """Self-talk with one variable changed; unchanged it is the pilot's."""
    changed = read_rows(path)
    seeds = {row["seed"] for row in changed}
    rows = [row for row in read_rows(pilot) if row["kind"] == "talk" and row["seed"] in seeds] + changed
    lines = []
    for name in dict.fromkeys(row["variant"] for row in rows):
        own = by_stage([row | {"variant": ""} for row in rows if row["variant"] == name])
        accuracies = [_percent(own, arm) for arm in ("self-talk", "self-talk:vote", "self-talk:pass")]
        counts = [spread(_figure(own, "self-talk", figure), 0) for figure in ("noticed", "mended", "wrong_unnoticed")]
        lines.append([name or "as in the study", *accuracies, *counts])
    return _table(("", "self-talk", "maj@4", "pass@4", "says `wrong` in", "of these right in the end",
                   "wrong and nothing said"), lines)  # fmt: skip


def _sizes(stages: Rows) -> str:
    """By split, and the easy one by the number of steps: unseen lengths leave little to compare."""
    steps = [len(story_of(problem).steps) for problem in primer_problems("test", FULL.num_sizes)]
    parts = [
        ("easy", "1 to 4 steps", None), ("easy", "1 and 2 steps", (1, 2)), ("easy", "3 and 4 steps", (3, 4)),
        ("hard", "5 and 6 steps", None),
    ]  # fmt: skip
    rows = []
    for split, words, counts in parts:
        kept = [counts is None or count in counts for count in steps]
        for actor in SIZES:
            names = [f"{split}: {actor}+{last}" for last in ("alone", *SIZES)]
            if names[0] in stages:
                rows.append([f"{words} ({sum(kept)}), {actor}", *(_percent_of(stages, name, kept) for name in names)])
    return _table(("problems, actor", "alone", *(f"critic {size}" for size in SIZES)), rows)


def _percent_of(stages: Rows, stage: str, kept: Sequence[bool]) -> str:
    """Accuracy of a stage on some of its problems, in percent."""
    found = [row["greedy"]["solved"] for row in stages.get(stage, {}).values()]
    own = [[int(value) for value, is_kept in zip(solved, kept, strict=True) if is_kept] for solved in found]
    return spread([100 * statistics.fmean(values) for values in own])
