"""Whether two expressions are equal, by the three tests from exact to multi-precision, and which of them says so."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from tutelage.grading import algebra, modular, numeric
from tutelage.text.expressions import Tree

Test = Literal["algebra", "modular", "numeric"]


@lru_cache(maxsize=4_096)
def decide(first: Tree, second: Tree) -> tuple[bool | None, Test]:
    """Whether two expressions are equal (None where no test can tell), and the last test that was asked."""
    result = algebra.is_equal(first, second)
    if result is not None:
        return result, "algebra"
    result = modular.is_equal(first, second)
    if result is not None:
        return result, "modular"
    return numeric.is_equal(first, second), "numeric"


def is_equal(first: Tree, second: Tree) -> bool | None:
    """Whether two expressions are equal; None where no test can tell."""
    return decide(first, second)[0]


def is_proportional(first: tuple[Tree, Tree], second: tuple[Tree, Tree]) -> bool | None:
    """Whether two equations (left, right) are the same up to a non-zero constant factor; None where undecided."""
    result = algebra.is_proportional(first, second)
    return numeric.is_proportional(first, second) if result is None else result
