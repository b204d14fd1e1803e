"""From what a model wrote to questions: reading its numbered list, and the filters of form that each must pass.

Source: yizhongw/self-instruct, `bootstrap_instructions.py` (arXiv 2212.10560), with its constants. Deviations: a
question may begin with the signs of mathematics (`$`, `\\`, brackets), which are punctuation there.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

FEWEST_WORDS, MOST_WORDS = 3, 150
BANNED = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot",
    "go to",
)  # fmt: skip
"""Words of what a text cannot show or do."""
_NUMBERED = re.compile(r"(?:^|\n)\s*(?:\*\*)?\d{1,3}\s?[.):]\s*(?:\*\*)?\s*")
_MATH_STARTS = frozenset("$\\([{|")


@dataclass(frozen=True)
class FormRules:
    """What a question may look like.

    Args:
        fewest_words: questions of so many words or fewer are dropped.
        most_words: questions of more are dropped.
        banned: words that may not stand in one; letter case does not count.
    """

    fewest_words: int = FEWEST_WORDS
    most_words: int = MOST_WORDS
    banned: tuple[str, ...] = BANNED


def read_list(text: str, *, is_begun: bool, is_cut: bool) -> list[str]:
    """The items of a numbered list.

    Args:
        text: what was written.
        is_begun: the prompt ended with a number, so that the text begins inside an item; otherwise what stands before
            the first number is no item.
        is_cut: the text ended before the model was done; its last item is then left out.

    >>> read_list(" One?\\n10. Two?\\n11. Thr", is_begun=True, is_cut=True)
    ['One?', 'Two?']
    """
    parts = _NUMBERED.split(text)
    items = parts if is_begun else parts[1:]
    if is_cut:
        items = items[:-1]
    return [item for item in (" ".join(item.split()) for item in items) if item]


def fault_of_form(question: str, rules: FormRules) -> str | None:
    """Why a question is dropped for its form, in one word; None where it may stay.

    Returns:
        `too_short`, `too_long`, `banned_word`, `program` (begins with "Write a program"), `bad_start` (begins with
        punctuation or with no ASCII character), or None.
    """
    count = len(question.split())
    if count <= rules.fewest_words:
        return "too_short"
    if count > rules.most_words:
        return "too_long"
    if any(re.search(rf"\b{re.escape(word)}\b", question, re.IGNORECASE) for word in rules.banned):
        return "banned_word"
    if question.lower().startswith("write a program"):
        return "program"
    first = question[0]
    is_punctuation = unicodedata.category(first)[0] in "PS" and first not in _MATH_STARTS
    return "bad_start" if is_punctuation or not first.isascii() else None
