"""`report.html`: a run's report as one small static page, without scripts and without anything from outside.

It draws what it finds and leaves out what it does not: a report of another shape gives a shorter page, never an
error. All text is escaped; nothing in a report can become markup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from tutelage.store.charts import Line, Panel, Size, chart
from tutelage.store.disk import replace_file
from tutelage.store.evaluation_charts import curves_chart, votes_chart

_SIZE = Size(400, 260)
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1f2328;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}
td,th{border-bottom:1px solid #d1d9e0;padding:.25rem .8rem;text-align:right;vertical-align:top}
td:first-child,th:first-child{text-align:left}.alarm{border-left:4px solid #d1242f;padding:.3rem .8rem;margin:.5rem 0}
.range{color:#59636e;font-size:.85em}pre{background:#f6f8fa;padding:.8rem;overflow:auto;white-space:pre-wrap}
svg{max-width:100%;height:auto;margin-right:1rem}figure{display:inline-block;margin:0}
"""


def write_html(report: Mapping[str, Any], path: Path) -> None:
    """Write the page of a report to `path`, whole or not at all. Raises StorageFull."""
    replace_file(Path(path), render(report).encode(errors="replace"))


def render(report: Mapping[str, Any]) -> str:
    """The page of a report as text; parts that the report lacks are left out."""
    title = " ".join(str(report[k]) for k in ("recipe", "model") if report.get(k)) or "run"
    rows = [row for row in _list(report.get("iterations")) if isinstance(row, Mapping)]
    parts = [
        f"<h1>{escape(title)}</h1>",
        _facts(report),
        _alarms(report.get("alarms")),
        _section("Iterations", _iterations(rows)),
        _section("Curves", _curves(rows)),
        _section("Curves over k", _figure(curves_chart(report.get("curves")))),
        _section("Votes, problem by problem", _figure(votes_chart(report.get("votes")))),
        _section("Paired test, last against first", _paired(report.get("paired_test"))),
        _section("Outcomes", _outcomes(report.get("outcomes"))),
        _section("Settings", _settings(report.get("config"))),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(p for p in parts if p)
        + "\n</body></html>\n"
    )


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else []


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _shown(value: Any) -> str:
    number = _number(value)
    if number is None:
        return "" if value is None else escape(str(value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{number:,.1f}" if abs(number) >= 100 else f"{number:.4g}"


def _percent(value: Any) -> str:
    number = _number(value)
    return "" if number is None else f"{100 * number:.1f} %"


def _range(cell: Mapping[str, Any]) -> str:
    low, high = _percent(cell.get("low")), _percent(cell.get("high"))
    return f' <span class="range">[{low}, {high}]</span>' if low and high else ""


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{body}" if body else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; `head` is escaped here, the cells of `rows` are markup already."""
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _facts(report: Mapping[str, Any]) -> str:
    facts = [f"{k} {_shown(report[k])}" for k in ("seed",) if report.get(k) is not None]
    seconds = _number(report.get("seconds"))
    if seconds is not None:
        facts.append(f"{seconds:,.0f} seconds")
    return f"<p>{' · '.join(facts)}</p>" if facts else ""


def _alarms(alarms: Any) -> str:
    texts = [alarms] if isinstance(alarms, str | Mapping) else _list(alarms)
    shown = [str(a.get("text") or a.get("message") or dict(a)) if isinstance(a, Mapping) else str(a) for a in texts]
    return "\n".join(f'<p class="alarm">{escape(text)}</p>' for text in shown)


def _strategies(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the columns that hold an accuracy with its interval, in order of appearance."""
    return list(dict.fromkeys(k for row in rows for k, v in row.items() if isinstance(v, Mapping) and "accuracy" in v))


def _iterations(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    strategies = _strategies(rows)
    others = [
        k
        for k in dict.fromkeys(k for row in rows for k in row)
        if k != "iteration" and k not in strategies and any(isinstance(r.get(k), int | float | str) for r in rows)
    ]
    body = []
    for position, row in enumerate(rows):
        cells = [_shown(row.get("iteration", position))]
        for name in strategies:
            cell = row.get(name)
            cells.append(_percent(cell.get("accuracy")) + _range(cell) if isinstance(cell, Mapping) else "")
        cells += [_shown(row.get(k)) if isinstance(row.get(k), int | float | str) else "" for k in others]
        body.append(cells)
    return _table(["iteration", *strategies, *(k.replace("_", " ") for k in others)], body)


def _curves(rows: Sequence[Mapping[str, Any]]) -> str:
    accuracy = {
        name: [_number(r[name].get("accuracy")) if isinstance(r.get(name), Mapping) else None for r in rows]
        for name in _strategies(rows)
    }
    log_probs = {name: [_number(r.get(f"{name}_logprob")) for r in rows] for name in ("chosen", "rejected")}
    return _chart("accuracy", accuracy) + _chart("log-prob (nats, sum over tokens)", log_probs)


def _chart(title: str, lines: Mapping[str, Sequence[float | None]]) -> str:
    """Curves over iterations as inline SVG; nothing unless some curve has two points."""
    found = [
        Line(name, [(float(i), value) for i, value in enumerate(values) if value is not None], colour)
        for colour, (name, values) in enumerate(lines.items())
    ]
    if not any(len(line.points) > 1 for line in found):
        return ""
    panel = Panel(f"{title} by iteration", "iteration", title, [line for line in found if line.points])
    return _figure(chart([panel], size=_SIZE))


def _figure(drawn: str) -> str:
    return f"<figure>{drawn}</figure>" if drawn else ""


def _paired(test: Any) -> str:
    if not isinstance(test, Mapping):
        return ""
    interval = _range(test)
    p_value = _shown(test.get("p_value"))
    cells = [_percent(test.get("difference")) + interval, p_value, _shown(test.get("n"))]
    return _table(["difference", "p", "problems"], [cells])


def _outcomes(outcomes: Any) -> str:
    if not isinstance(outcomes, Mapping) or not outcomes:
        return ""
    total = sum(v for v in map(_number, outcomes.values()) if v is not None)
    rows = []
    for name, count in outcomes.items():
        number = _number(count)
        share = _percent(number / total) if number is not None and total else ""
        rows.append([escape(str(name)), _shown(count), share])
    return _table(["outcome", "samples", "share"], rows)


def _settings(config: Any) -> str:
    if not isinstance(config, Mapping) or not config:
        return ""
    lines = "\n".join(f"{key} = {value!r}" for key, value in config.items())
    return f"<pre>{escape(lines)}</pre>"
