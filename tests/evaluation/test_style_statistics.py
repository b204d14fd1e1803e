"""Who solves what in which style."""

from __future__ import annotations

from tutelage.evaluation.styles import style_statistics, written_styles


def test_styles_are_compared_on_the_problems_that_all_have() -> None:
    cot = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 1.0, "only": 1.0}
    pot = {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.0}
    made = style_statistics(
        {"pot": pot, "cot": cot}, {"a": "algebra", "b": "algebra", "c": "geometry", "d": "geometry"}
    )
    assert made["n"] == 4 and made["accuracy"] == {"cot": 0.5, "pot": 0.5}
    assert made["pairs"] == {
        "cot right, pot right": 1, "cot right, pot wrong": 1, "cot wrong, pot right": 1, "cot wrong, pot wrong": 1,
    }  # fmt: skip
    assert made["by_kind"]["algebra"]["accuracy"] == {"cot": 0.5, "pot": 1.0}
    assert made["by_kind"]["geometry"]["pairs"]["cot right, pot wrong"] == 1


def test_three_styles_make_three_pairs_and_none_makes_nothing() -> None:
    made = style_statistics({"cot": {"a": 1.0}, "pot": {"a": 0.0}, "mixed": {"a": 1.0}})
    assert len(made["pairs"]) == 12 and made["pairs"]["pot wrong, mixed right"] == 1
    assert list(style_statistics({"any": {"a": 1.0}, "cot": {"a": 0.0}})["accuracy"]) == ["cot", "any"]
    assert style_statistics({}) == {"n": 0, "accuracy": {}, "pairs": {}}


def test_what_was_written() -> None:
    made = written_styles(
        [("4", ""), ("print(4)", "programs: ok"), ("Think.\n```python\nprint(4)\n```", "programs: error, ok")]
    )
    assert made == {"cot": 1, "pot": 1, "mixed": 1, "programs": {"error": 1, "ok": 2}}
