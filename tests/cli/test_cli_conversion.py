"""`tutelage data convert`: programs from worked solutions, counted, and records for others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.cli.main import main
from tutelage.problems import load_problems

ROWS = [
    {"question": "Tim has 2 pens and gets 3.", "answer": "He has 2+3 = <<2+3=5>>5 pens.\n#### 5"},
    {"question": "Tom has 4 pens.", "answer": "He has 4.\n#### 4"},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_problems_keep_what_was_made(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "made.jsonl"
    assert main(["data", "convert", f"gsm8k:{data}", str(made)]) == 0
    shown = capsys.readouterr().out
    assert "1 of 2 problems" in shown and "1, no calculation" in shown and "styles=cot,pot,mixed" in shown
    first, second = load_problems(f"jsonl:{made}")
    assert first.metadata["program"] == "x1 = 2+3\nprint(round(x1))" and "program" not in second.metadata
    assert first.metadata["mixed"].startswith("He has 2+3 pens.") and second.solution == "He has 4."
    assert main(["data", "convert", f"gsm8k:{data}", str(made)]) == 2


def test_records_hold_what_could_be_converted(data: Path, tmp_path: Path) -> None:
    made = tmp_path / "records.jsonl"
    assert main(["data", "convert", f"gsm8k:{data}", str(made), "--records"]) == 0
    (row,) = [json.loads(line) for line in made.read_text().splitlines()]
    assert (row["style"], row["exec_output"], row["final_answer"]) == ("mixed", "5", "Final answer: 5")
    assert row["code"] == "x1 = 2+3\nprint(round(x1))" and row["analysis"] == "He has 2+3 pens."
