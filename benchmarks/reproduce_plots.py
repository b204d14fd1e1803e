"""Line charts as small SVG files, the same bytes for the same numbers.

Enough for the studies' plots and no more: panels side by side, lines with marks, a legend, ticks. Colours tell methods
apart, dashes tell rejected from chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

COLOURS = ("#1b6ca8", "#c1440e", "#4f772d", "#7b2d8b", "#b8860b", "#444444")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 330, 250, 52, 34, 12, 42


@dataclass(frozen=True)
class Line:
    """One line.

    Args:
        label: shown in the legend; "" leaves it out of it.
        points: x and y, in order.
        colour: index into `COLOURS`.
        is_dashed: whether it is dashed.
    """

    label: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    is_dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart: title, axis labels, lines, and horizontal reference lines (label and y)."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    levels: Sequence[tuple[str, float]] = field(default_factory=tuple)


def write_chart(panels: Sequence[Panel], path: Path) -> None:
    """Write panels side by side, with one legend for all of them below."""
    entries = list(dict.fromkeys((s.label, s.colour, s.is_dashed) for p in panels for s in p.lines if s.label))
    columns = max(1, len(panels) * 2)
    height = HEIGHT + 18 * math.ceil(len(entries) / columns) + 8
    width = WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for index, panel in enumerate(panels):
        parts += [f'<g transform="translate({index * WIDTH},0)">', *_panel(panel), "</g>"]
    for index, (label, colour, is_dashed) in enumerate(entries):
        x, y = 20 + index % columns * (width - 30) / columns, HEIGHT + 12 + 18 * (index // columns)
        parts.append(_stroke([(x, y), (x + 24, y)], colour, is_dashed))
        parts.append(f'<text x="{x + 30:.0f}" y="{y + 4}">{escape(label)}</text>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def _panel(panel: Panel) -> list[str]:
    points = [point for line in panel.lines for point in line.points]
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    ys = [y for _, y in points] + [y for _, y in panel.levels]
    y_ticks, x_ticks = ticks(min(ys), max(ys)), ticks(x_low, x_high, least=1.0)
    y_low, y_high = min(y_ticks[0], *ys), max(y_ticks[-1], *ys)
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low or 1)
        up = (y - y_low) / (y_high - y_low or 1)
        return LEFT + across * plot_width, TOP + (1 - up) * plot_height

    out = [f'<text x="{LEFT + plot_width / 2:.0f}" y="18" text-anchor="middle" font-size="13">'
           f"{escape(panel.title)}</text>"]  # fmt: skip
    for tick in y_ticks:
        y = place(x_low, tick)[1]
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e3e3"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in (tick for tick in x_ticks if x_low <= tick <= x_high):
        x = place(tick, y_low)[0]
        out.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{tick:g}</text>')
    for label, level in panel.levels:
        y = place(x_low, level)[1]
        out.append(_stroke([(LEFT, y), (WIDTH - RIGHT, y)], 5, True))
        out.append(f'<text x="{WIDTH - RIGHT - 4}" y="{y - 4:.1f}" text-anchor="end">{escape(label)}</text>')
    for line in panel.lines:
        places = [place(*point) for point in line.points]
        out.append(_stroke(places, line.colour, line.is_dashed))
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{COLOURS[line.colour]}"/>' for x, y in places]
    out.append(f'<text x="{LEFT + plot_width / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
               f"{escape(panel.x_label)}</text>")  # fmt: skip
    middle = TOP + plot_height / 2
    out.append(f'<text x="13" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 13 {middle:.0f})">'
               f"{escape(panel.y_label)}</text>")  # fmt: skip
    return out


def _stroke(places: Sequence[tuple[float, float]], colour: int, is_dashed: bool) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dash = ' stroke-dasharray="5 4"' if is_dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{COLOURS[colour]}" stroke-width="1.6"{dash}/>'


def ticks(low: float, high: float, *, most: int = 6, least: float = 0.0) -> list[float]:
    """At most about `most` round numbers, no less than `least` apart, from at most `low` to at least `high`."""
    span = high - low or 1.0
    unit = 10.0 ** math.floor(math.log10(span / most))
    step = max(least, next(unit * factor for factor in (1, 2, 5, 10, 20) if span / (unit * factor) <= most))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 10) for index in range(first, last + 1)]
