"""Loading: every published format, spellings, round trips, and each bad input with its own message."""

from __future__ import annotations

import gzip
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import DataError, InputError, MissingExtra
from tutelage.problems import load_problems, save_problems
from tutelage.problems.seeds import load_seeds
from tutelage.records import Choices, Problem

GSM8K = {"question": "How many?", "answer": "48/2 = <<48/2=24>>24\n24+48 = 72\n#### 1,072"}
MATH = {
    "problem": "Find $x$.",
    "level": "Level 3",
    "type": "Algebra",
    "solution": r"First \boxed{1}. So $x = \boxed{\frac{1}{2}}$.",
}
MATH_500 = {
    "problem": "Find.",
    "solution": r"\boxed{3}",
    "answer": "3",
    "subject": "Geometry",
    "level": 2,
    "unique_id": "test/geometry/7.json",
}
ARC = {
    "id": "Mercury_1",
    "question": {"stem": "Which?", "choices": [{"text": "ice", "label": "1"}, {"text": "water", "label": "2"}]},
    "answerKey": "2",
}
ARC_HF = {
    "id": "M",
    "question": "Which?",
    "choices": {"text": ["ice", "water", "air"], "label": ["A", "B", "C"]},
    "answerKey": "C",
}
METAMATH = {
    "query": "What?",
    "response": "It is 5.\n#### 5\nThe answer is: 5",
    "type": "GSM_Rephrased",
    "original_question": "Orig?",
}


