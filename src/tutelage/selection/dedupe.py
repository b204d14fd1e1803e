"""Near-duplicates of texts: which rows of many say what an earlier row says.

A text is a duplicate of an earlier one if ROUGE-L F on words is above `rouge_l`, or the Jaccard index of their word
n-grams is above `jaccard` (`similarity`). Rows are taken in order, each is compared with the rows kept so far, and the
first of its kind stays: the rule of Self-Instruct (arXiv 2212.10560), for millions of rows.

    1. sketches of a block of rows (`sketches`): MinHash bands, bitmaps; in `workers` processes
    2. the kept rows that share a band with a row are its candidates, at most `bucket_cap` of them a band: the earliest
    3. candidates that cannot be alike by their bitmaps go; the others are compared word by word
    4. rows that match no kept row are compared among themselves in the same way, and taken in order

What MinHash misses, and what the cap leaves out, stays as a duplicate that was not found; nothing is ever dropped that
does not match by the exact measures. The result depends on neither the number of workers nor the size of blocks, save
for the cap: within a block it counts rows that are not known to stay yet. Memory and time: see benchmarks/dedupe.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Literal

import numpy as np

from tutelage.selection import similarity
from tutelage.selection.sketches import Array, Sketches, join, most_common, sketch

FIRST_BLOCK, LARGEST_BLOCK, SHARD = 1024, 32_768, 2048
BANDS_AT_ONCE = 8
Accept = Callable[[str, str], bool]


@dataclass(frozen=True)
class Likeness:
    """When two texts are the same, and how hard it is looked for.

    Args:
        rouge_l: ROUGE-L F above which they are; 1 turns this measure off.
        jaccard: Jaccard index of word n-grams above which they are; 1 turns this measure off.
        ngram: words of a gram.
        num_bands, band_rows: MinHash values are compared in `num_bands` groups of `band_rows`.
        bucket_cap: most texts of a bucket that one text is compared with.
        seed: of the hash functions.
    """

    rouge_l: float = 0.7
    jaccard: float = 0.7
    ngram: int = 3
    num_bands: int = 50
    band_rows: int = 4
    bucket_cap: int = 64
    seed: int = 1


@dataclass(frozen=True)
class Match:
    """The earlier text that a text is too much like: its row in the pool, the measure that says so, and its value."""

    row: int
    rule: Literal["rouge_l", "jaccard"]
    value: float


@dataclass
class Counts:
    """What was done: pairs proposed by a band, those left by the bitmaps, and what the cap left out.

    `capped_lookups` are (row, band) lookups in a bucket above the cap, `capped_pairs` the pairs that they left out,
    `largest_bucket` the largest bucket met.
    """

    proposed: int = 0
    compared: int = 0
    lookups: int = 0
    capped_lookups: int = 0
    capped_pairs: int = 0
    largest_bucket: int = 0

    def add(self, sizes: Array, cap: int) -> None:
        """Count lookups in buckets of these sizes."""
        over = sizes[sizes > cap]
        self.lookups += int(np.count_nonzero(sizes))
        self.capped_lookups += len(over)
        self.capped_pairs += int(over.sum() - cap * len(over))
        self.largest_bucket = max(self.largest_bucket, int(sizes.max(initial=0)))

    def merge(self, other: Counts) -> None:
        """Add another's counts."""
        for name in ("proposed", "compared", "lookups", "capped_lookups", "capped_pairs"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.largest_bucket = max(self.largest_bucket, other.largest_bucket)


@dataclass
class Buckets:
    """The kept rows by band: per band the keys in order, and the row of each, earlier rows first."""

    keys: list[Array]
    rows: list[Array]

    @classmethod
    def empty(cls, num_bands: int) -> Buckets:
        """No rows."""
        return cls([np.empty(0, np.uint32)] * num_bands, [np.empty(0, np.uint32)] * num_bands)

    def add(self, bands: Array, rows: Array) -> None:
        """Rows that come after all there are; `bands` is (num_bands, n)."""
        for band, new in enumerate(bands):
            order = np.argsort(new, kind="stable")
            places = np.searchsorted(self.keys[band], new[order], side="right")
            self.keys[band] = np.insert(self.keys[band], places, new[order])
            self.rows[band] = np.insert(self.rows[band], places, rows[order].astype(np.uint32))

    def candidates(self, band: int, wanted: Array, cap: int, counts: Counts) -> tuple[Array, Array]:
        """Pairs (index into `wanted`, row) that share the band's key, at most `cap` of each of `wanted`."""
        order = np.argsort(wanted)
        low = np.searchsorted(self.keys[band], wanted[order], side="left")
        sizes = np.searchsorted(self.keys[band], wanted[order], side="right") - low
        counts.add(sizes, cap)
        taken = np.minimum(sizes, cap)
        return np.repeat(order, taken), self.rows[band][_ranges(low, taken)]


def _ranges(starts: Array, lengths: Array) -> Array:
    """start, start + 1, ... of each, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)


@dataclass
class Pool:
    """Texts that differ from each other; new ones are offered to it. A context manager, for its workers.

    Args:
        likeness: when two texts are the same.
        workers: processes for sketches and threads for comparing.

    Attributes:
        rows: for each text in the pool, its number among all that were offered.
        counts: what was done so far.
    """

    likeness: Likeness = field(default_factory=Likeness)
    workers: int = 1

    def __post_init__(self) -> None:
        self.rows: list[int] = []
        self.counts = Counts()
        self._offered = 0
        self._texts: list[str] = []
        self._codes: list[str] = []
        self._lengths, self._bitmaps = np.empty(0, np.int32), np.empty((0, 4), np.uint64)
        self._size = 0
        self._buckets = Buckets.empty(self.likeness.num_bands)
        self._stack = ExitStack()
        self._processes: Executor | None = None
        self._threads: Executor | None = None

    def __enter__(self) -> Pool:
        if self.workers > 1:
            self._processes = self._stack.enter_context(ProcessPoolExecutor(self.workers, get_context("spawn")))
            self._threads = self._stack.enter_context(ThreadPoolExecutor(self.workers))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._processes = self._threads = None

    def __len__(self) -> int:
        return len(self.rows)

    def offer(self, texts: Sequence[str]) -> list[Match | None]:
        """Take the texts in order: one that matches a text of the pool is left out, any other joins it.

        Returns:
            For each text the match, whose `row` is a number among all that were ever offered, or None if it joined.
        """
        found: list[Match | None] = []
        for block in self._blocks(texts):
            matches = self._settle(block, self._sketched(block))
            found += [match and Match(self.rows[match.row], match.rule, match.value) for match in matches]
        return found

    def hold(self, texts: Sequence[str]) -> None:
        """Take all the texts into the pool, alike or not."""
        for start in range(0, len(texts), LARGEST_BLOCK):
            block = texts[start : start + LARGEST_BLOCK]
            self._texts += block
            self._join(self._sketched(block), list(range(self._offered, self._offered + len(block))))
            self._offered += len(block)

    def find(self, texts: Sequence[str], accept: Accept | None = None) -> list[Match | None]:
        """A match of each text, which does not join the pool; `row` as in `offer`.

        Args:
            accept: takes a text and one of the pool that it matches, and says whether that counts.
        """
        if not self.rows:
            return [None] * len(texts)
        found: list[Match | None] = []
        for start in range(0, len(texts), LARGEST_BLOCK):
            block = texts[start : start + LARGEST_BLOCK]
            matches = self._matches(block, self._sketched(block), accept)
            found += [match and Match(self.rows[match.row], match.rule, match.value) for match in matches]
        return found

    def _blocks(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        """Blocks that grow with the pool, so that what a block holds is mostly compared with what is kept."""
        start = 0
        while start < len(texts):
            size = min(LARGEST_BLOCK, max(FIRST_BLOCK, len(self.rows) // 8))
            yield texts[start : start + size]
            start += size

    def _sketched(self, texts: Sequence[str]) -> Sketches:
        like = self.likeness
        shards = [texts[start : start + SHARD] for start in range(0, len(texts), SHARD)]
        extra = [[value] * len(shards) for value in (like.num_bands, like.band_rows, like.seed)]
        mapped = self._processes.map if self._processes is not None and len(shards) > 1 else map
        return join(list(mapped(sketch, shards, *extra)))

    def _settle(self, texts: Sequence[str], new: Sketches) -> list[Match | None]:
        """Match a block with the pool, then its rest in order; those that match nothing join. Rows are the pool's."""
        matches = self._matches(texts, new)
        rest = np.array([row for row, match in enumerate(matches) if match is None], np.intp)
        among = self._among(new.take(rest)) if len(rest) else []
        joined: dict[int, int] = {}
        for place, row in enumerate(rest.tolist()):
            known = next((hit for hit in among[place] if hit.row in joined), None)
            known = known and self._confirmed(texts[row], texts[rest[known.row]], known)
            if known is None:
                joined[place] = len(self.rows) + len(joined)
            else:
                matches[row] = Match(joined[known.row], known.rule, known.value)
        stay = rest[list(joined)] if joined else rest[:0]
        self._texts += [texts[row] for row in stay.tolist()]
        self._join(new.take(stay), [self._offered + row for row in stay.tolist()])
        self._offered += len(new)
        return matches

    def _confirmed(self, text: str, other: str, match: Match) -> Match | None:
        """The match if the words themselves say so too: in codes two words may look alike."""
        if match.rule == "rouge_l":
            value, most = similarity.rouge_l(text, other), self.likeness.rouge_l
        else:
            value, most = similarity.jaccard(text, other, self.likeness.ngram), self.likeness.jaccard
        return Match(match.row, match.rule, value) if value > most else None

    def _join(self, new: Sketches, rows: list[int]) -> None:
        start, end = self._size, self._size + len(new)
        if end > len(self._lengths):
            room = max(end, 2 * start)
            self._lengths = np.concatenate([self._lengths, np.zeros(room - len(self._lengths), np.int32)])
            more = np.zeros((room - len(self._bitmaps), self._bitmaps.shape[1]), np.uint64)
            self._bitmaps = np.concatenate([self._bitmaps, more])
        self._lengths[start:end], self._bitmaps[start:end] = new.lengths, new.bitmaps
        self._buckets.add(new.bands, np.arange(start, end))
        self._codes += new.codes
        self.rows += rows
        self._size = end

    def _matches(self, texts: Sequence[str], new: Sketches, accept: Accept | None = None) -> list[Match | None]:
        """A match of each new text in the pool, if it has one; each thread takes a share of the texts."""
        shares = np.array_split(np.arange(len(new)), self.workers if self._threads is not None else 1)
        shares = [share for share in shares if len(share)]
        mapped = self._threads.map if self._threads is not None else map
        found: list[Match | None] = []
        for matches, counts in mapped(lambda share: self._look_up(texts, share, new.take(share), accept), shares):
            self.counts.merge(counts)
            found += matches
        return found

    def _look_up(
        self, texts: Sequence[str], share: Array, new: Sketches, accept: Accept | None
    ) -> tuple[list[Match | None], Counts]:
        """Band by band: a text that has its match is not looked up again."""
        counts, found = Counts(), dict[int, Match]()
        stored = Sketches(self._codes, self._lengths, self._bitmaps, new.bands)
        for band in range(0, len(new.bands), BANDS_AT_ONCE):
            open_rows = np.array([row for row in range(len(new)) if row not in found], np.intp)
            sides = [
                self._buckets.candidates(number, new.bands[number, open_rows], self.likeness.bucket_cap, counts)
                for number in range(band, min(band + BANDS_AT_ONCE, len(new.bands)))
            ]
            left = open_rows[np.concatenate([side[0] for side in sides])]
            right = np.concatenate([side[1] for side in sides]).astype(np.intp)
            for row, match in _alike(new, left, stored, right, self.likeness, counts):
                text, other = texts[share[row]], self._texts[match.row]
                if row in found or (accept is not None and not accept(text, other)):
                    continue
                confirmed = self._confirmed(text, other, match)
                if confirmed is not None:
                    found[row] = confirmed
        return [found.get(row) for row in range(len(new))], counts

    def _among(self, new: Sketches) -> list[list[Match]]:
        """For each text of a block the earlier ones that it matches, earliest first; `row` is a place in the block."""
        buckets = Buckets.empty(len(new.bands))
        buckets.add(new.bands, np.arange(len(new)))
        sides = [
            buckets.candidates(band, keys, self.likeness.bucket_cap, self.counts) for band, keys in enumerate(new.bands)
        ]
        left = np.concatenate([side[0] for side in sides])
        right = np.concatenate([side[1] for side in sides]).astype(np.intp)
        earlier = right < left
        hits: list[list[Match]] = [[] for _ in range(len(new))]
        for row, match in _alike(new, left[earlier], new, right[earlier], self.likeness, self.counts):
            hits[row].append(match)
        return hits


def _alike(
    new: Sketches, left: Array, stored: Sketches, right: Array, like: Likeness, counts: Counts
) -> Iterator[tuple[int, Match]]:
    """Of the pairs (text of `new`, text of `stored`) those that match, ordered by both."""
    counts.proposed += len(left)
    total = new.lengths[left] + stored.lengths[right]
    common = most_common(new.bitmaps[left], stored.bitmaps[right], total)
    by_rouge, by_grams = common * 2 > like.rouge_l * total, common >= _fewest_for_grams(total, like)
    possible = by_rouge | by_grams
    pairs = left[possible].astype(np.int64) << 33 | right[possible].astype(np.int64) << 1
    pairs = np.unique(pairs | by_grams[possible])
    left, right, is_near_by_grams = pairs >> 33, (pairs >> 1) & 0xFFFFFFFF, pairs & 1
    counts.compared += len(pairs)
    if not len(pairs):
        return
    first = [new.codes[row] for row in left.tolist()]
    second = [stored.codes[row] for row in right.tolist()]
    total = np.maximum(new.lengths[left] + stored.lengths[right], 1)
    rouge = 2 * similarity.common_lengths(first, second) / total
    for place in np.flatnonzero((rouge > like.rouge_l) | (is_near_by_grams == 1)).tolist():
        row, other, value = int(left[place]), int(right[place]), float(rouge[place])
        if value > like.rouge_l:
            yield row, Match(other, "rouge_l", value)
            continue
        shared = similarity.set_jaccard(*(similarity.grams(text[place], like.ngram) for text in (first, second)))
        if shared > like.jaccard:
            yield row, Match(other, "jaccard", shared)


def _fewest_for_grams(total: Array, like: Likeness) -> Array:
    """Fewest words that two texts of together `total` words share if their n-gram sets are alike enough.

    The sets share at least j / (1 + j) of their sizes' sum, and as many words begin those grams.
    """
    return like.jaccard / (1 + like.jaccard) * (total - 2 * (like.ngram - 1)) if like.jaccard < 1 else total + 1


def dedupe(texts: Sequence[str], likeness: Likeness | None = None, *, workers: int = 1) -> list[Match | None]:
    """For each text the earlier, kept text that it is a duplicate of, or None where it is kept itself.

    Args:
        texts: any number; the first of its kind is kept.
        likeness: when two texts are the same; None takes the published rule.
        workers: processes and threads; they change no result.
    """
    with Pool(likeness or Likeness(), workers=workers) as pool:
        return pool.offer(texts)
