r"""Splitting at the top level: separators inside (), [], {} and \{\} do not count. Linear, total."""

from __future__ import annotations

import re

_CONJUNCTION = re.compile(
    r"(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|\\(?:lor|land|vee|wedge)(?![A-Za-z])|或|和|及|与", re.I
)
_OR = frozenset(("or", "\\lor", "\\vee", "或"))


def split_top(text: str, separators: str) -> list[str]:
    """Pieces of the text between single-character separators outside all brackets; at least one piece."""
    pieces, depth, start, position = [], 0, 0, 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
            escaped = text[position : position + 1]
            depth += (escaped == "{") - (escaped == "}" and depth > 0)
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth = max(0, depth - 1)
        elif depth == 0 and char in separators:
            pieces.append(text[start:position])
            start = position + 1
        position += 1
    pieces.append(text[start:])
    return pieces


def split_list(text: str) -> tuple[list[str], str]:
    """Items of a list written with commas, semicolons, `and`, `or`; and the word, if one word alone joins all of them.

    Empty items that come from `, and` are dropped; one item comes back as it is.
    """
    protected = _CONJUNCTION.sub(lambda m: "\x02" if m.group().lower() in _OR else "\x03", text)
    pieces = split_top(protected, ",;\x02\x03")
    joint = next(
        (word for word, mark in (("or", "\x02"), ("and", "\x03")) if len(split_top(protected, mark)) == len(pieces)), ""
    )
    restored = [piece.replace("\x02", "or").replace("\x03", "and").strip() for piece in pieces]
    items = [piece for piece in restored if piece]
    return (items or [text]), joint


def outer_pair(text: str) -> tuple[str, str, str] | None:
    r"""(opening, inside, closing) where one pair of brackets encloses the whole text; the kinds may differ.

    Openings are `(`, `[`, `\{`. `(1,2)+(3,4)` has no outer pair.
    """
    if text[:1] in ("(", "[") and text[:1]:
        opening = text[0]
    elif text.startswith(r"\{"):
        opening = r"\{"
    else:
        return None
    depth, position = 0, 0
    while position < len(text):
        char, width = text[position], 1
        if char == "\\":
            char, width = text[position + 1 : position + 2], 2
            if char not in ("{", "}"):
                position += 2
                continue
        if char and char in "([{":
            depth += 1
        elif char and char in ")]}":
            depth -= 1
            if depth == 0:
                end = position + width
                return (opening, text[len(opening) : position], text[position:end]) if end == len(text) else None
        position += width
    return None
