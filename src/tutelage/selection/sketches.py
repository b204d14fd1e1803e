"""Sketches of texts, by which near-duplicates are looked for: a MinHash signature in bands, and a bitmap of words.

Both stand for a text's multiset of words (the second `the` is another element than the first). If ROUGE-L F of two
texts of m and n words is above f, they share at least f (m + n) / 2 words, so their multisets' Jaccard index is at
least f / (2 - f): 0.538 for 0.7. MinHash (rensa) finds pairs that alike by equal bands; the bitmap then throws out,
without an error, nearly all pairs that only look so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.errors import MissingExtra
from tutelage.selection.similarity import EXTRA, encode, words

BITMAP_WORDS = 4
"""64-bit words of a bitmap."""
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0xBF58476D1CE4E5B9))
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sketches:
    """Sketches of n texts.

    Args:
        codes: the texts' words, a character each (`similarity.encode`).
        lengths: how many words: int32, (n,).
        bitmaps: which words, hashed to bits: uint64, (n, BITMAP_WORDS).
        bands: the key of each band of the signature: uint32, (bands, n).
    """

    codes: list[str]
    lengths: Array
    bitmaps: Array
    bands: Array

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Array) -> Sketches:
        """The sketches of some of the texts."""
        codes = [self.codes[row] for row in rows.tolist()]
        return Sketches(codes, self.lengths[rows], self.bitmaps[rows], self.bands[:, rows])


def join(parts: Sequence[Sketches]) -> Sketches:
    """Sketches of several lists of texts as those of one."""
    return Sketches(
        [code for part in parts for code in part.codes],
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.bitmaps for part in parts]),
        np.concatenate([part.bands for part in parts], axis=1),
    )


def sketch(texts: Sequence[str], num_bands: int, band_rows: int, seed: int) -> Sketches:
    """The sketches of texts; a function of its arguments only.

    Args:
        texts: at least one.
        num_bands: bands of a signature, each of `band_rows` MinHash values.
        seed: of the hash functions.
    """
    codes = [encode(words(text)) for text in texts]
    lengths = np.fromiter(map(len, codes), np.int32, len(codes))
    flat = np.frombuffer("".join(codes).encode("utf-32-le"), np.uint32).astype(np.uint64)
    owner = np.repeat(np.arange(len(codes)), lengths)
    owner, elements = _elements(owner, flat)
    return Sketches(
        codes, lengths, _bitmaps(owner, elements, len(codes)), _bands(elements, lengths, num_bands, band_rows, seed)
    )


def _elements(owner: Array, flat: Array) -> tuple[Array, Array]:
    """Hashes of (word, which occurrence of it in its text), text by text; uint64."""
    order = np.lexsort((flat, owner))
    owner, flat = owner[order], flat[order]
    is_first = np.ones(len(flat), bool)
    is_first[1:] = (owner[1:] != owner[:-1]) | (flat[1:] != flat[:-1])
    places = np.arange(len(flat))
    occurrence = (places - np.maximum.accumulate(np.where(is_first, places, 0))).astype(np.uint64)
    return owner, _mixed(flat * _ODD[0] + occurrence * _ODD[1])


def _mixed(value: Array) -> Array:
    value = (value ^ (value >> np.uint64(29))) * _ODD[2]
    return value ^ (value >> np.uint64(32))


def _bitmaps(owner: Array, elements: Array, count: int) -> Array:
    maps = np.zeros((count, BITMAP_WORDS), np.uint64)
    bit = (elements >> np.uint64(11)) % np.uint64(64 * BITMAP_WORDS)
    np.bitwise_or.at(maps, (owner, (bit >> np.uint64(6)).astype(np.intp)), np.uint64(1) << (bit & np.uint64(63)))
    return maps


def _bands(elements: Array, lengths: Array, num_bands: int, band_rows: int, seed: int) -> Array:
    try:
        from rensa import RMinHash
    except ImportError as error:
        raise MissingExtra("rensa", EXTRA, "Finding near-duplicates") from error
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(elements, offsets, num_bands * band_rows, seed)
    values = np.array(matrix.to_rows(), dtype=np.uint64).reshape(len(lengths), num_bands, band_rows)
    keys = np.zeros((len(lengths), num_bands), np.uint64)
    for row in range(band_rows):
        keys = _mixed(keys * _ODD[0] + values[:, :, row] + _ODD[1])
    return np.ascontiguousarray((keys & np.uint64(0xFFFFFFFF)).astype(np.uint32).T)


def most_common(first: Array, second: Array, total: Array) -> Array:
    """No fewer words than two texts share, by their bitmaps: (m + n - bits that differ) / 2 at most.

    Every bit that differs is a word that one has and the other has not; words that share a bit hide differences, never
    make them.

    Args:
        first, second: bitmaps, (pairs, BITMAP_WORDS).
        total: m + n, (pairs,).
    """
    differing = first ^ second
    return (total - np.bitwise_count(differing).sum(axis=1, dtype=np.int32)) / 2
