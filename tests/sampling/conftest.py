"""Requests, and tiny models in memory, for the sampling tests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tutelage.records import Completion, SamplingParams
from tutelage.sampling.session import SampleRequest


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The promise of equal bits is for one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def load(tiny_model_dir: Callable[..., Any]) -> Callable[[str], tuple[Any, Any]]:
    """A function `kind -> (model, tokenizer)`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made: dict[str, tuple[Any, Any]] = {}

    def get(kind: str) -> tuple[Any, Any]:
        if kind not in made:
            folder = tiny_model_dir(kind)
            model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa").eval()
            made[kind] = (model, AutoTokenizer.from_pretrained(folder))
        return made[kind]

    return get


def ask(name: str, prompt_ids: tuple[int, ...], **fields: Any) -> SampleRequest:
    """A request; names of `SamplingParams` fields go there."""
    params = {k: fields.pop(k) for k in list(fields) if k in SamplingParams.__dataclass_fields__}
    fields.setdefault("seed", 0)
    return SampleRequest(id=name, problem_id=name.split(".")[0], prompt_ids=prompt_ids,
                         params=SamplingParams(**params), **fields)  # fmt: skip


def random_requests(count: int, seed: int, *, longest: int = 60, per_prompt: int = 1) -> list[SampleRequest]:
    """Requests of random prompts (8..100), lengths and seeds."""
    rng = random.Random(seed)
    requests = []
    for problem in range(count // per_prompt):
        prompt = tuple(rng.randrange(8, 100) for _ in range(rng.randint(1, longest)))
        for index in range(per_prompt):
            requests.append(
                ask(
                    f"{problem}.{index}",
                    prompt,
                    seed=rng.getrandbits(60),
                    max_new_tokens=rng.randint(3, 40),
                    index=index,
                )
            )
    return requests


def answers(session: Any, requests: list[SampleRequest]) -> dict[str, Completion]:
    """All completions by id."""
    for request in requests:
        session.submit(request)
    found = list(session.completions())
    assert len(found) == len(requests)
    return {c.id: c for c in found}


@pytest.fixture
def helpers() -> Any:
    """The functions above, for modules that cannot import a conftest."""

    class Helpers:
        pass

    for function in (ask, random_requests, answers):
        setattr(Helpers, function.__name__, staticmethod(function))
    return Helpers
