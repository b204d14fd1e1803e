"""Names that only hold a number on its way: they are replaced by what they hold, so that two programs that name other
intermediate quantities, or define them in another order, are the same.

    x = 16; y = x - 3; print(y * 2)                  ->  print((16 - 3) * 2)
    def solution(): return 16 - 3                    ->  print(16 - 3)
    print(solution())

Only where that changes nothing: the name is bound once and always before it is read, and what it holds cannot fail, has
no effect, and is made of names of the same sort. A literal goes to wherever the name is read, anything else only to a
single place in the same function. Nothing is worked out here: the arithmetic stays as it was written.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

from tutelage.selection.program_names import OwnNames
from tutelage.selection.program_numbers import Numbers, number_of
from tutelage.selection.program_tree import child_fields, children, walk

_FUNCTIONS = frozenset((ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
_EMPTY = frozenset((ast.Constant, type(None), str, int))
"""What holds no name: literals, and what stands in fields and is no node."""
_MAX_NODES = 200


def inline(tree: ast.Module, own: OwnNames, numbers: Numbers, rewrite: Callable[[ast.expr], ast.expr]) -> bool:
    """Replace such names in place; returns whether there were any.

    Args:
        tree: the program, without dead code.
        own: its own names.
        numbers: what is known of its expressions.
        rewrite: gives an expression its one form.
    """
    reads: Counter[str] = Counter()
    stores: Counter[str] = Counter()
    others: set[str] = set()
    for node in walk(tree):
        kind = type(node)
        if kind is ast.Name:
            (reads if type(node.ctx) is ast.Load else stores)[node.id] += 1  # type: ignore[attr-defined]
        elif kind in _BLOCKS:
            _split_pairs(node)
        if (field := _NAMED.get(kind)) is not None:
            stores[getattr(node, field)] += 1
        if kind in _BINDERS:
            others.update(_bound_otherwise(node))
    fixed = {name for name in own.certain if stores[name] <= 1 and name not in others}
    loops = {name for name in own.certain if stores[name] == 1 and name in others}
    worker = _Inliner(numbers, fixed | loops, {name for name in fixed if stores[name] == 1}, reads, rewrite)
    worker.locate(tree)
    worker.visit(tree, ())
    return worker.has_changed


_BLOCKS = frozenset((ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.For, ast.While, ast.If, ast.With, ast.Try))
_NAMED: dict[type[ast.AST], str] = {
    ast.FunctionDef: "name", ast.AsyncFunctionDef: "name", ast.ExceptHandler: "name", ast.arg: "arg",
    ast.alias: "asname",
}  # fmt: skip
_BINDERS = frozenset(
    (
        ast.For, ast.AsyncFor, ast.comprehension, ast.withitem, ast.NamedExpr, ast.AugAssign, ast.AnnAssign, ast.Global,
        ast.Nonlocal,
    )
)  # fmt: skip


def _bound_otherwise(node: ast.AST) -> list[str]:
    """Names that a node binds in another way than by `=`, so that what they hold is not known."""
    if isinstance(node, ast.Global | ast.Nonlocal):
        return node.names
    target = node.optional_vars if isinstance(node, ast.withitem) else node.target  # type: ignore[attr-defined]
    return [] if target is None else [part.id for part in walk(target) if isinstance(part, ast.Name)]


def _split_pairs(node: ast.AST) -> None:
    """`a, b = 1, 2` as two statements, where all that is assigned is literals."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if block and any(type(one) is ast.Assign and type(one.value) is ast.Tuple for one in block):
            block[:] = [part for statement in block for part in _pair(statement)]


def _pair(statement: ast.stmt) -> list[ast.stmt]:
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return [statement]
    target, value = statement.targets[0], statement.value
    if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple) or len(target.elts) != len(value.elts):
        return [statement]
    if not all(isinstance(name, ast.Name) for name in target.elts) or any(number_of(v) is None for v in value.elts):
        return [statement]
    return [ast.Assign([name], part, lineno=0) for name, part in zip(target.elts, value.elts, strict=True)]


