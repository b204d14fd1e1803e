"""Names of strategies: every form is read back, what is no name is refused with the nearest."""

from __future__ import annotations

import pytest

from tutelage.errors import InputError
from tutelage.evaluation.strategy_names import KINDS, NEEDS, Strategy, parse_strategy


@pytest.mark.parametrize(
    ("text", "strategy", "num_samples"),
    [
        ("greedy", Strategy("greedy"), 1),
        ("best-of-16", Strategy("best-of", 16), 16),
        ("weighted@8", Strategy("weighted", 8), 8),
        ("refine", Strategy("refine"), 1),
        ("refine-judged", Strategy("refine-judged"), 1),
        ("Refine-Oracle", Strategy("refine-oracle"), 1),
        ("self-refine", Strategy("self-refine"), 1),
        ("critic-filter@8", Strategy("critic-filter", 8), 8),
        ("critic-maj@4", Strategy("critic-maj", 4), 4),
        ("sequential@5", Strategy("sequential", 5), 1),
        ("grid@4x2", Strategy("grid", 4, 2), 4),
        ("flow", Strategy("flow"), 0),
        ("pot-then-cot", Strategy("pot-then-cot"), 0),
    ],
)
def test_names(text: str, strategy: Strategy, num_samples: int) -> None:
    found = parse_strategy(text)
    assert found == strategy and found.name == text.lower() and found.num_samples == num_samples


def test_every_kind_has_a_name_and_its_needs_can_be_told() -> None:
    for kind, what in KINDS.items():
        strategy = Strategy(kind) if what.form == kind else Strategy(kind, 3, 2 if kind == "grid" else 1)
        assert parse_strategy(strategy.name) == strategy
        assert set(what.needs) <= NEEDS.keys() and what.sentence


@pytest.mark.parametrize(
    ("text", "near"),
    [("maj8", "maj@k"), ("best-of@8", "best-of-k"), ("refine-orakle", "refine-oracle"), ("grid@4", "grid@KxS"),
     ("critic-maj", "critic-maj@k"), ("pot-than-cot", "pot-then-cot"), ("sequental@4", "sequential@k")],
)  # fmt: skip
def test_near_misses_are_named(text: str, near: str) -> None:
    with pytest.raises(InputError, match=f"did you mean {near}"):
        parse_strategy(text)


@pytest.mark.parametrize("text", ["", "grid@0x2", "grid@2x0", "grid@2x10001", "best-of-0", "refine@2", "flow@1"])
def test_what_is_no_strategy(text: str) -> None:
    with pytest.raises(InputError, match=r"e\.g\. maj@8"):
        parse_strategy(text)
