"""Stop and pause texts, found as soon as they are complete."""

from __future__ import annotations

from typing import Any

import pytest

from tutelage.records import SamplingParams
from tutelage.sampling.stopping import StopWatch, TokenPieces, end_token_ids


class Pieces:
    """A tokenizer whose tokens are given texts."""

    eos_token_id = 0

    def __init__(self, *texts: str) -> None:
        self.texts, self.num_decoded = texts, 0

    def decode(self, ids: list[int], **_: Any) -> str:
        self.num_decoded += 1
        return "".join(self.texts[i] for i in ids)


def first_hit(tokenizer: Any, ids: list[int], **texts: tuple[str, ...]) -> tuple[int, str] | None:
    watch = StopWatch(TokenPieces(tokenizer), SamplingParams(**texts))
    for count, token in enumerate(ids, start=1):
        found = watch.feed(token)
        if found:
            return count, found
    return None


@pytest.mark.parametrize(
    "texts, kwargs, expected",
    [
        (["ab", "cd", "e"], {"stop": ("bc",)}, (2, "stop")),
        (["ab", "cd", "e"], {"stop": ("e",), "pause": ("bcd",)}, (2, "pause")),
        (["ab", "cd", "e"], {"stop": ("cd",), "pause": ("bcd",)}, (2, "pause")),
        (["ab", "cd", "e"], {"stop": ("cd",), "pause": ("cd",)}, (2, "stop")),
        (["a", "\n", "\n", "b"], {"stop": ("\n\n",)}, (3, "stop")),
        (["ab", "cd", "e"], {"stop": ("x", "")}, None),
        (["</", "pro", "gram", ">", "x"], {"pause": ("</program>",)}, (4, "pause")),
    ],
)
def test_hits(texts: list[str], kwargs: dict[str, Any], expected: tuple[int, str] | None) -> None:
    assert first_hit(Pieces(*texts), list(range(len(texts))), **kwargs) == expected


def test_tokens_that_cannot_complete_a_text_cost_no_decoding_of_the_tail() -> None:
    tokenizer = Pieces("a", "b", "#")
    first_hit(tokenizer, [0, 1] * 100, stop=("##",))
    assert tokenizer.num_decoded == 2


def test_a_character_of_several_tokens_is_found() -> None:
    class Bytes(Pieces):
        def decode(self, ids: list[int], **_: Any) -> str:
            return bytes(ids).decode("utf-8", errors="replace")

    ids = list("x∎y".encode())
    assert first_hit(Bytes(), ids, stop=("∎",)) == (4, "stop")
    long = "答案到此为止" * 4  # more tokens than characters
    assert first_hit(Bytes(), list(f"x{long}y".encode()), stop=(long,)) == (1 + len(long.encode()), "stop")


def test_end_tokens_are_the_models_and_the_tokenizers() -> None:
    class Config:
        eos_token_id = (5, 7)

    assert end_token_ids(Pieces(), Config()) == {0, 5, 7}