def _is_bare_call(node: ast.AST) -> bool:
    """Whether a node calls a name without arguments."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not (node.args or node.keywords)


class _Inliner:
    """Carries numbers to where they are used.

    Args:
        numbers: what is known of expressions.
        fixed: names that mean one thing wherever they can be read.
        single: those of them that one `=` binds.
        reads: how often each name is read.
        rewrite: gives an expression its one form.
    """

    def __init__(
        self,
        numbers: Numbers,
        fixed: set[str],
        single: set[str],
        reads: Counter[str],
        rewrite: Callable[[ast.expr], ast.expr],
    ) -> None:
        self.numbers, self.fixed, self.single, self.reads, self.rewrite = numbers, fixed, single, reads, rewrite
        self.held: dict[str, ast.expr] = {}
        self.calls: dict[str, ast.expr] = {}
        self.places: dict[str, tuple[int, ...]] = {}
        self.called: set[str] = set()
        self.has_changed = False

    def locate(self, tree: ast.AST) -> None:
        """Note in which function each name is read (one of them, if in several), and which are called without
        arguments."""
        functions: list[tuple[ast.AST, tuple[int, ...]]] = [(tree, ())]
        for top, inside in functions:
            nodes = list(children(top))
            for node in nodes:
                kind = type(node)
                if kind is ast.Name:
                    if type(node.ctx) is ast.Load:  # type: ignore[attr-defined]
                        self.places[node.id] = inside  # type: ignore[attr-defined]
                elif kind in _FUNCTIONS:
                    functions.append((node, (*inside, id(node))))
                elif kind is not ast.Constant:
                    if _is_bare_call(node):
                        self.called.add(node.func.id)  # type: ignore[attr-defined]
                    nodes += children(node)

    def visit(self, node: ast.AST, inside: tuple[int, ...]) -> ast.AST:
        """The node with held names replaced; blocks lose the assignments that are no longer needed."""
        kind = type(node)
        if kind is ast.Constant:
            return node
        if kind is ast.Name:
            return self._replaced(node)  # type: ignore[arg-type]
        if kind in _FUNCTIONS:
            inside = (*inside, id(node))
        for name in child_fields(kind):
            value: Any = getattr(node, name, None)
            if type(value) is list:
                if value:
                    self._visit_all(value, name, inside)
            elif type(value) not in _EMPTY and (new := self.visit(value, inside)) is not value:
                setattr(node, name, new)
        return self.calls.get(node.func.id, node) if self.calls and _is_bare_call(node) else node  # type: ignore[attr-defined]

    def _visit_all(self, parts: list[Any], name: str, inside: tuple[int, ...]) -> None:
        """Visit what is in a list, in place."""
        kept = []
        for part in parts:
            new = part if type(part) in _EMPTY else self.visit(part, inside)
            if not (isinstance(new, ast.stmt) and self._hold(new, inside)):
                kept.append(new)
        if not kept and name == "body":
            kept.append(ast.Pass())
        parts[:] = kept

    def _replaced(self, node: ast.Name) -> ast.AST:
        """What a name holds; a literal is there for each place where it is read, anything else for one."""
        value = self.held.get(node.id) if type(node.ctx) is ast.Load else None
        if value is None or type(value) is ast.Constant:
            return value or node
        return value if self.reads[node.id] == 1 else copy.deepcopy(value)

    def _hold(self, statement: ast.stmt, inside: tuple[int, ...]) -> bool:
        """Whether a statement only names a value that can stand in its place; it goes then."""
        if type(statement) is not ast.Assign:
            return isinstance(statement, ast.FunctionDef) and self._hold_function(statement)
        if len(statement.targets) != 1:
            return False
        target = statement.targets[0]
        if not isinstance(target, ast.Name) or target.id not in self.single:
            return False
        value = statement.value = self.rewrite(statement.value)
        if not self._is_movable(value):
            return False
        is_literal = number_of(value) is not None
        if not is_literal and not (self.reads[target.id] == 1 and self.places.get(target.id) == inside):
            return False
        self.held[target.id] = value
        self.has_changed = True
        return True

    def _hold_function(self, function: ast.FunctionDef) -> bool:
        """A function without parameters that only returns a number, and is called once."""
        arguments = function.args
        is_plain = not (function.decorator_list or walk(arguments)[1:]) and len(function.body) == 1
        last = function.body[0]
        if not is_plain or not isinstance(last, ast.Return) or last.value is None or function.name not in self.fixed:
            return False
        if self.reads[function.name] != 1 or function.name not in self.called or not self._is_movable(last.value):
            return False
        self.calls[function.name] = last.value
        self.has_changed = True
        return True

    def _is_movable(self, value: ast.expr) -> bool:
        if number_of(value) is not None:
            return True
        if not self.numbers.kind(value) or not self.numbers.is_still(value) or self.numbers.faults(value):
            return False
        nodes = walk(value)
        return len(nodes) <= _MAX_NODES and all(n.id in self.fixed for n in nodes if type(n) is ast.Name)
