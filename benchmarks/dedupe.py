"""Near-duplicates among many problems: time, memory and growth, and what the prefilter finds of what there is.

    python benchmarks/dedupe.py --json                      10,000 and 100,000 generated rows; recall on 20,000
    python benchmarks/dedupe.py --rows 1000000 --json       one size
    python benchmarks/dedupe.py --recall 20000 --json       recall only
    python benchmarks/dedupe.py --recall 20000 --data gsm8k:FILE --data math:FILE --json    on questions of your own

Rows come from a seeded generator: free text over a long-tailed vocabulary, 400 templates whose slots are filled anew,
edits of earlier rows (2 to 45 % of their words), and copies. The first n rows of more rows are the n rows. Recall is
measured against brute force over all pairs: `pairs` is the share of pairs that match by the exact measures and share
a band, `rows` the share of rows that brute force drops, in order, and that are dropped. At 1,000,000 rows, brute force
takes a sample of rows against all kept ones before them: `sampled_recall`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import random
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.selection import similarity
from tutelage.selection.dedupe import Likeness, Match, Pool
from tutelage.selection.sketches import sketch

_FUNCTION_WORDS = (
    "the of a to and in is how many does has for each he she it that with if are on at by more than what find let be "
    "as from there total his her they all one this number value then when their after which was per left get"
)
FUNCTION_WORDS = _FUNCTION_WORDS.split()
NAMES = [a + b for a in ("al", "be", "car", "da", "el", "fi", "gre", "ha") for b in ("na", "rik", "mo", "ta", "lin")]
VOCABULARY, TEMPLATES = 30_000, 400
SHARES = (("free", 0.45), ("template", 0.80), ("edit", 0.95), ("copy", 1.0))
CHUNK = 500


class Generator:
    """Endless rows from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        syllables = [c + v for c in "bcdfghjklmnprstvz" for v in ("a", "e", "i", "o", "u", "ar", "en")]
        self.vocabulary = ["".join(self.rng.choices(syllables, k=self.rng.randint(1, 4))) for _ in range(VOCABULARY)]
        self.weights = list(itertools.accumulate(1 / (rank + 20) for rank in range(VOCABULARY)))
        common = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(FUNCTION_WORDS))))
        self.common = common
        self.templates = [self._template() for _ in range(TEMPLATES)]
        self.rows: list[str] = []

    def _free(self, length: int) -> list[str]:
        content = self.rng.choices(self.vocabulary, cum_weights=self.weights, k=length)
        filler = self.rng.choices(FUNCTION_WORDS, cum_weights=self.common, k=length)
        number = str(self.rng.randint(2, 999))
        return [
            number if toss < 0.06 else word if toss < 0.55 else small
            for word, small, toss in zip(content, filler, (self.rng.random() for _ in range(length)), strict=True)
        ]

    def _template(self) -> list[str | None]:
        slots = self.rng.uniform(0.1, 0.5)
        words: list[str | None] = list(self._free(self.rng.randint(14, 70)))
        return [None if self.rng.random() < slots else word for word in words]

    def _filled(self, template: list[str | None]) -> list[str]:
        rng = self.rng
        return [
            word or rng.choice((rng.choice(NAMES), str(rng.randint(2, 999)), rng.choice(self.vocabulary)))
            for word in template
        ]

    def _edited(self, words: list[str]) -> list[str]:
        rng, share = self.rng, self.rng.uniform(0.02, 0.45)
        out: list[str] = []
        for word in words:
            toss = rng.random() / share
            if toss >= 1:
                out.append(word)
            elif toss >= 0.2:
                out.append(rng.choice(self.vocabulary))
        return out or words

    def row(self) -> str:
        """The next row."""
        toss = self.rng.random()
        kind = next(name for name, upto in SHARES if toss < upto) if self.rows else "free"
        if kind == "free":
            words = self._free(self.rng.randint(12, 80))
        elif kind == "template":
            words = self._filled(self.rng.choice(self.templates))
        else:
            words = self.rng.choice(self.rows).split()
            words = self._edited(words) if kind == "edit" else words
        self.rows.append(" ".join(words))
        return self.rows[-1]


