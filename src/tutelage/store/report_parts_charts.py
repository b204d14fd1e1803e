"""Pictures of the parts of a report that say more as curves than as tables; "" where there is nothing to draw.

What cannot be read, or is no size that such a figure can have, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tutelage.store.charts import Line, Panel, Size, chart
from tutelage.store.evaluation_charts import accuracy_panel
from tutelage.store.report_parts_cells import mapping, number, plain

SIZE = Size(400, 260)
LARGEST = 1e9
MAX_POINTS, MAX_LINES, MAX_PANELS = 2000, 12, 6
BUCKETS = ("pass rate 0–20 % at the start", "20–40 %", "40–60 %", "60–80 %", "80–100 %")
ROUND_PANELS = (
    (
        "KL to the start",
        "nats a solution",
        1.0,
        (("KL of practice samples", "kl", 0), ("KL after the round", "kl_after", 1)),
    ),
    ("Reward", "reward; share right", 1.0, (("reward", "reward", 2), ("right samples", "accuracy", 3))),
    ("Price of KL", "reward a nat", 1.0, (("", "kl_coef", 6),)),
    ("Variance of returns that values explain", "%", 100.0, (("", "value_explained", 6),)),
)
"""PPO's panels: title, what y is and is multiplied by, and the lines: label, name of the figure, colour."""


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The entries of a list that are mappings; none of anything else."""
    return [item for item in _listed(value) if isinstance(item, Mapping)]


def pairs(value: Any) -> list[Sequence[Any]]:
    """The entries of a list that are pairs."""
    return [item for item in _listed(value) if isinstance(item, list | tuple) and len(item) == 2]


def line(label: Any, points: Iterable[tuple[Any, Any]], colour: int, *, scale: float = 1.0, **how: Any) -> Line | None:
    """A line through the points that are numbers of a usual size; None without any."""
    read = [(number(x), number(y)) for x, y in points]
    usual = [
        (x, scale * y) for x, y in read if x is not None and y is not None and max(abs(x), abs(y)) <= LARGEST
    ]  # fmt: skip
    return Line(plain(label)[:60], usual[:MAX_POINTS], colour, **how) if usual else None


def drawn(panels: Sequence[Panel]) -> str:
    """The panels in which some line has two points, in rows of two; what y never is, is left out."""
    possible = [replace(panel, lines=_possible(panel)) for panel in panels]
    seen = [panel for panel in possible if any(len(line.points) > 1 for line in panel.lines)][:MAX_PANELS]
    return chart(seen, size=SIZE, columns=min(2, len(seen))) if seen else ""


def _possible(panel: Panel) -> list[Line]:
    inside = [
        replace(line, points=[(x, y) for x, y in line.points if panel.floor <= y <= panel.ceiling])
        for line in panel.lines
    ]
    return [line for line in inside if line.points]


def _lines(found: Iterable[Line | None]) -> list[Line]:
    return [one for one in found if one is not None][:MAX_LINES]


def _named(row: Mapping[str, Any], position: int, rows: Sequence[Any], title: str) -> str:
    """A panel's title, with its iteration where there are several."""
    return title if len(rows) < 2 else f"{title}, iteration {plain(row.get('iteration', position))[:20]}"


def hardness_chart(iterations: Any) -> str:
    """Loss over training steps, a line for the problems of each pass rate before the training."""
    having = [row for row in mappings(iterations) if mappings(row.get("loss_by_hardness"))]
    panels = []
    for position, row in enumerate(having):
        curves: dict[int, list[tuple[Any, Any]]] = {}
        for point in mappings(row["loss_by_hardness"]):
            for bucket, value in enumerate(_listed(point.get("nll"))):
                curves.setdefault(bucket, []).append((point.get("step"), value))
        lines = _lines(
            line(BUCKETS[bucket] if bucket < len(BUCKETS) else f"bucket {bucket + 1}", points, bucket)
            for bucket, points in sorted(curves.items())
        )
        title = _named(row, position, having, "Loss by hardness of the problem")
        panels.append(Panel(title, "optimizer step", "loss (nats)", lines))
    return drawn(panels)


