r"""What may stand left of an equals sign and name the right side: `x`, `x_1`, `f(x)`, `\angle ABC`, `(x,y)`."""

from __future__ import annotations

import re

from tutelage.text.expressions import Tree
from tutelage.text.splitting import outer_pair
from tutelage.text.units import KNOWN

SYMBOL = re.compile(r"(?:\\[A-Za-z]+|[A-Za-z])(?:_(?:\{[A-Za-z0-9]{1,8}\}|[A-Za-z0-9]))?'*")
_NAME = re.compile(r"[A-Z]{2,3}|[A-Za-z][a-z]+(?: [A-Za-z][a-z]+){0,3}")
_MEASURE = re.compile(
    r"(?:m ?)?\\(?:angle|triangle|measuredangle|overline|widehat|vec) ?\{? ?[A-Z]{1,4} ?\}?|\|[A-Z]{2}\||\[[A-Z]{3,4}\]"
    r"|\\(?:vec|overrightarrow|hat) ?\{? ?[a-z] ?\}?"
)
_FUNCTION = re.compile(r"([A-Za-z]'{0,2}|[A-Za-z]\^\{-1\}|[A-Z])\(([A-Za-z]|\\[a-z]+)\)")
_LETTERS = re.compile(r"[a-z]{2}|[b-df-hj-np-tv-z]{3}")
"""Lower-case letters that can be a product: two, or three consonants."""
_SHORT_WORDS = frozenset((
    "ad", "ah", "am", "an", "as", "at", "be", "by", "do", "eh", "ex", "go", "ha", "he", "hi", "ho", "id", "if", "in",
    "is", "it", "me", "my", "no", "of", "oh", "ok", "on", "or", "ow", "ox", "pm", "re", "so", "to", "um", "up", "us",
    "we", "ye", "dry", "fly", "fry", "cry", "shy", "sky", "spy", "sly", "try", "why", "gym", "nth",
))  # fmt: skip
_NOT_SYMBOLS = frozenset((
    r"\frac", r"\sqrt", r"\ldots", r"\infty", r"\emptyset", r"\reals", r"\pm", r"\mp", r"\binom", r"\pi",
))  # fmt: skip


def is_symbol(text: str) -> bool:
    """Whether the text is one symbol."""
    return bool(SYMBOL.fullmatch(text)) and text not in _NOT_SYMBOLS


def names_of(text: str) -> tuple[str, ...]:
    """The names that a left side consists of: one, or a tuple of symbols; () if it is anything else."""
    pair = outer_pair(text)
    if pair is not None and pair[0] == "(":
        parts = tuple(map(_plain, pair[1].split(",")))
        return parts if len(parts) > 1 and all(map(is_symbol, parts)) else ()
    is_name = is_symbol(text) or _NAME.fullmatch(text) or _MEASURE.fullmatch(text) or _FUNCTION.fullmatch(text)
    return (_plain(text),) if is_name else ()


def is_function(name: str) -> bool:
    """Whether the name is that of a function with its argument, `f(x)`."""
    return _FUNCTION.fullmatch(name) is not None


def _plain(text: str) -> str:
    return text.replace("{", "").replace("}", "").replace(" ", "")


def product_of(text: str) -> Tree | None:
    """The product that a short run of small letters is, `xy`; None for words and units, and for capitals (`AB`)."""
    if not _LETTERS.fullmatch(text) or text in _SHORT_WORDS or text in KNOWN:
        return None
    tree: Tree = ("sym", text[0])
    for letter in text[1:]:
        tree = ("mul", tree, ("sym", letter))
    return tree
