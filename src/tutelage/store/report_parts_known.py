"""The parts of a report by recipe: their headings in plain words, their pictures, and the rest as tables.

A part that is not known here is shown all the same, under its own name (`report_parts.general`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tutelage.store import report_parts_charts as charts
from tutelage.store.report_parts import general, named, section, sections, title_of
from tutelage.store.report_parts_cells import is_scalar, mapping, plain
from tutelage.store.report_parts_charts import BUCKETS, mappings

ON_THE_PAGE = frozenset((
    "recipe", "model", "seed", "seconds", "sampler", "data", "weights", "run_folder", "iterations", "curves", "votes",
    "paired_test", "outcomes", "alarms", "remarks", "next_steps", "config", "time_spent",
))  # fmt: skip
"""Parts that the page shows by itself."""
SHOWN_ELSEWHERE = frozenset(("curve", "alarms"))
"""Of an iteration, what stands above; `curve` is drawn."""
BY_ITERATION = {
    "packing": "Training: steps by how rows were packed, tokens in them, tokens computed",
    "pairing": "Problems and pairs",
    "difficulty": "Training problems by pass rate",
    "problems_by_hardness": "Problems by pass rate as each epoch begins",
    "train_levels": "Share of the solutions learnt, by pass rate of their problem at the start",
    "test_levels": "Accuracy by pass rate of the problem at the start",
    "with_critic_levels": "Accuracy with the critic, by pass rate of the problem at the start",
    "tokens": "Tokens read and written in practice",
    "kept": "Examples kept",
}
"""Headings of what iterations report."""


class Known(NamedTuple):
    """How a part is shown: its heading, its pictures, and what is left of it for tables."""

    title: str
    pictures: Callable[[Any], Iterable[str]] = lambda part: ()
    rest: Callable[[Any], Any] = lambda part: part


def own_parts(report: Mapping[str, Any]) -> str:
    """Everything of a report that is a recipe's own."""
    found = {str(key): part for key, part in report.items() if key not in ON_THE_PAGE}
    done = []
    for key, part in found.items():
        if is_scalar(part):
            continue
        known = KNOWN.get(key) or Known(title_of(key))
        body = "".join(figure_of(drawn) for drawn in known.pictures(part))
        done.append(section(known.title, body + general(known.rest(part), key)))
    loose = {key: part for key, part in found.items() if is_scalar(part)}
    return "\n".join(filter(None, (*done, section("Further figures", general(loose)))))


def learning_pictures(rows: Sequence[Mapping[str, Any]]) -> str:
    """What iterations tell of their learning, as pictures."""
    pictures = (charts.rounds_chart(rows), charts.hardness_chart(rows), charts.learning_chart(rows))
    return "".join(map(figure_of, pictures))


def by_iteration(rows: Sequence[Mapping[str, Any]]) -> str:
    """What iterations report beside single figures, accuracies and what is drawn, as tables."""
    found: dict[str, dict[str, Any]] = {}
    for name, row in named(rows, "iterations").items():
        for key, part in row.items():
            if is_scalar(part) or not part or "accuracy" in part or key in SHOWN_ELSEWHERE:
                continue
            if key != "loss_by_hardness" or not charts.hardness_chart([row]):
                title = BY_ITERATION.get(plain(key), plain(key))
                found.setdefault(title, {})[name] = _bucketed(plain(key), part)
    last = BY_ITERATION["packing"]  # what fewest look for
    parts = dict(sorted(found.items(), key=lambda item: item[0] == last))
    only = {title: next(iter(of)) for title, of in parts.items() if len(of) == 1}
    return sections(
        {f"{title}, {only[title]}" if title in only else title: of[only[title]] if title in only else of
         for title, of in parts.items()}
    )  # fmt: skip


def _bucketed(key: str, part: Any) -> Any:
    """Figures by pass rate under the names of the buckets."""
    if key == "problems_by_hardness" and isinstance(part, list | tuple):
        return {f"epoch {i}": _bucketed("difficulty", row) for i, row in enumerate(part, 1)}
    if key in ("difficulty", "train_levels") and isinstance(part, list | tuple) and len(part) == len(BUCKETS):
        return {_bucket(i): value for i, value in enumerate(part)}
    if key in ("test_levels", "with_critic_levels") and (levels := _rows(part)):
        return {f"{_bucket(row.get('level'))} (of {plain(row.get('n'))})": row.get("accuracy") for row in levels}
    return part


