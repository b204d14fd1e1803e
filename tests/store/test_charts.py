"""Charts: the same bytes for the same numbers, points where their numbers say, text that cannot become markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from tutelage.store.charts import COLOURS, LEFT, RIGHT, TOP, Line, Panel, Size, chart, log_ticks, ticks
from tutelage.store.evaluation_charts import curves_chart, votes_chart

SVG = "{http://www.w3.org/2000/svg}"


def polyline(drawn: str, index: int = 0) -> list[tuple[float, float]]:
    found = list(ET.fromstring(drawn).iter(f"{SVG}polyline"))[index].attrib["points"]
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in found.split())]


def texts(drawn: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(drawn).iter(f"{SVG}text")]


def test_points_lie_where_their_numbers_say() -> None:
    drawn = chart([Panel("t", "x", "y", [Line("a", [(0, 0), (1, 5), (4, 10)])])], size=Size(300, 200))
    (x0, y0), (x1, y1), (x2, y2) = polyline(drawn)
    assert (x0, x2) == (LEFT, 300 - RIGHT) and y2 == TOP
    assert x1 - x0 == pytest.approx((x2 - x0) / 4, abs=0.1) and y1 == pytest.approx((y0 + y2) / 2, abs=0.1)
    assert drawn == chart([Panel("t", "x", "y", [Line("a", [(0, 0), (1, 5), (4, 10)])])], size=Size(300, 200))


def test_equal_factors_are_equally_far_apart_on_a_log_scale() -> None:
    drawn = chart([Panel("t", "x", "y", [Line("", [(3, 1), (6, 1), (12, 2)])], is_log=True)])
    (x0, _), (x1, _), (x2, _) = polyline(drawn)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert {"4", "8"} <= set(texts(drawn))


def test_a_band_goes_along_the_high_ends_and_back_along_the_low_ones() -> None:
    line = Line("a", [(0, 50), (1, 60)], 1, band=[(40, 100), (50, 70)])
    drawn = chart([Panel("t", "x", "y", [line], floor=0, ceiling=100)])
    (area,) = [e for e in ET.fromstring(drawn).iter(f"{SVG}polygon") if "fill-opacity" in e.attrib]
    corners = [tuple(map(float, pair.split(","))) for pair in area.attrib["points"].split()]
    assert [x for x, _ in corners] == [corners[0][0], corners[1][0], corners[1][0], corners[0][0]]
    heights = [y for _, y in corners]
    assert heights[0] == TOP and heights[0] < heights[1] < heights[2] < heights[3]  # y grows downwards in SVG
    assert area.attrib["fill"] == COLOURS[1]


def test_a_label_of_several_panels_stands_once_in_the_legend_and_fits() -> None:
    long = "a label that is a good deal longer"
    panels = [Panel("t", "x", "y", [Line("a", [(0, 0), (1, 1)]), Line(long, [(0, 1), (1, 1)], 1)]) for _ in range(2)]
    for columns in (1, 2):
        drawn = chart(panels, columns=columns)
        root = ET.fromstring(drawn)
        assert texts(drawn).count("a") == 1 and texts(drawn).count(long) == 1
        at = next(element for element in root.iter(f"{SVG}text") if element.text == long)
        assert float(at.attrib["x"]) + 5.5 * len(long) <= float(root.attrib["width"])
        assert int(root.attrib["width"]) == 330 * columns and int(root.attrib["height"]) > 250 * 2 / columns


def test_text_never_becomes_markup() -> None:
    evil = '"><script>alert(1)</script>&'
    drawn = chart([Panel(evil, evil, evil, [Line(evil, [(0, 0), (1, 1)])], [(evil, 0.5)])])
    assert "<script" not in drawn and texts(drawn).count(evil) == 5


def test_ticks_are_round_and_few() -> None:
    assert ticks(33, 92) == [30, 40, 50, 60, 70, 80, 90, 100] and ticks(0, 3, least=1.0) == [0, 1, 2, 3]
    assert log_ticks(1, 12) == [1, 2, 4, 8, 16]
    assert log_ticks(24, 297) == [16, 32, 64, 128, 256, 512]
    assert log_ticks(1, 1e6)[-1] >= 1e6 and len(log_ticks(1, 1e6)) <= 7
    assert ticks(0, 5e-324) == [0, 5e-324] and len(ticks(-1e308, 1e308)) == 2


def points(values: list[float], *, first: int = 1, cost: float = 10.0, **inner: list[float]) -> list[dict]:
    def figure(value: float) -> dict:
        return {"accuracy": value, "low": max(0.0, value - 0.1), "high": min(1.0, value + 0.1)}

    return [
        {"k": first + i, "n": 9, "tokens_per_problem": cost * (first + i), **figure(value),
         **{name: figure(own[i]) for name, own in inner.items()}}
        for i, value in enumerate(values)
    ]  # fmt: skip


def test_an_evaluation_is_drawn_over_k_and_over_cost() -> None:
    drawn = curves_chart({
        "maj@2": points([0.3, 0.4]), "maj@3": points([0.3, 0.4, 0.5]), "pass@2": points([0.3, 0.6]),
        "critic-maj@2": points([0.7, 0.8], cost=30, **{"pass": [0.8, 0.9]}),
        "sequential@2": points([0.3, 0.5, 0.6], first=0, cost=20, vote=[0.3, 0.3, 0.5], **{"pass": [0.3, 0.6, 0.7]}),
    })  # fmt: skip
    titles = [text for text in texts(drawn) if ", against " in text]
    assert titles == ["the answer chosen, against k", "the answer chosen, against cost",
                      "any answer right, against k", "any answer right, against cost"]  # fmt: skip
    assert {"maj@k", "pass@k", "critic-maj@k", "sequential@k", "sequential@k, vote"} <= set(texts(drawn))
    assert len(re.findall("<polyline", drawn)) == 2 * (4 + 3)
    assert len(polyline(drawn, 0)) == 3  # of maj@2 and maj@3 the longer one
    assert [len(polyline(drawn, index)) for index in (2, 3)] == [2, 2]  # nothing stands at k = 0 on a log scale


def test_a_grid_has_a_line_for_each_number_of_steps() -> None:
    rows = [{**point, "steps": steps} for steps in (0, 1, 2) for point in points([0.4, 0.5])]
    assert {"grid@kx1", "grid@kx2"} <= set(texts(curves_chart({"grid@2x2": rows})))


@pytest.mark.parametrize(
    "curves",
    [None, [], {}, {"maj@2": None}, {"maj@2": [1, "x"]}, {"maj@2": points([0.5])}, {"greedy": points([0.1, 0.2])},
     {"maj@2": [{"k": 1, "accuracy": float("nan"), "low": 0, "high": 1, "tokens_per_problem": 1}]},
     {"maj@2": [{**p, "accuracy": 7.0} for p in points([0.1, 0.2])]}],
)  # fmt: skip
def test_what_cannot_be_drawn_gives_no_picture(curves: object) -> None:
    assert curves_chart(curves) == ""


def test_votes_are_drawn_problem_by_problem() -> None:
    rows = [{"plain_margin": -0.4, "critic_margin": 0.2}, {"plain_margin": 0.1, "critic_margin": 1.0}]
    drawn = votes_chart({"critic-maj@8": {"problems": rows}})
    line = polyline(drawn)
    marks = [e.attrib["points"] for e in ET.fromstring(drawn).iter(f"{SVG}polygon")]
    assert len(line) == 2 and line[0][1] > line[1][1] and len(re.findall("<polyline", drawn)) == 1
    assert len(marks) == 2 + 1  # the refined ones are points; one more stands in the legend
    assert {"critic-maj@8", "below: the majority is wrong"} <= set(texts(drawn))


@pytest.mark.parametrize(
    "votes",
    [None, {}, {"x": None}, {"x": {"problems": None}}, {"x": {"problems": [1, {}]}},
     {"x": {"problems": [{"plain_margin": 7}]}}],
)  # fmt: skip
def test_votes_that_cannot_be_drawn_give_no_picture(votes: object) -> None:
    assert votes_chart(votes) == ""
