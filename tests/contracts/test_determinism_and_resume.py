"""The promises of restarting: the same ids, nothing drawn twice, and the same bits as an uninterrupted run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.records import Completion, SamplingParams, digest, record_id, seed_of
from tutelage.sampling.flows import sample_all
from tutelage.sampling.session import SampleRequest


def requests(stage: str, count: int = 24) -> list[SampleRequest]:
    return [
        SampleRequest(record_id(stage, f"p{n // 4}", None, n % 4), f"p{n // 4}", tuple(range(10, 20 + n // 4)),
                      SamplingParams(max_new_tokens=5 + n % 7), seed_of(stage, n // 4, n % 4), stage=stage, index=n % 4)
        for n in range(count)
    ]  # fmt: skip


@pytest.fixture
def open_session(tiny_model_dir: Callable[..., Path]) -> Callable[..., Any]:
    import torch

    from tutelage.sampling.local import LocalSampler

    torch.set_num_threads(1)
    return lambda **kwargs: LocalSampler.open(tiny_model_dir("qwen2"), device="cpu", **kwargs)


def test_a_resumed_stage_gives_the_records_of_an_uninterrupted_one(open_session: Callable[..., Any]) -> None:
    whole = {c.id: c for c in sample_all(open_session(max_batch=16), requests("s"))}
    have: dict[str, Completion] = {}
    session = open_session(max_batch=8)
    for request in requests("s"):
        session.submit(request)
    for completion in session.completions():
        have[completion.id] = completion
        if len(have) == 9:
            break
    missing = [r for r in requests("s") if r.id not in have]
    assert len(missing) == 15
    have |= {c.id: c for c in sample_all(open_session(max_batch=16), missing)}
    assert have == whole


def test_another_stage_draws_other_samples(open_session: Callable[..., Any]) -> None:
    first, second = requests("s"), requests(digest({"changed": True}))
    assert not {r.id for r in first} & {r.id for r in second}
    session = open_session()
    drawn, other = sample_all(session, first), sample_all(session, second)
    assert [c.token_ids for c in drawn] != [c.token_ids for c in other]


def test_records_survive_being_written_and_read(open_session: Callable[..., Any]) -> None:
    for completion in sample_all(open_session(), requests("s", 4)):
        assert Completion.from_json(completion.to_json()) == completion
