"""Pictures of the critics study, from its rows: accuracy by round, curves over K and over cost, votes by problem.

Bands are the study's 95 % intervals, over seeds and problems (`reproduce_statistics.decide`).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from reproduce_critique_plan import COUNTS, FULL
from reproduce_statistics import Contrast, Rows, Term, decide
from reproduce_tables import write_chart

from tutelage.store.charts import Line, Panel, Size
from tutelage.store.evaluation_charts import accuracy_panel, votes_chart

SIZE = Size(420, 290)
CHAIN = (0, *FULL.ks)
VOTED = (
    ("K samples", "maj@{k}", COUNTS, 0, False),
    ("K triples", "critic-maj@{k}", FULL.ks, 1, False),
    ("chain of K", "sequential@{k}:vote", CHAIN, 2, False),
    ("chain of K, its last answer", "sequential@{k}", CHAIN, 2, True),
    ("K samples the critic passes", "critic-filter@{k}", (max(FULL.ks),), 3, False),
)
PASSED = (
    ("K samples", "pass@{k}", COUNTS, 0, False),
    ("K triples", "critic-maj@{k}:pass", FULL.ks, 1, False),
    ("chain of K", "sequential@{k}:pass", CHAIN, 2, False),
)
"""Curves: label, stage of each K, the Ks, colour, dash. A triple is an answer, its critique and its refinement; a chain
of K is K refinements in a row, and one of none is a sample."""


def draw(stages: Rows, images: Path) -> None:
    """Write the pictures for which there are rows."""
    rounds = _rounds(stages)
    if rounds:
        write_chart([rounds], images / "critique-rounds.svg", size=SIZE)
    panels = [
        panel
        for title, curves in (("right by vote", VOTED), ("any answer right", PASSED))
        for panel in _curves(stages, title, curves)
    ]
    if panels:
        write_chart(panels, images / "critique-curves.svg", size=SIZE, columns=2)
    for row in stages.get("votes", {}).values():
        (images / "critique-votes.svg").write_text(votes_chart(row["votes"]), encoding="utf-8")


Place = tuple[float, str]


def _line(stages: Rows, label: str, places: Iterable[Place], colour: int, is_dashed: bool, has_band: bool) -> Line:
    """Mean over seeds and problems of the stage at each place, in percent, with its interval."""
    points, band = [], []
    for x, stage in places:
        decision = decide(stages, Contrast(stage, (Term(1, stage),), None, None))
        if decision is not None:
            points.append((x, 100 * decision.mean))
            band.append((100 * max(0.0, decision.low), 100 * min(1.0, decision.high)))
    return Line(label, points, colour, is_dashed, band if has_band else ())


def _rounds(stages: Rows) -> Panel | None:
    rounds = range(FULL.rounds + 1)
    lines = [
        _line(stages, f"{words}{', critic at test time' if ending else ''}",
              [(float(t), f"{name}-{t}{ending}") for t in rounds], colour, bool(ending), not ending)
        for ending in ("", "+critic")
        for colour, (name, words) in enumerate((("vanilla", "vanilla"), ("loop", "critique in the loop")))
    ]  # fmt: skip
    gold = [row["greedy"]["accuracy"] for row in stages.get("gold-0", {}).values()]
    levels = [("gold solutions", 100 * statistics.fmean(gold))] if gold else []
    if not all(line.points for line in lines):
        return None
    return Panel("accuracy by round", "round", "accuracy (%)", lines, levels, floor=0, ceiling=100)


Curve = tuple[str, str, Sequence[int], int, bool]


def _curves(stages: Rows, title: str, curves: Iterable[Curve]) -> list[Panel]:
    """Two panels, over K and over tokens written a problem; none where rows are missing."""
    greedy = [100 * row["greedy"]["accuracy"] for row in stages.get("greedy", {}).values()]
    levels = [("one greedy answer", statistics.fmean(greedy))] if greedy else []
    by_count, by_cost = [], []
    for label, form, counts, colour, is_dashed in curves:
        named = [(k, form.format(k=k) if k else "maj@1") for k in counts]
        by_count.append(_line(stages, label, [(k, stage) for k, stage in named if k], colour, is_dashed, True))
        costs = [(_tokens(stages, stage), stage) for _, stage in named]
        by_cost.append(_line(stages, label, [(x, stage) for x, stage in costs if x], colour, is_dashed, True))
    if not all(line.points for line in (*by_count, *by_cost)):
        return []
    return [accuracy_panel(f"{title}, against K", "K", by_count, levels),
            accuracy_panel(f"{title}, against cost", "tokens written a problem", by_cost, levels)]  # fmt: skip


def _tokens(stages: Rows, stage: str) -> float:
    """Tokens written a problem; 0 where no row tells."""
    found = [row["figures"].get("tokens") for row in stages.get(stage.partition(":")[0], {}).values()]
    known = [value for value in found if value is not None]
    return statistics.fmean(known) if known else 0.0
