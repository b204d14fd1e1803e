"""Any part of a report becomes readable tables: values, shares, intervals; nothing is an error or markup."""

from __future__ import annotations

import copy
import html.parser
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.store.report_page import render
from tutelage.store.report_parts import MAX_ROWS, general, named, table
from tutelage.store.report_parts_cells import cell, figure, number, shown

EVIL = "</td><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Reader(html.parser.HTMLParser):
    """Tables as rows of texts, headings, all text; and that tags are closed in order."""

    VOID = frozenset(("meta", "line", "polyline", "circle", "rect", "polygon"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.tables: list[list[list[str]]] = []
        self.headings: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag in ("h2", "h3", "h4", "h5", "h6"):
            self.headings.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data
        elif self.open and self.open[-1] in ("h2", "h3", "h4", "h5", "h6"):
            self.headings[-1] += data


def read(markup: str) -> Reader:
    reader = Reader()
    reader.feed(markup)
    reader.close()
    assert reader.open == []
    return reader


def test_a_mapping_becomes_rows_with_shares_in_percent() -> None:
    part = {"win_rate": 0.125, "problems": 1234, "learning_rate": 0.0001, "select": "diverse", "is_on": True, "x": None}
    assert read(general(part)).tables == [
        [["win rate", "12.5 %"], ["problems", "1,234"], ["learning rate", "0.0001"], ["select", "diverse"],
         ["is on", "yes"]]
    ]  # fmt: skip


def test_an_interval_stands_beside_its_figure() -> None:
    whole = {
        "accuracy": {"accuracy": 0.5, "low": 0.25, "high": 0.75, "n": 8},
        "auc": {"value": 0.9, "low": 0.8, "high": 1.0},
    }
    assert read(general(whole)).tables == [[["accuracy", "50.0 % [25.0 %, 75.0 %] of 8"], ["auc", "0.9 [0.8, 1]"]]]
    rows = [{"first": "a", "second": "b", "difference": 0.1, "low": -0.1, "high": 0.3, "p_value": 0.04, "n": 9}]
    assert read(general(rows)).tables == [
        [["first", "second", "difference", "p value", "n"], ["a", "b", "10.0 % [-10.0 %, 30.0 %]", "0.04", "9"]]
    ]


def test_shares_are_inherited_by_floats_and_never_by_counts() -> None:
    assert read(general({"cot": 0.5, "n": 1, "p_value": 0.5}, "accuracy_by_style")).tables == [
        [["cot", "50.0 %"], ["n", "1"], ["p value", "0.5"]]
    ]
    assert figure(1, "share") == "100.0 %" and figure(0, "precision") == "0" and figure(0.0, "precision") == "0.0 %"
    assert figure(7.5, "accuracy") == "7.5"  # no share


def test_a_list_of_mappings_is_one_table_without_empty_columns() -> None:
    rows = [{"k": 1, "maj": 0.5, "none": None, "by": {"a": 1, "b": 2}}, {"k": 2, "pass": 0.75, "by": {"a": 3}}]
    assert read(general(rows)).tables == [
        [["k", "maj", "by: a", "by: b", "pass"], ["1", "50.0 %", "1", "2", ""], ["2", "", "3", "", "75.0 %"]]
    ]


def test_parts_that_are_alike_are_held_against_each_other() -> None:
    side = {"n": 4, "verdicts": {"right": 3, "wrong": 1}, "levels": [{"level": 1, "n": 2}, {"level": 2, "n": 2}]}
    reader = read(general({"before": side, "after": {**side, "n": 5}}))
    assert reader.headings == ["Verdicts", "Levels"]
    assert reader.tables == [
        [["", "n"], ["before", "4"], ["after", "5"]],
        [["", "right", "wrong"], ["before", "3", "1"], ["after", "3", "1"]],
        [["", "level", "n"], ["before", "1", "2"], ["", "2", "2"], ["after", "1", "2"], ["", "2", "2"]],
    ]


def test_many_columns_of_few_rows_are_turned() -> None:
    wide = {f"c{i}": i for i in range(12)}
    (rows,) = read(general({"a": wide, "b": wide})).tables
    assert rows[0] == ["", "a", "b"] and rows[4] == ["c3", "3", "3"] and len(rows) == 13


def test_kinds_of_several_rounds_are_one_table() -> None:
    rounds = [
        {"n": 3, "by_kind": {"add": {"n": 1, "by": {"x": 1}}, "times": {"n": 2, "by": {"x": 2}}}} for _ in range(2)
    ]
    reader = read(general(rounds, "iterations"))
    assert reader.tables == [
        [["", "n"], ["iteration 0", "3"], ["iteration 1", "3"]],
        [["", " ", "n", "by: x"], ["add", "iteration 0", "1", "1"], ["", "iteration 1", "1", "1"],
         ["times", "iteration 0", "2", "2"], ["", "iteration 1", "2", "2"]],
    ]  # fmt: skip


def test_entries_are_called_by_their_own_names() -> None:
    assert named([{"student": "a", "n": 1}, {"student": "b", "n": 2}]) == {"a": {"n": 1}, "b": {"n": 2}}
    assert list(named([{"student": "a"}, {"student": "a"}])) == ["1", "2"]
    assert list(named([{"iteration": 3}, {"iteration": 4}])) == ["iteration 3", "iteration 4"]
    assert list(named([[1], [2]], "rounds")) == ["round 0", "round 1"]


def test_what_is_too_long_is_cut_and_said_to_be() -> None:
    (rows,) = read(general([{"i": i} for i in range(500)])).tables
    assert len(rows) == 1 + MAX_ROWS + 1
    assert rows[1] == ["0"] and rows[-1] == ["499"] and ["…"] in rows  # the last ones too: the end of a run matters
    assert "300 more rows are left out here" in general([{"i": i} for i in range(500)])
    assert "440 more parts" in general({f"p{i}": [{"a": [[i]]}] for i in range(500)})
    assert "more columns" in general([{f"c{i}": i for i in range(50)}] * 50)
    assert len(cell("x" * 10_000)) < 500 and "and 80 more" in cell(list(range(100)))
    assert "left out" not in table(["a"], [["1"]] * MAX_ROWS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "nan"), (math.inf, "inf"), (10**400, "1" + "0" * 399 + "…"), (None, ""),
        (1e308, "1e+308"), (-0.0, "-0"), (123456789, "123,456,789"), (1234.56, "1,234.6"), ("<b>", "&lt;b&gt;"),
    ],
)  # fmt: skip
def test_any_figure_can_be_shown(value: Any, expected: str) -> None:
    assert shown(value) == expected


