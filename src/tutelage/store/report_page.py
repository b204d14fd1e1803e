"""`report.html`: a run's report as one small static page, without scripts and without anything from outside.

It draws what it finds and leaves out what it does not: a report of another shape gives a shorter page, never an
error. All text is escaped; nothing in a report can become markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from tutelage.store.charts import Panel
from tutelage.store.disk import replace_file
from tutelage.store.evaluation_charts import curves_chart, votes_chart
from tutelage.store.report_parts import MAX_ROWS, general, section, table
from tutelage.store.report_parts_cells import cell, figure, number, percent, plain, words
from tutelage.store.report_parts_charts import drawn, line
from tutelage.store.report_parts_known import by_iteration, figure_of, learning_pictures, own_parts

_COMMON = frozenset((
    "seconds", "pairs", "steps", "chosen_logprob", "rejected_logprob", "chosen_logprob_before",
    "rejected_logprob_before", "chosen_step", "mean_tokens", "dropped",
))  # fmt: skip
"""Figures that iterations of any recipe may have."""
_MANY = 9
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;color:#1f2328;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2.2rem 0 .5rem;border-bottom:2px solid #d1d9e0}
h3{font-size:1rem;margin:1.2rem 0 .3rem}h4,h5,h6{font-size:.95rem;font-weight:600;color:#59636e;margin:.9rem 0 .2rem}
table{border-collapse:collapse;display:block;overflow-x:auto;max-width:100%;margin:.3rem 0 .8rem}
td,th{border-bottom:1px solid #d1d9e0;padding:.25rem .6rem;text-align:right;vertical-align:top}
th{vertical-align:bottom}td.t{min-width:5.6rem}.t{text-align:left}
.alarm{border-left:4px solid #d1242f;padding:.3rem .8rem;margin:.5rem 0}
.range{color:#59636e;font-size:.85em;white-space:nowrap}p{margin:.4rem 0}ul{padding-left:1.2rem}
pre,code{background:#f6f8fa;white-space:pre-wrap;overflow-wrap:anywhere}pre{padding:.8rem}code{padding:.1rem .3rem}
svg{max-width:100%;height:auto;margin-right:1rem}figure{display:inline-block;margin:0}
"""


def write_html(report: Mapping[str, Any], path: Path) -> None:
    """Write the page of a report to `path`, whole or not at all. Raises StorageFull."""
    replace_file(Path(path), render(report).encode(errors="replace"))


