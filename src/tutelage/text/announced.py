r"""Where an announced answer ends: `3, since 1 + 2 = 3` announces 3.

What it is: cutting a marked sentence at the words that begin its explanation, where a whole answer stands before them;
and telling whether a sentence names an option of a multiple-choice question. What it is not: a search for the marker
(text/extraction.py) or a reading of the answer.
"""

from __future__ import annotations

import re

from tutelage.records import Choices

_REASON = re.compile(
    r"[\s,;(]+(?:because|since|given\s+that)\b|,\s*(?:as|where|with)\b(?!\s+(?:well|much|many|far|long))"
    r"|[,;]\s*not\s+(?=[*$(\\-]*[0-9])|(?<=[$)*])\s+where\b|[\s,，;；]*(?:因为|因為|由于|由於|其中)",
    re.IGNORECASE,
)
_FORMULA = re.compile(r"[0-9]|\$.+\$|\\\(.+\\\)", re.DOTALL)
_WORDS = re.compile(r"[^\W\d_]{2,}")
_LONE_SYMBOL = re.compile(r"[\s$*\\()]*[A-Za-z][\s$*\\()]*")
_FIRST_SENTENCE = re.compile(r"(-?\$?[0-9][0-9,]*(?:\.[0-9]+)?%?)\.\s+(?=[A-Z])")
_MONEY = re.compile(r"[\s*]*\$-?[0-9]")
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"))
_LABEL = re.compile(r"(?<![A-Za-z0-9'])(?:A(?! [a-z])|[B-Z0-9])(?![A-Za-z0-9'])")
_SMALL_LABEL = re.compile(r"\W*([a-z])\W*")
_EMPTY = re.compile(r"[\s*_$]*[\[(][\s*_$]*[\])][\s*_$]*")
_MAX_WORDS = 4


def end_of_answer(text: str, first: int, last: int) -> int:
    """Where the answer in `text[first:last]` ends: before its explanation, else at `last`."""
    for match in _REASON.finditer(text, first, last):
        if _is_whole(text[first : match.start()], is_symbol_whole="where" not in match.group().lower()):
            return match.start()
    return last


def end_of_line_answer(line: str) -> int:
    """The length of the number at the head of a line that goes on in a sentence with this number and no other."""
    match = _FIRST_SENTENCE.match(line)
    if match is None:
        return len(line)
    numbers = {number.rstrip(",.") for number in re.findall(r"[0-9][0-9,.]*", line[match.end() :])}
    return match.end(1) if numbers == {match[1].lstrip("-$").rstrip("%")} else len(line)


def is_empty(answer: str) -> bool:
    """Whether the answer is a pair of brackets with nothing in it."""
    return _EMPTY.fullmatch(answer) is not None


def mentions_option(answer: str, choices: Choices | None) -> bool:
    """Whether an option's label or text stands anywhere in the answer, as in `not B`."""
    labels = choices.labels if choices is not None else tuple("ABCDEFGHIJ")
    texts = choices.texts if choices is not None else ()
    alone = _SMALL_LABEL.fullmatch(answer)
    is_named = any(label in labels for label in _LABEL.findall(answer)) or (alone and alone[1].upper() in labels)
    return bool(is_named) or any(option and option.lower() in answer.lower() for option in texts)


def _is_whole(head: str, *, is_symbol_whole: bool) -> bool:
    """Whether a text is an answer by itself: closed, and a formula, a number or a few words."""
    if not head.strip(" *_,;:") or (head.count("$") % 2 and not _MONEY.match(head)):
        return False
    if any(head.count(opening) != head.count(closing) for opening, closing in _PAIRS):
        return False
    if _LONE_SYMBOL.fullmatch(head):
        return is_symbol_whole
    return bool(_FORMULA.search(head)) or len(_WORDS.findall(head)) <= _MAX_WORDS