def test_a_number_of_more_digits_than_can_be_written_is_said_to_be_so() -> None:
    assert shown(10**5000) == "(too large to show)" and "too large" in render(
        {"seed": 10**5000, "x": {"y": -(10**5000)}}
    )


def test_numbers_that_no_float_holds_are_none() -> None:
    assert [number(v) for v in (10**400, math.inf, math.nan, True, "1", None, 2)] == [None] * 6 + [2.0]


def test_nesting_without_end_is_counted_not_followed() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = {"a": [deep]}
    assert "(1)" in read(general(deep)).text
    assert read(render({"x": deep, "config": {"y": deep}, "iterations": [{"z": deep}], "alarms": [deep]}))


def test_a_part_of_a_recipe_that_nobody_knows_is_on_the_page() -> None:
    report = {"recipe": "new", "temperatures": {"hot": {"accuracy": 0.25, "words": 7}}, "luck": 0.5, "seed": 1}
    reader = read(render(report))
    assert "Temperatures" in reader.headings and "Further figures" in reader.headings
    assert ["hot", "accuracy: 25.0 % · words: 7"] in reader.tables[0]
    assert [["luck", "0.5"]] in reader.tables


def test_remarks_and_next_steps_are_on_the_page() -> None:
    steps = [["measure <it>", "tutelage eval {folder}/checkpoints --data {{x}}"], "odd", [1, 2, 3]]
    reader = read(render({"remarks": ["3 of 4 kept", EVIL], "next_steps": steps}))
    assert "3 of 4 kept" in reader.text and "tutelage eval RUN/checkpoints --data {x}" in reader.text
    assert "measure <it>" in reader.text and "1 2 3" in reader.text and "script" not in reader.tags


def test_many_figures_of_a_recipe_are_a_table_of_their_own() -> None:
    row = {"iteration": 1, "greedy": {"accuracy": 0.5}, "seconds": 3, "steps": 2, **{f"own_{i}": i for i in range(9)}}
    first, second = read(render({"iterations": [row]})).tables
    assert first == [["iteration", "greedy", "seconds", "steps"], ["1", "50.0 %", "3", "2"]]
    assert second[0] == ["iteration", *(f"own {i}" for i in range(9))]


