"""Giving each variable of a Python program a name of its own, where that changes nothing that it does.

After `own_names` every variable, parameter, function and import alias has its own name, whatever its scope, so that
later passes can look things up by name alone. What stays as it is: attributes, classes and what they hold, names that
come from outside, and names that could be seen from inside a program (a keyword of an unknown callee, the variable
`answer` that a runner reads, names in an error message that the program may print).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import NamedTuple

from tutelage.selection.program_scopes import BUILTINS, Reader, Scope, Use

OBSERVED = "answer"
"""The module variable that the sandbox reads where nothing was printed."""
ENTRY_POINTS = frozenset(("solution", "main"))
"""Functions that a runner may call by name where the program does not."""
_DYNAMIC_NAMES = frozenset(
    ("globals", "locals", "vars", "eval", "exec", "dir", "compile", "breakpoint", "help", "var", "memoryview")
)
_DYNAMIC_MODULES = frozenset(
    (
        "__main__", "ast", "bdb", "code", "dis", "doctest", "gc", "importlib", "inspect", "linecache", "pickle",
        "runpy", "symtable", "timeit", "token", "tokenize", "trace", "traceback", "unittest", "weakref",
    )
)  # fmt: skip
_DYNAMIC_ATTRIBUTES = frozenset(("_getframe", "modules", "exc_info", "settrace", "setprofile", "last_value"))
_UNKNOWN_NODES = frozenset(
    kind for name in ("Match", "TypeAlias", "TryStar") if (kind := getattr(ast, name, None)) is not None
)
_RARE = _UNKNOWN_NODES | {ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef}


def is_dynamic(nodes: Iterable[ast.AST]) -> bool:
    """Whether a program may look at its own names, text or lines, so that nothing of it may be changed."""
    for node in nodes:
        kind = type(node)
        if kind is ast.Name:
            name = node.id  # type: ignore[attr-defined]
            if name in _DYNAMIC_NAMES or (name[:2] == "__" and _is_dunder(name) and name != "__name__"):
                return True
        elif kind is ast.Attribute:
            name = node.attr  # type: ignore[attr-defined]
            if name in _DYNAMIC_ATTRIBUTES or (name[:2] == "__" and _is_dunder(name)):
                return True
        elif kind in _RARE and (kind in _UNKNOWN_NODES or _is_rarely_dynamic(node)):
            return True
    return False


def _is_rarely_dynamic(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return _imports_dynamic(node)
    return bool(getattr(node, "type_params", None))


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _imports_dynamic(node: ast.Import | ast.ImportFrom) -> bool:
    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return any(module.split(".")[0] in _DYNAMIC_MODULES for module in modules)


class OwnNames(NamedTuple):
    """What `own_names` found.

    Attributes:
        names: the new names, in the order in which they are first bound, all of one width.
        certain: those of them that have a value wherever they are read.
        outside: identifiers that were left, bound in the program or not.
        builtins: builtin functions that still mean what they are.
    """

    names: tuple[str, ...]
    certain: frozenset[str]
    outside: frozenset[str]
    builtins: frozenset[str]


WIDTH = 5


def own_names(tree: ast.Module) -> OwnNames:
    """Give every renamable name of the program a name of its own, in place.

    The tree must not be `is_dynamic`.
    """
    reader = Reader()
    for statement in tree.body:
        reader.visit(statement)
    found = [(use, use.scope.resolve(use.name)) for use in reader.uses]
    uncertain = _uncertain(found) | reader.doubtful
    followed, kept = _follow_keywords(reader)
    frozen = reader.frozen | kept | _frozen_by_context(tree, reader, {name for _, name in uncertain})
    outside = frozen | {use.name for use, scope in found if scope is None}
    prefix = free_prefix(outside)
    new: dict[tuple[Scope, str], str] = {}
    for is_binding in (True, False):
        for use, scope in found:
            if use.is_binding is is_binding and scope is not None and use.name not in frozen:
                key = scope, use.name
                if key not in new:
                    new[key] = f"{prefix}{len(new):0{WIDTH}}"
                use.write(new[key])
    for keyword, argument in followed:
        keyword.arg = argument.arg
    bound = {use.name for use, scope in found if scope is not None and use.name in frozen}
    certain = frozenset(name for key, name in new.items() if key not in uncertain)
    builtins = frozenset() if reader.has_star else BUILTINS - bound if bound else BUILTINS
    return OwnNames(tuple(new.values()), certain, frozenset(outside), builtins)


def _uncertain(found: list[tuple[Use, Scope | None]]) -> set[tuple[Scope, str]]:
    """Names that may be read before they are bound: some use has no binding before it in a block around it."""
    first: dict[tuple[Scope, str], int] = {}
    uncertain: set[tuple[Scope, str]] = set()
    for use, scope in found:
        if scope is None:
            continue
        key = (scope, use.name)
        if use.is_binding:
            first.setdefault(key, use.block[-1])
        elif first.get(key) not in use.block:
            uncertain.add(key)
    return uncertain


def free_prefix(taken: Iterable[str]) -> str:
    """A beginning for numbered names that none of `taken` looks like."""
    names, prefix = list(taken), "v"
    while any(name.startswith(prefix) and name[len(prefix) :].isdigit() for name in names):
        prefix += "_"
    return prefix


def _frozen_by_context(tree: ast.Module, reader: Reader, uncertain: set[str]) -> set[str]:
    """Names that may be seen: by a runner, in the messages of errors, or in the reach of a star import."""
    frozen = {name for name in uncertain if name in BUILTINS or reader.has_star}
    if not any(_prints(statement) for statement in tree.body):
        frozen.add(OBSERVED)
    if reader.has_wide_handler:
        frozen |= uncertain | set(reader.functions) | reader.parameters
    uncalled = ENTRY_POINTS & reader.functions.keys()
    return frozen | {name for name in uncalled if not any(u.name == name and not u.is_binding for u in reader.uses)}


def _prints(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return (
        isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print" and bool(call.args)
    )


def _follow_keywords(reader: Reader) -> tuple[list[tuple[ast.keyword, ast.arg]], set[str]]:
    """Keywords whose parameter is certain, and names that a call which cannot be followed may give to a parameter."""
    followed: list[tuple[ast.keyword, ast.arg]] = []
    kept: set[str] = set()
    for call in reader.calls:
        callee = _callee(call, reader)
        arguments = {} if callee is None else {a.arg: a for a in (*callee.args.args, *callee.args.kwonlyargs)}
        for keyword in call.keywords:
            if keyword.arg in arguments:
                followed.append((keyword, arguments[keyword.arg]))
            elif keyword.arg is None:
                kept |= reader.parameters
            else:
                kept.add(keyword.arg)
    return followed, kept


def _callee(call: ast.Call, reader: Reader) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The one function of the program that a call must mean; None where that is not certain."""
    if not isinstance(call.func, ast.Name) or any(keyword.arg is None for keyword in call.keywords):
        return None
    name = call.func.id
    made = reader.functions.get(name, [])
    num_bindings = sum(use.is_binding and use.name == name for use in reader.uses)
    if len(made) != 1 or num_bindings != 1 or made[0].decorator_list or made[0].args.kwarg is not None:
        return None
    return made[0]


def number_names(nodes: Iterable[ast.AST], own: OwnNames) -> None:
    """Number the own names that are left from 0, in the order of their bindings."""
    places: list[tuple[ast.AST, str | int, str]] = []
    names = set(own.names)
    for node in nodes:
        fields = _FIELDS_OF_NAMES.get(type(node), ())
        for field in fields:
            value = getattr(node, field)
            for where, name in enumerate(value) if type(value) is list else [(field, value)]:
                if name in names:
                    places.append((node, where, name))
    prefix = own.names[0][:-WIDTH] if own.names else ""
    new = {name: f"{prefix}{index}" for index, name in enumerate(sorted({name for _, _, name in places}))}
    for node, where, name in places:
        if isinstance(where, int):
            node.names[where] = new[name]  # type: ignore[attr-defined]
        else:
            setattr(node, where, new[name])


_FIELDS_OF_NAMES: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Name: ("id",), ast.arg: ("arg",), ast.keyword: ("arg",), ast.FunctionDef: ("name",),
    ast.AsyncFunctionDef: ("name",), ast.ExceptHandler: ("name",), ast.alias: ("asname",), ast.Global: ("names",),
    ast.Nonlocal: ("names",),
}  # fmt: skip
