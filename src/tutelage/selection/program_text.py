"""The text of a tree, letter by letter what `ast.unparse` writes, in a third of the time.

The common nodes are written here; a rarer expression that needs no brackets, or a rarer simple statement, by
`ast.unparse`; a tree with anything else, as a whole, by `ast.unparse` too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

_TEST, _OR, _AND, _NOT, _COMPARED, _JOINED, _ARITH, _TERM, _FACTOR, _POWER, _AWAIT, _ATOM = range(12)
"""How strongly operations bind; one that binds less than its place asks for stands in brackets."""
_BINARY: dict[type[ast.operator], tuple[str, int, int, int]] = {
    ast.Add: (" + ", _ARITH, _ARITH, _TERM), ast.Sub: (" - ", _ARITH, _ARITH, _TERM),
    ast.Mult: (" * ", _TERM, _TERM, _FACTOR), ast.Div: (" / ", _TERM, _TERM, _FACTOR),
    ast.FloorDiv: (" // ", _TERM, _TERM, _FACTOR), ast.Mod: (" % ", _TERM, _TERM, _FACTOR),
    ast.Pow: (" ** ", _POWER, _AWAIT, _POWER),
}  # fmt: skip
"""Of an operation: its sign, how it binds, and what its left and right sides ask for."""
_UNARY: dict[type[ast.unaryop], tuple[str, int]] = {
    ast.USub: ("-", _FACTOR), ast.UAdd: ("+", _FACTOR), ast.Invert: ("~", _FACTOR), ast.Not: ("not ", _NOT),
}  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: " == ", ast.NotEq: " != ", ast.Lt: " < ", ast.LtE: " <= ", ast.Gt: " > ", ast.GtE: " >= ",
    ast.Is: " is ", ast.IsNot: " is not ", ast.In: " in ", ast.NotIn: " not in ",
}  # fmt: skip
_BRACKETED = frozenset((ast.JoinedStr, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Dict, ast.Set))
"""Rarer expressions that are written in one way wherever they stand."""
_SIMPLE = frozenset(
    (
        ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Return, ast.Assert, ast.Raise, ast.Delete, ast.Pass,
        ast.Break, ast.Continue, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal,
    )
)  # fmt: skip
"""Statements of one line."""


class _Rare(Exception):
    """A node that is left to `ast.unparse`, together with what is around it."""


def text_of(node: ast.AST) -> str:
    """What `ast.unparse` writes for a module or an expression."""
    try:
        if isinstance(node, ast.Module):
            return "\n".join(_block(node.body, "", may_have_docstring=True))
        return _expression(node, _TEST)
    except _Rare:
        return ast.unparse(node)


def _expression(node: Any, place: int) -> str:
    kind = type(node)
    if kind is ast.Name:
        return str(node.id)
    write = _WRITERS.get(kind)
    if write is not None:
        return write(node, place)
    if kind in _BRACKETED:
        return ast.unparse(node)
    raise _Rare


def _constant(node: ast.Constant, place: int) -> str:
    value = node.value
    if type(value) is int or value is None or type(value) is bool or (type(value) is str and node.kind is None):
        return repr(value)
    text = repr(value)
    if type(value) is not float or not text[-1].isdigit():  # an infinity is written as 1e309
        return ast.unparse(node)
    return text


def _binary(node: ast.BinOp, place: int) -> str:
    found = _BINARY.get(type(node.op))
    if found is None:
        raise _Rare
    sign, binds, left, right = found
    text = _expression(node.left, left) + sign + _expression(node.right, right)
    return f"({text})" if place > binds else text


def _unary(node: ast.UnaryOp, place: int) -> str:
    sign, binds = _UNARY[type(node.op)]
    text = sign + _expression(node.operand, binds)
    return f"({text})" if place > binds else text


def _comparison(node: ast.Compare, place: int) -> str:
    text = _expression(node.left, _JOINED)
    for sign, part in zip(node.ops, node.comparators, strict=True):
        text += _COMPARISONS[type(sign)] + _expression(part, _JOINED)
    return f"({text})" if place > _COMPARED else text


def _choice(node: ast.BoolOp, place: int) -> str:
    sign, binds = (" and ", _AND) if type(node.op) is ast.And else (" or ", _OR)
    if len(node.values) > 2:
        raise _Rare  # each part asks for more than the one before
    text = sign.join([_expression(part, binds + index) for index, part in enumerate(node.values, 1)])
    return f"({text})" if place > binds else text


def _call(node: ast.Call, place: int) -> str:
    parts = [_expression(part, _TEST) for part in node.args]
    for keyword in node.keywords:
        value = _expression(keyword.value, _TEST)
        parts.append(f"**{value}" if keyword.arg is None else f"{keyword.arg}={value}")
    return f"{_expression(node.func, _ATOM)}({', '.join(parts)})"


def _attribute(node: ast.Attribute, place: int) -> str:
    if type(node.value) is ast.Constant:
        raise _Rare  # `3 .real`
    return f"{_expression(node.value, _ATOM)}.{node.attr}"


def _item(node: ast.Subscript, place: int) -> str:
    if type(node.slice) is ast.Tuple or type(node.slice) is ast.Slice:
        raise _Rare
    return f"{_expression(node.value, _ATOM)}[{_expression(node.slice, _TEST)}]"


def _list(node: ast.List, place: int) -> str:
    return f"[{', '.join([_expression(part, _TEST) for part in node.elts])}]"


def _condition(node: ast.IfExp, place: int) -> str:
    body, test, other = _expression(node.body, _OR), _expression(node.test, _OR), _expression(node.orelse, _TEST)
    text = f"{body} if {test} else {other}"
    return f"({text})" if place > _TEST else text


_WRITERS: dict[type[ast.AST], Callable[[Any, int], str]] = {
    ast.Constant: _constant, ast.BinOp: _binary, ast.UnaryOp: _unary, ast.Compare: _comparison, ast.Call: _call,
    ast.Attribute: _attribute, ast.Subscript: _item, ast.List: _list, ast.IfExp: _condition,
    ast.BoolOp: _choice,
}  # fmt: skip


def _block(body: list[ast.stmt], indent: str, *, may_have_docstring: bool = False) -> list[str]:
    """The lines of a block."""
    first = body[0] if may_have_docstring and body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        raise _Rare
    lines: list[str] = []
    for statement in body:
        _statement(statement, indent, lines)
    return lines


def _statement(node: Any, indent: str, lines: list[str]) -> None:
    """Add the lines of one statement."""
    kind = type(node)
    write = _COMPOUND.get(kind)
    if write is not None:
        write(node, indent, lines)
    elif kind in _SIMPLE:
        lines.append(indent + _simple(kind, node))
    else:
        raise _Rare


def _simple(kind: type[ast.stmt], node: Any) -> str:
    try:
        if kind is ast.Expr:
            return _expression(node.value, _TEST)
        if kind is ast.Return and node.value is not None:
            return f"return {_expression(node.value, _TEST)}"
        if kind is ast.Assign and len(node.targets) == 1 and type(node.targets[0]) is ast.Name:
            return f"{node.targets[0].id} = {_expression(node.value, _TEST)}"
    except _Rare:
        pass
    return ast.unparse(node)


def _if(node: ast.If, indent: str, lines: list[str], word: str = "if") -> None:
    lines.append(f"{indent}{word} {_expression(node.test, _TEST)}:")
    lines += _block(node.body, indent + _STEP)
    other = node.orelse
    if len(other) == 1 and isinstance(other[0], ast.If):
        _if(other[0], indent, lines, "elif")
    else:
        _else(other, indent, lines)


def _else(body: list[ast.stmt], indent: str, lines: list[str]) -> None:
    if body:
        lines.append(f"{indent}else:")
        lines += _block(body, indent + _STEP)


def _while(node: ast.While, indent: str, lines: list[str]) -> None:
    lines.append(f"{indent}while {_expression(node.test, _TEST)}:")
    lines += _block(node.body, indent + _STEP)
    _else(node.orelse, indent, lines)


def _for(node: ast.For, indent: str, lines: list[str]) -> None:
    if type(node.target) is not ast.Name:
        raise _Rare
    lines.append(f"{indent}for {node.target.id} in {_expression(node.iter, _TEST)}:")
    lines += _block(node.body, indent + _STEP)
    _else(node.orelse, indent, lines)


def _function(node: ast.FunctionDef, indent: str, lines: list[str]) -> None:
    if node.decorator_list or node.returns is not None or getattr(node, "type_params", None):
        raise _Rare
    if indent or lines:
        lines.append("")
    lines.append(f"{indent}def {node.name}({_parameters(node.args)}):")
    lines += _block(node.body, indent + _STEP, may_have_docstring=True)


def _parameters(arguments: ast.arguments) -> str:
    extra = arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg or arguments.defaults
    if extra or any(one.annotation is not None for one in arguments.args):
        return ast.unparse(arguments)
    return ", ".join([one.arg for one in arguments.args])


_STEP = "    "
_COMPOUND: dict[type[ast.AST], Callable[[Any, str, list[str]], None]] = {
    ast.If: _if, ast.While: _while, ast.For: _for, ast.FunctionDef: _function,
}  # fmt: skip
