"""Walking the tree of a Python program, several times as fast as the functions of `ast`: operators and contexts, which
hold nothing, are left out."""

from __future__ import annotations

import ast

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


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes directly below one, in the order of its fields."""
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
    for node in found:
        if type(node) not in _CHILDLESS:
            found += children(node)
    return found
