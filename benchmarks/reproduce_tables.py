"""What the studies' reports share: means with spreads, the table of claims, predictions, a page's generated section."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reproduce_statistics import Claim, Contrast, Decision, Rows, seeds_needed, table, together

from tutelage.store.charts import Panel, Size, chart

Decided = Sequence[tuple[Claim, Sequence[Decision | None]]]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """`mean ± sd`, the mean alone for one value, `-` for none."""
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def verdict(decisions: Sequence[Decision | None]) -> str:
    """The verdict of all contrasts together; one that was not run leaves it unresolved."""
    return together([d.verdict if d else "unresolved" for d in decisions])


def claims_table(decided: Decided) -> str:
    """Claims and their contrasts in Markdown: predicted, measured, verdict; shares in points."""
    lines = ["| claim | paper | contrast | predicted | seeds for power 0.8 | measured, 95 % interval | verdict |",
             "|---|---|---|--:|--:|--:|---|"]  # fmt: skip
    for claim, decisions in decided:
        lines.append(f"| **{claim.text}** | {claim.paper} | | | | | **{verdict(decisions)}** |")
        lines += [_contrast(*both) for both in zip(claim.contrasts, decisions, strict=True)]
    return "\n".join(lines)


def _contrast(contrast: Contrast, decision: Decision | None) -> str:
    unit, digits = (100.0, 1) if contrast.is_share else (1.0, 1)
    expected = "-" if contrast.predicted is None else f"{unit * contrast.predicted:+.{digits}f}"
    needed = "-" if contrast.predicted is None or not decision else str(decision.needed or "over 200")
    measured = "-"
    if decision:
        low, high = unit * decision.low, unit * decision.high
        interval = f"{low:.{digits}f} to {high:.{digits}f}" if math.isfinite(low) else "one seed"
        measured = f"{unit * decision.mean:+.{digits}f} ({interval}; {decision.seeds} seeds)"
    decided = decision.verdict if decision else "not run"
    return f"| | | {contrast.name} | {expected} | {needed} | {measured} | {decided} |"


def claim_row(study: str, claim: Claim, decisions: Sequence[Decision | None]) -> dict[str, Any]:
    """A claim for machines."""
    contrasts = [
        {"name": contrast.name, "predicted": contrast.predicted, **(asdict(decision) if decision else {})}
        for contrast, decision in zip(claim.contrasts, decisions, strict=True)
    ]
    return {"name": f"{study}-{claim.name}", "verdict": verdict(decisions), "contrasts": contrasts}


def write_predictions(claims: Iterable[Claim], rows_of: Callable[[str], Rows], path: Path) -> None:
    """Write what a pilot says of every contrast: mean, standard deviation over seeds, seeds that it would take.

    Args:
        rows_of: the pilot's rows of a world.
    """
    lines = []
    for claim in claims:
        for contrast in claim.contrasts:
            values = table(rows_of(claim.world), contrast)
            if values is None or len(values) < 2:
                continue
            means = [float(mean) for mean in values.mean(axis=1)]
            mean, deviation = statistics.fmean(means), max(0.001, statistics.stdev(means))
            row = {"contrast": f"{claim.world}: {contrast.name}", "mean": round(mean, 4), "spread": round(deviation, 4),
                   "seeds": len(means), "needed": seeds_needed(mean, deviation)}  # fmt: skip
            lines.append(json.dumps(row))
    path.write_text("\n".join(dict.fromkeys(lines)) + "\n", encoding="utf-8")
    print("\n".join(lines))


def write_chart(panels: Sequence[Panel], path: Path, *, size: Size | None = None, columns: int | None = None) -> None:
    """Write panels as an SVG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(chart(panels, size=size, columns=columns), encoding="utf-8")


def write_section(path: Path, begin: str, end: str, text: str) -> None:
    """Put a generated text between two markers of a page."""
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
