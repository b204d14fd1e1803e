"""Multiple choice: which option letters an answer names, and whether they are the gold's.

Only for a gold that is a letter. An answer counts if it is the letter, alone or with the option's text, or the
option's text itself; a second letter anywhere is a second answer (`C or D`, `(C), since D is too small`), and two
answers are wrong.
"""

from __future__ import annotations

import re

from tutelage.records import Choices
from tutelage.text.normalise import is_readable, normalise

Result = bool | None

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_GUESSED = frozenset("ABCDEFGHIJ")
"""Letters that count as options where nothing says that the question is multiple choice."""
_SEVERAL = "several"
_STRICT = re.compile(r"\(?[A-Z]\)?(?:(?:,\s*|;\s*|\s*(?:\band\b|和|与|及)\s*)\(?[A-Z]\)?)*")
_RUN = re.compile(r"[A-Z]{2,6}")
_LEAD = re.compile(
    r"(?:so |thus,? |hence,? |therefore,? )?(?:(?:the |my )?(?:best |correct |right |final )*(?:answer|option|choice)s?"
    r"(?: is| are|:)?[:\s]*)+|(?:答案(?:是|为)?|故选|应选|选择?|选项)\s*:?\s*",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(?<![A-Za-z0-9\\'])([A-Z])(?![A-Za-z0-9'])")
_MARKED = re.compile(r"\(([A-Z])\)")
_SUBJECT = re.compile(r"\b(A)(?= (?:is|was|and|or|would|because|since|are)\b)")
"""An A that is no article."""
_FIRST = re.compile(r"\(?\[?([A-Za-z])(?:[)\].:]+|$|(?=[\s,;-]))(?!\^)")
_DENIAL = re.compile(r"\b(?:not|never|isn't|wrong|incorrect|false|neither|nor|except|or)\b", re.IGNORECASE)
_NEGATED = re.compile(r"(?:not|neither|except|non) \(?[A-Z]\)?(?: n?or \(?[A-Z]\)?)*", re.IGNORECASE)
_FOLD = re.compile(r"[\W_]+")
_OPTION = re.compile(r"(?<=[A-Z]) ?选?项\Z")
_SPACED = re.compile(r"\s+")


def letters_of(gold: str, allowed: frozenset[str] = _GUESSED) -> frozenset[str] | None:
    """The letters of an answer that is nothing but option letters (`D`, `(D)`, `A,C`); None for anything else.

    Args:
        gold: a bare answer.
        allowed: the letters that options have.
    """
    if len(gold) > 40:
        return None
    text = normalise(gold)
    found = frozenset(_LETTER.findall(text)) if _STRICT.fullmatch(text) else None
    return found if found and found <= allowed else None


def choice_of(answer: str, choices: Choices | None) -> frozenset[str] | None:
    """The letters that an answer to a multiple-choice question names; None where it names none or cannot be told."""
    if not is_readable(answer):
        return None
    return _find(_to_letter(answer, choices), choices, _allowed(choices, is_certain=True), is_certain=True) or None


def check_choice(gold: str, answer: str, choices: Choices | None, *, is_certain: bool) -> Result:
    """Whether the answer names the gold's letters and no others.

    Args:
        gold: the gold letters.
        answer: a bare answer.
        choices: the options, if they are known.
        is_certain: the question is known to be multiple choice; if not, an answer without a letter is undecided.
    """
    allowed = _allowed(choices, is_certain=is_certain)
    expected = letters_of(_to_letter(gold, choices), allowed)
    if expected is None:
        return None
    if not is_readable(answer):
        return False
    named = _to_letter(answer, choices)
    found = _find(named, choices, allowed, is_certain=is_certain)
    if found is not None:
        return found == expected if found else None
    if len(expected) > 1 and _RUN.fullmatch(run := normalise(named)) and len(set(run)) == len(run):
        return frozenset(run) == expected  # `AC` for `A, C`
    return False if is_certain else None


def _allowed(choices: Choices | None, *, is_certain: bool) -> frozenset[str]:
    if choices is not None:
        return frozenset(_LETTERS[: len(choices.labels)]) | frozenset(filter(_LETTER.fullmatch, choices.labels))
    return frozenset(_LETTERS) if is_certain else _GUESSED


def _to_letter(answer: str, choices: Choices | None) -> str:
    """A label that is no letter (`3`) replaced by the letter of its place."""
    label = answer.strip().strip("().")
    if choices is not None and label in choices.labels and not _LETTER.fullmatch(label):
        place = choices.labels.index(label)
        return _LETTERS[place] if place < len(_LETTERS) else answer
    return answer


def _find(answer: str, choices: Choices | None, allowed: frozenset[str], *, is_certain: bool) -> frozenset[str] | None:
    """Letters named; with `_SEVERAL`, which no gold has, where a sentence names several; empty where it cannot be
    told, None where it names none.

    A bare small letter is a symbol unless the question is known to be multiple choice.
    """
    text = _OPTION.sub("", _SPACED.sub(" ", normalise(answer)))
    exact = letters_of(text, allowed)
    if exact is not None:
        return exact
    by_text = _by_text(text, choices)
    if by_text is not None:
        return by_text
    lead = _LEAD.match(text)
    body = text[lead.end() :].strip(" *") if lead else text.strip(" *")
    if _NEGATED.fullmatch(body):
        return frozenset((_SEVERAL,))
    match = _FIRST.match(body)
    if match is None or match[1].upper() not in allowed:
        return None
    letter, rest = match[1].upper(), body[match.end() :].strip(" :.,;-*")
    if match[1].islower() and not body.startswith(("(", "[")) and (rest or not is_certain):
        return None
    if not rest or _by_text(rest, choices) == frozenset(letter):
        return frozenset(letter)
    others = frozenset(_LETTER.findall(rest)) - {"A", "I"} | frozenset(_MARKED.findall(rest))
    others = (others | frozenset(_SUBJECT.findall(rest))) & (allowed if choices is not None else _GUESSED)
    if others - {letter}:
        return others | {letter, _SEVERAL}
    if match[1] == "A" and not body.startswith(("(", "[", "A)", "A.", "A:")):
        return frozenset()  # "A dog" starts with an article
    return frozenset() if _DENIAL.search(rest) else frozenset(letter)


def _by_text(text: str, choices: Choices | None) -> frozenset[str] | None:
    """The letter of the one option whose text this is."""
    folded = _FOLD.sub(" ", text.lower()).strip()
    if choices is None or not folded:
        return None
    places = [i for i, option in enumerate(choices.texts) if _FOLD.sub(" ", option.lower()).strip() == folded]
    return frozenset(_LETTERS[places[0]]) if len(places) == 1 and places[0] < len(_LETTERS) else None
