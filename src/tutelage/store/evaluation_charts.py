"""Charts of an evaluation: accuracy against k and against what it costs; where a majority is wrong.

They are drawn from `curves` (`evaluation/curves.py`) and `votes` (`evaluation/vote_pictures.py`) of a report; what
cannot be read is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.store.charts import Line, Panel, Size, chart

SIZE = Size(420, 280)
COLOUR_OF = {"maj": 0, "pass": 0, "critic-maj": 1, "sequential": 2, "grid": 3, "critic-filter": 4, "best-of": 5,
             "weighted": 3}  # fmt: skip
COST = "tokens_per_problem"


def curves_chart(curves: Any) -> str:
    """The charts of an evaluation's curves as one SVG text; "" where there is nothing to draw.

    Above: what a way of choosing among answers comes to; below: whether any answer is right.

    Args:
        curves: by strategy, a list of `{k, accuracy, low, high, tokens_per_problem}`, at places with `steps`, `vote`
            and `pass`; accuracies from 0 to 1. Anything else is left out.
    """
    chosen, passed = _lines(curves)
    panels = []
    for title, found in (("the answer chosen", chosen), ("any answer right", passed)):
        for x_label, key in (("k", "k"), ("tokens written a problem", COST)):
            lines = [line for label, style, points in found if (line := _line(label, style, points, key))]
            if any(len(line.points) > 1 for line in lines):
                panels.append(accuracy_panel(f"{title}, against {'k' if key == 'k' else 'cost'}", x_label, lines))
    return chart(panels, size=SIZE, columns=min(2, len(panels))) if panels else ""


def votes_chart(votes: Any) -> str:
    """The margin of each problem's vote with and without a critic as one SVG text; "" where there is nothing to draw.

    A margin is the share of votes for the right answer minus that for the most frequent wrong one, from -1 to 1; below
    0 the majority is wrong.

    Args:
        votes: by strategy `critic-maj@k`, `{problems: [{plain_margin, critic_margin}]}`, in the order drawn. Anything
            else is left out.
    """
    panels = []
    for name, found in votes.items() if isinstance(votes, Mapping) else ():
        rows = found.get("problems") if isinstance(found, Mapping) else None
        rows = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list | tuple) else []
        lines = [
            Line(label, points, colour, has_stroke=colour == 0)
            for colour, (label, key) in enumerate((("as sampled", "plain_margin"), ("refined", "critic_margin")))
            if (points := [(float(i), row[key]) for i, row in enumerate(rows, 1) if -1 <= _number(row.get(key)) <= 1])
        ]
        if lines:
            panels.append(Panel(str(name), "problem, by its margin without a critic", "margin of the vote", lines,
                                [("below: the majority is wrong", 0.0)], floor=-1, ceiling=1))  # fmt: skip
    return chart(panels, size=SIZE, columns=min(2, len(panels))) if panels else ""


def accuracy_panel(title: str, x_label: str, lines: Sequence[Line], levels: Sequence[tuple[str, float]] = ()) -> Panel:
    """A panel of accuracies in percent over a quantity that counts in factors."""
    return Panel(title, x_label, "accuracy (%)", lines, levels, is_log=True, floor=0, ceiling=100)


Style = tuple[int, bool]
Found = list[tuple[str, Style, list[Mapping[str, Any]]]]


def _lines(curves: Any) -> tuple[Found, Found]:
    """What is drawn above and what below: label, colour and dash, points."""
    above: Found = []
    below: Found = []
    for kind, name, points in _largest(curves):
        colour = COLOUR_OF.get(kind, 0)
        if kind == "pass":
            below.append((name, (colour, True), points))
        elif kind == "sequential":
            above.append((name, (colour, False), points))
            above.append((f"{name}, vote", (colour, True), _inner(points, "vote")))
        elif kind == "grid":
            steps = sorted({point["steps"] for point in points if isinstance(point.get("steps"), int)})
            above += [(f"grid@kx{step}", (colour, step != steps[-1]), [p for p in points if p.get("steps") == step])
                      for step in steps if step]  # fmt: skip
        else:
            above.append((name, (colour, False), points))
        if kind in ("critic-maj", "sequential"):
            below.append((name, (colour, False), _inner(points, "pass")))
    return above, below


def _largest(curves: Any) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """Kind, name with k for its number, and points of the strategy of each kind that goes furthest."""
    best: dict[str, tuple[int, str, list[Mapping[str, Any]]]] = {}
    for strategy, found in curves.items() if isinstance(curves, Mapping) else ():
        read = re.fullmatch(r"([a-z-]+)([@-])(\d+)(x\d+)?", str(strategy))
        if read is None or not isinstance(found, Sequence) or isinstance(found, str):
            continue
        points = [point for point in found if isinstance(point, Mapping)]
        kind, sign, count = read[1], read[2], int(read[3])
        if points and count > best.get(kind, (0,))[0]:
            best[kind] = (count, f"{kind}{sign}k", points)
    return [(kind, name, points) for kind, (_, name, points) in best.items()]


def _inner(points: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """The points of a figure that stands beside the accuracy."""
    return [{**point, **point[key]} for point in points if isinstance(point.get(key), Mapping)]


def _line(label: str, style: Style, points: Sequence[Mapping[str, Any]], key: str) -> Line | None:
    """A line over `key`, in percent; points that lack a number, or whose place is not above 0, are left out."""
    read = [[_number(point.get(name)) for name in (key, "accuracy", "low", "high")] for point in points]
    whole = [
        (x, 100 * y, (100 * low, 100 * high))
        for x, y, low, high in read
        if 0 < x < math.inf and 0 <= low <= high <= 1 and 0 <= y <= 1
    ]
    colour, is_dashed = style
    band = [ends for _, _, ends in whole]
    return Line(label, [(x, y) for x, y, _ in whole], colour, is_dashed, band) if whole else None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
