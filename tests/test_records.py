"""Records survive the way to disk and back, and ids are what the rule says."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tutelage.records import (
    Choices,
    Completion,
    Critique,
    CritiqueStep,
    Group,
    Policy,
    PreferencePair,
    Problem,
    SamplingParams,
    Verdict,
    digest,
    record_id,
    seed_of,
)


def completion(**changes) -> Completion:
    fields = dict(
        id="c1", problem_id="p1", role="answer", policy=Policy("m", "a", 3), tokenizer_digest="t", prompt_ids=(1, 2),
        token_ids=(3, 4, 5), text="x", segments=((0, 1, "model"), (1, 2, "tool"), (2, 3, "model")),
        token_logprobs=(-1.0, 0.0, -0.5), finish_reason="stop", params=SamplingParams(stop=("a",)), seed=7,
    )  # fmt: skip
    return Completion(**{**fields, **changes})


def test_records_survive_json() -> None:
    records = [
        completion(),
        Problem("p", "q?", "4", choices=Choices(("A", "B"), ("x", "y")), metadata={"k": [1, {"z": None}]}),
        Problem("p", "q?", "4"),
        Verdict("c1", "p1", "undecided", None),
        Critique("k", "c1", (CritiqueStep("1+1=3", False, "no"),), False),
        PreferencePair("i", "p", (1,), (2,), (3,), (1,), (1,), "c1", "c2", "paper"),
        Group("p", Policy("m"), 0, ("c1", "c2"), 1, 2),
    ]
    for record in records:
        assert type(record).from_json(json.loads(json.dumps(record.to_json()))) == record


def test_unknown_keys_of_newer_files_are_ignored() -> None:
    assert Verdict.from_json({**Verdict("c", "p", "correct", 1.0).to_json(), "new": 1}).outcome == "correct"


def test_only_model_tokens_enter_losses_and_logprob() -> None:
    assert completion().loss_mask() == (1, 0, 1)
    assert completion().logprob == -1.5


def test_our_failures_are_not_usable() -> None:
    assert not Verdict("c", "p", "error", None).is_usable
    assert Verdict("c", "p", "timeout", 0.0).is_usable


def test_first_error_is_the_first_wrong_step() -> None:
    steps = (CritiqueStep("a", True), CritiqueStep("b", False), CritiqueStep("c", False))
    assert Critique("k", "c", steps, False).first_error == 1
    assert Critique("k", "c", steps[:1], True).first_error is None


def test_pass_rate_needs_a_usable_sample() -> None:
    assert Group("p", Policy("m"), 0, ("a", "b", "c"), 1, 2).pass_rate == 0.5
    assert Group("p", Policy("m"), 0, ("a",), 0, 0).pass_rate is None


def test_ids_are_stable_and_depend_on_every_part() -> None:
    assert record_id("s", "p") == record_id("s", "p", None, 0, 0)
    ids = {record_id("s", "p"), record_id("s2", "p"), record_id("s", "p2"), record_id("s", "p", "x"),
           record_id("s", "p", None, 1), record_id("s", "p", None, 0, 1)}  # fmt: skip
    assert len(ids) == 6


@given(st.dictionaries(st.text(), st.integers()))
def test_digest_ignores_key_order(mapping: dict[str, int]) -> None:
    assert digest(mapping) == digest(dict(reversed(list(mapping.items()))))


def test_seeds_fit_in_63_bits_and_differ() -> None:
    seeds = {seed_of("stage", i) for i in range(1000)}
    assert len(seeds) == 1000
    assert all(0 <= s < 2**63 for s in seeds)
