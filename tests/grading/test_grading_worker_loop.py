"""The loop inside a worker's child, run in this process without limits."""

from __future__ import annotations

import io
import json
from typing import Any

from tutelage.grading.worker_loop import run_items


def run(items: list[Any], judge: Any) -> list[dict[str, Any]]:
    out = io.BytesIO()
    lines = [{"cpu": 0, "wall": 0}, *({"tag": str(place), "item": item} for place, item in enumerate(items))]
    run_items("\n".join(map(json.dumps, lines)).encode(), out, judge)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_each_item_has_its_phases_and_one_line_with_its_value() -> None:
    def judge(item: int, mark: Any) -> int:
        mark("answer")
        return item * 2

    lines = run([3, 4], judge)
    assert [(line["tag"], line.get("phase"), line.get("value")) for line in lines] == [
        ("0", "begun", None), ("0", "answer", None), ("0", None, 6),
        ("1", "begun", None), ("1", "answer", None), ("1", None, 8),
    ]  # fmt: skip
    assert all(line["seconds"] >= 0 for line in lines if "value" in line)


def test_whatever_a_judge_raises_is_a_line_and_the_next_item_is_judged() -> None:
    def judge(item: str, mark: Any) -> str:
        if item == "leave":
            raise SystemExit(3)
        if item == "interrupt":
            raise KeyboardInterrupt
        if item == "long":
            raise ValueError("x" * 10_000)
        return item

    lines = run(["leave", "interrupt", "long", "a\nb\u2028"], judge)
    errors = [line.get("error") for line in lines if "phase" not in line]
    assert errors[0] == "SystemExit: 3" and errors[1].startswith("KeyboardInterrupt")
    assert len(errors[2]) == 500 and errors[3] is None