def render(report: Mapping[str, Any]) -> str:
    """The page of a report as text; parts that the report lacks are left out."""
    title = " ".join(plain(report[k]) for k in ("recipe", "model") if report.get(k)) or "run"
    rows = [row for row in _list(report.get("iterations")) if isinstance(row, Mapping)]
    parts = [
        f"<h1>{escape(title)}</h1>",
        _facts(report),
        _alarms(report.get("alarms")),
        _remarks(report.get("remarks")),
        section("Iterations", _iterations(rows)),
        section("Curves", _curves(rows)),
        section("Paired test, last against first", _paired(report.get("paired_test"))),
        section("Learning", learning_pictures(rows)),
        own_parts(report),
        section("Curves over k", figure_of(curves_chart(report.get("curves")))),
        section("Votes, problem by problem", figure_of(votes_chart(report.get("votes")))),
        section("Outcomes", _outcomes(report.get("outcomes"))),
        section("Iteration by iteration", by_iteration(rows)),
        section("Seconds by kind of work", general(report.get("time_spent"))),
        section("What to try next", _next_steps(report.get("next_steps"))),
        section("Settings", _settings(report.get("config"))),
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


def _range(of: Mapping[str, Any]) -> str:
    low, high = percent(of.get("low")), percent(of.get("high"))
    return f' <span class="range">[{low}, {high}]</span>' if low and high else ""


def _facts(report: Mapping[str, Any]) -> str:
    names = ("data", "sampler", "weights", "seed", "run_folder")
    facts = [f"{words(k)} {cell(report[k])}" for k in names if report.get(k) is not None]
    seconds = number(report.get("seconds"))
    if seconds is not None:
        facts.append(f"{seconds:,.0f} seconds" if abs(seconds) < 1e12 else f"{seconds:.4g} seconds")
    return f"<p>{' · '.join(facts)}</p>" if facts else ""


def _alarms(alarms: Any) -> str:
    texts = [alarms] if isinstance(alarms, str | Mapping) else _list(alarms)
    told = [(a.get("text") or a.get("message") or a) if isinstance(a, Mapping) else a for a in texts]
    return "\n".join(f'<p class="alarm">{escape(plain(text))}</p>' for text in told[:MAX_ROWS])


def _remarks(remarks: Any) -> str:
    texts = [remarks] if isinstance(remarks, str) else _list(remarks)
    lines = [f"<li>{escape(plain(text).strip())}</li>" for text in texts[:MAX_ROWS]]
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def _next_steps(steps: Any) -> str:
    """What may be done with the run: purposes with commands, in which RUN stands for its folder."""
    lines = []
    for step in _list(steps)[:MAX_ROWS]:
        parts = [plain(part) for part in step] if isinstance(step, list | tuple) else [plain(step)]
        command = parts[1].replace("{folder}", "RUN").replace("{{", "{").replace("}}", "}") if len(parts) == 2 else ""
        lines.append(f"<li>{escape(parts[0])}: <code>{escape(command)}</code></li>" if command
                     else f"<li>{escape(' '.join(parts))}</li>")  # fmt: skip
    return f"<p>RUN is the folder of this run.</p><ul>{''.join(lines)}</ul>" if lines else ""


def _strategies(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the columns that hold an accuracy with its interval, in order of appearance."""
    return list(dict.fromkeys(k for row in rows for k, v in row.items() if isinstance(v, Mapping) and "accuracy" in v))


def _iterations(rows: Sequence[Mapping[str, Any]]) -> str:
    """Accuracies and figures of each iteration; many that are a recipe's own are a table of their own."""
    strategies = _strategies(rows)
    others = [
        k
        for k in dict.fromkeys(k for row in rows for k in row)
        if k != "iteration" and k not in strategies and any(isinstance(r.get(k), int | float | str) for r in rows)
        and not (k == "dropped" and not any(r.get(k) for r in rows))
    ]  # fmt: skip
    if not strategies and set(others) <= {"seconds"}:
        return ""
    own = [k for k in others if k not in _COMMON] if len(strategies) + len(others) > _MANY else []
    return _iteration_table(rows, strategies, [k for k in others if k not in own]) + (
        _iteration_table(rows, [], own) if own else ""
    )


def _iteration_table(rows: Sequence[Mapping[str, Any]], strategies: Sequence[str], others: Sequence[str]) -> str:
    body = []
    for position, row in enumerate(rows):
        cells = [cell(row.get("iteration", position))]
        for name in strategies:
            of = row.get(name)
            cells.append(percent(of.get("accuracy")) + _range(of) if isinstance(of, Mapping) else "")
        cells += [figure(row.get(k), k) if isinstance(row.get(k), int | float | str) else "" for k in others]
        body.append(cells)
    names = [plain(name).replace("_", " ") for name in (*strategies, *others)]
    texts = [i for i, k in enumerate(others, 1 + len(strategies)) if any(isinstance(row.get(k), str) for row in rows)]
    return table(["iteration", *names], body, texts)


def _curves(rows: Sequence[Mapping[str, Any]]) -> str:
    accuracy = {
        name: [number(r[name].get("accuracy")) if isinstance(r.get(name), Mapping) else None for r in rows]
        for name in _strategies(rows)
    }
    log_probs = {name: [number(r.get(f"{name}_logprob")) for r in rows] for name in ("chosen", "rejected")}
    return _chart("accuracy", accuracy) + _chart("log-prob (nats, sum over tokens)", log_probs)


def _chart(title: str, lines: Mapping[str, Sequence[float | None]]) -> str:
    """Curves over iterations as inline SVG; nothing unless some curve has two points."""
    found = [
        line(plain(name).replace("_", " "), enumerate(values), colour)
        for colour, (name, values) in enumerate(lines.items())
    ]
    return figure_of(drawn([Panel(f"{title} by iteration", "iteration", title, [one for one in found if one])]))


def _paired(test: Any) -> str:
    if not isinstance(test, Mapping) or not test:
        return ""
    cells = [percent(test.get("difference")) + _range(test), figure(test.get("p_value")), cell(test.get("n"))]
    return table(["difference", "p", "problems"], [cells])


def _outcomes(outcomes: Any) -> str:
    if not isinstance(outcomes, Mapping):
        return ""
    total = sum(v for v in map(number, outcomes.values()) if v is not None)
    if not any(outcomes.values()):
        return ""
    rows = []
    for name, count in outcomes.items():
        found = number(count)
        share = percent(found / total) if found is not None and total else ""
        rows.append([words(name), cell(count), share])
    return table(["outcome", "samples", "share"], rows)


def _settings(config: Any) -> str:
    if not isinstance(config, Mapping) or not config:
        return ""
    lines = (f"{plain(key)} = {plain(value, repr, most=4000)}" for key, value in config.items())
    return "<pre>" + escape("\n".join(lines)) + "</pre>"
