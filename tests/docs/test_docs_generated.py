"""The generated reference pages say what the commands and settings say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tutelage.config.describing import describe
from tutelage.recipes import RECIPES

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py, which is no module of the package."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_current(generate: ModuleType) -> None:
    stale = [name for name, page in generate.PAGES.items() if (DOCS / name).read_text(encoding="utf-8") != page()]
    assert not stale, f"run {Path(sys.executable).name} docs/generate.py"


def test_every_setting_of_every_recipe_is_on_the_page(generate: ModuleType) -> None:
    page = generate.config_page()
    for info in RECIPES.values():
        for doc in describe(importlib.import_module(info.module).Config):
            assert f"- `{doc.name}` (" in page, f"{info.name}: {doc.name}"


def test_a_default_that_a_recipe_changes_is_told(generate: ModuleType) -> None:
    assert "Other defaults: `epochs` 3.0." in generate.config_page()
