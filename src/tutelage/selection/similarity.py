"""How alike two texts are: ROUGE-L F on words, and the Jaccard index of their word n-grams.

The measures of Self-Instruct (arXiv 2212.10560) and of the 360 talk, on words of mathematics. Longest common
subsequences are rapidfuzz's; each word stands there as one character. Deviation from Self-Instruct, whose words are
runs of a-z and 0-9: here letters of every script count, numbers stay whole, and the signs of arithmetic are words, so
that `x+1` and `x-1` differ.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from tutelage.errors import MissingExtra

EXTRA = "synthesis"
_WORD = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)*|[-+*/^=<>%]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SURROGATES = (0xD800, 0xE000)
_CODES = 0x110000 - (_SURROGATES[1] - _SURROGATES[0]) - 1


def words(text: str) -> list[str]:
    """The words of a text, in lower case: runs of letters, whole numbers, signs of arithmetic.

    >>> words("Tom has 1,200 pens; x-1 = 3.5")
    ['tom', 'has', '1,200', 'pens', 'x', '-', '1', '=', '3.5']
    """
    return _WORD.findall(text.lower())


def numbers(text: str) -> tuple[str, ...]:
    """The numbers of a text, commas left out, sorted: what tells two problems of one template apart."""
    return tuple(sorted(found.replace(",", "") for found in _NUMBER.findall(text)))


def rouge_l(first: str, second: str) -> float:
    """ROUGE-L F of two texts: the harmonic mean of LCS/m and LCS/n, which is 2 LCS / (m + n).

    Args:
        first, second: texts of m and n words; LCS is the length of their longest common subsequence of words.

    Returns:
        In [0, 1]; 0 where neither has a word. Symmetric.

    Source: Lin 2004, ROUGE, section 3, with beta = 1, as Self-Instruct uses it.

    >>> rouge_l("a b c d", "a x c d e f")   # a c d of 4 and 6 words
    0.6
    """
    left, right = words(first), words(second)
    return f_measure(common_length(left, right), len(left) + len(right))


def common_length(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence of two lists of words."""
    shared = {word: chr(32 + number) for number, word in enumerate(dict.fromkeys([*left, *right]))}
    encoded = ["".join(shared[word] for word in side) for side in (left, right)]
    return int(rapidfuzz("LCSseq").similarity(*encoded))


def f_measure(common: float, total: float) -> float:
    """2 LCS / (m + n) from LCS and m + n; 0 where there are no words."""
    return 2 * common / total if total else 0.0


def jaccard(first: str, second: str, n: int = 3) -> float:
    """Jaccard index of the sets of word n-grams: |A & B| / |A | B|, in [0, 1]; 0 where both sets are empty.

    A text of fewer than n words has one gram, the whole of it.

    >>> jaccard("a b c d", "a b c e", n=2)   # ab bc | cd ce
    0.5
    """
    return set_jaccard(grams(words(first), n), grams(words(second), n))


def grams(items: Sequence[str], n: int) -> set[tuple[str, ...]]:
    """The set of n-grams of a list of words; of a shorter list the whole, of an empty one nothing."""
    if not items:
        return set()
    return {tuple(items[i : i + n]) for i in range(max(1, len(items) - n + 1))}


def set_jaccard(first: set[Any], second: set[Any]) -> float:
    """|A & B| / |A | B|; 0 for two empty sets."""
    common = len(first & second)
    whole = len(first) + len(second) - common
    return common / whole if whole else 0.0


def encode(items: Sequence[str]) -> str:
    """Words as one character each, the same in every process: equal words get equal characters.

    Two different words share a character once in a million, which can only make texts look more alike than they are;
    whoever decides by such a text looks at the words again.
    """
    if len(_CHARACTERS) > _MOST_REMEMBERED:
        _CHARACTERS.clear()
    return "".join(map(_CHARACTERS.__getitem__, items))


class _Characters(dict[str, str]):
    """The character of each word, worked out once."""

    def __missing__(self, word: str) -> str:
        code = 1 + zlib.crc32(word.encode(errors="surrogatepass")) % (_CODES - 1)
        self[word] = chr(code if code < _SURROGATES[0] else code + _SURROGATES[1] - _SURROGATES[0])
        return self[word]


_CHARACTERS = _Characters()
_MOST_REMEMBERED = 1 << 20


def common_lengths(left: list[str], right: list[str], workers: int = 1) -> np.ndarray[Any, Any]:
    """Longest common subsequences of encoded texts, pair by pair: int32 of shape (pairs,)."""
    measure: Callable[..., Any] = rapidfuzz("LCSseq").similarity
    found = rapidfuzz("process").cpdist(left, right, scorer=measure, workers=workers, dtype=np.int32)
    return np.asarray(found, dtype=np.int32)


@cache
def rapidfuzz(name: str) -> Any:
    """A part of rapidfuzz.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        from rapidfuzz import process
        from rapidfuzz.distance import LCSseq
    except ImportError as error:
        raise MissingExtra("rapidfuzz", EXTRA, "Comparing texts") from error
    return {"process": process, "LCSseq": LCSseq}[name]
