"""Imports point down the layers, there are no cycles, and light modules stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "tutelage"
ROWS = {
    "records": 0, "errors": 0,
    "text": 1, "config": 1,
    "problems": 2, "grading": 2, "sandbox": 2, "selection": 2, "store": 2,
    "models": 2.5,
    "sampling": 3, "learning": 3,
    "evaluation": 4,
    "recipes": 5, "primer": 5,
    "cli": 6, "viewer": 6,
}  # fmt: skip
SAME_ROW_ALLOWED = {("grading", "sandbox"), ("records", "errors")}
HEAVY = {"torch", "transformers", "sympy", "peft", "datasets", "ray", "trl", "accelerate", "safetensors", "tokenizers"}
MODULES = sorted(p for p in SOURCE.rglob("*.py") if (p.name != "__main__.py" and p.parent != SOURCE) or p.stem in ROWS)


def package_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0].removesuffix(".py")


def imports(path: Path, *, top_level: bool = False) -> list[str]:
    """Dotted names imported by a module, `TYPE_CHECKING` blocks left out."""
    tree = ast.parse(path.read_text())
    found: list[str] = []

    def visit(node: ast.AST, depth: int) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if not (top_level and depth):
                if isinstance(child, ast.Import):
                    found.extend(alias.name for alias in child.names)
                elif isinstance(child, ast.ImportFrom):
                    assert child.level == 0, f"{path}: relative import"
                    found.extend(f"{child.module}.{alias.name}" for alias in child.names)
            visit(child, depth + inside)

    visit(tree, 0)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    here = package_of(path)
    for name in imports(path):
        if not name.startswith("tutelage."):
            continue
        there = name.split(".")[1]
        if there == here or there not in ROWS:
            continue
        allowed = ROWS[there] < ROWS[here] or (here, there) in SAME_ROW_ALLOWED
        assert allowed, f"{path.relative_to(SOURCE)} (row {ROWS[here]}) imports {name} (row {ROWS[there]})"


ENTRIES = {SOURCE / "grading" / name for name in ("symbolic_entry.py", "math_verify_entry.py")}
"""Modules that only run in a process of their own, named to it as text."""
LIGHT = [path for path in MODULES if ROWS[package_of(path)] <= 2 and path not in ENTRIES]


def test_nothing_imports_an_entry() -> None:
    entries = {f"tutelage.grading.{path.stem}" for path in ENTRIES}
    for path in MODULES:
        assert not entries & {name.rpartition(".")[0] for name in imports(path)} | entries & set(imports(path)), path


@pytest.mark.parametrize("path", LIGHT, ids=lambda p: str(p.relative_to(SOURCE)))
def test_nothing_heavy_in_rows_up_to_two(path: Path) -> None:
    heavy = {name.split(".")[0] for name in imports(path)} & HEAVY
    assert not heavy, f"{path.relative_to(SOURCE)} imports {sorted(heavy)}"


def test_no_import_cycles() -> None:
    names = {}
    for path in MODULES:
        dotted = "tutelage." + ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        names[dotted.removesuffix(".__init__")] = path
    graph = {}
    for name, path in names.items():
        targets = set()
        for imported in imports(path, top_level=True):
            parts = imported.split(".")
            while parts and ".".join(parts) not in names:
                parts.pop()
            if parts and ".".join(parts) != name:
                targets.add(".".join(parts))
        graph[name] = targets
    done: set[str] = set()

    def walk(node: str, path: tuple[str, ...]) -> None:
        assert node not in path, "cycle: " + " -> ".join((*path[path.index(node) :], node))
        if node in done:
            return
        for target in sorted(graph[node]):
            walk(target, (*path, node))
        done.add(node)

    for name in graph:
        walk(name, ())


def test_importing_the_package_is_light() -> None:
    code = "import sys, tutelage; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("torch", "transformers", "sympy", "numpy", "pydantic"):
        assert f"'{name}'" not in loaded
