"""Tokenizers are read as they were saved; what is wrong with a folder is tested where learners open it."""

from __future__ import annotations

import pytest

from tutelage.models import loading


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3"])
def test_a_generic_tokenizer_is_read_as_it_was_saved_whatever_the_model_type(tiny_model_dir, kind) -> None:
    tokenizer = loading.load_tokenizer(tiny_model_dir(kind))
    text = "Tim has 2 pens.\nFinal answer: 5"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text
