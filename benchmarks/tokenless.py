"""A tokenizer for benchmarks of random models, which have no text: none at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class NoTokenizer:
    """Stands in for a tokenizer: tokens in, tokens out, and no end token."""

    eos_token_id = None

    def get_vocab(self) -> dict[str, int]:
        """Nothing."""
        return {}

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """Nothing, as the peers decode nothing either."""
        return ""