def write(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


# --- published formats ------------------------------------------------------------------------------------------------


def test_gsm8k_as_published(tmp_path: Path) -> None:
    (problem,) = load_problems(f"gsm8k:{write(tmp_path / 'train.jsonl', GSM8K)}")
    assert problem == Problem(
        "train-0",
        "How many?",
        "1072",
        "number",
        solution="48/2 = <<48/2=24>>24\n24+48 = 72",
        split="train",
        source="gsm8k",
    )


def test_math_as_published(tmp_path: Path) -> None:
    (problem,) = load_problems(f"math:{write(tmp_path / 'test.jsonl', MATH)}")
    assert (problem.answer, problem.answer_kind, problem.level, problem.subject) == (
        r"\frac{1}{2}",
        "number",
        "Level 3",
        "Algebra",
    )
    (problem,) = load_problems(f"math:{write(tmp_path / 'x.jsonl', MATH_500)}")
    assert (problem.id, problem.answer, problem.level, problem.subject) == (
        "test/geometry/7.json",
        "3",
        "Level 2",
        "Geometry",
    )


def test_math_as_a_folder_of_one_file_a_problem(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("algebra/1", "algebra/2", "geometry/1"):
            path = tmp_path / "MATH" / split / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(MATH, indent=1))
    problems = load_problems(f"math:{tmp_path / 'MATH' / 'train'}")
    assert [problem.id for problem in problems] == ["algebra-1-0", "algebra-2-0", "geometry-1-0"]
    assert {problem.split for problem in problems} == {"train"}
    assert len(load_problems(f"math:{tmp_path / 'MATH'}?split=test")) == 3
    with pytest.raises(DataError, match="several splits"):
        load_problems(f"math:{tmp_path / 'MATH'}")


def test_arc_both_ways_and_labels_become_letters(tmp_path: Path) -> None:
    first, second = load_problems(f"arc:{write(tmp_path / 'test.jsonl', ARC, ARC_HF)}")
    assert (first.answer, first.choices, first.metadata) == (
        "B",
        Choices(("A", "B"), ("ice", "water")),
        {"labels": ["1", "2"]},
    )
    assert (second.answer, second.answer_kind, second.metadata) == ("C", "choice", {})


def test_metamath(tmp_path: Path) -> None:
    path = tmp_path / "MetaMathQA.json"
    path.write_text(json.dumps([METAMATH, METAMATH | {"response": "So $x$. The answer is: $\\frac{1}{2}$"}]))
    first, second = load_problems(f"metamath:{path}")
    assert (first.question, first.answer, first.solution, first.subject) == ("What?", "5", "It is 5.", "GSM_Rephrased")
    assert first.metadata == {"original_question": "Orig?"}
    assert second.answer == "\\frac{1}{2}"


def test_any_jsonl_with_named_fields(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.jsonl",
        {"prompt": "1+1?", "target": 2, "id": 7},
        {"prompt": "Day?", "target": "Friday", "id": 8},
    )
    for problems in (
        load_problems(f"jsonl:{path}?question=prompt&answer=target"),
        load_problems(str(path), fields={"question": "prompt", "answer": "target"}),
        load_problems(f"{path}?question=prompt&answer=target"),
    ):
        assert [(p.id, p.question, p.answer, p.answer_kind) for p in problems] == [
            ("7", "1+1?", "2", "number"),
            ("8", "Day?", "Friday", "text"),
        ]


def test_parquet_gzip_and_json_lists(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(
        pyarrow.Table.from_pylist([ARC_HF, ARC_HF | {"id": "N"}]), tmp_path / "train-00000-of-00001.parquet"
    )
    (tmp_path / "list.json").write_text(json.dumps({"data": [GSM8K, GSM8K]}))
    assert [p.id for p in load_problems(str(tmp_path / "train-00000-of-00001.parquet"))] == ["M", "N"]
    assert len(load_problems(f"gsm8k:{tmp_path / 'list.json'}")) == 2
    assert load_problems(str(write(tmp_path / "a.jsonl.gz", GSM8K)))[0].answer == "1072"


@pytest.mark.parametrize(
    ("row", "source"),
    [
        (GSM8K, "gsm8k"),
        (MATH, "math"),
        (ARC, "arc"),
        (ARC_HF, "arc"),
        (METAMATH, "metamath"),
        ({"question": "?", "answer": "1"}, "jsonl"),
    ],
)
def test_a_bare_path_takes_the_format_of_its_first_row_and_says_so(
    tmp_path: Path, row: dict[str, Any], source: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="tutelage"):
        assert load_problems(str(write(tmp_path / "x.jsonl", row)))[0].source == source
    assert f"as {source}" in caplog.text


def test_limit_and_split(tmp_path: Path) -> None:
    path = write(tmp_path / "some.jsonl", GSM8K, GSM8K, GSM8K)
    assert [p.id for p in load_problems(f"gsm8k:{path}", limit=2)] == ["some-0", "some-1"]
    assert load_problems(f"gsm8k:{path}", limit=1)[0].split == "train"
    assert load_problems(f"gsm8k:{path}", limit=1, split="dev")[0].split == "dev"
    with pytest.raises(DataError, match="limit"):
        load_problems(f"gsm8k:{path}", limit=0)


def test_the_built_in_world() -> None:
    problems = load_problems("primer:train?n=12&seed=1")
    assert len(problems) == 12
    assert problems != load_problems("primer:train?n=12&seed=2")
    assert load_problems("primer:train?n=12&seed=1", limit=5) == problems[:5]
    assert len(load_problems("primer", limit=3)) == 3
    assert load_problems("primer:test?n=2&choice=1")[0].choices is not None
    for spec in ("primer:nosplit", "primer:train?m=3", "primer:train?n=x", "primer:train?n=0"):
        with pytest.raises(DataError):
            load_problems(spec)


# --- round trip -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.jsonl", "deep/out.jsonl.gz"])
def test_saved_problems_load_back_equal(tmp_path: Path, name: str) -> None:
    problems = [
        *load_problems(f"gsm8k:{write(tmp_path / 'train.jsonl', GSM8K)}"),
        *load_problems(f"math:{write(tmp_path / 'm.jsonl', MATH)}", split="dev"),
        *load_problems(f"arc:{write(tmp_path / 'a.jsonl', ARC, ARC_HF)}"),
        *load_problems(f"metamath:{write(tmp_path / 'q.jsonl', METAMATH)}"),
        *load_problems("primer:test?n=3"),
    ]
    path = save_problems(problems, tmp_path / name)
    assert load_problems(str(path)) == problems
    assert load_problems(f"jsonl:{path}") == problems


# --- bad input --------------------------------------------------------------------------------------------------------


def bad(spec: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_problems(spec, **options)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert "seen:" in message and "expected:" in message
    return message


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", GSM8K)
    message = bad(f"gsm8k:{tmp_path / 'trian.jsonl'}")
    assert (
        "does not exist" in message
        and "trian.jsonl" in message
        and "did you mean" in message
        and "train.jsonl" in message
    )
    assert "does not exist" in bad(str(tmp_path / "no" / "where.jsonl"))


def test_empty_data(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    assert "no problems" in bad(f"gsm8k:{tmp_path / 'empty.jsonl'}")
    (tmp_path / "none").mkdir()
    assert "no data files" in bad(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("data_format", "row"),
    [
        ("gsm8k", {"question": "?"}), ("gsm8k", {"question": "?", "answer": ""}),
        ("gsm8k", {"question": "?", "answer": "so\n#### "}),
        ("math", {"problem": "?", "solution": "no box"}), ("arc", {"question": "?", "choices": ["a", "b"],
        "answerKey": None}),
        ("metamath", {"query": "?", "response": "no marker"}), ("jsonl", {"question": "?", "answer": None}),
        ("jsonl", {"question": "?", "gold": 1}), ("jsonl", {"question": "?", "answer": float("nan")}),
    ],
)  # fmt: skip
def test_a_row_without_an_answer_names_file_and_line(tmp_path: Path, data_format: str, row: dict[str, Any]) -> None:
    good = {"gsm8k": GSM8K, "math": MATH, "arc": ARC, "metamath": METAMATH, "jsonl": {"question": "?", "answer": "1"}}[
        data_format
    ]
    path = write(tmp_path / "rows.jsonl", good, row)
    message = bad(f"{data_format}:{path}")
    assert f"{path}:2 has no answer" in message


def test_a_row_without_a_question(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"question": " ", "answer": "1"})
    assert f"{path}:1 has no question" in bad(f"jsonl:{path}")


@pytest.mark.parametrize(
    ("spec", "row", "why"),
    [
        ("gsm8k", {"question": "?", "answer": "x\n#### about twelve or so"}, "not a number"),
        ("jsonl", {"question": "?", "answer": r"\frac{1}{2"}, "braces"),
        ("jsonl", {"question": "?", "answer": "$$"}, "empty"),
        ("jsonl", {"question": "?", "answer": "9" * 500}, "500 characters"),
        ("arc", ARC | {"answerKey": "E"}, "none of the labels A, B"),
    ],
)
def test_a_gold_that_cannot_be_read(tmp_path: Path, spec: str, row: dict[str, Any], why: str) -> None:
    path = write(tmp_path / "rows.jsonl", row)
    message = bad(f"{spec}:{path}")
    assert f"{path}:1 has a gold answer that cannot be read" in message and why in message


def test_duplicate_ids_name_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", GSM8K | {"id": "a"}, GSM8K | {"id": "b"}, GSM8K | {"id": "a"})
    message = bad(f"gsm8k:{path}")
    assert f"{path}:1" in message and f"{path}:3" in message and "same id" in message


def test_lines_that_are_no_utf8_or_no_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(GSM8K).encode() + b'\n{"question": "caf\xe9", "answer": "1"}\n')
    assert f"{path}:2 is not UTF-8" in bad(f"gsm8k:{path}")
    path.write_text(json.dumps(GSM8K) + '\n{"question": ')
    assert f"{path}:2 is not JSON" in bad(f"gsm8k:{path}")
    path.write_text("[1, 2]\n")
    assert f"{path}:1 is not a JSON object" in bad(str(path))
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    assert "is not JSON" in bad(str(tmp_path / "deep.jsonl"))


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GSM8K).encode())
    assert len(load_problems(str(path))) == 1


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    damaged = tmp_path / "rows.jsonl.gz"
    damaged.write_bytes(gzip.compress(json.dumps(GSM8K).encode() * 50)[:-20])
    assert "cannot be read" in bad(str(damaged))
    (tmp_path / "x.jsonl.gz").write_text("not gzip")
    assert "cannot be read" in bad(str(tmp_path / "x.jsonl.gz"))
    (tmp_path / "x.csv").write_text("a,b")
    assert "no known kind" in bad(str(tmp_path / "x.csv"))
    pytest.importorskip("pyarrow")
    (tmp_path / "x.parquet").write_text("not parquet")
    assert "parquet file cannot be read" in bad(str(tmp_path / "x.parquet"))


