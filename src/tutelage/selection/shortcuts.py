"""The shortcut barrier of AutoMathCritique: a solution with far fewer numbers than it should have is a shortcut.

A model that is trained on its own refinements may learn to write the answer and leave the reasoning out; the published
code of arXiv 2411.16579 keeps such refinements out of training by counting numbers.
"""

from __future__ import annotations

import re

ALLOWED_FEWER = 2
"""By how many numbers a refinement may fall short."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def count_numbers(text: str) -> int:
    """How many numbers a text holds; `1,000.5` is one."""
    return sum(1 for _ in _NUMBER.finditer(text))


def passes_shortcut_barrier(refinement: str, original: str, gold: str | None) -> bool:
    """Whether a refinement has at least min(numbers in gold, numbers in original) - 2 numbers.

    Args:
        gold: the worked solution; None leaves it out of the minimum.

    Source: arXiv 2411.16579, published code.
    """
    expected = min(count_numbers(text) for text in (original, gold) if text is not None)
    return count_numbers(refinement) >= expected - ALLOWED_FEWER