def generate(count: int, seed: int = 0, kept: Path | None = None) -> list[str]:
    """The first `count` rows; kept in a file, a row a line, and read from there where it exists."""
    if kept is not None and kept.exists():
        return kept.read_text(encoding="utf-8").splitlines()[:count]
    generator = Generator(seed)
    rows = [generator.row() for _ in range(count)]
    if kept is not None:
        kept.write_text("\n".join(rows), encoding="utf-8")
    return rows


def cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def deduplicate(texts: list[str], likeness: Likeness, workers: int) -> tuple[list[Match | None], dict[str, Any]]:
    """The matches, and figures of the work."""
    began, cpu = time.perf_counter(), cpu_seconds()
    with Pool(likeness, workers=workers) as pool:
        matches = pool.offer(texts)
    seconds = time.perf_counter() - began
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return matches, {
        "seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds() - cpu, 2),
        "rows_per_second": round(len(texts) / seconds),
        "kept": sum(match is None for match in matches), "peak_gib": round((own + workers * children) / 2**20, 2),
        **vars(pool.counts),
    }  # fmt: skip


def brute_force(texts: list[str], likeness: Likeness) -> list[list[int]]:
    """For each row the earlier rows that match by the exact measures."""
    from rapidfuzz import process
    from rapidfuzz.distance import LCSseq
    from scipy.sparse import csr_array

    listed = [similarity.words(text) for text in texts]
    codes = [similarity.encode(words) for words in listed]
    lengths = np.array([len(code) for code in codes])
    sets = [similarity.grams(words, likeness.ngram) for words in listed]
    numbers: dict[Any, int] = {}
    columns = [numbers.setdefault(gram, len(numbers)) for grams in sets for gram in grams]
    sizes = np.array([len(grams) for grams in sets])
    shape = (len(texts), max(1, len(numbers)))
    pointers = np.concatenate([[0], np.cumsum(sizes)])
    matrix = csr_array((np.ones(len(columns), np.int32), np.array(columns), pointers), shape=shape)
    found: list[list[int]] = []
    for start in range(0, len(texts), CHUNK):
        stop = min(start + CHUNK, len(texts))
        common = process.cdist(codes[start:stop], codes[:stop], scorer=LCSseq.similarity, dtype=np.int32, workers=-1)
        total = np.maximum(lengths[start:stop, None] + lengths[None, :stop], 1)
        shared = (matrix[start:stop] @ matrix[:stop].T).toarray()
        whole = np.maximum(sizes[start:stop, None] + sizes[None, :stop] - shared, 1)
        hits = (2 * common / total > likeness.rouge_l) | (shared / whole > likeness.jaccard)
        found += [np.flatnonzero(hits[row - start, :row]).tolist() for row in range(start, stop)]
    return found


def greedy(edges: list[list[int]]) -> list[bool]:
    """Which rows stay when each is dropped that matches an earlier one that stays."""
    stays: list[bool] = []
    for earlier in edges:
        stays.append(not any(stays[row] for row in earlier))
    return stays