def test_unknown_format_names_the_nearest() -> None:
    message = bad("gsm8:rows.jsonl")
    assert "Unknown data format" in message and "did you mean gsm8k" in message
    assert "did you mean primer" in bad("primr")
    assert "without a file" in bad("gsm8k")
    assert "without a file" in bad("gsm8k:")


def test_fields_that_do_not_exist(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "?", "target": "1"})
    assert "fit no known format" in bad(str(path))
    assert "did you mean target" in bad(f"jsonl:{path}?question=prompt&answer=targe")
    assert "did you mean question" in bad(f"jsonl:{path}?questoin=prompt")
    assert "options after" in bad(f"jsonl:{path}?question")


@pytest.mark.parametrize(
    "choices",
    [
        [],
        {"text": ["a"], "label": ["A", "B"]},
        {"text": ["a", "b"], "label": ["A", "A"]},
        5,
        [1] * 40,
        {"text": None},
        {"text": 3},
        {"text": ["a", "b"], "label": [["A"], ["A"]]},
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, choices: Any) -> None:
    path = write(tmp_path / "rows.jsonl", {"question": "?", "choices": choices, "answerKey": "A"})
    assert "no usable options" in bad(f"arc:{path}")


@pytest.mark.parametrize(
    ("metadata", "why"),
    [([1], "no object"), ("x", "no object"), ({"tolerance": "abc"}, "tolerance"), ({"tolerance": 1}, "tolerance")],
)
def test_metadata_that_cannot_be_used(tmp_path: Path, metadata: Any, why: str) -> None:
    path = write(tmp_path / "rows.jsonl", {"question": "?", "answer": "1", "metadata": metadata})
    message = bad(f"jsonl:{path}")
    assert why in message and "rows.jsonl:1" in message


def test_a_run_of_synthesize_means_the_problems_it_kept(tmp_path: Path) -> None:
    run = tmp_path / "new"
    (run / "candidates").mkdir(parents=True)
    write(run / "run.json", {"recipe": "synthesize", "config": {}})
    write(run / "candidates" / "0001.jsonl", {"id": "c", "fate": "similar"})
    assert "has not finished" in bad(str(run)) and "--resume" in bad(f"jsonl:{run}")
    path = write(
        run / "synthesized.jsonl", {"id": "s", "question": "What is 1?", "answer": "1", "answer_kind": "number"}
    )
    assert load_problems(str(run)) == load_problems(f"jsonl:{run}") == load_problems(str(path))
    assert load_seeds(str(run)) == load_problems(str(run))


def test_a_run_that_made_no_problems_says_so(tmp_path: Path) -> None:
    write(tmp_path / "run.json", {"recipe": "sft", "config": {"data": "gsm8k:train.jsonl"}})
    message = bad(str(tmp_path))
    assert "a run of sft" in message and "gsm8k:train.jsonl" in message


def test_a_folder_of_data_may_hold_a_file_of_that_name(tmp_path: Path) -> None:
    write(tmp_path / "run.json", {"question": "What is 1?", "answer": "1"})
    assert [p.answer for p in load_problems(str(tmp_path))] == ["1"]


def test_an_empty_id_is_none(tmp_path: Path) -> None:
    rows = [{"question": "?", "answer": "1", "id": ""}, {"question": "!", "answer": "2", "id": ""}]
    path = write(tmp_path / "rows.jsonl", *rows)
    assert [p.id for p in load_problems(f"jsonl:{path}")] == ["rows-0", "rows-1"]


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"tutelage\[parquet\]") as caught:
        load_problems(str(tmp_path / "x.parquet"))
    assert isinstance(caught.value, InputError)