INTERVAL = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 8}
JUDGED = {
    "verdicts": {**INTERVAL, "precision": 0.5, "unreadable": 0.25}, "pearson": 0.5, "auc_within": None,
    "auc_across": {"value": 0.75, "low": 0.5, "high": 1.0},
    "histogram": {"right": [0, 1, 2], "wrong": [3, 1, 0], "unreadable_right": 4, "unreadable_wrong": 5},
    "bands": [{"from": 1, "to": 2, "means": "wrong", "answers": 4, "right": 0.25}],
    "accuracy_by_threshold": {"2": 0.5, "3": 0.625}, "unreadable": {"no score": 9},
}  # fmt: skip
CRITIC = {
    "verdicts": {**INTERVAL, "precision": 0.5}, "retokenized": 0,
    "first_error": {"f1": 0.5, "low": 0.4, "high": 0.6, "on_wrong": 0.375, "on_right": 0.875, "n_wrong": 3},
    "help": {"before": 0.125, "after": 0.625, "gain": 0.5, "low": 0.25, "high": 0.75, "right_to_wrong": 0.0, "n": 8},
    "levels": [{"level": 1, "n": 2, "verdicts": INTERVAL, "help": {"before": 0.5, "after": 1.0}}, {"level": 2, "n": 0}],
}  # fmt: skip
STYLED = {
    "n": 8, "accuracy": {"cot": INTERVAL, "pot": INTERVAL}, "pairs": {"cot right, pot wrong": 3},
    "by_kind": {"add": {"n": 8, "accuracy": {"cot": 0.5, "pot": 0.25}}},
    "written": {"pot": {"cot": 0, "pot": 8, "programs": {"ok": 7}}},
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "recipe": "all", "model": "primer", "seconds": 1.0, "seed": 0, "paired_test": INTERVAL, "outcomes": {"correct": 1},
    "iterations": [
        {"iteration": i, "greedy": INTERVAL, "kl": 0.5 * i, "reward": 0.1, "kl_coef": 0.02, "value_explained": 0.3,
         "loss_by_hardness": [{"step": 1, "nll": [0.5, None, 0.1, 0.2, 0.3]}, {"step": 2, "nll": [0.25, 0.1]}],
         "problems_by_hardness": [[1, 2, 3, 4, 5], [0, 1, 2, 3, 4]], "difficulty": [5, 4, 3, 2, 1],
         "test_levels": [{"level": 0, "accuracy": 0.25, "n": 4}], "train_levels": [0.5, 0.5, 0.0, 0.0, 0.0],
         "curve": [{"step": 0, "chosen_logprob": -2.0, "rejected_logprob": -2.5},
                   {"step": 3, "chosen_logprob": -1.0, "rejected_logprob": -4.0}],
         "pairing": {"problems": 9, "hard": 4}, "alarms": ["x"], "tokens": {"actor": {"prompt": 1, "completion": 2}}}
        for i in (1, 2)
    ],
    "styles": {"examples": {"cot": 12}, "not_converted": {"no program": 2}, "iterations": [STYLED, STYLED]},
    "paths": {
        "select": "diverse", "samplers": [{"sampler": "a", "samples": 8, "kept_share": 0.5, "tokens_per_kept": 21.5}],
        "overlap": {"a | b": 0.25},
        "left_out": {"wrong_equations": 1, "filters": {"a": [{"name": "judge", "right_in": 4}]}},
        "distinct_by_samples": {
            "a": {"points": [[1, 0.5], [4, 1.0]], "fit": {"log": 0.875, "linear": 0.5, "per_doubling": 0.25}}
        },
    },
    "hard": {"win_rate": 0.25, "by_difficulty": [
        {"bin": 0, "problems": 9, "pass_rate": [0.125, 0.375], "entropy": [None, 1.5]}
    ]},
    "judge": {"threshold": 6, "teacher": JUDGED, "students": [
        {"student": "s", "checkpoint": "it1", "before": JUDGED, "after": JUDGED, "filters": [{"name": "judge"}]}
    ]},
    "reward_model": {"pair_accuracy": {"value": 0.75, "low": 0.5, "high": 1.0}, "best_of": [
        {"k": 1, "best_of": INTERVAL, "maj": 0.5, "pass": 0.5}, {"k": 2, "best_of": INTERVAL, "maj": 0.5, "pass": 0.75}
    ]},
    "synthesis": {"kept": 3, "dropped": {"similar": 13}, "primer": {"stories": {"share": 0.5, "n": 4}}},
    "flow": {"progressive": {"problems": 2, "cumulative": 0.5, "windowed": 0.25, "first": 1.0, "window": 32, "curve": [
        {"problems": 1, "cumulative": 1.0, "windowed": 1.0}, {"problems": 2, "cumulative": 0.5, "windowed": 0.25}
    ]}, "nodes": {"answer": {"nodes": 3, "by_chunk": [{"chunk": 1, "agree": 3}]}}},
    "critic": {"answers": {
        "before": CRITIC, "after": CRITIC, "compared": {"verdicts": {"difference": 0.125, "low": 0.0, "high": 0.5}}
    }},
    "critique_data": {"helped": 0.625, "truth": {"kept": {"steps": 0.875, "n": 3}}},
    "critique_loop": [{"round": 0, "accuracy": 0.25, "with_critic": 0.875, "kept": {"start": 3}}],
    "self_talk": {"trains": {"ends": {"right": 22}}, "arms": [{"arm": "plain", "greedy": INTERVAL}]},
    "compile": [{"source": "gold", **INTERVAL, "unread": 0.125}],
    "comparisons": [{"first": "a", "second": "b", "difference": 0.5}],
    "time_spent": {"sampling": 1.5},
}  # fmt: skip