def _bucket(number: Any) -> str:
    is_place = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(BUCKETS)
    return f"{20 * number}–{20 * number + 20} %" if is_place else plain(number)


def figure_of(drawn: str) -> str:
    """A picture as a part of a page."""
    return f"<figure>{drawn}</figure>" if drawn else ""


def _renamed(part: Any, names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(plain(key), plain(key)): value for key, value in mapping(part).items()}


def _rows(part: Any) -> list[Mapping[str, Any]]:
    """The entries of a list of mappings; none of anything else."""
    rows = mappings(part)
    return rows if rows and len(rows) == len(part) else []


def _across(whole: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of parts with the same figures, each figure of all of them."""
    found: dict[str, dict[str, Any]] = {}
    for who, part in whole.items():
        for key, value in mapping(part).items():
            found.setdefault(plain(key), {})[who] = value
    return found


def _styles(part: Any) -> Any:
    rows = _rows(mapping(part).get("iterations"))
    if not rows:
        return part
    names = {"n": "problems", "accuracy": "Accuracy by style", "pairs": "Who solves what",
             "written": "What was written, by what was asked for", "by_kind": "By kind of problem"}  # fmt: skip
    found = _across(named(rows, "iterations"))
    last = found.pop("by_kind", None)  # the longest
    rest = {key: value for key, value in part.items() if key != "iterations"}
    return _renamed({**rest, **found, "by_kind": last}, names)


def _paths(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    fits = {
        name: _renamed(mapping(found).get("fit"), {"log": "R² of a logarithm", "linear": "R² of a straight line",
                                                   "per_doubling": "more paths when samples double"})
        for name, found in mapping(part.get("distinct_by_samples")).items()
    }  # fmt: skip
    grown = {
        name: {plain(k): value for k, value in charts.pairs(mapping(found).get("points"))}
        for name, found in mapping(part.get("distinct_by_samples")).items()
    }
    rest = {key: value for key, value in part.items() if key != "distinct_by_samples"}
    return {**_renamed(rest, {"samplers": "Who gave what", "overlap": "Overlap: found by both, of found by either"}),
            "Distinct paths a problem, by number of samples": grown, "How distinct paths grow": fits}  # fmt: skip


def _hard(part: Any) -> Any:
    rows = _rows(mapping(part).get("by_difficulty"))
    if not rows:
        return part
    table_rows = []
    for row in rows:
        out: dict[str, Any] = {"pass rate at the start": _bucket(row.get("bin"))}
        for key, value in row.items():
            if isinstance(value, list | tuple) and len(value) == 2:
                out |= {f"{key} before": value[0], f"{key} after": value[1]}
            elif key != "bin":
                out[str(key)] = value
        table_rows.append(out)
    return {**_renamed(part, {}), "by_difficulty": table_rows}


def judges(part: Any) -> dict[str, Mapping[str, Any]]:
    """The figures of a judge's card by who judged: the teacher, and each student before and after."""
    found: dict[str, Any] = {"teacher": mapping(part).get("teacher")}
    for position, student in enumerate(mappings(mapping(part).get("students")), 1):
        name = plain(student.get("student", position))[:60]
        for when, key in (("untrained", "before"), ("trained", "after")):
            label = f"{name}, {when}"
            found[label if label not in found else f"{label} ({position})"] = student.get(key)
    return {name: figures for name, figures in found.items() if isinstance(figures, Mapping)}


def _judge(part: Any) -> Any:
    who = judges(part)
    if not who:
        return part
    students = [
        {key: value for key, value in student.items() if key not in ("before", "after")}
        for student in mappings(part.get("students"))
    ]
    found = _across(who)
    found["histogram"] = {
        name: _renamed({key: value for key, value in drawn.items() if key not in ("right", "wrong")},
                       {"unreadable_right": "of right answers", "unreadable_wrong": "of wrong answers"})
        for name, drawn in found.get("histogram", {}).items() if isinstance(drawn, Mapping)
    }  # fmt: skip
    names = {
        "verdicts": "Verdicts", "bands": "Right answers by band of scores", "unreadable": "Why ratings cannot be read",
        "histogram": "Ratings that cannot be read", "accuracy_by_threshold": "Accuracy of verdicts by threshold",
    }  # fmt: skip
    figures: dict[str, Any] = {k: found.pop(k) for k in ("pearson", "auc_within", "auc_across") if k in found}
    rest = {key: value for key, value in part.items() if key not in ("teacher", "students")}
    return {**rest, "scores and truth": _across(figures), **_renamed(found, names), "students": students}


def _critic(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    out: dict[str, Any] = {}
    for data, both in part.items():
        sides = {when: _critic_side(mapping(both).get(when)) for when in ("before", "after")}
        if not any(isinstance(side, Mapping) for side in sides.values()):
            out[plain(data)] = both
            continue
        names = {
            "first_error": "First wrong step",
            "help": "What refining with its critiques does",
            "levels": "By level of the problem, 1 the hardest",
            "compared": "Accuracy compared, after against before",
        }
        rest = {key: value for key, value in both.items() if key not in sides}
        out[plain(data)] = _renamed({**_across(sides), **rest}, names)
    return out


def _critic_side(part: Any) -> Any:
    """Figures of a critic with names that say what they are shares of."""
    if not isinstance(part, Mapping):
        return part
    names = {
        "help": {"before": "accuracy before", "after": "accuracy after", "right_to_wrong": "share of right ones spoilt",
                 "wrong_to_right": "share of wrong ones repaired"},
        "first_error": {"on_wrong": "accuracy on wrong answers", "on_right": "accuracy on right answers"},
    }  # fmt: skip
    out = {key: value for key, value in part.items() if value or key != "retokenized"}
    out |= {key: _renamed(part[key], words) for key, words in names.items() if isinstance(part.get(key), Mapping)}
    if mappings(part.get("levels")):
        out["levels"] = [
            {"level": row.get("level"), "answers": row.get("n"),
             "accuracy of verdicts": mapping(row.get("verdicts")).get("accuracy"),
             "f1 of the first wrong step": mapping(row.get("first_error")).get("f1"),
             "accuracy before": mapping(row.get("help")).get("before"),
             "accuracy after": mapping(row.get("help")).get("after")}
            for row in mappings(part["levels"]) if row.get("n") != 0
        ]  # fmt: skip
    return out


def _flow(part: Any) -> Any:
    stream = mapping(part).get("progressive")
    if not isinstance(stream, Mapping):
        return part
    window = plain(stream.get("window"))
    names = {"cumulative": "accuracy over all of them", "windowed": f"accuracy over the last {window}",
             "first": f"accuracy over the first {window}"}  # fmt: skip
    told = {key: value for key, value in stream.items() if key not in ("curve", "window")}
    return _renamed({**part, "progressive": _renamed(told, names)}, {
        "progressive": "On the stream, before learning from each problem",
        "nodes": "What trying each node again showed",
    })  # fmt: skip


def _loop(part: Any) -> Any:
    rows = _rows(part)
    return [_renamed(row, {"with_critic": "accuracy with the critic"}) for row in rows] if rows else part


KNOWN = {
    "styles": Known("Styles of solutions", rest=_styles),
    "paths": Known(
        "Paths, and who gave them", lambda p: [charts.paths_chart(mapping(p).get("distinct_by_samples"))], _paths
    ),
    "hard": Known("Hard problems, before and after", rest=_hard),
    "judge": Known(
        "What the judge is worth", lambda p: [charts.histogram_chart(judges(p)), charts.thresholds_chart(judges(p))],
        _judge,
    ),
    "reward_model": Known(
        "What the reward model is worth", lambda p: [charts.best_of_chart(mapping(p).get("best_of"))]
    ),
    "synthesis": Known("Questions written and kept", rest=lambda p: _renamed(p, {"dropped": "dropped, by reason"})),
    "flow": Known("The flow", lambda p: [charts.stream_chart(mapping(p).get("progressive"))], _flow),
    "compile": Known("What was learnt from each source"),
    "comparisons": Known("Every two of them, paired by problem"),
    "critic": Known("What the critic is worth", rest=_critic),
    "critique_data": Known("Critiques made and kept", rest=lambda p: _renamed(p, {"truth": "share that is true"})),
    "critique_loop": Known("The rounds in short", rest=_loop),
    "self_talk": Known("Trains of thought, and what each arm learnt"),
    "strategies": Known("Strategies"),
    "equal_cost": Known("With and without a critic, at equal cost"),
    "written": Known("What was written"),
}  # fmt: skip
