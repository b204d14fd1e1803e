"""Line charts as small SVG texts, the same bytes for the same numbers: of reports, evaluations and the studies.

Panels in rows, lines with marks, bands for intervals, ticks, one legend. Colours are those that colour-blind people
can tell apart (Okabe and Ito 2008), and each has a mark of its own. No scripts, nothing from outside; all text is
escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b58900", "#56b4e9", "#444444")
GREY = 6
LEFT, TOP, RIGHT, BOTTOM = 52, 34, 18, 42
LETTER, SWATCH, LINE_HEIGHT = 6.0, 44, 18
MOST_MARKS = 40
"""Lines of more points are drawn without marks."""


@dataclass(frozen=True)
class Line:
    """One line.

    Args:
        label: shown in the legend; "" leaves it out of it.
        points: x and y, in order.
        colour: index into `COLOURS`; also chooses the mark.
        is_dashed: whether it is dashed.
        band: low and high of each point's interval; empty draws none.
        has_stroke: false draws the points alone.
    """

    label: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    is_dashed: bool = False
    band: Sequence[tuple[float, float]] = ()
    has_stroke: bool = True


@dataclass(frozen=True)
class Panel:
    """One chart.

    Args:
        title, x_label, y_label: its texts.
        lines: at least one, with at least one point.
        levels: horizontal reference lines, label and y; dashed and grey.
        is_log: whether x, > 0, is on a logarithmic scale.
        floor, ceiling: y that is never left, e.g. 0 and 100 of a percentage.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    levels: Sequence[tuple[str, float]] = field(default_factory=tuple)
    is_log: bool = False
    floor: float = -math.inf
    ceiling: float = math.inf


class Size(NamedTuple):
    """Width and height of a panel, in pixels."""

    width: int = 330
    height: int = 250


def chart(panels: Sequence[Panel], *, size: Size | None = None, columns: int | None = None) -> str:
    """Panels as one SVG text, with one legend for all of them below.

    Args:
        panels: at least one.
        size: of each; none is 330 x 250.
        columns: panels side by side; none puts them all into one row.
    """
    size, columns = size or Size(), columns or len(panels)
    width, top = size.width * min(columns, len(panels)), size.height * math.ceil(len(panels) / columns)
    legend, legend_height = _legend(panels, width)
    height = top + legend_height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'role="img" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for index, panel in enumerate(panels):
        across, down = index % columns * size.width, index // columns * size.height
        parts += [f'<g transform="translate({across},{down})">', *_panel(panel, size), "</g>"]
    parts += [f'<g transform="translate(0,{top})">', *legend, "</g>"] if legend else []
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(panels: Sequence[Panel], width: int) -> tuple[list[str], int]:
    """The entries, each once, in as many columns as the longest label allows; and their height."""
    shown = [line for panel in panels for line in panel.lines if line.label]
    shown += [Line(label, (), GREY, True) for panel in panels for label, _ in panel.levels]
    entries = list(dict.fromkeys((line.label, line.colour, line.is_dashed, line.has_stroke) for line in shown))
    if not entries:
        return [], 0
    room = width - 30
    longest = SWATCH + LETTER * max(len(line.label) for line in shown)
    columns = max(1, min(len(entries), int(room / longest)))
    out = []
    for index, (label, colour, is_dashed, has_stroke) in enumerate(entries):
        x, y = 20 + index % columns * room / columns, 10.0 + LINE_HEIGHT * (index // columns)
        out += [_straight((x, y), (x + 24, y), colour, is_dashed)] if has_stroke else []
        out += [_mark(x + 12, y, colour)] if colour != GREY else []
        out.append(f'<text x="{x + 30:.0f}" y="{y + 4:.0f}">{escape(label)}</text>')
    return out, LINE_HEIGHT * math.ceil(len(entries) / columns) + 8


def _panel(panel: Panel, size: Size) -> list[str]:
    place, x_ticks, y_ticks = _scales(panel, size)
    bottom, right = size.height - BOTTOM, size.width - RIGHT
    centre, middle = (LEFT + right) / 2, (TOP + bottom) / 2
    out = [f'<text x="{centre:.0f}" y="18" text-anchor="middle" font-size="13">{escape(panel.title)}</text>']
    for tick in y_ticks:
        y = place(x_ticks[0], tick)[1]
        out.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e3e3"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        x = place(tick, y_ticks[0])[0]
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}" stroke="#999999"/>')
        out.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    out += [_band(line, place) for line in panel.lines if line.band]
    for _, level in panel.levels:
        y = place(x_ticks[0], level)[1]
        out.append(_straight((LEFT, y), (right, y), GREY, True))
    for line in panel.lines:
        places = [place(*point) for point in line.points]
        out += [_stroke(places, line.colour, line.is_dashed)] if line.has_stroke else []
        if len(places) <= MOST_MARKS or not line.has_stroke:
            out += [_mark(x, y, line.colour) for x, y in places]
    out.append(f'<text x="{centre:.0f}" y="{size.height - 8}" text-anchor="middle">{escape(panel.x_label)}</text>')
    out.append(f'<text x="13" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 13 {middle:.0f})">'
               f"{escape(panel.y_label)}</text>")  # fmt: skip
    return out