def learning_chart(iterations: Any) -> str:
    """Log-probs of chosen and rejected answers of the pairs that are followed, over training steps."""
    having = [row for row in mappings(iterations) if len(mappings(row.get("curve"))) > 1]
    panels = []
    for position, row in enumerate(having):
        lines = _lines(
            line(side, [(point.get("step"), point.get(f"{side}_logprob")) for point in mappings(row["curve"])], colour)
            for colour, side in enumerate(("chosen", "rejected"))
        )
        title = _named(row, position, having, "Log-probs while learning")
        panels.append(Panel(title, "optimizer step", "nats a completion", lines))
    return drawn(panels)


def rounds_chart(iterations: Any) -> str:
    """KL to the start, reward and what steers them over the rounds of PPO; "" where rounds have no KL."""
    rows = mappings(iterations)
    if not any(number(row.get("kl")) is not None for row in rows):
        return ""
    panels = []
    for title, y_label, scale, wanted in ROUND_PANELS:
        lines = _lines(
            line(label, [(row.get("iteration"), row.get(key)) for row in rows], colour, scale=scale)
            for label, key, colour in wanted
        )
        panels.append(Panel(title, "round", y_label, lines))
    return drawn(panels)


def paths_chart(growth: Any) -> str:
    """Distinct paths a problem over the number of samples, by sampler; straight where they grow like its logarithm."""
    lines = []
    for colour, (name, found) in enumerate(mapping(growth).items()):
        above = [(x, y) for x, y in pairs(mapping(found).get("points")) if (number(x) or 0) >= 1]
        lines.append(line(name, above, colour, is_dashed=name == "union"))
    title = "Distinct right paths by number of samples"
    return drawn([Panel(title, "samples a problem", "distinct paths a problem", _lines(lines), is_log=True, floor=0)])


def histogram_chart(judges: Mapping[str, Any]) -> str:
    """How many right and wrong answers got each score, a panel for each judge."""
    panels = []
    for name, found in judges.items():
        counts = mapping(mapping(found).get("histogram"))
        lines = _lines(
            line(f"{side} answers", enumerate(_listed(counts.get(side)), 1), colour)
            for colour, side in ((2, "right"), (1, "wrong"))
        )  # fmt: skip
        panels.append(Panel(f"Scores by {plain(name)[:40]}", "score", "answers", lines, floor=0))
    return drawn(panels)


def thresholds_chart(judges: Mapping[str, Any]) -> str:
    """Share of right verdicts by the score from which an answer is called right, a line for each judge."""
    lines = []
    for colour, (name, found) in enumerate(judges.items()):
        by = mapping(mapping(found).get("accuracy_by_threshold"))
        points = [(_whole(at), value) for at, value in by.items()]
        lines.append(line(name, points, colour, scale=100.0))
    return drawn([Panel("Verdicts by threshold", "called right from this score", "right verdicts (%)", _lines(lines))])


def stream_chart(progressive: Any) -> str:
    """The flow's accuracy on its stream, before learning from each problem."""
    points = mappings(mapping(progressive).get("curve"))
    window = number(mapping(progressive).get("window"))
    last = "of the last ones" if window is None else f"of the last {window:,.0f}"
    lines = _lines(
        line(label, [(point.get("problems"), point.get(key)) for point in points], colour, scale=100.0)
        for colour, (label, key) in enumerate(((last, "windowed"), ("of all so far", "cumulative")))
    )
    return drawn([Panel("The flow, before learning from each problem", "problems seen", "accuracy (%)", lines)])


def best_of_chart(rows: Any) -> str:
    """The best of k by score beside the majority of k and any of k."""
    ks = [(row.get("k"), row) for row in mappings(rows) if 0 < (number(row.get("k")) or 0) <= LARGEST]
    wanted = {
        "best of k by score": [(k, mapping(row.get("best_of")).get("accuracy")) for k, row in ks],
        "majority of k": [(k, row.get("maj")) for k, row in ks],
        "any of k": [(k, row.get("pass")) for k, row in ks],
    }
    lines = _lines(line(label, points, colour, scale=100.0) for colour, (label, points) in enumerate(wanted.items()))
    return drawn([accuracy_panel("Choosing among k solutions", "k", lines)])


def _whole(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 6 else None


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
