"""Fixtures of the learning tests: seeded pairs and examples over the tiny models' character vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tutelage.config.settings import TrainingSettings
from tutelage.records import Example, PreferencePair

FIRST, LAST = 10, 100  # token ids of letters in the tiny models' vocabulary


def pair_of(name: str, prompt: Sequence[int], chosen: Sequence[int], rejected: Sequence[int], **more: Any):
    return PreferencePair(
        id=name,
        problem_id=name,
        prompt_ids=tuple(prompt),
        chosen_ids=tuple(chosen),
        rejected_ids=tuple(rejected),
        chosen_mask=more.pop("chosen_mask", (1,) * len(chosen)),
        rejected_mask=more.pop("rejected_mask", (1,) * len(rejected)),
        chosen_id=f"{name}/w",
        rejected_id=f"{name}/l",
        rule="test",
        **more,
    )


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., PreferencePair]:
    return pair_of


@pytest.fixture(scope="session")
def make_pairs() -> Callable[..., list[PreferencePair]]:
    """A function (count, seed) -> random pairs of ragged lengths, some tokens masked."""

    def make(count: int, seed: int = 0, longest: int = 24) -> list[PreferencePair]:
        rng = np.random.default_rng(seed)

        def ids(low: int, high: int) -> tuple[int, ...]:
            return tuple(int(i) for i in rng.integers(FIRST, LAST, rng.integers(low, high)))

        pairs = []
        for i in range(count):
            prompt, chosen, rejected = ids(3, 12), ids(2, longest), ids(2, longest)
            mask = tuple(int(m) for m in (rng.random(len(chosen)) < 0.8)) if i % 3 == 0 else (1,) * len(chosen)
            mask = mask if any(mask) else (1,) * len(chosen)
            pairs.append(pair_of(f"p{i}", prompt, chosen, rejected, chosen_mask=mask))
        return pairs

    return make


@pytest.fixture(scope="session")
def make_examples(make_pairs: Callable[..., list[PreferencePair]]) -> Callable[..., list[Example]]:
    def make(count: int, seed: int = 0) -> list[Example]:
        return [
            Example(p.id, p.problem_id, p.prompt_ids, p.chosen_ids, tuple(float(m) for m in p.chosen_mask), "test")
            for p in make_pairs(count, seed)
        ]

    return make


@pytest.fixture
def settings() -> Callable[..., TrainingSettings]:
    def make(**values: Any) -> TrainingSettings:
        return TrainingSettings(**{"learning_rate": 1e-3, "batch_size": 4, "epochs": 1.0, **values})

    return make


@pytest.fixture
def llama(tiny_model_dir: Callable[..., Path]) -> Path:
    return tiny_model_dir("llama")