Place = Callable[[float, float], tuple[float, float]]


def _scales(panel: Panel, size: Size) -> tuple[Place, list[float], list[float]]:
    """Where x and y lie in a panel, and its ticks."""
    xs = [x for line in panel.lines for x, _ in line.points]
    ys = [y for line in panel.lines for _, y in line.points] + [y for _, y in panel.levels]
    ys += [end for line in panel.lines for ends in line.band for end in ends]
    x_low, x_high = min(xs), max(xs)
    y_ticks = [tick for tick in ticks(min(ys), max(ys)) if panel.floor <= tick <= panel.ceiling]
    y_low, y_high = min(*y_ticks, *ys), max(*y_ticks, *ys)
    x_ticks = log_ticks(x_low, x_high) if panel.is_log else ticks(x_low, x_high, least=1.0)
    scale = math.log if panel.is_log else float

    def place(x: float, y: float) -> tuple[float, float]:
        span = scale(x_high) - scale(x_low)
        across = (scale(x) - scale(x_low)) / span if span else 0.5
        up = (y - y_low) / (y_high - y_low or 1)
        return LEFT + across * (size.width - LEFT - RIGHT), TOP + (1 - up) * (size.height - TOP - BOTTOM)

    return place, [tick for tick in x_ticks if x_low <= tick <= x_high] or [x_low], y_ticks


def _stroke(places: Sequence[tuple[float, float]], colour: int, is_dashed: bool) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{path}" fill="none" {_pen(colour, is_dashed)}/>'


def _straight(start: tuple[float, float], end: tuple[float, float], colour: int, is_dashed: bool) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" {_pen(colour, is_dashed)}/>'


def _pen(colour: int, is_dashed: bool) -> str:
    dash = ' stroke-dasharray="5 4"' if is_dashed else ""
    return f'stroke="{_colour(colour)}" stroke-width="1.6"{dash}'


def _band(line: Line, place: Place) -> str:
    """The area between the ends of a line's intervals."""
    xs = [x for x, _ in line.points]
    ends = [(x, high) for x, (_, high) in zip(xs, line.band, strict=True)]
    ends += [(x, low) for x, (low, _) in reversed(list(zip(xs, line.band, strict=True)))]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*end) for end in ends))
    return f'<polygon points="{path}" fill="{_colour(line.colour)}" fill-opacity="0.13"/>'


def _mark(x: float, y: float, colour: int) -> str:
    """Circle, square, triangle, diamond, triangle on its tip: by colour."""
    shape = colour % len(COLOURS) % 5
    if shape == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{_colour(colour)}"/>'
    corners = {
        1: ((-2.4, -2.4), (2.4, -2.4), (2.4, 2.4), (-2.4, 2.4)), 2: ((0, -3.2), (3.1, 2.3), (-3.1, 2.3)),
        3: ((0, -3.5), (3.5, 0), (0, 3.5), (-3.5, 0)), 4: ((0, 3.2), (3.1, -2.3), (-3.1, -2.3)),
    }[shape]  # fmt: skip
    path = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{path}" fill="{_colour(colour)}"/>'


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def ticks(low: float, high: float, *, most: int = 6, least: float = 0.0) -> list[float]:
    """At most about `most` round numbers, no less than `least` apart, from at most `low` to at least `high`."""
    span = high - low or 1.0
    if not 1e-300 < span < math.inf:
        return [low, high]
    unit = 10.0 ** math.floor(math.log10(span / most))
    step = max(least, next(unit * factor for factor in (1, 2, 5, 10, 20) if span / (unit * factor) <= most))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 10) for index in range(first, last + 1)]


def log_ticks(low: float, high: float, *, most: int = 7) -> list[float]:
    """Powers of two, four or ten around `low` to `high`, both > 0: of the first base that needs at most `most`."""
    for base in (2.0, 4.0, 10.0):
        first, last = math.floor(math.log(low, base)), math.ceil(math.log(high, base))
        if last - first < most:
            break
    return [base**power for power in range(first, last + 1)]
