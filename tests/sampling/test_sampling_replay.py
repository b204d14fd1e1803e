"""The replay backend: which record a request gets, and what its tokens are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import DataError, SamplerFailed
from tutelage.records import Policy
from tutelage.sampling.replay import ReplaySampler
from tutelage.sampling.scripted import ScriptedSampler
from tutelage.sampling.session import SamplerSession, ScoreRequest

POLICY = Policy("recorded")


def test_request_k_gets_record_k(load: Any, helpers: Any, tmp_path: Path) -> None:
    tokenizer = load("llama")[1]
    rows = [
        {"question_id": "a", "completion": "a-one", "sample": 1, "model": "gpt"},
        {"question_id": "b", "completion": "b-zero"},
        {"question_id": "a", "completion": "a-zero", "sample": 0, "finish_reason": "length"},
    ]
    file = tmp_path / "rows.jsonl.gz"
    with gzip.open(file, "wt") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)
    session = ReplaySampler(file, tokenizer, POLICY)
    requests = [helpers.ask(f"{p}.{k}", (9,), index=k) for p, k in [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0)]]
    found = helpers.answers(session, requests)
    assert [found[r.id].text for r in requests] == ["a-zero", "a-one", "b-zero", "", ""]
    assert [found[r.id].finish_reason for r in requests] == ["length", "stop", "stop", "error", "error"]
    one = found["a.1"]
    assert one.token_ids == (*tokenizer.encode("a-one", add_special_tokens=False), tokenizer.eos_token_id)
    assert "gpt" in one.note and "tokenized again" in one.note and one.token_logprobs == (0.0,) * len(one.token_ids)
    assert "1 recorded" in found["b.1"].note and "0 recorded" in found["c.0"].note
    assert found["a.0"].token_ids[-1] != tokenizer.eos_token_id
    assert isinstance(session, SamplerSession)


def test_our_own_records_come_back_token_by_token(load: Any, helpers: Any) -> None:
    tokenizer = load("llama")[1]
    scripted = ScriptedSampler(lambda r: f"text {r.index}", tokenizer, Policy("m"))
    requests = [helpers.ask(f"p.{k}", (9, 9), index=k, stop=("1",)) for k in range(3)]
    recorded = helpers.answers(scripted, requests)
    rows = [json.loads(json.dumps(recorded[r.id].to_json())) for r in reversed(requests)]
    again = helpers.answers(ReplaySampler(rows, tokenizer, POLICY), requests)
    for request in requests:
        old, new = recorded[request.id], again[request.id]
        assert (new.token_ids, new.text, new.finish_reason) == (old.token_ids, old.text, old.finish_reason)
        assert new.token_logprobs == old.token_logprobs and new.note.startswith("replayed")
    other = [{**row, "tokenizer_digest": "another"} for row in rows]
    assert "tokenized again" in helpers.answers(ReplaySampler(other, tokenizer, POLICY), requests)["p.0"].note


def test_tool_output_stays_out_of_every_loss(load: Any, helpers: Any) -> None:
    tokenizer = load("llama")[1]
    request = helpers.ask("p.0", (9, 9))
    scripted = ScriptedSampler(lambda r: "run it 42 so 42", tokenizer, Policy("m"))
    row = helpers.answers(scripted, [request])["p.0"].to_json()
    row["segments"] = [[0, 6, "model"], [6, 9, "tool"], [9, len(row["token_ids"]), "model"]]
    same = helpers.answers(ReplaySampler([row], tokenizer, POLICY), [request])["p.0"]
    assert same.segments == ((0, 6, "model"), (6, 9, "tool"), (9, len(row["token_ids"]), "model"))
    assert sum(same.loss_mask()) == len(row["token_ids"]) - 3
    other = {**row, "tokenizer_digest": "another"}
    assert not any(helpers.answers(ReplaySampler([other], tokenizer, POLICY), [request])["p.0"].loss_mask())


def test_records_of_another_role_are_not_mixed_in(load: Any, helpers: Any) -> None:
    rows = [{"problem_id": "p", "completion": "judged", "role": "judge"}, {"problem_id": "p", "completion": "solved"}]
    session = ReplaySampler(rows, load("llama")[1], POLICY)
    found = helpers.answers(session, [helpers.ask("p.0", (9,)), helpers.ask("p.1", (9,), role="judge")])
    assert (found["p.0"].text, found["p.1"].text) == ("solved", "judged")


def test_texts_that_no_tokenizer_takes_are_survived(load: Any, helpers: Any) -> None:
    rows = [{"problem_id": "p", "completion": "a\ud800b"}, {"problem_id": "p", "completion": ""}]
    found = helpers.answers(ReplaySampler(rows, load("llama")[1], POLICY),
                            [helpers.ask("p.0", (9,)), helpers.ask("p.1", (9,), index=1)])  # fmt: skip
    assert len(found["p.0"].token_ids) == 4 and len(found["p.1"].token_ids) == 1


@pytest.mark.parametrize("rows", [[], [{"question": "x"}], [{"problem_id": "p", "completion": None}]])
def test_files_that_hold_no_completions_are_refused(rows: list[Any], load: Any) -> None:
    with pytest.raises(DataError):
        ReplaySampler(rows, load("llama")[1], POLICY)


def test_a_missing_file_is_refused_and_tokens_are_not_scored(load: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        ReplaySampler(tmp_path / "no.jsonl", load("llama")[1], POLICY)
    session = ReplaySampler([{"problem_id": "p", "completion": "x"}], load("llama")[1], POLICY)
    with pytest.raises(SamplerFailed):
        session.score([ScoreRequest((1,), (2,))])


def test_real_outputs_replay(shared_data: Path, load: Any, helpers: Any) -> None:
    file = shared_data / "model_outputs" / "math_8samples.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    problem = rows[0]["question_id"]
    texts = {r["sample"]: r["completion"] for r in rows if r["question_id"] == problem}
    session = ReplaySampler(file, load("llama")[1], POLICY)
    requests = [helpers.ask(f"{problem}.{k}", (9,), index=k) for k in range(len(texts))]
    found = helpers.answers(session, requests)
    assert [found[r.id].text for r in requests] == [texts[k] for k in sorted(texts)]
