"""Pictures of a report's parts: points where their numbers say, and nothing where there is nothing to draw."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.store import report_parts_charts as charts
from tutelage.store.charts import BOTTOM, LEFT, RIGHT, TOP
from tutelage.store.report_page import render

SVG = "{http://www.w3.org/2000/svg}"
WIDTH, HEIGHT = charts.SIZE


def lines(drawn: str) -> list[list[tuple[float, float]]]:
    """Each line as points in shares of its panel: 0 to 1 from the left, and from below."""
    found = []
    for element in ET.fromstring(drawn).iter(f"{SVG}polyline"):
        points = [tuple(map(float, pair.split(","))) for pair in element.attrib["points"].split()]
        found.append([
            ((x - LEFT) / (WIDTH - LEFT - RIGHT), 1 - (y - TOP) / (HEIGHT - TOP - BOTTOM)) for x, y in points
        ])  # fmt: skip
    return found


def texts(drawn: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(drawn).iter(f"{SVG}text")]


def close(points: list[tuple[float, float]], expected: list[tuple[float, float]]) -> bool:
    return len(points) == len(expected) and all(
        math.isclose(a, b, abs_tol=0.002)
        for p, e in zip(points, expected, strict=True)
        for a, b in zip(p, e, strict=True)
    )


def test_loss_by_hardness_is_a_line_for_each_bucket_that_has_values() -> None:
    rows = [{"step": 1, "nll": [0.4, None, 0.1, None, None]}, {"step": 3, "nll": [0.2, None, None, None, None]},
            {"step": 5, "nll": [0.0, None, 0.2, None, None]}]  # fmt: skip
    drawn = charts.hardness_chart([{"iteration": 0}, {"iteration": 1, "loss_by_hardness": rows}])
    hardest, middle = lines(drawn)
    assert close(hardest, [(0, 1), (0.5, 0.5), (1, 0)]) and close(middle, [(0, 0.25), (1, 0.5)])
    assert {"pass rate 0–20 % at the start", "40–60 %", "optimizer step"} <= set(texts(drawn))
    assert "20–40 %" not in texts(drawn)
    page = render({"recipe": "sft", "iterations": [{"iteration": 1, "loss_by_hardness": rows}]})
    assert drawn in page and "<h2>Learning</h2>" in page


def test_losses_that_cannot_be_drawn_are_a_table() -> None:
    page = render({"iterations": [{"iteration": 1, "loss_by_hardness": [{"step": 1, "nll": [0.5, 0.25]}]}]})
    assert "<svg" not in page and "0.5, 0.25" in page


def test_two_trainings_have_a_panel_each() -> None:
    rows = [{"step": 1, "nll": [0.4]}, {"step": 2, "nll": [0.2]}]
    drawn = charts.hardness_chart(
        [{"iteration": 1, "loss_by_hardness": rows}, {"iteration": 2, "loss_by_hardness": rows}]
    )
    assert [t for t in texts(drawn) if "iteration" in t] == [
        f"Loss by hardness of the problem, iteration {i}" for i in (1, 2)
    ]


def test_distinct_paths_are_straight_where_they_grow_like_the_logarithm() -> None:
    points = [[1, 1.0], [2, 2.0], [4, 3.0], [16, 5.0]]
    drawn = charts.paths_chart({"a": {"points": points}, "union": {"points": points[:2]}, "odd": {"points": "x"}})
    first, union = lines(drawn)
    assert close(first, [(0, 0), (0.25, 0.25), (0.5, 0.5), (1, 1)]) and len(union) == 2
    assert "stroke-dasharray" in drawn and "odd" not in texts(drawn)


def test_a_judge_has_its_scores_of_right_and_wrong_answers() -> None:
    drawn = charts.histogram_chart({"teacher": {"histogram": {"right": [0, 0, 4], "wrong": [4, 2, 0]}}, "other": None})
    right, wrong = lines(drawn)
    assert close(right, [(0, 0), (0.5, 0), (1, 1)]) and close(wrong, [(0, 1), (0.5, 0.5), (1, 0)])
    assert {"Scores by teacher", "right answers", "wrong answers", "score"} <= set(texts(drawn))


def test_thresholds_have_a_line_for_each_judge() -> None:
    by = {"teacher": {"2": 0.0, "4": 1.0}, "s": {"2": 0.5, "x": 1, "4": 0.5}}
    drawn = charts.thresholds_chart({name: {"accuracy_by_threshold": found} for name, found in by.items()})
    assert close(lines(drawn)[0], [(0, 0), (1, 1)]) and close(lines(drawn)[1], [(0, 0.5), (1, 0.5)])


def test_ppo_has_kl_and_reward_over_its_rounds() -> None:
    rows = [{"iteration": 0}] + [
        {"iteration": i, "kl": 0.5 * i, "reward": 0.25 * i, "accuracy": 0.25, "kl_coef": 0.02} for i in (1, 2, 3)
    ]
    drawn = charts.rounds_chart(rows)
    kl, reward, accuracy, price = lines(drawn)
    assert [x for x, _ in kl] == [0.0, 0.5, 1.0] and kl[2][1] - kl[1][1] == pytest.approx(
        kl[1][1] - kl[0][1], abs=0.002
    )
    assert len(kl) == len(reward) == len(accuracy) == len(price) == 3
    assert {"KL to the start", "Reward", "Price of KL"} <= set(texts(drawn))
    assert charts.rounds_chart([{"iteration": 1, "reward": 1.0}, {"iteration": 2, "reward": 1.0}]) == ""


def test_the_flow_is_drawn_over_the_problems_seen() -> None:
    curve = [{"problems": 10, "cumulative": 0.0, "windowed": 0.0}, {"problems": 20, "cumulative": 0.5, "windowed": 1.0}]
    drawn = charts.stream_chart({"window": 320, "curve": curve})
    windowed, cumulative = lines(drawn)
    assert close(windowed, [(0, 0), (1, 1)]) and close(cumulative, [(0, 0), (1, 0.5)])
    assert "of the last 320" in texts(drawn)


def test_best_of_k_stands_beside_the_majority_and_any() -> None:
    rows = [{"k": k, "best_of": {"accuracy": 0.5}, "maj": 0.25, "pass": k / 4} for k in (1, 2, 4)]
    drawn = charts.best_of_chart(rows)
    assert [len(line) for line in lines(drawn)] == [3, 3, 3]
    assert {"best of k by score", "majority of k", "any of k"} <= set(texts(drawn))


def test_log_probs_while_learning() -> None:
    curve = [{"step": 0, "chosen_logprob": -2.0, "rejected_logprob": -3.0},
             {"step": 4, "chosen_logprob": -1.0, "rejected_logprob": -5.0}]  # fmt: skip
    chosen, rejected = lines(charts.learning_chart([{"curve": curve}]))
    assert close(chosen, [(0, 0.75), (1, 1)]) and close(rejected, [(0, 0.5), (1, 0)])


ODD: tuple[Any, ...] = (None, 3, "x", [], {}, [[]], [{}], {"a": None}, {"a": {"points": [[0, 1], [-1, 2]]}}, [None, 1])
DRAWERS = (charts.hardness_chart, charts.learning_chart, charts.rounds_chart, charts.paths_chart, charts.stream_chart,
           charts.best_of_chart)  # fmt: skip


@pytest.mark.parametrize("draw", DRAWERS, ids=lambda draw: draw.__name__)
def test_what_has_nothing_to_draw_draws_nothing(draw: Any) -> None:
    assert [draw(value) for value in ODD] == [""] * len(ODD)


def test_one_point_is_no_picture_and_impossible_sizes_are_left_out() -> None:
    assert charts.hardness_chart([{"loss_by_hardness": [{"step": 1, "nll": [0.4]}]}]) == ""
    rows = [{"step": s, "nll": [v]} for s, v in ((1, 0.5), (2, 1e300), (3, math.nan), (4, 10**400), (5, "x"), (6, 0.0))]
    (line,) = lines(charts.hardness_chart([{"loss_by_hardness": rows}]))
    assert close(line, [(0, 1), (1, 0)])


def test_names_in_pictures_are_escaped_and_cut() -> None:
    evil = "<script>&\"'" * 40
    drawn = charts.paths_chart({evil: {"points": [[1, 1.0], [2, 2.0]]}})
    assert "<script" not in drawn and "&lt;script&gt;" in drawn
    assert max(map(len, texts(drawn))) <= 61 and not re.search(r"nan|inf", drawn)


NUMBERS = st.floats() | st.integers() | st.sampled_from([1e9, -1e9, 5e-324, 1e-300, 10**400, 0, None, "1", True])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=5))
def test_any_numbers_can_be_drawn(found: list[tuple[Any, Any, Any]]) -> None:
    xy, xz = ([[x, y] for x, y, _ in found], [[x, z] for x, _, z in found])
    counts = {"right": [x for x, _, _ in found], "wrong": [y for _, y, _ in found]}
    stream = [{"problems": x, "cumulative": y, "windowed": z} for x, y, z in found]
    drawn = [
        charts.hardness_chart([{"loss_by_hardness": [{"step": x, "nll": [y, z]} for x, y, z in found]}]),
        charts.rounds_chart([{"iteration": x, "kl": y, "reward": z} for x, y, z in found]),
        charts.paths_chart({"a": {"points": xy}, "b": {"points": xz}}),
        charts.stream_chart({"window": 1, "curve": stream}),
        charts.best_of_chart([{"k": x, "best_of": {"accuracy": y}, "maj": z} for x, y, z in found]),
        charts.histogram_chart({"a": {"histogram": counts}}),
    ]
    assert not any(re.search(r"[\"> ,]-?(nan|inf)[\"< ,]", picture) for picture in drawn)
    assert all(list(ET.fromstring(picture)) for picture in drawn if picture)
