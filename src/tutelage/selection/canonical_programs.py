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
from collections.abc import Hashable

from tutelage.selection.program_blocks import clean
from tutelage.selection.program_inlining import inline
from tutelage.selection.program_names import OwnNames, is_dynamic, number_names, own_names
from tutelage.selection.program_numbers import Numbers
from tutelage.selection.program_rewriting import Fold, Rewriter
from tutelage.selection.program_text import text_of
from tutelage.selection.program_tree import fingerprint, walk

MAX_SOURCE = 20_000
"""Longest program in characters; longer ones have no form."""
_ROUNDS = 8
_MAX_FORMS = 1 << 12
"""Most forms that are remembered, about 4 kB each: the samples of some problems, not those of a run."""


@functools.lru_cache(maxsize=1 << 14)
def canonical_program(source: str, *, fold: Fold = "all") -> str | None:
    """The canonical form of a program, itself a program; None for text that is not Python.

    Args:
        source: the program.
        fold: `all` works out every operation on literals, and leaves names of intermediate numbers. `inside` puts such
            numbers in place of their names (`program_inlining`), and works out operations on literals only where they
            are part of a larger expression: what is left is the calculation, however its parts are named, and
            `(16 - 3 - 4) * 2` and `9 * 2` stay two.

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
    own = own_names(tree)
    written = (fingerprint(nodes) or ast.unparse(tree), fold)
    if written not in _FORMS:
        if len(_FORMS) >= _MAX_FORMS:
            _FORMS.clear()
        _FORMS[written] = _rewritten(tree, nodes, own, fold)
    return _FORMS[written]


_FORMS: dict[tuple[Hashable, Fold], str] = {}
"""Forms of programs whose names are numbered already: most samples of a problem differ in names and remarks only."""


def _bound(nodes: list[ast.AST]) -> set[str]:
    return {node.id for node in nodes if type(node) is ast.Name and type(node.ctx) is not ast.Load}


def _rewritten(tree: ast.Module, nodes: list[ast.AST], own: OwnNames, fold: Fold) -> str:
    for _ in range(_ROUNDS):
        numbers = Numbers(nodes, own)
        rewriter = Rewriter(numbers, fold)
        rewriter.visit(tree)
        dropped = clean(tree, own, numbers)
        if fold == "inside" and inline(tree, own, numbers, rewriter.expression):
            rewriter.visit(tree)
            dropped |= clean(tree, own, numbers)
        nodes = walk(tree)
        if not (dropped and dropped & _bound(nodes)):
            break  # otherwise the order of bindings, by which names are numbered, is another now
        own = own_names(tree)
    number_names(nodes, own)
    return text_of(tree) or "pass"
