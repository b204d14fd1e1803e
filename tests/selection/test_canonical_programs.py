"""Canonical forms of programs: they keep what programs do, and are equal where only names and remarks differ."""

from __future__ import annotations

import ast
import importlib.util
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tutelage.selection.canonical_programs import MAX_SOURCE, canonical_program
from tutelage.selection.program_tree import fingerprint, walk


def _load(name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


generated = _load("generated_programs")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(generated.programs, st.sampled_from(("all", "inside")))
def test_the_form_of_a_program_does_what_the_program_does(source: str, fold) -> None:
    warnings.simplefilter("ignore")
    try:
        compile(source, "program", "exec")
    except SyntaxError:
        assume(False)
    form = canonical_program(source, fold=fold)
    assert form is not None
    assert generated.executed(form) == generated.executed(source), f"{source}\n---\n{form}"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(generated.programs, generated.programs)
def test_fingerprints_tell_trees_apart(first: str, second: str) -> None:
    warnings.simplefilter("ignore")
    try:
        trees = [ast.parse(first), ast.parse(second), ast.parse(first + "\npass")]
    except SyntaxError:
        assume(False)
    keys = [fingerprint(walk(tree)) for tree in trees]
    assert keys[0] == fingerprint(walk(ast.parse(first)))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        if keys[i] is not None and keys[j] is not None:
            assert (keys[i] == keys[j]) == (ast.dump(trees[i]) == ast.dump(trees[j]))


@pytest.mark.parametrize(
    "first, second",
    [
        ("if a:\n    b\n    c", "if a:\n    b\nelse:\n    c"),
        ("f(a, b=c)", "f(a, c)"),
        ("def f(a, b=1): pass", "def f(a=1, *, b): pass"),
        ("def f(*, a, b=1): pass", "def f(*, a=1, b): pass"),
        ("def f(a: b): pass", "def f(a) -> b: pass"),
        ("x = 1", "x = 1.0"),
        ("x = True", "x = 1"),
        ("a - b", "a + b"),
        ("a < b", "a <= b"),
        ("a = b = c", "a, b = c"),
    ],
)
def test_fingerprints_of_like_trees_differ(first: str, second: str) -> None:
    assert fingerprint(walk(ast.parse(first))) != fingerprint(walk(ast.parse(second)))


class _Renamed(ast.NodeTransformer):
    """Other names for what a program binds itself, classes and the observed variable left aside."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg = self.names.get(node.arg, node.arg)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.keyword:
        node.arg = self.names.get(node.arg or "", node.arg)
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Global(self, node: ast.Global) -> ast.Global:
        node.names = [self.names.get(name, name) for name in node.names]
        return node


SOUND = """
def f(x, y=2):
    total = x * y
    for i in range(3):
        total += i
    return total

def g(x):
    return [a for a in range(x)]

a = 3
b = f(a, y=4)
c = 'text' + str(b)
try:
    print(1 // (a - 3))
except ZeroDivisionError as error:
    print('caught', c, error)
print(b, g(a), f(x=1))
"""


@settings(max_examples=40, deadline=None)
@given(st.permutations(["alpha", "beta", "gamma", "delta", "eps", "zeta", "eta", "theta", "iota", "kappa"]))
def test_programs_that_differ_in_names_and_remarks_are_equal(new: list[str]) -> None:
    old = ["f", "g", "x", "y", "total", "i", "a", "b", "c", "error"]
    tree = _Renamed(dict(zip(old, new, strict=True))).visit(ast.parse(SOUND))
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            node.name = new[9]
    other = "# a remark\n" + ast.unparse(tree).replace("\n", "  # and one here\n")
    assert canonical_program(other) == canonical_program(SOUND)


@pytest.mark.parametrize(
    "first, second",
    [
        ("x = 3\nprint(x * 2)", "n = 3\nprint(2 * n)"),
        ("x = 3\ny = 4\nprint(x + y + 1)", "x = 3\ny = 4\nprint(1 + (y + x))"),
        ("x = 3\nif x > 2:\n    print(x)", "x = 3\nif 2 < x: print(x)"),
        ("x = 1\nx += 2\nprint(x)", "x = 1\nx = x + 2\nprint(x)"),
        ("x = 5\nprint(x * (60 * 24))", "x = 5\nprint(x * 1440)"),
        ("x = 5\nunused = x * 2\nprint(x)", "x = 5\nprint(x)"),
        ("def f(x):\n    'doc'\n    return x\n    print(1)\nprint(f(2))", "def g(y):\n    return y\nprint(g(2))"),
        ("if True:\n    print(2)\nelse:\n    print(3)", "print(2)"),
        ("import math\nimport random\nprint(math.sqrt(4))", "import math as m\nprint(m.sqrt(4))"),
        ("x: int = 4\nprint(x)", "x = 4\nprint(x)"),
        ("def f(n: int) -> int:\n    return n\nprint(f(1))", "def f(n):\n    return n\nprint(f(1))"),
        ("x = 2.5\nprint(x * 1)", "x = 2.5\nprint(x)"),
        ("x = 2\nprint(pow(x, 3))", "x = 2\nprint(x ** 3)"),
        ("x = 2\nprint(+x, -(-x))", "x = 2\nprint(x, x)"),
        ("for i in range(3):\n    print(i)", "for number in range(3):\n    print(number)  # each"),
        ("def f(a):\n    return a\nf = f(1)\nprint(f)", "def h(b):\n    return b\nh = h(1)\nprint(h)"),
        ("import math\nr = 2\nprint(math.pi * r ** 2)", "import math\nr = 2\nprint(r ** 2 * math.pi)"),
    ],
)
def test_the_same_idea_has_one_form(first: str, second: str) -> None:
    assert canonical_program(first) == canonical_program(second) is not None


@pytest.mark.parametrize(
    "first, second",
    [
        ("a = 'x'\nb = 'y'\nprint(a + b)", "a = 'x'\nb = 'y'\nprint(b + a)"),
        ("a = [1]\nb = [2]\nprint(a + b)", "a = [1]\nb = [2]\nprint(b + a)"),
        ("def f(a, b):\n    return a + b\nprint(f('x', 'y'))", "def f(a, b):\n    return b + a\nprint(f('x', 'y'))"),
        ("a = 5\nb = 3\nprint(a - b)", "a = 5\nb = 3\nprint(b - a)"),
        ("x = 5\nprint(x / 2)", "x = 5\nprint(x // 2)"),
        ("x = -0.0\nprint(x + 0)", "x = -0.0\nprint(x)"),
        ("x = True\nprint(x * 1)", "x = True\nprint(x)"),
        ("def f():\n    print(1)\n    return 1\ndef g():\n    print(2)\n    return 2\nprint(f() + g())",
         "def f():\n    print(1)\n    return 1\ndef g():\n    print(2)\n    return 2\nprint(g() + f())"),
        ("answer = 3", "answer = 4"),
        ("answer = 3", "result = 3"),
        ("a = 0.1\nb = 0.2\nc = 0.3\nprint((a + b) + c)", "a = 0.1\nb = 0.2\nc = 0.3\nprint(a + (b + c))"),
    ],
)  # fmt: skip
def test_what_may_differ_in_result_stays_apart(first: str, second: str) -> None:
    assert canonical_program(first) != canonical_program(second)


def test_folding_everything_or_only_inside() -> None:
    first, second = "print((16 - 3 - 4) * 2)", "print(9 * 2)"
    assert canonical_program(first) == canonical_program(second) == "print(18)"
    assert canonical_program(first, fold="inside") != canonical_program(second, fold="inside")
    assert (
        canonical_program("x = int(input())\nprint(x * (3 * 4))", fold="inside") == "v0 = int(input())\nprint(v0 * 12)"
    )


@pytest.mark.parametrize(
    "source, form",
    [
        ("x = 16\ny = x - 3\nprint(y * 2)", "print((16 - 3) * 2)"),
        ("def solution():\n    a = 16\n    b = a - 3\n    return b\nprint(solution())", "print(16 - 3)"),
        ("a, b = 20, 3\nc = a * b\nprint(c)", "print(20 * 3)"),
        ("x = 3\ny = x * 2\nprint(y + y)", "v0 = 2 * 3\nprint(v0 + v0)"),
        ("x = 3\nx = x + 1\nprint(x)", "v0 = 3\nv0 = v0 + 1\nprint(v0)"),
        ("x = 4 / 0\nprint('never')\nprint(x)", "v0 = 4 / 0\nprint('never')\nprint(v0)"),
        ("x = len('ab')\nprint(x)", "v0 = len('ab')\nprint(v0)"),
        ("for i in range(2):\n    y = i * 2\n    print(y)", "for v0 in range(2):\n    print(v0 * 2)"),
        (
            "y = 1\nfor i in range(2):\n    y = i * 2\nprint(y)",
            "v0 = 1\nfor v1 in range(2):\n    v0 = v1 * 2\nprint(v0)",
        ),
    ],
)
def test_names_of_intermediate_numbers_go_where_nothing_changes(source: str, form: str) -> None:
    assert canonical_program(source, fold="inside") == form


@pytest.mark.parametrize(
    "source", ["print(1 / 0)", "print(2 ** 100000)", "print('a' * 1000000000)", "print((-8) ** 0.5)"]
)
def test_operations_that_fail_or_grow_are_left(source: str) -> None:
    assert canonical_program(source) == ast.unparse(ast.parse(source))


@pytest.mark.parametrize(
    "text", ["x = 5 +", "He has 3 apples.", "print 'a'", "\0", "x = " + "(" * 500, "(" * 5000, "-" * 100_000 + "1"]
)
def test_what_is_not_python_has_no_form(text: str) -> None:
    assert canonical_program(text) is None


def test_long_or_deep_text_costs_little() -> None:
    assert canonical_program("x = 1\n" * MAX_SOURCE) is None
    canonical_program("x = " + "+".join(["1"] * 9000))
    canonical_program("x = " + "[" * 80 + "]" * 80)
    assert canonical_program("") == "pass"


@pytest.mark.parametrize(
    "source",
    [
        "total = 3\nprint(locals()['total'])",
        "total = 3\nprint(eval('total'))",
        "def f(x):\n    'doc'\n    return x\nprint(f.__name__, f.__doc__)",
        "import inspect\nx = 1\nprint(x)",
    ],
)
def test_a_program_that_looks_at_itself_only_loses_its_layout(source: str) -> None:
    assert canonical_program(source + "  # so") == ast.unparse(ast.parse(source))


def test_names_that_an_error_message_shows_are_kept() -> None:
    first = canonical_program("try:\n    print(total)\n    total = 1\nexcept Exception as e:\n    print(e)")
    second = canonical_program("try:\n    print(amount)\n    amount = 1\nexcept Exception as e:\n    print(e)")
    assert first != second
    wide = "n = 4\ntry:\n    print(n / 0)\nexcept Exception as e:\n    print(e)"
    assert canonical_program(wide) == canonical_program(wide.replace("n =", "k =").replace("n /", "k /"))


def test_keywords_follow_the_parameters_that_they_name() -> None:
    first = "def f(size, price=2):\n    return size * price\nprint(f(3, price=4))"
    assert canonical_program(first) == canonical_program(first.replace("price", "cost").replace("size", "n"))
    assert "end='!'" in (canonical_program("def f(end):\n    return end\nprint(f(1), end='!')") or "")


def test_a_star_import_keeps_names_that_it_may_bind() -> None:
    form = canonical_program("from sympy import *\nprint(pi)\npi = 3\nx = symbols('x')\nprint(x)")
    assert form == "from sympy import *\nprint(pi)\npi = 3\nv0 = symbols('x')\nprint(v0)"
