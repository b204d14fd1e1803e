"""Dead code of a Python program: what cannot run, and what runs without any effect.

Variables must have names of their own (`program_scopes.own_names`). Nothing goes that binds a name which is read
elsewhere, that may fail, or that decides what kind of function its function is (`yield`).
"""

from __future__ import annotations

import ast
from collections import Counter

from tutelage.selection.program_names import OwnNames
from tutelage.selection.program_numbers import Numbers
from tutelage.selection.program_tree import walk

_STANDARD = frozenset(
    (
        "math", "cmath", "fractions", "decimal", "statistics", "itertools", "functools", "collections", "typing", "re",
        "random", "datetime", "operator", "string", "heapq", "bisect", "time", "sys", "os", "json", "copy",
    )
)  # fmt: skip
"""Modules whose import does nothing that a program could see."""
_DECLARATIONS = (ast.Global, ast.Nonlocal)
_FLAT = frozenset((ast.Assign, ast.AugAssign, ast.Expr, ast.Return))
"""The common statements that hold no others."""
_LEAVES = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_BINDS = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal,
    ast.Yield, ast.YieldFrom, ast.Await, ast.NamedExpr, ast.ExceptHandler,
)  # fmt: skip


def clean(tree: ast.Module, own: OwnNames, numbers: Numbers) -> set[str]:
    """Remove dead code in place; returns the names that it bound.

    Args:
        tree: the program.
        own: its own names.
        numbers: what is known of its expressions.
    """
    dropped: set[str] = set()
    names = frozenset(own.names)
    while True:
        sweeper = _Sweeper(names, numbers, _count_reads(tree))
        tree.body = sweeper.block(tree.body, is_inner=False)
        dropped |= sweeper.dropped
        if not sweeper.has_freed:
            return dropped


def _count_reads(tree: ast.AST) -> Counter[str]:
    """How often each name is read, named by a declaration or deleted."""
    reads: Counter[str] = Counter()
    for node in walk(tree):
        kind = type(node)
        if kind is ast.Name:
            if type(node.ctx) is not ast.Store:  # type: ignore[attr-defined]
                reads[node.id] += 1  # type: ignore[attr-defined]
        elif isinstance(node, ast.AugAssign):
            if isinstance(node.target, ast.Name):
                reads[node.target.id] += 1
        elif isinstance(node, _DECLARATIONS):
            reads.update(node.names)
    return reads


class _Sweeper:
    def __init__(self, own: frozenset[str], numbers: Numbers, reads: Counter[str]) -> None:
        self.own, self.numbers, self.reads = own, numbers, reads
        self.has_freed, self.dropped = False, set[str]()

    def block(self, body: list[ast.stmt], *, is_inner: bool = True) -> list[ast.stmt]:
        """A block without its dead statements; an inner one that loses all holds `pass`."""
        kept: list[ast.stmt] = []
        for index, statement in enumerate(body):
            for one in self._alive(statement):
                if type(one) not in _FLAT:
                    self._inside(one)
                kept.append(one)
            if isinstance(statement, _LEAVES):
                rest = body[index + 1 :]
                if rest and not any(_binds(one) for one in rest):
                    self._drop(rest)
                    break
        return kept or ([ast.Pass()] if is_inner else [])

    def _drop(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Note that statements go; what they read may be dead now."""
        for statement in statements:
            self.has_freed |= not isinstance(statement, ast.Pass)
            self.dropped |= {node.id for node in walk(statement) if type(node) is ast.Name}
        return []

    def _alive(self, statement: ast.stmt) -> list[ast.stmt]:
        """What is left of one statement."""
        if isinstance(statement, ast.Pass) or self._is_idle(statement):
            return self._drop([statement])
        if type(statement) in _FLAT:
            return [statement]
        if isinstance(statement, (ast.If, ast.While)) and isinstance(statement.test, ast.Constant):
            taken, dropped = (statement.body, statement.orelse)[:: 1 if statement.test.value else -1]
            can_go = isinstance(statement, ast.If) or not statement.test.value
            if can_go and not any(_binds(one) for one in dropped):
                self._drop(dropped)
                self.has_freed = True
                return taken
        if isinstance(statement, ast.If) and statement.orelse and isinstance(statement.body[-1], _LEAVES):
            rest, statement.orelse = statement.orelse, []
            self.has_freed = True
            return [statement, *rest]
        return [statement]

    def _inside(self, statement: ast.stmt) -> None:
        if isinstance(body := getattr(statement, "body", None), list):
            if isinstance(statement, ast.FunctionDef) and len(body) > 1 and _is_literal(body[0]):
                body = body[1:]  # a docstring: nothing else dies with it, so this is no reason for another sweep
            statement.body = self.block(body)  # type: ignore[attr-defined]
        for name in ("orelse", "finalbody"):
            if inner := getattr(statement, name, None):
                setattr(statement, name, self.block(inner, is_inner=name == "finalbody"))
        for handler in getattr(statement, "handlers", ()):
            handler.body = self.block(handler.body)

    def _is_idle(self, statement: ast.stmt) -> bool:
        """Whether a statement does nothing that anything could see."""
        if isinstance(statement, ast.Expr):
            return _is_literal(statement)
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if type(target) is not ast.Name or not self._is_unread(target.id):
                    return False
            return self._is_harmless(statement.value)
        if isinstance(statement, ast.Import):
            return all(
                alias.name in _STANDARD and self._is_unread(alias.asname or alias.name) for alias in statement.names
            )
        if isinstance(statement, ast.ImportFrom):
            return statement.module == "typing" and all(self._is_unread(a.asname or a.name) for a in statement.names)
        if isinstance(statement, ast.FunctionDef):
            arguments = statement.args
            is_plain = not (statement.decorator_list or arguments.defaults or arguments.kw_defaults)
            annotations = [node for node in walk(arguments) if isinstance(node, ast.arg) and node.annotation]
            return is_plain and not annotations and statement.returns is None and self._is_unread(statement.name)
        if isinstance(statement, ast.If):
            branches = [*statement.body, *statement.orelse]
            return all(isinstance(one, ast.Pass) for one in branches) and self._is_harmless(statement.test)
        return False

    def _is_unread(self, name: str) -> bool:
        return name in self.own and not self.reads[name]

    def _is_harmless(self, node: ast.expr) -> bool:
        """Whether evaluating an expression can neither fail nor change anything."""
        if isinstance(node, ast.Constant):
            return True
        if isinstance(node, ast.Name):
            return node.id in self.numbers.certain
        if isinstance(node, ast.Tuple | ast.List):
            return all(self._is_harmless(part) for part in node.elts)
        return self.numbers.kind(node) is not None and self.numbers.is_still(node) and not self.numbers.faults(node)


def _is_literal(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _binds(statement: ast.stmt) -> bool:
    """Whether a statement binds a name or makes its function a generator, even where it cannot run."""
    return any(
        isinstance(node, _BINDS) or (isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load))
        for node in walk(statement)
    )
