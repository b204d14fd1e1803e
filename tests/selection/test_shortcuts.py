"""The shortcut barrier at its edge."""

from __future__ import annotations

import pytest

from tutelage.selection.shortcuts import count_numbers, passes_shortcut_barrier


def test_numbers() -> None:
    assert count_numbers("1,000.5 + 2 = x3y, 4.") == 4
    assert count_numbers("none") == 0


@pytest.mark.parametrize(
    ("numbers", "gold", "original", "passes"),
    [
        (3, 5, 9, True),  # min(5, 9) - 2 = 3
        (2, 5, 9, False),
        (7, None, 9, True),  # without a worked solution only the original counts
        (6, None, 9, False),
        (0, 2, 9, True),
    ],
)
def test_a_refinement_may_have_two_numbers_less(numbers: int, gold: int | None, original: int, passes: bool) -> None:
    def text(count: int) -> str:
        return " ".join(str(i) for i in range(count))

    assert passes_shortcut_barrier(text(numbers), text(original), None if gold is None else text(gold)) is passes
