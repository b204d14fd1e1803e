"""The built-in tokenizer: exact round trips, single tokens where promised, AutoTokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.primer.corpus import documents
from tutelage.primer.vocabulary import build_tokenizer, save_tokenizer
from tutelage.problems.primer import PRIMER_SPLITS, cot_prompt, primer_problems
from tutelage.problems.primer.prompts import MARKERS


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_every_text_of_the_world_comes_back_exactly(tokenizer) -> None:
    texts = [d.prompt + d.completion for d in documents(1, 0, 400, False)]
    for split in PRIMER_SPLITS:
        for problem in primer_problems(split, 30):
            texts += [cot_prompt(problem.question) + (problem.solution or ""), problem.metadata["mixed"]]
    for text in texts:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids


def test_words_are_whole_tokens(tokenizer) -> None:
    problem = primer_problems("test_wordings", 1)[0]
    text = cot_prompt(problem.question) + (problem.solution or "")
    pieces = tokenizer.convert_ids_to_tokens(tokenizer.encode(text))
    assert not [piece for piece in pieces if len(piece) == 1 and piece.isalpha() and piece != "a"]
    assert [len(tokenizer.encode(f"\n{marker}\n")) for marker in MARKERS] == [3] * len(MARKERS)
    assert len(tokenizer.encode("12+7=19\n")) == 8


def test_pieces_encode_as_the_whole_where_lines_break(tokenizer) -> None:
    problem = primer_problems("dev", 1)[0]
    whole = tokenizer.encode(cot_prompt(problem.question) + (problem.solution or ""))
    chunks = [cot_prompt(problem.question), *problem.metadata["chunks"]]
    assert [i for chunk in chunks for i in tokenizer.encode(chunk)] == whole


def test_foreign_text_falls_apart_into_characters(tokenizer) -> None:
    for text in ("Hello, World! {x} $\\frac{1}{2}$ ~|@", "def f(x):\n    return x**2 # ok", "  two  spaces "):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids
    assert tokenizer.unk_token_id in tokenizer.encode("w\u00f6rld")


def test_it_loads_with_auto_tokenizer_and_adds_nothing(tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    save_tokenizer(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.encode("ann has 12 apples.") == tokenizer.encode("ann has 12 apples.")
    assert (loaded.pad_token, loaded.bos_token, loaded.eos_token) == ("<pad>", "<bos>", "<eos>")
    assert len(loaded.encode("ann has 12 apples.")) == 6
    assert len(loaded) < 400
