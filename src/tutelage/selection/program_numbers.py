"""What is certain about numbers in a Python program: which expressions are numeric, which of them can fail.

What it is: a sound, flow-insensitive inference over a tree whose variables have names of their own
(`program_scopes.own_names`). A name has the types of everything that is ever bound to it; what is not certain is
unknown, and unknown is never reordered: `a + b` may join strings.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

from tutelage.selection.program_names import OwnNames
from tutelage.selection.program_tree import children

Kinds = frozenset[str] | None
"""Types that an expression may have, of bool, int, float and complex; None is unknown, empty is never bound."""

NONE: frozenset[str] = frozenset()
INT, FLOAT, BOOL, COMPLEX = (frozenset((name,)) for name in ("int", "float", "bool", "complex"))
REAL = INT | FLOAT | BOOL
WHOLE = INT | BOOL
_MATH_INT = frozenset(("floor", "ceil", "factorial", "gcd", "lcm", "comb", "perm", "isqrt", "trunc"))
_MATH_FLOAT = frozenset(
    (
        "sqrt", "pow", "log", "log2", "log10", "log1p", "exp", "expm1", "sin", "cos", "tan", "asin", "acos", "atan",
        "atan2", "hypot", "radians", "degrees", "fabs", "fmod", "dist", "cbrt", "sinh", "cosh", "tanh",
    )
)  # fmt: skip
_MATH_CONSTANTS = frozenset(("pi", "e", "tau", "inf", "nan"))
OVERFLOW, ANY = "overflow", "any"
_NO_FAULT, _ANY_FAULT, _OVERFLOW_FAULT = NONE, frozenset((ANY,)), frozenset((OVERFLOW,))
_LITERALS = {bool: BOOL, int: INT, float: FLOAT, complex: COMPLEX}
_RING = frozenset((ast.Add, ast.Sub, ast.Mult))
_DIVISIONS = frozenset((ast.Div, ast.FloorDiv, ast.Mod))
_PURE = frozenset((ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp))
"""Expressions that do nothing but what their parts do."""
MAX_BITS = 900
"""Whole numbers of fewer bits can be made floats."""
_NOTED = frozenset(
    (
        ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.AugAssign, ast.For, ast.AsyncFor, ast.comprehension, ast.Import,
        ast.ImportFrom, ast.withitem, ast.FunctionDef, ast.AsyncFunctionDef, ast.ExceptHandler, ast.arg, ast.Delete,
    )
)  # fmt: skip


def number_of(node: ast.AST | None) -> int | float | None:
    """The number that a literal, with or without a minus sign, stands for; None for anything else, bools included."""
    kind = type(node)
    if kind is ast.Constant:
        value = node.value  # type: ignore[union-attr]
        return value if type(value) is int or type(value) is float else None
    if kind is ast.UnaryOp and type(node.op) is ast.USub:  # type: ignore[union-attr]
        inner = number_of(node.operand)  # type: ignore[union-attr]
        return None if inner is None else -inner
    return None


class Numbers:
    """Types and faults of a tree's expressions.

    Args:
        nodes: all of a tree whose variables have names of their own.
        own: these names.
    """

    def __init__(self, nodes: Iterable[ast.AST], own: OwnNames) -> None:
        self.certain, self._builtins = own.certain, own.builtins
        self.math: set[str] = set()
        self.typing: set[str] = set()
        self._sources: dict[str, list[Any]] = {name: [] for name in own.names}
        for node in nodes:
            if type(node) in _NOTED:
                self._note(node)
        self.math = {name for name, sources in self._sources.items() if sources == ["math"]} & own.certain
        self.typing = {name for name, sources in self._sources.items() if sources == ["typing"]} & own.certain
        self.kinds: dict[str, Kinds] = dict.fromkeys(own.names, NONE)
        self._settle()

    def is_builtin(self, name: str) -> bool:
        """Whether a name means the builtin of that name."""
        return name in self._builtins

    def _note(self, node: ast.AST) -> None:
        """Keep what a node binds to which name: an expression, a type, or None for something unknown."""
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._bound(target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            if node.value is not None:
                self._bound(node.target, node.value)
        elif isinstance(node, ast.AugAssign):
            if isinstance(node.target, ast.Name):
                left = ast.Name(node.target.id, ast.Load())
                self._bound(node.target, ast.BinOp(left, node.op, node.value))
        elif isinstance(node, ast.For | ast.comprehension):
            self._bound(node.target, INT if self._is_range(node.iter) else None)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                self._add(alias.asname or alias.name, _imported(node, alias))
        else:
            self._note_unknown(node)

    def _note_unknown(self, node: ast.AST) -> None:
        """Keep that a node binds a name to something of which nothing is known."""
        if isinstance(node, ast.withitem) and node.optional_vars is not None:
            self._bound(node.optional_vars, None)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ExceptHandler):
            self._add(node.name, None)
        elif isinstance(node, ast.arg):
            self._add(node.arg, None)
        elif isinstance(node, ast.Delete | ast.AsyncFor):
            for target in node.targets if isinstance(node, ast.Delete) else [node.target]:
                self._bound(target, None)

    def _bound(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self._add(target.id, value)
        elif isinstance(target, ast.Starred):
            self._bound(target.value, None)
        elif isinstance(target, ast.Tuple | ast.List):
            parts: list[Any] = [None] * len(target.elts)
            is_pair = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
            if is_pair and not any(isinstance(part, ast.Starred) for part in (*value.elts, *target.elts)):
                parts = value.elts
            for inner, part in zip(target.elts, parts, strict=True):
                self._bound(inner, part)

    def _add(self, name: str | None, source: Any) -> None:
        if name in self._sources:
            self._sources[name].append(source)

    def _is_range(self, node: ast.expr) -> bool:
        function = node.func if isinstance(node, ast.Call) else None
        return isinstance(function, ast.Name) and function.id == "range" and self.is_builtin("range")

    def _settle(self) -> None:
        """Raise the types of names until nothing changes: bound to nothing at first, unknown at most."""
        todo, waiting = list(self._sources.items()), True
        while waiting:
            waiting = False
            for name, sources in todo:
                before = found = self.kinds[name]
                for source in sources:
                    found = join(found, self.kind(source) if isinstance(source, ast.AST) else self._plain(source))
                if found != before:
                    self.kinds[name], waiting = found, True
            todo = [one for one in todo if not _is_settled(*one, self.kinds)]

    @staticmethod
    def _plain(source: Any) -> Kinds:
        return source if isinstance(source, frozenset) else None

    def kind(self, node: ast.AST) -> Kinds:
        """The types that an expression may have."""
        which = type(node)
        if which is ast.Name:
            return self.kinds.get(node.id)  # type: ignore[attr-defined]
        if which is ast.Constant:
            return _LITERALS.get(type(node.value))  # type: ignore[attr-defined]
        method = _KINDS.get(which)
        return None if method is None else method(self, node)

    def _kind_of_operation(self, node: ast.BinOp) -> Kinds:
        left, right = self.kind(node.left), self.kind(node.right)
        if left is None or right is None:
            return None
        operation = type(node.op)
        exponent = number_of(node.right) if operation is ast.Pow else 0
        return _results(left, operation, right, not (type(exponent) is int and exponent >= 0))

    def _kind_of_sign(self, node: ast.UnaryOp) -> Kinds:
        inner = self.kind(node.operand)
        if isinstance(node.op, ast.Not):
            return BOOL
        return None if inner is None else frozenset("int" if kind == "bool" else kind for kind in inner)

    def _kind_of_comparison(self, node: ast.Compare) -> Kinds:
        parts = [self.kind(part) for part in (node.left, *node.comparators)]
        return None if any(part is None for part in parts) else BOOL

    def _kind_of_choice(self, node: ast.BoolOp) -> Kinds:
        found: Kinds = NONE
        for part in node.values:
            found = join(found, self.kind(part))
        return found

    def _kind_of_condition(self, node: ast.IfExp) -> Kinds:
        return join(self.kind(node.body), self.kind(node.orelse))

    def _kind_of_walrus(self, node: ast.NamedExpr) -> Kinds:
        return self.kind(node.value)

    def _kind_of_attribute(self, node: ast.Attribute) -> Kinds:
        return FLOAT if self._is_math(node) and node.attr in _MATH_CONSTANTS else None

    def _is_math(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.math

    def _kind_of_call(self, node: ast.Call) -> Kinds:
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            return None
        kinds = [self.kind(argument) for argument in node.args]
        if isinstance(node.func, ast.Attribute) and self._is_math(node.func):
            if any(kind is None for kind in kinds):
                return None
            return INT if node.func.attr in _MATH_INT else FLOAT if node.func.attr in _MATH_FLOAT else None
        if not isinstance(node.func, ast.Name) or not self.is_builtin(node.func.id):
            return None
        return _called(node.func.id, kinds)

    def faults(self, node: ast.AST) -> frozenset[str]:
        """What evaluating a numeric expression may do besides giving a number: overflow, or any.

        Memory is taken to suffice.
        """
        kind = type(node)
        if kind is ast.Constant:
            return _NO_FAULT
        if isinstance(node, ast.Name):
            return _NO_FAULT if node.id in self.certain else _ANY_FAULT
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Invert):
            return self.faults(node.operand)
        if isinstance(node, ast.BinOp):
            return self.faults(node.left) | self.faults(node.right) | self._operation_faults(node)
        if isinstance(node, ast.Compare) and all(self._is_real(part) for part in (node.left, *node.comparators)):
            return frozenset().union(*(self.faults(part) for part in (node.left, *node.comparators)))
        if isinstance(node, ast.Attribute) and self._kind_of_attribute(node) is not None:
            return _NO_FAULT
        if isinstance(node, ast.Call) and self.kind(node) is not None and _is_abs(node):
            return self.faults(node.args[0])
        return _ANY_FAULT

    def _is_real(self, node: ast.AST) -> bool:
        kind = self.kind(node)
        return kind is not None and kind <= REAL

    def _operation_faults(self, node: ast.BinOp) -> frozenset[str]:
        left, right = self.kind(node.left), self.kind(node.right)
        if left is None or right is None:
            return _ANY_FAULT
        both, operation = left | right, type(node.op)
        if operation in _RING:
            is_mixed = not both <= WHOLE and bool(both & WHOLE)
            is_safe = not is_mixed or (self._is_moderate(node.left) and self._is_moderate(node.right))
            return _NO_FAULT if is_safe else _OVERFLOW_FAULT
        if operation in _DIVISIONS and "complex" not in both:
            if not number_of(node.right):
                return _ANY_FAULT
            is_safe = both == FLOAT or (operation is not ast.Div and both <= WHOLE)
            is_safe = is_safe or (self._is_moderate(node.left) and self._is_moderate(node.right))
            return _NO_FAULT if is_safe else _OVERFLOW_FAULT
        return _ANY_FAULT

    def _is_moderate(self, node: ast.AST) -> bool:
        """Whether a value is a float, or a whole number that surely fits into one."""
        return self.kind(node) == FLOAT or self.bits(node) <= MAX_BITS

    def bits(self, node: ast.AST, depth: int = 0) -> int:
        """An upper bound of a whole number's bits; more than `MAX_BITS` where none is known."""
        if depth > 20:
            return MAX_BITS + 1
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value.bit_length()
        if isinstance(node, ast.Name):
            sources = self._sources.get(node.id, [])
            is_one = len(sources) == 1 and isinstance(sources[0], ast.expr)
            return self.bits(sources[0], depth + 1) if is_one else MAX_BITS + 1
        if isinstance(node, ast.UnaryOp):
            return self.bits(node.operand, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            left, right = self.bits(node.left, depth + 1), self.bits(node.right, depth + 1)
            return left + right if isinstance(node.op, ast.Mult) else max(left, right) + 1
        return MAX_BITS + 1

    def is_still(self, node: ast.AST) -> bool:
        """Whether evaluating an expression changes nothing: numbers, names and known functions only."""
        kind = type(node)
        if kind is ast.Constant or kind is ast.Name:
            return True
        if kind in _PURE:
            return self.kind(node) is not None and all(map(self.is_still, children(node)))
        if isinstance(node, ast.Attribute):
            return self._is_math(node)
        if isinstance(node, ast.Call) and self.kind(node) is not None:
            return all(self.kind(part) is not None and self.is_still(part) for part in node.args)
        return False

    def may_swap(self, left: ast.expr, right: ast.expr) -> bool:
        """Whether two operands of a commutative operation may change places without a change of what happens."""
        kinds = self.kind(left), self.kind(right)
        if kinds[0] is None or kinds[1] is None or not (self.is_still(left) and self.is_still(right)):
            return False
        first, second = self.faults(left), self.faults(right)
        return not first or not second or (first | second) <= _OVERFLOW_FAULT


def _imported(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str | None:
    """What an import is known as: the module `math` itself, or something of `typing`."""
    if isinstance(node, ast.ImportFrom):
        return "typing" if node.module == "typing" else None
    return "math" if alias.name == "math" else None


def join(first: Kinds, second: Kinds) -> Kinds:
    """Types of a value that is one or the other."""
    return None if first is None or second is None else first | second


def _is_settled(name: str, sources: list[Any], kinds: dict[str, Kinds]) -> bool:
    """Whether what a name may hold cannot become more: unknown, or literals and given types only."""
    return kinds[name] is None or all(type(one) is ast.Constant or not isinstance(one, ast.AST) for one in sources)


def _results(left: frozenset[str], operation: Any, right: frozenset[str], is_root: bool) -> frozenset[str]:
    """Types of an operation's result for any of the types of its sides."""
    key = left, operation, right, is_root
    if key not in _RESULTS:
        _RESULTS[key] = NONE.union(*(_combined(a, operation, b, is_root=is_root) for a in left for b in right))
    return _RESULTS[key]


_RESULTS: dict[Any, frozenset[str]] = {}
"""A table that fills itself: 16 sets of types a side, 13 operations."""


def _combined(left: str, operation: type[ast.operator], right: str, *, is_root: bool) -> frozenset[str]:
    """Types of an operation's result; `is_root`: the exponent of a power may be negative or broken."""
    if operation is ast.Pow:
        if left in WHOLE and right in WHOLE:
            return INT | FLOAT if is_root else INT
        return FLOAT if not is_root and "complex" not in (left, right) else FLOAT | COMPLEX
    if operation in (ast.BitAnd, ast.BitOr, ast.BitXor) and left == right == "bool":
        return BOOL
    if "complex" in (left, right):
        return COMPLEX
    if operation is ast.Div or "float" in (left, right):
        return FLOAT
    return INT


def _is_abs(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "abs" and len(node.args) == 1


def _called(name: str, kinds: list[Kinds]) -> Kinds:
    """Types of what a builtin function returns for arguments of these types."""
    if name in ("int", "len", "ord") and len(kinds) == 1:
        return INT
    if name == "float" and len(kinds) == 1:
        return FLOAT
    if name == "bool" and len(kinds) <= 1:
        return BOOL
    if not kinds or any(kind is None for kind in kinds):
        return None
    first = kinds[0]
    assert first is not None
    if name == "abs" and len(kinds) == 1:
        return frozenset("int" if k == "bool" else "float" if k == "complex" else k for k in first)
    if name == "round" and first <= REAL:
        return INT if len(kinds) == 1 else frozenset("int" if k == "bool" else k for k in first)
    if name in ("max", "min") and len(kinds) >= 2:
        return frozenset().union(*(kind for kind in kinds if kind is not None))
    return None


_KINDS: dict[type[ast.AST], Callable[[Numbers, Any], Kinds]] = {
    ast.Call: Numbers._kind_of_call, ast.BinOp: Numbers._kind_of_operation, ast.UnaryOp: Numbers._kind_of_sign,
    ast.BoolOp: Numbers._kind_of_choice, ast.Compare: Numbers._kind_of_comparison,
    ast.IfExp: Numbers._kind_of_condition,
    ast.NamedExpr: Numbers._kind_of_walrus, ast.Attribute: Numbers._kind_of_attribute,
}  # fmt: skip
