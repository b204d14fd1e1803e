"""Python's scope rules over a parsed program: which identifiers are the same variable, and which may lack a value.

What it is: one walk over the tree in order of evaluation; nothing is executed.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tutelage.selection.program_tree import children, walk

BUILTINS = frozenset(dir(builtins))
_WIDE = frozenset(
    (
        "BaseException",
        "Exception",
        "NameError",
        "UnboundLocalError",
        "TypeError",
        "ExceptionGroup",
        "BaseExceptionGroup",
    )
)


@dataclass(eq=False)
class Scope:
    """One scope: what it binds itself, and what it takes from outside by declaration."""

    kind: str
    parent: Scope | None = None
    bound: set[str] = field(default_factory=set)
    outside: dict[str, str] = field(default_factory=dict)

    def module(self) -> Scope:
        """The outermost scope."""
        return self if self.parent is None else self.parent.module()

    def binding(self, name: str) -> Scope:
        """The scope that a binding of `name` here goes to."""
        if not self.outside and self.kind != "comprehension":
            return self
        if self.kind == "comprehension" and name not in self.bound:  # what `:=` binds goes to the scope around
            assert self.parent is not None
            return self.parent.binding(name)
        how = self.outside.get(name)
        if how == "global":
            return self.module()
        if how == "nonlocal":
            return self._above(name) or self
        return self

    def resolve(self, name: str) -> Scope | None:
        """The scope that a use of `name` here reads; None for a name from outside the program."""
        if not self.outside:
            return self if name in self.bound else self._above(name)
        if self.outside.get(name) == "global":
            return self.module() if name in self.module().bound else None
        if name in self.bound and name not in self.outside:
            return self
        return self._above(name)

    def _above(self, name: str) -> Scope | None:
        scope = self.parent
        while scope is not None:
            if scope.kind != "class" and name in scope.bound and name not in scope.outside:
                return scope
            if scope.outside.get(name) == "global":
                return scope.module() if name in scope.module().bound else None
            scope = scope.parent
        return None


class Use(NamedTuple):
    """One place where an identifier stands: the node and field to write another in, its scope, its enclosing blocks."""

    name: str
    scope: Scope
    node: ast.AST | None
    where: str | int
    block: tuple[int, ...]
    is_binding: bool

    def write(self, name: str) -> None:
        """Put another identifier here."""
        if isinstance(self.where, int):
            self.node.names[self.where] = name  # type: ignore[union-attr]
        elif self.node is not None:
            setattr(self.node, self.where, name)


class Reader:
    """Walks a tree in order of evaluation and notes scopes, uses, and names that cannot be renamed.

    `doubtful` are identifiers, with their scopes, that some statement may leave without a value.
    """

    def __init__(self) -> None:
        self.scope = Scope("module")
        self.uses: list[Use] = []
        self.frozen: set[str] = set()
        self.doubtful: set[tuple[Scope, str]] = set()
        self.parameters: set[str] = set()
        self.functions: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
        self.calls: list[ast.Call] = []
        self.has_star = self.has_wide_handler = False
        self.blocks: tuple[int, ...] = (0,)
        self._count = 0

    def visit(self, node: ast.AST) -> None:
        """Note what is in a node."""
        kind = type(node)
        method = _METHODS.get(kind)
        if method is not None:
            method(self, node)
        elif kind is not ast.Constant:
            for child in children(node):
                self.visit(child)

    def bind(self, name: str, node: ast.AST | None, where: str | int = "id") -> None:
        """Note a binding."""
        scope = self.scope.binding(name)
        scope.bound.add(name)
        if scope.kind == "class" or name.startswith("__"):
            self.frozen.add(name)
        self.uses.append(Use(name, self.scope, node, where, self.blocks, True))

    def load(self, name: str, node: ast.AST | None, where: str | int = "id") -> None:
        """Note a reading."""
        self.uses.append(Use(name, self.scope, node, where, self.blocks, False))

    def doubt(self, name: str) -> None:
        """Note that a name may be without a value."""
        self.doubtful.add((self.scope.binding(name), name))

    def block(self, body: Iterable[ast.AST]) -> None:
        """Note what is in statements that may not run."""
        outer = self.blocks
        self._count += 1
        self.blocks = (*outer, self._count)
        for node in body:
            self.visit(node)
        self.blocks = outer

    def inside(self, kind: str, arguments: ast.arguments, body: list[ast.AST]) -> None:
        """Note what is in a function."""
        outer, blocks = self.scope, self.blocks
        self.scope = Scope(kind, outer)
        self._count += 1
        self.blocks = (*blocks, self._count)
        for argument in _all_arguments(arguments):
            self.parameters.add(argument.arg)
            self.bind(argument.arg, argument, "arg")
        for statement in body:
            self.visit(statement)
        self.scope, self.blocks = outer, blocks


def _name(reader: Reader, node: Any) -> None:
    if type(node.ctx) is ast.Load:
        reader.uses.append(Use(node.id, reader.scope, node, "id", reader.blocks, False))
        return
    reader.bind(node.id, node)
    if isinstance(node.ctx, ast.Del):
        reader.doubt(node.id)


def _in_order(*fields: str) -> Callable[[Reader, Any], None]:
    """Visits fields in the order in which they are evaluated."""

    def visit(reader: Reader, node: Any) -> None:
        for name in fields:
            value = getattr(node, name)
            for part in value if type(value) is list else [value]:
                if part is not None:
                    reader.visit(part)

    return visit


def _assigned(reader: Reader, node: Any) -> None:
    reader.visit(node.value)
    for target in node.targets:
        reader.visit(target)


def _annotated(reader: Reader, node: Any) -> None:
    _in_order("value", "annotation", "target")(reader, node)
    if node.value is None and isinstance(node.target, ast.Name):
        reader.doubt(node.target.id)


def _augmented(reader: Reader, node: Any) -> None:
    if isinstance(node.target, ast.Name):
        reader.load(node.target.id, None)
    reader.visit(node.value)
    reader.visit(node.target)


def _walrus(reader: Reader, node: Any) -> None:
    reader.visit(node.value)
    reader.visit(node.target)
    reader.doubt(node.target.id)  # `a and (b := c)` may never bind


def _for(reader: Reader, node: Any) -> None:
    reader.visit(node.iter)
    reader.block((node.target, *node.body))
    reader.block(node.orelse)


def _branch(reader: Reader, node: Any) -> None:
    reader.visit(node.test)
    reader.block(node.body)
    reader.block(node.orelse)


def _with(reader: Reader, node: Any) -> None:
    for item in node.items:
        reader.visit(item)
    reader.block(node.body)  # it may be left by an error that the context swallows


def _try(reader: Reader, node: Any) -> None:
    reader.block(node.body)
    for handler in node.handlers:
        if handler.type is not None:
            reader.visit(handler.type)
        reader.block([handler])
    reader.block(node.orelse)
    for statement in node.finalbody:
        reader.visit(statement)


def _handler(reader: Reader, node: Any) -> None:
    if node.name:
        reader.bind(node.name, node, "name")
        reads = any(isinstance(n, ast.Name) and n.id == node.name for s in node.body for n in walk(s))
        reader.has_wide_handler |= reads and _is_wide(node.type)
    for statement in node.body:
        reader.visit(statement)


def _import(reader: Reader, node: Any) -> None:
    for alias in node.names:
        if alias.asname is None and "." in alias.name:
            reader.bind(alias.name.split(".")[0], None)
            reader.frozen.add(alias.name.split(".")[0])
        else:
            reader.bind(alias.asname or alias.name, alias, "asname")


def _import_from(reader: Reader, node: Any) -> None:
    for alias in node.names:
        if alias.name == "*":
            reader.has_star = True
        elif node.module != "__future__":
            reader.bind(alias.asname or alias.name, alias, "asname")


def _declaration(reader: Reader, node: Any) -> None:
    how = "global" if isinstance(node, ast.Global) else "nonlocal"
    for index, name in enumerate(node.names):
        reader.scope.outside[name] = how
        if how == "global":
            reader.scope.module().bound.add(name)
        reader.load(name, node, index)


def _function(reader: Reader, node: Any) -> None:
    for part in (*node.decorator_list, node.returns):
        if part is not None:
            reader.visit(part)
    _outer_arguments(reader, node.args)
    reader.bind(node.name, node, "name")
    reader.functions.setdefault(node.name, []).append(node)
    reader.inside("function", node.args, node.body)


def _lambda(reader: Reader, node: Any) -> None:
    _outer_arguments(reader, node.args)
    reader.inside("function", node.args, [node.body])


def _outer_arguments(reader: Reader, arguments: ast.arguments) -> None:
    annotations = (argument.annotation for argument in _all_arguments(arguments))
    for part in (*arguments.defaults, *arguments.kw_defaults, *annotations):
        if part is not None:
            reader.visit(part)


def _class(reader: Reader, node: Any) -> None:
    for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
        reader.visit(part)
    reader.bind(node.name, None)
    reader.frozen.add(node.name)
    outer, reader.scope = reader.scope, Scope("class", reader.scope)
    reader.block(node.body)
    reader.scope = outer


def _comprehension(reader: Reader, node: Any) -> None:
    reader.visit(node.generators[0].iter)
    outer, reader.scope = reader.scope, Scope("comprehension", reader.scope)
    parts: list[ast.AST] = []
    for index, generator in enumerate(node.generators):
        for target in walk(generator.target):
            if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                reader.scope.bound.add(target.id)
        parts += [*([generator.iter] if index else []), generator.target, *generator.ifs]
    reader.block([*parts, *((node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,))])
    reader.scope = outer


def _call(reader: Reader, node: Any) -> None:
    reader.visit(node.func)
    for part in node.args:
        reader.visit(part)
    if node.keywords:
        reader.calls.append(node)
        for part in node.keywords:
            reader.visit(part)


def _operation(reader: Reader, node: Any) -> None:
    reader.visit(node.left)
    reader.visit(node.right)


_METHODS: dict[type[ast.AST], Callable[[Reader, Any], None]] = {
    ast.Name: _name, ast.Assign: _assigned, ast.AnnAssign: _annotated, ast.AugAssign: _augmented,
    ast.NamedExpr: _walrus, ast.For: _for, ast.AsyncFor: _for, ast.While: _branch, ast.If: _branch, ast.With: _with,
    ast.AsyncWith: _with, ast.Try: _try, ast.ExceptHandler: _handler, ast.Import: _import,
    ast.ImportFrom: _import_from, ast.Global: _declaration, ast.Nonlocal: _declaration, ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function, ast.Lambda: _lambda, ast.ClassDef: _class, ast.ListComp: _comprehension,
    ast.SetComp: _comprehension, ast.GeneratorExp: _comprehension, ast.DictComp: _comprehension, ast.Call: _call,
    ast.BinOp: _operation,
}  # fmt: skip


def _all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def _is_wide(kind: ast.expr | None) -> bool:
    """Whether a handler may catch an error whose message holds a name of the program."""
    parts = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(not isinstance(part, ast.Name) or part.id in _WIDE or part.id not in BUILTINS for part in parts)