def recall(texts: list[str], likeness: Likeness, workers: int) -> dict[str, Any]:
    """What is found of what brute force finds."""
    began = time.perf_counter()
    edges = brute_force(texts, likeness)
    seconds = time.perf_counter() - began
    bands = sketch(texts, likeness.num_bands, likeness.band_rows, likeness.seed).bands
    pairs = np.array([(row, other) for row, earlier in enumerate(edges) for other in earlier]).reshape(-1, 2)
    shared = np.zeros(len(pairs), bool)
    for band in bands:
        shared |= band[pairs[:, 0]] == band[pairs[:, 1]]
    matches, figures = deduplicate(texts, likeness, workers)
    wrong_drops = sum(match is not None and match.row not in edges[row] for row, match in enumerate(matches))
    stays = greedy(edges)
    dropped = [row for row, stay in enumerate(stays) if not stay]
    both = sum(matches[row] is not None for row in dropped)
    return {
        "pairs": len(pairs), "pair_recall": round(float(shared.mean()) if len(pairs) else 1.0, 5),
        "dropped_by_brute_force": len(dropped), "row_recall": round(both / max(1, len(dropped)), 5),
        "dropped_only_here": sum(match is not None and stays[row] for row, match in enumerate(matches)),
        "drops_without_a_match": wrong_drops, "brute_force_seconds": round(seconds, 1), "seconds": figures["seconds"],
    }  # fmt: skip


def sampled_recall(texts: list[str], matches: list[Match | None], likeness: Likeness, size: int) -> dict[str, Any]:
    """Of `size` rows drawn at random that match an earlier kept row, the share that was dropped."""
    from rapidfuzz import process
    from rapidfuzz.distance import LCSseq

    kept = [row for row, match in enumerate(matches) if match is None]
    codes = [similarity.encode(similarity.words(texts[row])) for row in kept]
    lengths = np.array([len(code) for code in codes])
    sample = sorted(random.Random(1).sample(range(len(texts)), min(size, len(texts))))
    due = found = 0
    for row in sample:
        before = int(np.searchsorted(kept, row))
        code = similarity.encode(similarity.words(texts[row]))
        common = process.cdist([code], codes[:before], scorer=LCSseq.similarity, dtype=np.int32, workers=-1)[0]
        if (2 * common / np.maximum(lengths[:before] + len(code), 1) > likeness.rouge_l).any():
            due, found = due + 1, found + (matches[row] is not None)
    return {"sampled": len(sample), "with_a_match": due, "sampled_recall": round(found / max(1, due), 4)}


def main() -> None:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000], help="sizes to time")
    parser.add_argument("--recall", type=int, help="measure recall only, on this many rows")
    parser.add_argument("--data", action="append", default=[], help="take questions of these data instead")
    parser.add_argument("--keep", type=Path, help="file to keep the generated rows in, for the next time")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=int, default=0, help="rows to check by brute force after timing")
    parser.add_argument("--bands", type=int, default=Likeness.num_bands)
    parser.add_argument("--band-rows", type=int, default=Likeness.band_rows)
    parser.add_argument("--cap", type=int, default=Likeness.bucket_cap)
    parser.add_argument("--json", action="store_true", help="accepted for likeness with the other benchmarks")
    args = parser.parse_args()
    likeness = Likeness(num_bands=args.bands, band_rows=args.band_rows, bucket_cap=args.cap, seed=1)
    machine = {"cores": args.workers, "python": platform.python_version(), "processor": platform.machine()}
    settings = {"bands": args.bands, "band_rows": args.band_rows, "bucket_cap": args.cap, "seed": args.seed}

    def tell(name: str, ours: dict[str, Any]) -> None:
        print(json.dumps({"name": name, "ours": ours, "settings": settings, "machine": machine}), flush=True)

    if args.recall or args.data:
        from tutelage.problems import load_problems

        texts = [problem.question for data in args.data for problem in load_problems(data)]
        random.Random(args.seed).shuffle(texts)
        texts = texts or generate(args.recall, args.seed)
        texts = texts[: args.recall]
        tell(f"recall-{'data' if args.data else 'generated'}-{len(texts)}", recall(texts, likeness, args.workers))
        return
    rows = generate(max(args.rows), args.seed, args.keep)
    for count in args.rows:
        texts = rows[:count]
        matches, figures = deduplicate(texts, likeness, args.workers)
        if args.sample:
            figures |= sampled_recall(texts, matches, likeness, args.sample)
        tell(f"dedupe-{count}", figures)


if __name__ == "__main__":
    main()
