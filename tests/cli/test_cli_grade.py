"""`tutelage grade`: lines in, verdicts out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tutelage.cli.auditing import class_of
from tutelage.cli.grading import LINES_AT_ONCE, TOLD, grade_lines, read_line
from tutelage.cli.main import main
from tutelage.grading.tiered import Grader


def graded_line(row: dict[str, Any]) -> dict[str, Any]:
    return grade_lines([read_line(json.dumps(row).encode())], Grader(symbolic="off"))[0]


def verdict(**row: Any) -> tuple[Any, str]:
    found = graded_line(row)
    return found["equivalent"], found["outcome"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"gold": "0.5", "prediction": "1/2"}, (True, "correct")),
        ({"gold": "0.5", "prediction": "0.51"}, (False, "incorrect")),
        ({"gold": 7, "prediction": 7.0}, (True, "correct")),
        ({"gold": "7", "prediction": ""}, (False, "no_answer")),
        ({"gold": "7", "prediction": None}, (False, "no_answer")),
        ({"gold": "7", "completion": "We get\n#### 7"}, (True, "correct")),
        ({"gold": "7", "completion": "I do not know."}, (False, "no_answer")),
        ({"gold": "7", "completion": None}, (False, "no_answer")),
        ({"gold": "7", "completion": "it is about", "finish_reason": "length"}, (False, "truncated")),
        ({"gold": "B", "completion": "Final answer: B", "choices": ["x", "y"]}, (True, "correct")),
        ({"gold": "A", "prediction": "B", "choices": {"label": ["A", "B"], "text": ["x", "y"]}}, (False, "incorrect")),
        ({"gold": "\\frac{", "prediction": "1"}, (None, "undecided")),
    ],
)
def test_a_line_gets_its_verdict(row: dict[str, Any], expected: tuple[Any, str]) -> None:
    assert verdict(**row) == expected


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    file = tmp_path / "a.jsonl"
    file.write_bytes(
        b'\xef\xbb\xbf{"id": 1, "gold": "1", "prediction": "1", "extra": {"a": [1]}}\r\n'
        b"not json\n"
        b"\n"
        b'{"id": 2, "gold": "1", "prediction": "2", "equivalent": true}\n'
        b'["gold"]\n'
        b'{"gold": "1"}\n'
        b'{"prediction": "1"}\n'
        b'{"gold": "1", "prediction": "1", "completion": "1"}\n'
        b'{"gold": [1], "prediction": "1"}\n'
        b'{"gold": "1", "prediction": true}\n'
        b'{"gold": "1", "prediction": "1", "answer_kind": "music"}\n'
        b'{"gold": "A", "prediction": "1", "choices": [1]}\n'
        b"\xff\xfe\n" + b"[" * 100_000 + b"\n" + b'{"id": 3, "gold": "a\\ud800", "prediction": "\\ud800"}'
    )
    return file


def test_lines_come_back_in_order_with_what_they_had(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    assert main(["grade", str(lines), "-o", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert rows[0]["extra"] == {"a": [1]} and rows[0]["decided_by"] and rows[0]["seconds"] >= 0
    assert [row["equivalent"] for row in rows[:2]] == [True, False]
    shown = capsys.readouterr()
    assert shown.out == ""
    told = [line.split(":")[0] for line in shown.err.splitlines() if line.startswith("line ")]
    assert told == [f"line {number}" for number in (2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)]
    assert "11 lines could not be read" in shown.err
    assert not list(tmp_path.glob(".*partial"))


def test_many_bad_lines_are_counted_not_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("x\n" * 1000 + '{"gold": "1", "prediction": "1"}\n')
    assert main(["grade", str(file)]) == 0
    shown = capsys.readouterr().err
    assert shown.count("\nline ") + shown.startswith("line ") == TOLD
    assert "1000 lines could not be read" in shown


@pytest.mark.parametrize("content", [b"", b"\n\n", b"x\n", b'{"question": "?"}\n'])
def test_a_file_without_one_good_line_is_wrong_input(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl"
    file.write_bytes(content)
    assert main(["grade", str(file), "-o", str(out)]) == 2
    assert "not one line" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [file]


def test_the_input_is_not_written_over(lines: Path) -> None:
    before = lines.read_bytes()
    assert main(["grade", str(lines), "-o", str(lines)]) == 2
    assert lines.read_bytes() == before


def test_stdin_and_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"gold": "1", "prediction": "1"}\n')))
    assert main(["grade", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["equivalent"] is True


def test_a_folder_that_is_not_there_cannot_take_the_output(lines: Path, tmp_path: Path) -> None:
    assert main(["grade", str(lines), "-o", str(tmp_path / "none" / "out.jsonl")]) == 2


def test_labelled_cases_of_others_are_never_called_wrong_where_they_are_equal_numbers(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "answer_cases.jsonl").read_text().splitlines()]
    numbers = [row for row in rows if row["id"].startswith("num-") and row["equivalent"]]
    assert len(numbers) > 3
    for row in numbers:
        assert graded_line(row)["equivalent"] is not False, row


def test_more_lines_than_are_graded_at_once_stay_in_order(tmp_path: Path) -> None:
    file, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl"
    rows = [
        {"id": i, "gold": str(i), **({"prediction": str(i // 2 * 2)} if i % 3 else {"completion": f"#### {i}"})}
        for i in range(2 * LINES_AT_ONCE + 5)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["grade", str(file), "-o", str(out), "--workers", "2"]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in found] == list(range(len(rows)))
    assert [row["equivalent"] for row in found] == [i % 3 == 0 or i % 2 == 0 for i in range(len(rows))]


def test_an_audit_counts_by_class_and_lists_disagreements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    file, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl"
    rows = [
        {"id": "num-01", "gold": "7", "prediction": "7.0", "equivalent": True},
        {"id": "num-02", "gold": "7", "prediction": "8", "equivalent": True},
        {"id": "mcq-1", "gold": "B", "completion": "#### (B)", "correct": True},
        {"id": "mcq-2", "gold": "B", "completion": "nothing", "correct": None},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["grade", str(file), "--audit"]) == 0
    shown = capsys.readouterr()
    table = [line.split() for line in shown.out.splitlines() if line.strip()]
    assert ["num", "2", "1", "1", "-", "1/2"] in table
    assert ["mcq", "2", "1", "-", "1", "1/1"] in table
    assert "label: 2 of 3 agree" in shown.out
    assert "num-02: '7' and '8': different by rational, label says equal" in shown.out
    assert "math-verify was not asked: math-verify is not installed" in shown.out
    assert "4 lines" in shown.err
    assert main(["grade", str(file), "--audit", "-o", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("row", "by", "expected"),
    [
        ({"id": "num-01"}, None, "num"),
        ({"id": "qwen-rm-5-0"}, None, "qwen-rm"),
        ({"id": "x-boxed-11"}, None, "x-boxed"),
        ({"id": 7}, None, "all"),
        ({}, None, "all"),
        ({"id": "num-01", "source": "s", "model": "m"}, None, "s"),
        ({"id": "num-01", "source": "s", "class": "c"}, None, "c"),
        ({"id": "num-01", "source": "s", "level": 5}, "level", "5"),
        ({"id": "num-01"}, "level", "all"),
    ],
)
def test_the_class_of_a_line(row: dict[str, Any], by: str | None, expected: str) -> None:
    assert class_of(row, by) == expected


def test_an_unknown_word_for_symbolic_is_wrong_input(lines: Path) -> None:
    assert main(["grade", str(lines), "--symbolic", "maybe"]) == 2
