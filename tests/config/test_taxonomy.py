"""The taxonomy file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.cli.main import main
from tutelage.config.taxonomy import load_taxonomy
from tutelage.errors import ConfigError, InputError


def test_the_packaged_one_has_the_eight_fields() -> None:
    taxonomy = load_taxonomy()
    assert list(taxonomy.fields) == [
        "algebra", "calculus", "matrices", "equations", "number theory", "geometry", "probability", "word problems",
    ]  # fmt: skip
    assert all(len(field.keywords) >= 15 for field in taxonomy.fields.values()) and taxonomy.personas


@pytest.mark.parametrize(
    "subject, question, field",
    [
        ("Counting & Probability", "", "probability"), ("Prealgebra", "", "algebra"),
        (None, "What is the determinant of the matrix with rows 1 2 and 3 4?", "matrices"),
        (None, "Two dice are thrown. What is the probability of a sum of 7?", "probability"),
        (None, "Weng earns 12 dollars an hour.", "word problems"), ("unknown", "A circle has radius 3.", "geometry"),
    ],
)  # fmt: skip
def test_fields_of_problems(subject: str | None, question: str, field: str) -> None:
    assert load_taxonomy().field_of(subject, question) == field


def test_a_copy_can_be_changed(tmp_path: Path) -> None:
    copy = tmp_path / "my.toml"
    assert main(["data", "taxonomy", str(copy)]) == 0
    assert load_taxonomy(copy) == load_taxonomy()
    assert main(["data", "taxonomy", str(copy)]) == 2
    copy.write_text('[fields."game theory"]\nabout = "games"\nkeywords = ["payoff"]\n')
    assert list(load_taxonomy(copy).fields) == ["game theory"] and load_taxonomy(copy).personas == ()


def test_fields_are_chosen_by_name() -> None:
    assert list(load_taxonomy().only(["geometry"]).fields) == ["geometry"]
    with pytest.raises(InputError, match="no such field"):
        load_taxonomy().only(["geometri"])


@pytest.mark.parametrize(
    "text, message",
    [
        ("", r"no \[fields.NAME\]"), ("[fields.a]\nkeywords = ['x']", "needs `about`"),
        ("[fields.a]\nabout = 'x'\nkeywords = []", "needs `keywords`"),
        ("[fields.a]\nabot = 'x'", "unknown key 'abot'"),
        ("person = 1\n[fields.a]\nabout = 'x'\nkeywords = ['x']", "unknown key 'person'"),
        ("personas = ['']\n[fields.a]\nabout = 'x'\nkeywords = ['x']", "personas must be"),
    ],
)  # fmt: skip
def test_faults_are_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_taxonomy(tmp_path / "bad.toml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("= 1")
    for name in ("bad.toml", "absent.toml"):
        with pytest.raises(InputError, match="cannot be read"):
            load_taxonomy(tmp_path / name)
