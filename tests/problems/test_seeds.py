"""Seed questions with and without answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.errors import DataError
from tutelage.problems.seeds import load_seeds


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_questions_need_no_answers(tmp_path: Path) -> None:
    first = {"question": " What is 1? ", "subject": "algebra"}
    rows: list[dict[str, object]] = [{**first}, {"problem": "And 2?", "id": "x"}]
    seeds = load_seeds(write(tmp_path / "own.jsonl", rows))
    assert [(s.id, s.question, s.answer, s.subject) for s in seeds] == [
        ("own-0", "What is 1?", "", "algebra"), ("x", "And 2?", "", None),
    ]  # fmt: skip
    assert len(load_seeds(f"jsonl:{tmp_path / 'own.jsonl'}", limit=1)) == 1


def test_data_with_answers_are_read_as_ever(tmp_path: Path) -> None:
    where = write(tmp_path / "a.jsonl", [{"question": "What is 1?", "answer": "1"}])
    assert load_seeds(where)[0].answer == "1"
    assert len(load_seeds("primer:train?n=5")) == 5


@pytest.mark.parametrize(
    "rows, message",
    [([], "no problems"), ([{"text": "x"}], "no question"), ([{"id": "a", "question": "x"}] * 2, "same id")],
)
def test_bad_seeds(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_seeds(write(tmp_path / "bad.jsonl", rows))


def test_the_published_seed_tasks(shared_data: Path) -> None:
    seeds = load_seeds(str(shared_data / "self_instruct_seeds" / "seed_tasks.jsonl"))
    assert len(seeds) == 175 and all(seed.question for seed in seeds)
    assert sum("\n" in seed.question for seed in seeds) > 50, "instructions with an input"
