"""Who may do what in the sandbox's own code: only `program` and `warming` run text, and nobody unpickles."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "tutelage"
if not SOURCE.is_dir():
    import tutelage

    SOURCE = Path(tutelage.__file__).parent
MODULES = sorted([*(SOURCE / "sandbox").glob("*.py"), SOURCE / "cli" / "executing.py", SOURCE / "cli" / "exec.py"])
MAY_RUN_TEXT = {"program", "warming"}
RUNS_TEXT = {"eval", "exec", "compile", "sympify", "parse_expr", "literal_eval", "__import__"}


def called(tree: ast.AST) -> set[str]:
    names = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {name.id if isinstance(name, ast.Name) else getattr(name, "attr", "") for name in names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_text_is_run_and_nothing_unpickled(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in imported} & {"pickle", "marshal", "shelve", "multiprocessing", "dill"}
    if path.stem not in MAY_RUN_TEXT:
        assert not called(tree) & RUNS_TEXT


def test_the_broker_does_not_load_what_children_run() -> None:
    import subprocess
    import sys

    code = "import sys, tutelage.sandbox; print([m for m in sys.modules if m.startswith('tutelage.sandbox')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("program", "child", "zygote", "warming"):
        assert f"'tutelage.sandbox.{name}'" not in loaded
