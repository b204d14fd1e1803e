"""The fast path to and from disk gives what the records' own conversion gives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import DataError
from tutelage.records import (
    Choices,
    Completion,
    Critique,
    CritiqueStep,
    Example,
    Group,
    Policy,
    PreferencePair,
    Problem,
    Record,
    SamplingParams,
    Trajectory,
    Verdict,
)
from tutelage.store.codec import decoder, encode_line, finite

texts = st.text(st.characters(exclude_categories=()), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
ints = st.lists(st.integers(0, 2**40), max_size=6).map(tuple)
floats = st.lists(numbers, max_size=6).map(tuple)
policies = st.builds(Policy, texts, texts, st.integers(0, 9))
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        Completion,
        id=texts,
        problem_id=texts,
        policy=policies,
        tokenizer_digest=texts,
        prompt_ids=ints,
        token_ids=ints,
        text=texts,
        segments=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.just("model")), max_size=3).map(tuple),
        token_logprobs=floats,
        params=st.builds(SamplingParams, stop=st.lists(texts, max_size=2).map(tuple), stop_token_ids=ints),
        parent_id=st.none() | texts,
        branch_position=st.none() | st.integers(0, 9),
    ),
    st.builds(
        Problem,
        id=texts,
        question=texts,
        answer=texts,
        choices=st.none() | st.builds(Choices, st.just(("A", "B")), st.tuples(texts, texts)),
        metadata=st.dictionaries(texts, st.none() | numbers | st.lists(st.integers())),
    ),
    st.builds(Critique, id=texts, steps=st.lists(st.builds(CritiqueStep, texts, st.booleans())).map(tuple)),
    st.builds(Verdict, completion_id=texts, score=st.none() | numbers, seconds=numbers, note=texts),
    st.builds(Group, policy=policies, completion_ids=st.lists(texts, max_size=2).map(tuple)),
    st.builds(Trajectory, policy=policies, old_logprobs=floats, values=floats, rewards=floats, advantages=floats),
    st.builds(Example, prompt_ids=ints, target_ids=ints, weights=floats),
    st.builds(
        PreferencePair,
        weight=numbers,
        **dict.fromkeys(("prompt_ids", "chosen_ids", "rejected_ids", "chosen_mask", "rejected_mask"), ints),
    ),
)


@settings(max_examples=150, deadline=None)
@given(records)
def test_lines_equal_the_records_own_conversion(record: Record) -> None:
    line = encode_line(record)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    data = json.loads(line.decode())
    assert data == json.loads(json.dumps(record.to_json()))
    assert list(data) == list(record.to_json())
    assert decoder(type(record))(data) == record == type(record).from_json(data)


def test_unknown_keys_are_ignored_and_missing_ones_refused() -> None:
    data = Verdict("c", "p", "correct", 1.0).to_json()
    assert decoder(Verdict)(data | {"later": 1}) == Verdict("c", "p", "correct", 1.0)
    del data["outcome"]
    with pytest.raises(TypeError, match="outcome"):
        decoder(Verdict)(data)


@dataclass(frozen=True)
class Renamed(Record):
    value: int

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(data.get("value", data.get("old_name")))


def test_a_class_with_its_own_conversion_keeps_it() -> None:
    assert decoder(Renamed)({"old_name": 3}) == Renamed(3)


def test_numbers_that_are_not_finite() -> None:
    with pytest.raises(DataError, match="finite"):
        encode_line(Verdict("c", "p", "correct", float("inf")))
    assert finite({"a": float("nan"), 1: (np.float32(0.5), [float("-inf"), np.int64(3)])}) == {
        "a": None,
        "1": [0.5, [None, 3]],
    }
    assert finite([True, None, {"b", "a"}, Path("x"), Policy("m")]) == [
        True,
        None,
        ["a", "b"],
        "x",
        {"model": "m", "adapter": "", "version": 0},
    ]
    with pytest.raises(TypeError, match="function"):
        finite(lambda: 0)
