"""Ratings of solutions: reading them strictly and writing them, in the two forms that judges here use.

A judge writes its analysis, then a score from 1 to 10 in four bands (arXiv 2404.02893 section 3): `BANDS`. `labelled`
is the published form, a last line `Rating: [[7]]`; `primer` is the built-in model's, a last line `verdict: 7` (it never
saw a bracket).

A text that does not fit its form is `Unrated` with a reason, to be counted or asked for again; no score is ever
guessed. Model text is hostile: the score counts only where its line is the last one and the only one of its form, and
no other number stands in double brackets, so a judge that repeats a solution's wish for a mark, or names two, gives
none. Reading takes time in proportion to the text's length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

RatingForm = Literal["labelled", "primer"]
Reason = Literal[
    "there is no rating",
    "there are several ratings",
    "text goes on after the rating",
    "the rating is no whole number from 1 to 10",
]
LOWEST, HIGHEST = 1, 10
BANDS: tuple[tuple[int, int, str], ...] = (
    (1, 2, "wholly wrong"),
    (3, 5, "the method is partly right, the result is wrong"),
    (6, 8, "the result is right, the method is partly wrong"),
    (9, 10, "right"),
)
"""Lowest and highest score of each band, and what it means."""
RIGHT_FROM = BANDS[2][0]
"""The lowest score that says that the result is right."""

_LINES: dict[RatingForm, re.Pattern[str]] = {
    "labelled": re.compile(r"[ \t*_#>]*Rating[ \t*_]*:[ \t*_]*\[\[([^\[\]\n]{0,40})\]\][ \t*_.]*", re.IGNORECASE),
    "primer": re.compile(r"verdict: (.*)"),
}
_MARK = re.compile(r"\[\[[ \t]*[-+]?[0-9][0-9./ \t]*\]\]")
_SCORE = re.compile(r"[ \t]*([0-9]{1,2})[ \t]*")


@dataclass(frozen=True)
class Rating:
    """A rating as its text says it: the analysis, and a whole number from 1 to 10."""

    analysis: str
    score: int


@dataclass(frozen=True)
class Unrated:
    """A text that is no rating of its form, and why."""

    reason: Reason


def band_of(score: int) -> int:
    """The band of a score: its index in `BANDS`, 0 the worst.

    Raises:
        ValueError: the score is not from 1 to 10.
    """
    for index, (low, high, _) in enumerate(BANDS):
        if low <= score <= high:
            return index
    raise ValueError(f"a score is a whole number from {LOWEST} to {HIGHEST}, not {score}")


def read_rating(text: str, form: RatingForm) -> Rating | Unrated:
    """Read a rating. Never raises on model text.

    Bold type around the last line, and a full stop after it, are left aside; nothing else is.
    """
    rows = [row for row in text.split("\n") if row.strip()]
    matches = [_LINES[form].fullmatch(row.strip()) for row in rows]
    found = sum(match is not None for match in matches)
    marks = sum(1 for _ in _MARK.finditer(text))
    if found > 1 or marks > 1:
        return Unrated("there are several ratings")
    if not found:
        return Unrated("there is no rating")
    last = matches[-1]
    if last is None:
        return Unrated("text goes on after the rating")
    score = _SCORE.fullmatch(last[1])
    if score is None or not LOWEST <= int(score[1]) <= HIGHEST:
        return Unrated("the rating is no whole number from 1 to 10")
    return Rating("\n".join(rows[:-1]).strip(), int(score[1]))


def write_rating(rating: Rating, form: RatingForm) -> str:
    """The rating as text; `read_rating` of it gives the score back, and the analysis without empty lines.

    Nothing in the analysis passes for a score: double brackets are taken apart, and in `primer` form a line that is a
    verdict loses its colon.

    Raises:
        ValueError: the score is not from 1 to 10.
    """
    band_of(rating.score)
    rows = [row.rstrip() for row in _apart(rating.analysis).split("\n") if row.strip()]
    if form == "primer":
        rows = [row.replace(":", "", 1) if _LINES[form].fullmatch(row.strip()) else row for row in rows]
        return "\n".join([*rows, f"verdict: {rating.score}"])
    return "\n".join([*rows, f"Rating: [[{rating.score}]]"])


def _apart(text: str) -> str:
    """The text with a space between neighbouring brackets of one kind."""
    return re.sub(r"\[(?=\[)", "[ ", re.sub(r"\](?=\])", "] ", text))
