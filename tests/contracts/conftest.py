"""What the four traces share: a tokenizer of characters, and sessions scripted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tutelage.records import Policy
from tutelage.sampling.scripted import ScriptedSampler

END = 0


class Characters:
    """One token per character, its code point; token 0 ends a text."""

    eos_token_id = END

    def get_vocab(self) -> dict[str, int]:
        return {chr(i): i for i in range(1, 128)}

    def encode(self, text: str, **_: Any) -> list[int]:
        return [ord(c) for c in text]

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(chr(i) for i in ids)


@pytest.fixture
def characters() -> Characters:
    return Characters()


@pytest.fixture
def scripted(characters: Characters) -> Callable[..., ScriptedSampler]:
    """A function: script -> session of the policy `m`."""
    return lambda script: ScriptedSampler(script, characters, Policy("m"))
