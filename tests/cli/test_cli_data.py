"""`tutelage data`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.cli.main import main
from tutelage.problems import load_problems


def test_list_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("gsm8k", "math", "arc", "metamath", "jsonl", "primer", "test_wordings"))


def test_show_counts_and_prints_without_letting_text_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jsonl"
    rows = [{"question": f"\x1b[31mWhat is {n}?\nSay it.", "answer": str(n)} for n in range(5)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["data", "show", f"jsonl:{file}", "-n", "2"]) == 0
    shown = capsys.readouterr().out
    assert "problems: 5" in shown and "answer kinds: number 5" in shown
    assert "question  \\x1b[31mWhat is 1?\n            Say it." in shown
    assert "What is 2?" not in shown and "\x1b" not in shown


def test_import_writes_what_reads_back_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    assert main(["data", "import", "primer:dev?n=7", str(out), "-n", "5"]) == 0
    assert "5 problems written" in capsys.readouterr().out
    assert [p.answer for p in load_problems(f"jsonl:{out}")] == [p.answer for p in load_problems("primer:dev?n=5")]
    assert main(["data", "import", "primer", str(out)]) == 2


def test_check_finds_test_questions_in_training_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test, clean = tmp_path / "train.jsonl", tmp_path / "test.jsonl", tmp_path / "clean.jsonl"
    train.write_text('{"question": "What is 2 + 2?", "answer": "4"}\n{"question": "And 3 - 1?", "answer": "2"}\n')
    test.write_text('{"question": "What  is 2 + 2?", "answer": "4"}\n{"question": "and 3 1", "answer": "2"}\n')
    clean.write_text('{"question": "Something else?", "answer": "4"}\n')
    assert main(["data", "check", f"jsonl:{train}", "--against", f"jsonl:{test}"]) == 1
    shown = capsys.readouterr().out
    assert "2 of the 2 questions" in shown and "the same text" in shown and "but for signs" in shown
    assert main(["data", "check", f"jsonl:{train}", "--against", f"jsonl:{clean}"]) == 0
    assert "none of the 1 questions" in capsys.readouterr().out


def test_check_finds_nearly_equal_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    question = "Tom has 12 red apples and gives 5 of them to Ann. How many apples does Tom have now?"
    train.write_text(json.dumps({"question": question.replace("Ann", "his sister"), "answer": "7"}) + "\n")
    test.write_text(json.dumps({"question": question, "answer": "7"}) + "\n")
    words = ["data", "check", f"jsonl:{train}", "--against", f"jsonl:{test}"]
    assert main(words) == 1
    assert "nearly the same words, the same numbers" in capsys.readouterr().out
    assert main([*words, "--near", "1", "--share", "1"]) == 0
