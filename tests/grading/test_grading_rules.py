"""The rules as docs/grading.md states them: every example there is run here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tutelage.grading.checker import check
from tutelage.text.extraction import extract

PAGE = Path(__file__).resolve().parents[2] / "docs" / "grading.md"
SIGNS = {"==": True, "!=": False, "??": None}


def examples(kind: str) -> list[str]:
    blocks = re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


RULES = examples("rules")
EXTRACTIONS = examples("extraction")


def test_every_rule_has_examples() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for number in range(1, 15):
        section = re.search(rf"^## {number}\. .*?(?=^## )", page, re.MULTILINE | re.DOTALL)
        assert section is not None
        assert section.group().count("\n") > 10, f"rule {number} has few examples"
    assert len(RULES) > 180 and len(EXTRACTIONS) > 15


@pytest.mark.parametrize("example", RULES)
def test_rule(example: str) -> None:
    gold, sign, answer = re.split(r" (==|!=|\?\?) ", example)
    assert check(gold, answer).equivalent is SIGNS[sign]
    assert check(answer, gold).equivalent is SIGNS[sign]


@pytest.mark.parametrize("example", EXTRACTIONS)
def test_extraction(example: str) -> None:
    text, answer = example.replace(r"\n#", "\n#").split(" -> ")
    found = extract(text)
    assert found.answer == (None if answer == "nothing" else answer)
    if found.method not in ("none", "boxed_list"):
        assert found.answer in text[slice(*found.span)]


def test_the_table_of_agreement_is_what_the_script_prints(shared_data: Path) -> None:
    import importlib.util

    script = PAGE.parents[1] / "benchmarks" / "grading_agreement.py"
    spec = importlib.util.spec_from_file_location("grading_agreement", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.table([module.graded(name, shared_data) for name in module.SOURCES]) in PAGE.read_text(
        encoding="utf-8"
    )
