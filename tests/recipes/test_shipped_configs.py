"""Every file in configs/ is a recipe's settings, and its header's command is one that can be given."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from tutelage.config.loading import load_settings
from tutelage.recipes import RECIPES

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = sorted((ROOT / "configs").glob("*.toml"))
COMMAND = re.compile(r"#\s+tutelage run ([a-z-]+) -c (configs/\S+)((?: \S+=\S+)*)")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_config_loads_as_its_header_says(file: Path) -> None:
    (command,) = (found for line in file.read_text(encoding="utf-8").splitlines() if (found := COMMAND.match(line)))
    recipe, named, words = command.groups()
    assert ROOT / named == file, "the header's command names the file"
    config = load_settings(import_module(RECIPES[recipe].module).Config, file=file, overrides=words.split())
    assert config.output_dir is None, "where results go is the user's choice"


def test_the_configs_are_found() -> None:
    assert len(FILES) >= 27
