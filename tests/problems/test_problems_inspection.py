"""Looking at data: facts, overlap, and the real files with the counts of their README."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.problems import DATA_FORMATS, check_overlap, describe, load_problems
from tutelage.records import Problem


def test_describe() -> None:
    problems = [Problem("1", "a b", "1", level="1", solution="xy"), Problem("2", "a  b", "x", "latex", split="test")]
    facts = describe(problems)
    assert (facts["problems"], facts["repeated_questions"], facts["with_solution"]) == (2, 1, 1)
    assert facts["answer_kinds"] == {"number": 1, "latex": 1}
    assert facts["question_characters"] == {"mean": 3.5, "median": 3.5, "max": 4.0}


def test_overlap_by_text_and_by_letters() -> None:
    train = [Problem("t1", "Find  $x-1$.", "1"), Problem("t2", "Other", "1")]
    test = [Problem("e1", "Find $x-1$.", "1"), Problem("e2", "find $x+1$", "2"), Problem("e3", "New", "3")]
    assert [(o.train_id, o.test_id, o.kind) for o in check_overlap(train, test)] == [
        ("t1", "e1", "text"),
        ("t1", "e2", "letters"),
    ]
    assert check_overlap([], test) == []


@pytest.mark.parametrize(
    ("spec", "count", "kinds"),
    [
        ("gsm8k:gsm8k/train.jsonl", 7473, {"number"}), ("gsm8k/test.jsonl", 1319, {"number"}),
        ("math:math/test.jsonl", 5000, {"number", "latex", "text"}),
        ("math/train.jsonl.gz", 7498, {"number", "latex", "text"}),
        ("arc:arc_challenge/train.jsonl", 1119, {"choice"}), ("arc_challenge/dev.jsonl", 299, {"choice"}),
        ("arc:arc_challenge/test.jsonl", 1172, {"choice"}), ("jsonl:svamp/svamp.jsonl", 1000, {"number"}),
        ("asdiv/asdiv.jsonl", 2305, {"number", "latex", "text"}),
    ],
)  # fmt: skip
def test_real_files_load_whole(shared_data: Path, spec: str, count: int, kinds: set[str]) -> None:
    name, _, path = spec.rpartition(":")
    problems = load_problems(f"{name}:{shared_data / path}" if name else str(shared_data / path))
    assert len(problems) == count
    assert set(describe(problems)["answer_kinds"]) == kinds
    expected = next((split for split in ("train", "test", "dev") if split in path), "train")
    assert {problem.split for problem in problems} == {expected}


def test_real_math_golds_are_the_last_boxes(shared_data: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "math" / "test.jsonl").read_text().splitlines()]
    published = [
        {"problem": row["question"], "solution": row["solution"], "level": row["level"], "type": row["subject"]}
        for row in rows
    ]
    path = tmp_path / "published.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in published))
    problems = load_problems(f"math:{path}")
    assert [problem.answer for problem in problems] == [row["answer"] for row in rows]


def test_real_overlap_counts(shared_data: Path) -> None:
    def distinct(train: str, test: str) -> tuple[int, int]:
        found = check_overlap(load_problems(str(shared_data / train)), load_problems(str(shared_data / test)))
        texts = {" ".join(overlap.question.split()) for overlap in found if overlap.kind == "text"}
        return len(texts), len({"".join(filter(str.isalnum, overlap.question.lower())) for overlap in found})

    # The figures of the data's README.
    assert distinct("math/train.jsonl.gz", "math/test.jsonl") == (1, 10)
    assert distinct("arc_challenge/train.jsonl", "arc_challenge/dev.jsonl") == (0, 1)
    assert distinct("arc_challenge/train.jsonl", "arc_challenge/test.jsonl") == (6, 6)
    assert distinct("arc_challenge/dev.jsonl", "arc_challenge/test.jsonl") == (2, 2)


def test_every_format_is_described() -> None:
    assert set(DATA_FORMATS) == {"gsm8k", "math", "arc", "metamath", "jsonl"}
