"""Walking the tree of a Python program, several times as fast as the functions of `ast`: operators and contexts, which
hold nothing, are left out."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

_LEAF_FIELDS = frozenset(
    ("ctx", "op", "ops", "id", "attr", "kind", "level", "module", "type_comment", "name", "asname", "is_async")
)
_CHILDLESS = frozenset((ast.Constant, ast.Name, ast.Pass, ast.Break, ast.Continue, ast.alias, ast.Global, ast.Nonlocal))
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = dict.fromkeys(_CHILDLESS, ())


def child_fields(kind: type[ast.AST]) -> tuple[str, ...]:
    """The fields of a node type that may hold other nodes."""
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(name for name in kind._fields if name not in _LEAF_FIELDS)
    return _FIELDS[kind]


def _given(*parts: ast.AST | None) -> list[ast.AST]:
    return [part for part in parts if part is not None]


_SHORT: dict[type[ast.AST], Callable[[Any], list[ast.AST]]] = {
    ast.Module: lambda node: node.body,
    ast.Expr: lambda node: [node.value],
    ast.BinOp: lambda node: [node.left, node.right],
    ast.UnaryOp: lambda node: [node.operand],
    ast.Assign: lambda node: [*node.targets, node.value],
    ast.AugAssign: lambda node: [node.target, node.value],
    ast.Call: lambda node: [node.func, *node.args, *node.keywords],
    ast.keyword: lambda node: [node.value],
    ast.Compare: lambda node: [node.left, *node.comparators],
    ast.Attribute: lambda node: [node.value],
    ast.Return: lambda node: [] if node.value is None else [node.value],
    ast.If: lambda node: [node.test, *node.body, *node.orelse],
    ast.While: lambda node: [node.test, *node.body, *node.orelse],
    ast.For: lambda node: [node.target, node.iter, *node.body, *node.orelse],
    ast.List: lambda node: node.elts,
    ast.Tuple: lambda node: node.elts,
    ast.JoinedStr: lambda node: node.values,
    ast.Subscript: lambda node: [node.value, node.slice],
    ast.FunctionDef: lambda node: _given(node.args, *node.body, *node.decorator_list, node.returns),
    ast.arguments: lambda node: _given(
        *node.posonlyargs, *node.args, node.vararg, *node.kwonlyargs, *node.kw_defaults, node.kwarg, *node.defaults
    ),
    ast.arg: lambda node: [] if node.annotation is None else [node.annotation],
    ast.Import: lambda node: node.names,
    ast.ImportFrom: lambda node: node.names,
}
"""Children of the common types of nodes, without a look at their fields."""


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes directly below one, in the order of its fields; not to be changed."""
    short = _SHORT.get(type(node))
    if short is not None:
        return short(node)
    found: list[ast.AST] = []
    for name in child_fields(type(node)):
        value = getattr(node, name, None)
        if type(value) is list:
            found += [part for part in value if isinstance(part, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


def walk(tree: ast.AST) -> list[ast.AST]:
    """All nodes of a tree, parents before children."""
    found = [tree]
    node: Any
    for node in found:
        kind = type(node)
        if kind in _CHILDLESS:
            continue
        if kind is ast.BinOp:
            found.append(node.left)
            found.append(node.right)
        elif kind is ast.Assign:
            found += node.targets
            found.append(node.value)
        elif kind is ast.Expr:
            found.append(node.value)
        elif kind is ast.Call:
            found.append(node.func)
            found += node.args
            found += node.keywords
        else:
            found += children(node)
    return found


_TELLING: dict[type[ast.AST], Callable[[Any], Any]] = {
    ast.Module: lambda node: len(node.body),
    ast.Expr: lambda node: None,
    ast.Name: lambda node: (node.id, type(node.ctx)),
    ast.Constant: lambda node: (type(node.value), repr(node.value)),
    ast.BinOp: lambda node: type(node.op),
    ast.UnaryOp: lambda node: type(node.op),
    ast.Compare: lambda node: tuple(map(type, node.ops)),
    ast.Assign: lambda node: len(node.targets),
    ast.AugAssign: lambda node: type(node.op),
    ast.Call: lambda node: (len(node.args), len(node.keywords)),
    ast.keyword: lambda node: node.arg,
    ast.Attribute: lambda node: (node.attr, type(node.ctx)),
    ast.Return: lambda node: node.value is None,
    ast.If: lambda node: (len(node.body), len(node.orelse)),
    ast.While: lambda node: (len(node.body), len(node.orelse)),
    ast.For: lambda node: (len(node.body), len(node.orelse)),
    ast.List: lambda node: (len(node.elts), type(node.ctx)),
    ast.Tuple: lambda node: (len(node.elts), type(node.ctx)),
    ast.Subscript: lambda node: type(node.ctx),
    ast.Import: lambda node: len(node.names),
    ast.alias: lambda node: (node.name, node.asname),
    ast.Pass: lambda node: None,
    ast.arguments: lambda node: (
        len(node.posonlyargs), len(node.args), len(node.kwonlyargs), len(node.defaults), node.vararg is None,
        node.kwarg is None, tuple(default is None for default in node.kw_defaults),
    ),
    ast.arg: lambda node: (node.arg, node.annotation is None),
    ast.FunctionDef: lambda node: (node.name, len(node.body), len(node.decorator_list), node.returns is None),
}  # fmt: skip
"""What a node says besides its children, for types whose children this and the walk's order tell apart."""


def fingerprint(nodes: list[ast.AST]) -> tuple[Any, ...] | None:
    """A key that is equal for equal trees only, from the nodes of `walk`; None for a tree with rarer types of nodes."""
    parts: list[Any] = []
    for node in nodes:
        kind = type(node)
        tell = _TELLING.get(kind)
        if tell is None:
            return None
        parts.append(kind)
        parts.append(tell(node))
    return tuple(parts)
