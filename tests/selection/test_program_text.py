"""The text of a tree is what `ast.unparse` writes, letter by letter."""

from __future__ import annotations

import ast
import importlib.util
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from tutelage.selection.program_text import text_of

_SPEC = importlib.util.spec_from_file_location("generated", Path(__file__).with_name("generated_programs.py"))
assert _SPEC is not None and _SPEC.loader is not None
generated = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(generated)


def _check(source: str) -> None:
    tree = ast.parse(source)
    assert text_of(tree) == ast.unparse(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and not isinstance(node, ast.FormattedValue):
            assert text_of(node) == ast.unparse(node)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(generated.programs)
def test_of_any_program(source: str) -> None:
    warnings.simplefilter("ignore")
    try:
        ast.parse(source)
    except SyntaxError:
        assume(False)
    _check(source)


@pytest.mark.parametrize(
    "source",
    [
        "a - (b - c) - d", "a ** b ** c", "(a ** b) ** -c", "-a ** -b", "(-a) ** b", "not a == b", "(not a) == b",
        "a < b < c", "(a < b) < c", "(a if b else c) if d else e", "a if b else c if d else e", "f(a if b else c)",
        "(a or b) and (c or d)", "a or b or c", "(a or b) or c", "a and (b and c)", "not (a and b)", "-(a + b)",
        "~a | b", "a << b + c", "a @ b", "1e999", "-1e999", "1j", "3 .real", "True .real", "'a' 'b'", "u'x'", "b'x'",
        "...",
        "f'{a!r:>{b}}' + 'c'", "f(*a, b=c, **d)", "a[1, 2]", "a[1:2]", "a[(1,)]", "(a, b)", "[a, *b]", "(yield)",
        "lambda a: a", "(lambda: a)()", "{a: b}", "{a for a in b}", "sum(a for a in b)", "(a := b)",
        "await_", "a.b.c[d](e)",
        "a = b = c", "a, b = c", "a[0] = b", "a += b", "a: int = b", "'doc'", "x\n'no doc'", "del a, b",
        "for a, b in c:\n    pass\nelse:\n    break_", "while a:\n    break\nelse:\n    b",
        "if a:\n    b\nelif c:\n    d\nelse:\n    e", "if a:\n    b\nelse:\n    if c:\n        d\n    e",
        "def f():\n    'doc'\n    return", "def f(a, /, b=1, *c, d: int = 2, **e) -> int:\n    return a",
        "@a\ndef f(x, y):\n    return x, y", "a\ndef f(x):\n    def g():\n        pass\n    return g\nb",
        "class A(B):\n    a = 1", "try:\n    a\nexcept B as c:\n    d\nfinally:\n    e", "with a as b:\n    c",
        "import a.b as c, d\nfrom . import e\nglobal f", "assert a, b\nraise a from b",
        "async def f():\n    await a", "",
    ],
)  # fmt: skip
def test_of_rare_and_bracketed_nodes(source: str) -> None:
    _check(source)


def test_of_this_package() -> None:
    for path in Path(sys.modules[text_of.__module__].__file__ or "").parent.glob("program_*.py"):
        _check(path.read_text(encoding="utf-8"))