@pytest.mark.parametrize(
    ("heading", "row"),
    [
        ("Accuracy by style", ["iteration 1", "50.0 % [40.0 %, 60.0 %] of 8", "50.0 % [40.0 %, 60.0 %] of 8"]),
        ("Styles of solutions", ["not converted", "no program: 2"]),
        ("By kind of problem", ["add", "iteration 0", "8", "50.0 %", "25.0 %"]),
        ("Who gave what", ["a", "8", "50.0 %", "21.5"]),
        ("How distinct paths grow", ["a", "R² of a logarithm: 0.875 · R² of a straight line: 0.5 · "
                                          "more paths when samples double: 0.25"]),
        ("Hard problems, before and after", ["0–20 %", "9", "12.5 %", "37.5 %", "1.5"]),
        ("What the judge is worth", ["s, trained", "0.5", "0.75 [0.5, 1]"]),
        ("Verdicts", ["teacher", "50.0 % [40.0 %, 60.0 %]", "8", "50.0 %", "25.0 %"]),
        ("Ratings that cannot be read", ["s, untrained", "4", "5"]),
        ("Accuracy of verdicts by threshold", ["s, trained", "50.0 %", "62.5 %"]),
        ("What the reward model is worth", ["pair accuracy", "75.0 % [50.0 %, 100.0 %]"]),
        ("Questions written and kept", ["dropped, by reason", "similar: 13"]),
        ("On the stream, before learning from each problem", ["accuracy over the last 32", "25.0 %"]),
        ("First wrong step", ["before", "50.0 % [40.0 %, 60.0 %]", "37.5 %", "87.5 %", "3"]),
        ("What refining with its critiques does",
         ["after", "12.5 %", "62.5 %", "50.0 % [25.0 %, 75.0 %]", "0.0 %", "8"]),
        ("By level of the problem, 1 the hardest", ["before", "1", "2", "50.0 %", "50.0 %", "100.0 %"]),
        ("The rounds in short", ["0", "25.0 %", "87.5 %", "3"]),
        ("What was learnt from each source", ["gold", "50.0 % [40.0 %, 60.0 %]", "8", "12.5 %"]),
        ("Training problems by pass rate", ["iteration 2", "5", "4", "3", "2", "1"]),
        ("Accuracy by pass rate of the problem at the start", ["iteration 1", "25.0 %"]),
        ("Problems and pairs", ["iteration 1", "9", "4"]),
    ],
)  # fmt: skip
def test_every_recipe_has_its_figures_on_the_page(heading: str, row: list[str]) -> None:
    reader = read(render(WHOLE))
    assert heading in reader.headings
    assert row in [line for rows in reader.tables for line in rows], [line for t in reader.tables for line in t]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


PLACES = [place for place in places(WHOLE) if place]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([EVIL, 10**400, 1e308, -1e308, 5e-324, math.nan, math.inf, "\ud800", "\x00", [], {}, [[]], 0.5]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=4) | st.sampled_from(["accuracy", "low", "high", "n", "k"]), inner, max_size=5),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_a_report_with_anything_anywhere_is_no_error(part: str, data: st.DataObject) -> None:
    report = {part: copy.deepcopy(WHOLE[part])}
    for place in data.draw(st.lists(st.sampled_from([p for p in PLACES if p[0] == part]), min_size=1, max_size=3)):
        at: Any = report
        for key in place[:-1]:
            at = at[key] if (isinstance(at, dict) and key in at) or _holds(at, key) else None
        if isinstance(at, dict) or _holds(at, place[-1]):
            at[place[-1]] = data.draw(JSON)
    reader = read(render(report))
    assert "script" not in reader.tags and "img" not in reader.tags


def _holds(at: Any, key: Any) -> bool:
    return isinstance(at, list) and isinstance(key, int) and key < len(at)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_part_is_no_error(part: Any) -> None:
    reader = read(general(part) + render({"x": part, "iterations": [{"x": part}]}))
    assert "script" not in reader.tags


def test_a_key_can_be_no_markup_anywhere() -> None:
    def hostile(value: Any) -> Any:
        if isinstance(value, dict):
            return {**value, EVIL: EVIL, **{EVIL + str(k): hostile(v) for k, v in value.items()}}
        return (
            [hostile(item) for item in value] if isinstance(value, list) else EVIL if isinstance(value, str) else value
        )

    report = {key: hostile(part) for key, part in json.loads(json.dumps(WHOLE)).items()}
    reader = read(render({**report, EVIL: report}))
    assert "script" not in reader.tags and "img" not in reader.tags and "alert(1)" in reader.text
