"""The index can be thrown away, and a pair can be traced back to its problem."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tutelage.errors import DataError, InputError, RunError
from tutelage.records import (
    Completion,
    Critique,
    CritiqueStep,
    Example,
    Policy,
    PreferencePair,
    Problem,
    SamplingParams,
    Score,
    Verdict,
)
from tutelage.store import index as index_module
from tutelage.store.index import build_index, lookup, open_index
from tutelage.store.lineage import trace
from tutelage.store.run import Run


def completion(name: str, problem: str = "gsm8k/1", parent: str | None = None) -> Completion:
    return Completion(
        name, problem, "answer", Policy("m"), "t", (1,), (2,), f"text of {name}", ((0, 1, "model"),), (0.0,), "stop",
        SamplingParams(), 0, parent_id=parent,
    )  # fmt: skip


def pair(name: str, chosen: str, rejected: str) -> PreferencePair:
    return PreferencePair(name, "gsm8k/1", (1,), (2,), (3,), (1,), (1,), chosen, rejected, "paper")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", recipe="iterative-rpo", config={}, seed=0)
    run.append_many("problems", [Problem("gsm8k/1", "1+1?", "2", solution="It is 2."), Problem("gsm8k/2", "?", "3")])
    run.append_many("completions", [completion("c-aa1"), completion("c-aa2", parent="c-aa0"), completion("c-aa0")])
    run.append_many("verdicts", [Verdict("c-aa1", "gsm8k/1", "correct", 1.0), Verdict("c-aa2", "p", "incorrect", 0.0)])
    run.append("scores", Score("c-aa1", "judge", 8.0, "model"))
    run.append("critiques", Critique("k1", "c-aa2", (CritiqueStep("1+1=3", False),), False))
    run.append_many("pairs", [pair("pair-1", "c-aa1", "c-aa2"), pair("pair-2", "gold:gsm8k/1", "c-lost")])
    run.append("examples", Example("ex-1", "gsm8k/1", (1,), (2,), (1.0,), "self", source_id="c-aa1"))
    return run


def walked(run: Run, record_id: str) -> list[tuple[str, str, str, int]]:
    return [(link.relation, link.kind, link.id, link.depth) for link in trace(run.path, record_id)]


def test_from_a_pair_to_its_problem(run: Run) -> None:
    assert walked(run, "pair-1") == [
        ("", "pairs", "pair-1", 0),
        ("chosen", "completions", "c-aa1", 1),
        ("verdicts", "verdicts", "c-aa1", 2),
        ("scores", "scores", "c-aa1", 2),
        ("rejected", "completions", "c-aa2", 1),
        ("verdicts", "verdicts", "c-aa2", 2),
        ("critiques", "critiques", "k1", 2),
        ("parent", "completions", "c-aa0", 2),
        ("problem", "problems", "gsm8k/1", 1),
    ]
    links = trace(run.path, "pair-1")
    assert links[1].record is not None and links[1].record["text"] == "text of c-aa1"
    assert links[-1].record is not None and links[-1].record["question"] == "1+1?"


def test_gold_and_records_that_the_run_does_not_hold(run: Run) -> None:
    assert walked(run, "pair-2") == [
        ("", "pairs", "pair-2", 0),
        ("rejected", "", "c-lost", 1),
        ("problem", "problems", "gsm8k/1", 1),
    ]
    assert trace(run.path, "pair-2")[1].record is None
    assert walked(run, "gold:gsm8k/2") == [("", "problems", "gsm8k/2", 0)]


def test_from_an_example_a_critique_and_a_completion(run: Run) -> None:
    assert [step[:3] for step in walked(run, "ex-1")][:2] == [
        ("", "examples", "ex-1"),
        ("source", "completions", "c-aa1"),
    ]
    assert walked(run, "k1")[:2] == [("", "critiques", "k1", 0), ("about", "completions", "c-aa2", 1)]
    assert walked(run, "c-aa1")[0] == ("", "completions", "c-aa1", 0)


def test_a_chain_of_parents_of_any_length_and_a_circle(run: Run) -> None:
    run.append_many("completions", [completion(f"n{i}", parent=f"n{i - 1}" if i else "n2999") for i in range(3000)])
    links = trace(run.path, "n2999")
    assert len([link for link in links if link.kind == "completions"]) == 3000
    assert links[-1].kind == "problems"


def test_ids_by_their_beginning(run: Run) -> None:
    assert lookup(run.path, "pair-2").record["id"] == "pair-2"
    assert lookup(run.path, "ex").kind == "examples"
    assert lookup(run.path, "c-aa1").kind == "completions"
    with pytest.raises(InputError, match=r"several[\s\S]*c-aa0, c-aa1, c-aa2"):
        lookup(run.path, "c-a")
    with pytest.raises(InputError, match=r"no record has the id 'c-ab'[\s\S]*such as c-aa0"):
        lookup(run.path, "c-ab")
    for wrong in ("", "zzz", "%", "' OR 1=1 --", "\U0010ffff"):
        with pytest.raises(InputError):
            lookup(run.path, wrong)
    with pytest.raises(InputError):
        trace(run.path, "gold:nothing")


def test_an_id_that_begins_another_is_found_exactly(run: Run) -> None:
    run.append_many("problems", [Problem("gsm8k/10", "?", "1")])
    assert lookup(run.path, "gsm8k/1").record["id"] == "gsm8k/1"


def test_the_index_follows_the_files_and_may_be_deleted_or_damaged(run: Run) -> None:
    file = build_index(run.path)
    run.append("problems", Problem("new", "?", "1"))
    assert lookup(run.path, "new").kind == "problems"
    with sqlite3.connect(file) as connection:
        (count,) = connection.execute("SELECT count(*) FROM records").fetchone()
    assert count == 13
    build_index(run.path)
    build_index(run.path)
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (count,)
    file.unlink()
    assert lookup(run.path, "new").kind == "problems"
    file.write_bytes(b"not a database, but long enough to be looked at as one" * 100)
    assert lookup(run.path, "new").kind == "problems"
    segment = run.path / "problems" / "0001.jsonl"
    segment.write_bytes(segment.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(InputError):
        lookup(run.path, "new")


def test_a_torn_last_line_is_indexed_when_it_is_whole(run: Run) -> None:
    segment = run.path / "problems" / "0001.jsonl"
    line = json.dumps({"id": "torn", "question": "?", "answer": "1"}).encode() + b"\n"
    with segment.open("ab") as file:
        file.write(line[:10])
        file.flush()
        with pytest.raises(InputError):
            lookup(run.path, "torn")
        file.write(line[10:])
    assert lookup(run.path, "torn").record["answer"] == "1"


def test_where_the_folder_cannot_be_written_the_index_is_made_in_memory(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect

    def connect(database: str, **options: object) -> sqlite3.Connection:
        if database != ":memory:":
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return real(database)

    monkeypatch.setattr(index_module.sqlite3, "connect", connect)
    assert lookup(run.path, "pair-1").kind == "pairs"
    assert not (run.path / "index.sqlite").exists()
    with pytest.raises(OSError, match="cannot be written"):
        build_index(run.path)


def test_damaged_lines_and_folders_without_a_run(run: Run, tmp_path: Path) -> None:
    with (run.path / "problems" / "0001.jsonl").open("ab") as file:
        file.write(b"{]\n")
    with pytest.raises(DataError, match=r"problems/0001\.jsonl"):
        trace(run.path, "pair-1")
    with pytest.raises(RunError, match="no run in"):
        trace(tmp_path / "nothing", "pair-1")


def test_records_of_a_problem_are_found_by_the_index(run: Run) -> None:
    with open_index(run.path) as connection:
        rows = connection.execute("SELECT id FROM records WHERE problem_id = 'gsm8k/1' AND kind = 'completions'")
        assert {row[0] for row in rows} == {"c-aa0", "c-aa1", "c-aa2"}
