"""Near-duplicates: the first of its kind stays, brute force agrees, workers and blocks change nothing."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tutelage.selection import dedupe as module
from tutelage.selection.dedupe import Buckets, Counts, Likeness, Match, Pool, dedupe
from tutelage.selection.similarity import common_length, grams, jaccard, rouge_l, words
from tutelage.selection.sketches import most_common, sketch

BASE = "tom has 12 red apples and gives 5 of them to ann how many apples does tom have now"


def rows(count: int, seed: int = 0) -> list[str]:
    """Free text, fillings of a few templates, and edits of earlier rows."""
    rng = random.Random(seed)
    vocabulary = [f"w{n}" for n in range(400)]
    templates = [[rng.choice([None, *vocabulary[:60], *vocabulary[:60]]) for _ in range(24)] for _ in range(8)]
    made: list[str] = []
    for _ in range(count):
        toss = rng.random()
        if toss < 0.5 or not made:
            text = rng.choices(vocabulary, k=rng.randint(8, 40))
        elif toss < 0.8:
            text = [word or rng.choice(vocabulary) for word in rng.choice(templates)]
        else:
            share = rng.uniform(0, 0.4)
            text = [rng.choice(vocabulary) if rng.random() < share else word for word in rng.choice(made).split()]
        made.append(" ".join(text))
    return made


def brute_force(texts: list[str], like: Likeness) -> list[bool]:
    """Which rows stay, by comparing each with every one that stays."""
    kept: list[tuple[list[str], set[tuple[str, ...]]]] = []
    stays = []
    for text in texts:
        listed = words(text)
        sets = grams(listed, like.ngram)
        stays.append(
            not any(
                2 * common_length(listed, other) > like.rouge_l * (len(listed) + len(other))
                or len(sets & others) > like.jaccard * len(sets | others)
                for other, others in kept
            )
        )
        if stays[-1]:
            kept.append((listed, sets))
    return stays


def test_earlier_rows_win_and_the_measure_is_told() -> None:
    edited = BASE.replace("12", "15").replace("red ", "")
    other = "a train leaves at noon and covers 300 miles in 4 hours what is its speed"
    found = dedupe([BASE, other, edited, BASE.upper() + "!"])
    assert found[0] is None and found[1] is None
    # 19 and 18 words, of which 17 in common: 2 * 17 / 37.
    assert (len(words(BASE)), len(words(edited))) == (19, 18)
    assert found[2] == Match(0, "rouge_l", pytest.approx(34 / 37))
    assert found[3] == Match(0, "rouge_l", 1.0)


def test_moved_sentences_are_found_by_their_ngrams() -> None:
    first, second = "we know that the sum of two numbers is 30", "also we are told their difference is 4 in all"
    moved = [f"{first} {second}", f"{second} {first}"]
    assert rouge_l(*moved) < 0.7 < jaccard(*moved)
    assert dedupe(moved)[1] == Match(0, "jaccard", pytest.approx(jaccard(*moved)))
    assert dedupe(moved, Likeness(jaccard=1.0))[1] is None


def test_a_value_at_the_limit_is_no_match() -> None:
    # 7 of 10 words in common: exactly 0.7.
    pair = ["a b c d e f g h i j", "a b c d e f g x y z"]
    assert rouge_l(*pair) == pytest.approx(0.7)
    assert dedupe(pair, Likeness(jaccard=1.0)) == [None, None]
    assert dedupe(pair, Likeness(rouge_l=0.69, jaccard=1.0))[1] is not None


def test_a_row_like_a_dropped_row_only_stays() -> None:
    a = " ".join(f"a{n}" for n in range(10))
    b = " ".join([*(f"a{n}" for n in range(8)), "b8", "b9"])  # 0.8 of a: dropped
    c = " ".join([*(f"a{n}" for n in range(2, 8)), "b8", "b9", "c0", "c1"])  # 0.8 of b, 0.6 of a: stays
    found = dedupe([a, b, c], Likeness(jaccard=1.0))
    assert [match and match.row for match in found] == [None, 0, None]


def test_brute_force_agrees_on_nearly_all_and_no_drop_is_wrong() -> None:
    texts, like = rows(260), Likeness()
    found, stays = dedupe(texts, like), brute_force(texts, like)
    dropped = [row for row, stay in enumerate(stays) if not stay]
    assert len(dropped) > 30
    assert sum(found[row] is not None for row in dropped) >= 0.99 * len(dropped)
    for row, match in enumerate(found):
        if match is not None:
            measure = rouge_l(texts[row], texts[match.row]) if match.rule == "rouge_l" else jaccard(
                texts[row], texts[match.row]
            )  # fmt: skip
            assert match.row < row and found[match.row] is None and match.value == pytest.approx(measure)


def test_blocks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = rows(250, seed=3)
    whole = dedupe(texts)
    monkeypatch.setattr(module, "FIRST_BLOCK", 37)
    monkeypatch.setattr(module, "LARGEST_BLOCK", 64)
    assert [match is None for match in dedupe(texts)] == [match is None for match in whole]
    with Pool(workers=2) as pool:
        pool._processes = None  # threads only: processes take seconds to start
        assert [match is None for match in pool.offer(texts)] == [match is None for match in whole]


@pytest.mark.slow
def test_processes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = rows(2500, seed=4)
    monkeypatch.setattr(module, "SHARD", 500)
    assert dedupe(texts, workers=2) == dedupe(texts, workers=1)


def test_a_pool_goes_on_where_it_was() -> None:
    texts = rows(300, seed=5)
    pool = Pool()
    in_parts = [*pool.offer(texts[:120]), *pool.offer(texts[120:])]
    whole = dedupe(texts)
    assert [match is None for match in in_parts] == [match is None for match in whole]
    assert len(pool) == sum(match is None for match in whole)


def test_held_texts_stay_though_alike_and_found_ones_do_not_join() -> None:
    pool = Pool()
    pool.hold([BASE, BASE.replace("12", "13")])
    assert len(pool) == 2
    found = pool.find([BASE.replace("12", "14"), "something else altogether is asked in this place"])
    assert found[0] is not None and found[0].row == 0 and found[1] is None
    only = pool.find([BASE.replace("red", "big").replace("12", "13")], lambda a, b: "13" in b)
    assert only[0] is not None and only[0].row == 1
    assert len(pool) == 2 and pool.offer([BASE])[0] is not None


def test_texts_without_words_stay() -> None:
    assert dedupe(["", "", "?!", "one two three four"]) == [None] * 4
    assert dedupe([]) == []
    assert Pool().find(["a b"]) == [None]


def test_large_buckets_are_capped_and_counted() -> None:
    buckets, counts = Buckets.empty(1), Counts()
    buckets.add(np.array([[7, 7, 7, 9, 7]], np.uint32), np.arange(5))
    asked, hits = buckets.candidates(0, np.array([7, 8, 9], np.uint32), 2, counts)
    assert list(zip(asked.tolist(), hits.tolist(), strict=True)) == [(0, 0), (0, 1), (2, 3)], "the earliest two of four"
    assert (counts.lookups, counts.capped_lookups, counts.capped_pairs, counts.largest_bucket) == (2, 1, 2, 4)


def test_the_bitmap_bound_never_falls_below_what_is_shared() -> None:
    texts = rows(60, seed=6)
    found = sketch(texts, 4, 2, 1)
    left, right = np.triu_indices(len(texts), 1)
    bound = most_common(found.bitmaps[left], found.bitmaps[right], found.lengths[left] + found.lengths[right])
    for a, b, most in zip(left.tolist(), right.tolist(), bound.tolist(), strict=True):
        one, other = words(texts[a]), words(texts[b])
        assert sum(min(one.count(word), other.count(word)) for word in set(one)) <= most


def test_two_words_with_one_code_make_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.selection.sketches.encode", lambda items: "x" * len(items))
    assert dedupe(["a b c d e f", "g h i j k l"]) == [None, None]
