"""The report page shows the figures, needs nothing from outside, and lets no text become markup."""

from __future__ import annotations

import html.parser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.store.report_page import render, write_html

REPORT = {
    "recipe": "iterative-rpo",
    "model": "primer",
    "seed": 3,
    "seconds": 1234.5,
    "iterations": [
        {"iteration": 0, "greedy": {"accuracy": 0.248, "low": 0.21, "high": 0.29, "n": 500}, "seconds": 3.0},
        {
            "iteration": 1,
            "greedy": {"accuracy": 0.655, "low": 0.61, "high": 0.7, "n": 500},
            "maj@8": {"accuracy": 0.7, "low": 0.63, "high": 0.76, "n": 200},
            "pairs": 12345,
            "chosen_logprob": -20.5,
            "rejected_logprob": -41.25,
            "curve": [{"step": 1}],
        },
        {"iteration": 2, "greedy": {"accuracy": 0.795, "low": 0.76, "high": 0.83, "n": 500}, "chosen_logprob": -18.0},
    ],
    "paired_test": {"difference": 0.547, "low": 0.5, "high": 0.59, "p_value": 1.5e-40, "n": 500},
    "outcomes": {"correct": 75, "incorrect": 25, "error": 0},
    "alarms": ["chosen log-probs fell by 2.9 nats"],
    "config": {"model": "primer", "beta": 0.1},
    "curves": {
        "maj@2": [
            {"k": 1, "accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 80, "tokens_per_problem": 24.0},
            {"k": 2, "accuracy": 0.75, "low": 0.6, "high": 0.8, "n": 80, "tokens_per_problem": 48.0},
        ]
    },
}


class Reader(html.parser.HTMLParser):
    """Collects tags, text and links, and checks that tags are closed in order."""

    VOID = frozenset(("meta", "line", "polyline", "circle"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "action", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_figures_are_on_the_page(tmp_path: Path) -> None:
    write_html(REPORT, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    text = " ".join(read(page).text)
    for part in (
        "iterative-rpo primer", "seed 3", "24.8 %", "[21.0 %, 29.0 %]", "65.5 %", "70.0 %", "12,345", "-20.5",
        "54.7 %", "1.5e-40", "75.0 %", "chosen log-probs fell by 2.9 nats", "beta = 0.1", "maj@8",
    ):  # fmt: skip
        assert part in text, part
    assert "step" not in text  # a curve over updates is data, not a figure of its own
    assert page.count("<svg") == 3 and page.count("<polyline") == 4 + 2
    assert "Curves over k" in text and "maj@k" in text and "tokens written a problem" in text


def test_nothing_from_outside() -> None:
    reader = read(render(REPORT))
    assert reader.addresses == [] and "script" not in reader.tags and "link" not in reader.tags
    assert "default-src 'none'" in render(REPORT)


def test_text_never_becomes_markup() -> None:
    evil = "</td><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    report = {
        "recipe": evil,
        "model": evil,
        "iterations": [
            {"iteration": evil, evil: {"accuracy": 0.5}, "other": evil},
            {evil: {"accuracy": 0.6}, "note": evil},
        ],
        "outcomes": {evil: evil},
        "alarms": [evil, {"text": evil}, {"x": evil}],
        "config": {evil: evil},
        "paired_test": {"difference": evil, "p_value": evil, "n": evil},
    }
    reader = read(render(report))
    assert "script" not in reader.tags and "img" not in reader.tags
    assert "alert(1)" in " ".join(reader.text)


@pytest.mark.parametrize("key", list(REPORT))
def test_a_report_without_a_part_gives_a_shorter_page(key: str) -> None:
    whole, part = render(REPORT), render({k: v for k, v in REPORT.items() if k != key})
    assert len(part) < len(whole)
    read(part)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*REPORT, "greedy", "accuracy", "low", "high", "text"]), inner, max_size=4)
        | st.dictionaries(st.sampled_from(["k", "steps", "accuracy", "low", "high", "vote", "pass"]), inner, max_size=7)
        | st.dictionaries(st.sampled_from(["maj@2", "sequential@3", "grid@2x2", "maj@x", ""]), inner, max_size=2)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(list(REPORT)), anything))
def test_no_shape_of_report_is_an_error(report: dict) -> None:
    read(render(report))
