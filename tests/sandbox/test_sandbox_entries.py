"""What an entry names."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tutelage.sandbox.entries import load

SOURCE = """
def shout(payload, out):
    out.write(payload.upper())

def sign(text):
    return lambda payload, out: out.write(payload + text.encode())
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "entries_of_a_test.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "entries_of_a_test"


def test_a_function_is_itself(module: str) -> None:
    out = io.BytesIO()
    load(f"{module}:shout")(b"x", out)
    assert out.getvalue() == b"X"


def test_a_factory_gets_all_that_follows_its_name(module: str) -> None:
    out = io.BytesIO()
    load(f'{module}:sign ["a b", null]')(b"x", out)
    assert out.getvalue() == b'x["a b", null]'


def test_a_name_that_is_none_is_told(module: str) -> None:
    with pytest.raises(AttributeError, match="whisper"):
        load(f"{module}:whisper")
