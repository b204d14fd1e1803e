"""Strategies for small Python programs that always end, and their result; what `test_canonical_programs` runs.

The programs use numbers, texts, lists, loops, functions, exceptions and prints, may read names that have no value yet,
shadow builtins, and hold dead code. Every one runs in a few microseconds and touches nothing outside itself.
"""

from __future__ import annotations

import contextlib
import io

from hypothesis import strategies as st

NAMES = ("a", "b", "c", "total", "answer", "v0", "max", "text")
FUNCTIONS = ("f", "g")
CAUGHT = ("Exception", "ValueError", "ZeroDivisionError", "TypeError", "NameError")


def executed(source: str) -> tuple[str, str, str]:
    """What a program prints, the type of the exception that ends it, and its variable `answer` if it prints nothing."""
    out = io.StringIO()
    space: dict[str, object] = {"__name__": "__main__"}
    error = ""
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(source, "program", "exec"), space)
        except Exception as caught:
            error = type(caught).__name__
    printed = out.getvalue()
    return printed, error, "" if printed or error else repr(space.get("answer"))


def _indented(body: list[str]) -> str:
    return "\n".join("    " + line for part in body for line in part.splitlines())


names = st.sampled_from(NAMES)
literals = st.one_of(
    st.integers(-3, 12).map(str), st.sampled_from(("0.5", "2.0", "-1.5", "1e3", "True", "0", "1", "'x'", "'ab'", "''")),
    st.sampled_from(("[1, 2]", "[]", "[3, 'q']")),
)  # fmt: skip


def _extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(
            inner, st.sampled_from(("+", "*", "-", "+", "*", "/", "//", "%", "<", ">", "==", "!=", ">=")), inner
        ).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda e: f"(-{e})"),
        inner.map(lambda e: f"(+{e})"),
        inner.map(lambda e: f"str({e})"),
        inner.map(lambda e: f"int({e})"),
        inner.map(lambda e: f"abs({e})"),
        inner.map(lambda e: f"len({e})"),
        pair.map(lambda t: f"max({t[0]}, {t[1]})"),
        pair.map(lambda t: f"[{t[0]}, {t[1]}]"),
        pair.map(lambda t: f"({t[0]} if {t[1]} else 7)"),
        pair.map(lambda t: f"({t[0]} and {t[1]})"),
        st.tuples(st.sampled_from(FUNCTIONS), inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"f(x={t[0]}, y={t[1]})"),
        inner.map(lambda e: f"[a * 2 for a in range(3) if {e}]"),
        inner.map(lambda e: f"(lambda b: b + {e})(3)"),
        inner.map(lambda e: f"f'{{{e}}}!'" if "'" not in e else e),
    )


expressions = st.recursive(st.one_of(literals, names, literals, names), _extend, max_leaves=6)
numeric = st.recursive(
    st.one_of(st.integers(-3, 12).map(str), st.sampled_from(("0.5", "2.0", "1.0")), names),
    lambda inner: st.tuples(inner, st.sampled_from(("+", "*", "-", "+", "*", "/")), inner).map(
        lambda t: f"({t[0]} {t[1]} {t[2]})"
    ),
    max_leaves=5,
)


def _simple() -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(names, expressions).map(lambda t: f"{t[0]} = {t[1]}"),
        st.tuples(names, numeric).map(lambda t: f"{t[0]} = {t[1]}"),
        st.tuples(names, numeric).map(lambda t: f"{t[0]}: int = {t[1]}"),
        st.tuples(names, st.sampled_from(("+=", "*=", "-=")), expressions).map(" ".join),
        expressions.map(lambda e: f"print({e})"),
        names.map(lambda n: f"print({n}, end=';')"),
        names.map(lambda n: f"del {n}"),
        st.tuples(names, names, expressions).map(lambda t: f"{t[0]}, {t[1]} = {t[2]}, 3"),
        st.sampled_from(("pass", "'a note'", "raise ValueError('no')", "# a remark", "x = 4", "import math as a")),
        expressions.map(lambda e: f"print(c := {e})"),
    )


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=3).map(_indented)
    return st.one_of(
        st.tuples(expressions, body, body).map(lambda t: f"if {t[0]}:\n{t[1]}\nelse:\n{t[2]}"),
        st.tuples(st.sampled_from(("True", "0", "1")), body, body).map(lambda t: f"if {t[0]}:\n{t[1]}\nelse:\n{t[2]}"),
        st.tuples(names, body).map(lambda t: f"for {t[0]} in range(3):\n{t[1]}\n    pass"),
        st.tuples(names, expressions, body).map(lambda t: f"for {t[0]} in [{t[1]}, 2]:\n{t[2]}\n    break"),
        st.tuples(body, st.sampled_from(CAUGHT), names)
        .map(lambda t: f"try:\n{t[0]}\nexcept {t[1]} as {t[2]}:\n    print('caught', {t[2]})"),
        st.tuples(body, body).map(lambda t: f"try:\n{t[0]}\nexcept Exception:\n{t[1]}\nfinally:\n    print('end')"),
        st.tuples(st.sampled_from(FUNCTIONS), body, expressions).map(
            lambda t: f"def {t[0]}(x, y=2):\n    'doc'\n{t[1]}\n    return {t[2]}\n    print('never')"
        ),
        st.tuples(st.sampled_from(FUNCTIONS), names, body).map(
            lambda t: f"def {t[0]}(x, y=2):\n    global {t[1]}\n{t[2]}\n    return x"
        ),
    )  # fmt: skip


statements = st.recursive(_simple(), _compound, max_leaves=6)
programs = st.lists(statements, min_size=1, max_size=7).map("\n".join)
