"""Expressions of a Python program in one form: literals worked out, operands in one order, annotations dropped.

Each rewriting keeps what the program does; where a number is not certain (`program_numbers`), nothing is changed.
Variables must have names of their own (`program_scopes.own_names`).
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any, Literal

from tutelage.selection.program_numbers import FLOAT, INT, REAL, WHOLE, Numbers, number_of
from tutelage.selection.program_text import text_of
from tutelage.selection.program_tree import child_fields, walk

Fold = Literal["all", "inside"]
_MAX_BITS, _MAX_TEXT, _MAX_EXPONENT = 256, 4096, 64
_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_NEUTRAL: dict[type[ast.operator], int] = {ast.Add: 0, ast.Sub: 0, ast.Mult: 1, ast.Div: 1, ast.Pow: 1}
_COMMUTATIVE = frozenset((ast.Add, ast.Mult))
_PLAIN = INT | FLOAT
UNCHANGED = frozenset((ast.Constant, ast.Name, type(None), str, int))
"""What no rewriting changes: nodes that hold no others, and what stands in fields and is no node."""
_TYPES = frozenset(("int", "float", "str", "bool", "complex", "bytes", "list", "dict", "tuple", "set", "frozenset"))
_GENERIC = frozenset(("list", "dict", "tuple", "set", "frozenset"))


def literal(value: int | float | str) -> ast.expr:
    """The expression that writes a value; a minus sign is an operation, as the parser has it."""
    if not isinstance(value, str) and str(value)[0] == "-":
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def fold_operation(node: ast.BinOp) -> ast.expr | None:
    """The literal that an operation on two literals makes; None where it is none, may fail, or is large."""
    if type(node.left) is ast.Constant and type(node.left.value) is str:
        return _fold_text(node.left.value, node)
    left = number_of(node.left)
    right = None if left is None else number_of(node.right)
    function = _OPERATIONS.get(type(node.op))
    if left is None or right is None or function is None or not _is_small(left, right):
        return None
    if type(node.op) is ast.Pow and (abs(right) > _MAX_EXPONENT or (left <= 0 and right != int(right))):
        return None
    try:
        value = function(left, right)
    except (ArithmeticError, ValueError):
        return None
    return literal(value) if isinstance(value, int | float) and _is_small(value) else None


def _is_small(*values: int | float) -> bool:
    return all(value.bit_length() <= _MAX_BITS if isinstance(value, int) else math.isfinite(value) for value in values)


def _fold_text(left: str, node: ast.BinOp) -> ast.expr | None:
    right = node.right.value if isinstance(node.right, ast.Constant) else None
    if isinstance(node.op, ast.Add) and isinstance(right, str) and len(left) + len(right) <= _MAX_TEXT:
        return literal(left + right)
    if isinstance(node.op, ast.Mult) and type(right) is int and 0 <= right * len(left) <= _MAX_TEXT:
        return literal(left * right)
    return None


def folded(node: ast.expr) -> ast.expr:
    """The expression with everything worked out that is made of literals only."""
    if type(node) is not ast.BinOp:
        return node
    left, right = folded(node.left), folded(node.right)
    if left is not node.left or right is not node.right:
        node = ast.BinOp(left, node.op, right)
    return fold_operation(node) or node


def is_closed(node: ast.expr) -> bool:
    """Whether an expression is made of literals only."""
    kind = type(node)
    if kind is ast.Constant or kind is ast.Name:
        return kind is ast.Constant
    if kind is ast.BinOp:
        return is_closed(node.left) and is_closed(node.right)  # type: ignore[attr-defined]
    return number_of(node) is not None


class Rewriter:
    """Writes one operation in one way, bottom-up and in place.

    Args:
        numbers: what is certain about numbers.
        fold: `all` works out whatever is made of literals; `inside` only where it is part of something that is not.
    """

    def __init__(self, numbers: Numbers, fold: Fold) -> None:
        self.numbers, self.fold = numbers, fold

    def visit(self, node: ast.AST) -> ast.AST:
        """The node in its one form."""
        kind = type(node)
        if kind in UNCHANGED:
            return node
        if isinstance(node, ast.BinOp):
            node.left, node.right = self.visit(node.left), self.visit(node.right)  # type: ignore[assignment]
            return self.operation(node)
        if isinstance(node, ast.ClassDef):
            self._class(node)
            return node
        for name in child_fields(kind):
            value: Any = getattr(node, name, None)
            if type(value) is list:
                for index, part in enumerate(value):
                    if type(part) not in UNCHANGED:
                        value[index] = self.visit(part)
            elif type(value) not in UNCHANGED and (new := self.visit(value)) is not value:
                setattr(node, name, new)
        method = _METHODS.get(kind)
        return node if method is None else method(self, node)

    def expression(self, node: ast.expr) -> ast.expr:
        """An expression in its one form."""
        found = self.visit(node)
        assert isinstance(found, ast.expr)
        return found

    def _class(self, node: ast.ClassDef) -> None:
        """Annotations of a class are read by what decorates it, so they stay."""
        for statement in node.body:
            if not isinstance(statement, ast.AnnAssign):
                self.visit(statement)

    def operation(self, node: ast.BinOp) -> ast.expr:
        """Literals worked out, neutral operands dropped, operands in order."""
        can_be_closed = is_closed(node)
        if self.fold == "all":
            if can_be_closed and (done := fold_operation(node)) is not None:
                return done
        elif not can_be_closed:
            node.left, node.right = folded(node.left), folded(node.right)
        left = node if can_be_closed else self._without_neutral(node)
        if left is not node or type(node.op) not in _COMMUTATIVE:
            return left
        chain = self._whole_chain(node)
        if chain is not None:
            return self._rebuilt(node.op, chain)
        if order_key(node.left) > order_key(node.right) and self.numbers.may_swap(node.left, node.right):
            node.left, node.right = node.right, node.left
        return node

    def _without_neutral(self, node: ast.BinOp) -> ast.expr:
        """`x * 1` and the like without the 1; a zero is no neutral operand for a float, whose -0.0 it would turn."""
        operation = type(node.op)
        neutral = _NEUTRAL.get(operation)
        if neutral is None:
            return node
        for kept, other in ((node.left, node.right), (node.right, node.left)):
            number = number_of(other)
            if type(number) is int and number == neutral:
                kinds = self.numbers.kind(kept)
                allowed = FLOAT if operation is ast.Div else INT if neutral == 0 else _PLAIN
                if kinds and kinds <= allowed:
                    return kept
            if operation not in _COMMUTATIVE:
                break
        return node

    def _whole_chain(self, node: ast.BinOp) -> list[ast.expr] | None:
        """The operands of `a + b + c`, however bracketed, if all are whole numbers and none can fail."""
        parts: list[ast.expr] = []
        todo: list[ast.expr] = [node.right, node.left]
        operation = type(node.op)
        while todo:
            part = todo.pop()
            if type(part) is ast.BinOp and type(part.op) is operation:
                todo += (part.right, part.left)
            else:
                parts.append(part)
        numbers = self.numbers
        for part in parts:
            kinds = numbers.kind(part)
            if kinds == INT and type(part) is ast.Constant:
                continue
            if not kinds or not kinds <= WHOLE or numbers.faults(part) or not numbers.is_still(part):
                return None
        return parts

    def _rebuilt(self, operation: ast.operator, parts: list[ast.expr]) -> ast.expr:
        """A chain with its literals joined and its operands in order."""
        if len(parts) == 2:
            first, second = sorted(parts, key=order_key)
            return ast.BinOp(first, operation, second)
        fixed = [part for part in parts if number_of(part) is not None]
        if len(fixed) > 1 and not all(is_closed(part) for part in parts):
            product = fixed[0]
            for part in fixed[1:]:
                product = folded(ast.BinOp(product, operation, part))
            is_neutral = number_of(product) == _NEUTRAL[type(operation)] and len(parts) - len(fixed) > 1
            parts = [part for part in parts if number_of(part) is None] + ([] if is_neutral else [product])
        parts = sorted(parts, key=order_key)
        whole = parts[0]
        for part in parts[1:]:
            whole = ast.BinOp(whole, operation, part)
        return whole

    def sign(self, node: ast.UnaryOp) -> ast.AST:
        """`+x` as `x`, `-(-x)` as `x`."""
        inner = node.operand
        kinds = self.numbers.kind(inner)
        if not kinds or not kinds <= _PLAIN:
            return node
        if isinstance(node.op, ast.UAdd):
            return inner
        if isinstance(node.op, ast.USub) and isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.USub):
            return inner.operand
        return node

    def comparison(self, node: ast.Compare) -> ast.AST:
        """`a > b` as `b < a`; the sides of `==` and `!=` in order."""
        if len(node.ops) != 1 or not self.numbers.may_swap(node.left, node.comparators[0]):
            return node
        left, right, sign = node.left, node.comparators[0], type(node.ops[0])
        kinds = self.numbers.kind(left), self.numbers.kind(right)
        if sign in _FLIPPED and all(kind is not None and kind <= REAL for kind in kinds):
            return ast.Compare(right, [_FLIPPED[sign]()], [left])
        if sign in (ast.Eq, ast.NotEq) and order_key(left) > order_key(right):
            return ast.Compare(right, node.ops, [left])
        return node

    def call(self, node: ast.Call) -> ast.AST:
        """`pow(x, y)` as `x ** y`, which is what it does."""
        is_pow = isinstance(node.func, ast.Name) and node.func.id == "pow" and self.numbers.is_builtin("pow")
        is_plain = len(node.args) == 2 and not node.keywords
        if is_pow and is_plain and not any(isinstance(part, ast.Starred) for part in node.args):
            return self.operation(ast.BinOp(node.args[0], ast.Pow(), node.args[1]))
        return node

    def augmented(self, node: ast.AugAssign) -> ast.AST:
        """`x += 1` as `x = x + 1` where x is a number, which nothing changes in place."""
        if not isinstance(node.target, ast.Name) or not self.numbers.kinds.get(node.target.id):
            return node
        value = self.operation(ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value))
        return ast.Assign([node.target], value, lineno=0)

    def annotated(self, node: ast.AnnAssign) -> ast.AST:
        """`x: int = 1` as `x = 1`."""
        if node.value is None or not isinstance(node.target, ast.Name) or not self._is_plain_type(node.annotation):
            return node
        return ast.Assign([node.target], node.value, lineno=0)

    def function(self, node: ast.FunctionDef) -> ast.AST:
        """A function without its annotations, unless a decorator may read them."""
        if node.decorator_list:
            return node
        if node.returns is not None and self._is_plain_type(node.returns):
            node.returns = None
        for argument in walk(node.args):
            annotation = argument.annotation if isinstance(argument, ast.arg) else None
            if annotation is not None and self._is_plain_type(annotation):
                argument.annotation = None  # type: ignore[attr-defined]
        return node

    def _is_plain_type(self, node: ast.expr) -> bool:
        """Whether an annotation is a built-in type or one of `typing`, so that evaluating it does nothing."""
        if isinstance(node, ast.Constant):
            return node.value is None or node.value is ... or isinstance(node.value, str)
        if isinstance(node, ast.Name):
            return node.id in self.numbers.typing or (node.id in _TYPES and self.numbers.is_builtin(node.id))
        if isinstance(node, ast.Tuple | ast.List):
            return all(self._is_plain_type(part) for part in node.elts)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            name = node.value.id
            is_generic = name in self.numbers.typing or (name in _GENERIC and self.numbers.is_builtin(name))
            return is_generic and self._is_plain_type(node.slice)
        return False


_METHODS: dict[type[ast.AST], Callable[[Rewriter, Any], ast.AST]] = {
    ast.UnaryOp: Rewriter.sign, ast.Compare: Rewriter.comparison, ast.Call: Rewriter.call,
    ast.AugAssign: Rewriter.augmented, ast.AnnAssign: Rewriter.annotated, ast.FunctionDef: Rewriter.function,
}  # fmt: skip


def order_key(node: ast.expr) -> tuple[bool, str]:
    """By what operands are ordered: literals last, else by how they are written."""
    kind = type(node)
    if kind is ast.Name:
        return (False, node.id)  # type: ignore[attr-defined]
    return (kind is ast.Constant or is_closed(node), text_of(node))
