r"""An answer as a person would paste it: with its box, its `The answer is`, or an equals sign before it.

What it is: the bare answer inside such a text, so that `The answer is $\boxed{4}$` can be compared with `4`.
What it is not: extraction from a completion (text/extraction.py), where an earlier marker may be overruled.
"""

from __future__ import annotations

import re

from tutelage.text.extraction import extract

_MAX_TEXT = 100_000
_MAX_LEAD = 120
"""A longer text is read like a completion; a shorter one has a lead at most."""
_LEAD = re.compile(
    r"\W{0,4}(?:(?:so|thus|hence|therefore|then)\b,?\s+)?(?:(?:the|my|our)\s+)?(?:(?:final|correct|right|exact)\s+)*"
    r"(?:(?:answer|result|solution|matrix|value)s?\b[*_]*\s*(?:(?:is|are)\b|[:：=]|(?=[$\\]))"
    r"|(?:points?|vector|(?:ordered\s+)?(?:pair|triple)|interval|set|coordinates)\b\s*(?:(?:is|are)\b|[:：=]|(?=[$\\(\[{<]))"
    r"|we\s+(?:find|get|have|obtain|conclude)\b(?:\s+that\b)?|(?:so|thus|hence|therefore)\b,?\s*(?=\$|\\\()"
    r"|(?:exactly|precisely|just|only)\b(?=\s*[-$\\0-9])"
    r"|答案\s*(?:是|为|應為|应为)?|答\s*[:：]|故选|选)[\s:：*_]*",
    re.IGNORECASE,
)
_TRAIL = re.compile(
    r"[\s,]+(?:is|are)\s+(?:our|the|my)\s+(?:final\s+|correct\s+)?(?:answer|solution|result)s?[.\s]*\Z", re.IGNORECASE
)
_EQUALS = re.compile(r"\s*=\s*")


def bare(text: str) -> str:
    r"""The answer without what is said around it.

    Args:
        text: an answer, perhaps with a box, a lead such as `Answer:` or a leading equals sign.

    Returns:
        The text itself where it has none of them, and where its box is not closed. A text of several sentences is read
        like a completion.
    """
    if "\\boxed" in text or "\\fbox" in text:
        found = extract(text[-_MAX_TEXT:])
        return found.answer if found.answer is not None and found.method.startswith("boxed") else text
    if len(text) > _MAX_LEAD or "####" in text:
        found = extract(text[-_MAX_TEXT:])
        return text if found.answer is None else found.answer
    trail = _TRAIL.search(text) if "s" in text[-12:] else None
    if trail is not None:
        text = text[: trail.start()]
    match = _LEAD.match(text) or _EQUALS.match(text)
    if match is None or match.end() == len(text):
        return text
    return text[match.end() :]
