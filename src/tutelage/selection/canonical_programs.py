"""The canonical form of a Python program: equal for programs that are the same idea written with other words.

    comments, layout, docstrings and simple annotations go; dead code goes (what follows a return, branches on a
    constant, variables, functions and imports that nothing uses); names become v0, v1, ... in the order in which they
    are bound; arithmetic of literals is worked out where that cannot fail; operands of + * == < > get one order where
    they are certainly numbers; `x += 1` is `x = x + 1`, `pow(x, 2)` is `x**2`.

What it is: a program that prints, returns and raises what the original does. Nothing is executed: `ast.parse` reads.
What it is not: a proof that two programs differ; the same method with other intermediate steps has another form. A
program that looks at its own names (`globals`, `eval`, `inspect`, ...) only loses its comments.

Source: the 360 talk (2024): paths are compared after comments are removed, variables renamed, redundancy dropped.
"""

from __future__ import annotations

import ast
import functools
import warnings

from tutelage.selection.program_blocks import clean
from tutelage.selection.program_names import is_dynamic, number_names, own_names
from tutelage.selection.program_numbers import Numbers
from tutelage.selection.program_rewriting import Fold, Rewriter
from tutelage.selection.program_tree import walk

MAX_SOURCE = 20_000
"""Longest program in characters; longer ones have no form."""
_ROUNDS = 8


@functools.lru_cache(maxsize=1 << 16)
def canonical_program(source: str, *, fold: Fold = "all") -> str | None:
    """The canonical form of a program, itself a program; None for text that is not Python.

    Args:
        source: the program.
        fold: `all` works out every operation on literals; `inside` only those that are part of a larger expression,
            so that `(16 - 3 - 4) * 2` stays as it is and only `x * (60 * 24)` changes. The first is shorter, the second
            keeps apart two ways to calculate a number from literals.

    >>> canonical_program("total = 0  # start\\nfor i in range(3): total += 2 * i\\nprint(total)")
    'v0 = 0\\nfor v1 in range(3):\\n    v0 = v0 + v1 * 2\\nprint(v0)'
    """
    if len(source) > MAX_SOURCE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        return _canonical(tree, fold)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _canonical(tree: ast.Module, fold: Fold) -> str:
    nodes = walk(tree)
    if is_dynamic(nodes):
        return ast.unparse(tree) or "pass"
    for _ in range(_ROUNDS):
        own = own_names(tree)
        numbers = Numbers(nodes, own)
        Rewriter(numbers, fold).visit(tree)
        dropped = clean(tree, own, numbers)
        nodes = walk(tree)
        if not dropped & {node.id for node in nodes if type(node) is ast.Name and not isinstance(node.ctx, ast.Load)}:
            break  # otherwise the order of bindings, by which names are numbered, is another now
    number_names(nodes, own)
    return ast.unparse(tree) or "pass"
