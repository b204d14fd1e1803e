"""When a completion ends: end tokens, stop and pause texts.

End tokens are looked up for all rows at once in the decode loop; this module finds which they are. Texts are matched
row by row, and only in rows that ask for them: a token is looked at closely only if it can complete one of the texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tutelage.records import SamplingParams


def end_token_ids(tokenizer: Any, generation_config: Any = None) -> frozenset[int]:
    """The tokens that end a text: the model's generation config's and the tokenizer's."""
    found: set[int] = set()
    for source in (generation_config, tokenizer):
        ids = getattr(source, "eos_token_id", None)
        if ids is not None:
            found.update(ids if isinstance(ids, Sequence) else [ids])
    return frozenset(int(i) for i in found)


class TokenPieces:
    """The text of each token alone, decoded when first asked for."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._pieces: dict[int, str] = {}

    def __getitem__(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self.tokenizer.decode([token], skip_special_tokens=False)
        return self._pieces[token]


class StopWatch:
    """Watches the texts of one completion.

    Args:
        pieces: shared by all completions of a tokenizer.
        params: whose `stop` and `pause` are watched for.
    """

    def __init__(self, pieces: TokenPieces, params: SamplingParams) -> None:
        self.pieces, self.stop, self.pause = pieces, params.stop, params.pause
        texts = [t for t in (*self.stop, *self.pause) if t]
        self._last = {t[-1] for t in texts}
        self._always = any(c.isspace() for c in self._last)
        # A character may take one token for each of its bytes; 8 more, so that a first piece is decoded in context.
        self._tail = max((len(t.encode(errors="replace")) for t in texts), default=0) + 8
        self._ids: list[int] = []

    def feed(self, token: int) -> Literal["stop", "pause"] | None:
        """Take the next token; says whether a text is complete now (of two, the one that begins earlier)."""
        self._ids.append(token)
        piece = self.pieces[token]
        if not (self._always or "\ufffd" in piece or any(c in piece for c in self._last)):
            return None
        tail = self.pieces.tokenizer.decode(self._ids[-self._tail :], skip_special_tokens=False)
        places = [(tail.find(t), kind) for kind in ("stop", "pause") for t in getattr(self, kind) if t and t in tail]
        return min(places, key=lambda place: place[0])[1] if places else None  # type: ignore[return-value]
