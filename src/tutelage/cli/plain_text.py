"""Text of models and data sets on a terminal: shown as it is, unable to command it."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with control characters written out, so that none of it can clear, colour or retitle the terminal."""
    return "".join(char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in text)
