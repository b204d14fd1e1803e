"""Likeness of texts: hand-computed values, and invariances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.selection.similarity import (
    common_length,
    common_lengths,
    encode,
    grams,
    jaccard,
    numbers,
    rouge_l,
    words,
)

WORDS = st.lists(st.sampled_from("abcde"), max_size=9)


def slow_common_length(left: list[str], right: list[str]) -> int:
    """The textbook table."""
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, a in enumerate(left, start=1):
        for j, b in enumerate(right, start=1):
            table[i][j] = table[i - 1][j - 1] + 1 if a == b else max(table[i - 1][j], table[i][j - 1])
    return table[-1][-1]


def test_words_keep_numbers_and_signs_of_arithmetic() -> None:
    assert words("Tom's 1,200 pens: x-1 = 3.5!") == ["tom", "s", "1,200", "pens", "x", "-", "1", "=", "3.5"]
    assert words("Élan ... \\frac{1}{2}") == ["élan", "frac", "1", "2"]
    assert words("") == words("?!") == []


def test_numbers_are_a_sorted_multiset() -> None:
    assert numbers("3 of 1,200 and 3.5") == ("1200", "3", "3.5")
    assert numbers("2 then 2") == ("2", "2")


def test_rouge_l_by_hand() -> None:
    # "tom has 5 red pens" and "tom has 7 pens": the common subsequence is tom has pens, 3 of 5 and of 4 words.
    # precision 3/4, recall 3/5, F = 2 * 3/4 * 3/5 / (3/4 + 3/5) = 6/9.
    assert rouge_l("Tom has 5 red pens.", "tom has 7 pens") == pytest.approx(6 / 9)
    assert rouge_l("a b c", "c b a") == pytest.approx(2 / 6), "order counts"
    assert rouge_l("a b", "a b") == 1.0
    assert rouge_l("", "") == rouge_l("a", "") == 0.0
    assert rouge_l("x+1", "x-1") == pytest.approx(4 / 6), "a sign is a word"


def test_jaccard_by_hand() -> None:
    # bigrams: {ab bc cd} and {ab bc ce}: 2 shared of 4.
    assert jaccard("a b c d", "a b c e", n=2) == 0.5
    assert jaccard("a b a b a b", "a b a b", n=2) == 1.0, "sets, not multisets"
    assert jaccard("a b", "a b", n=3) == 1.0 and jaccard("a b", "a b c", n=3) == 0.0
    assert jaccard("", "") == 0.0
    assert grams(["a", "b"], 3) == {("a", "b")} and grams([], 3) == set()


@given(WORDS, WORDS)
def test_lengths_are_those_of_the_textbook_table(left: list[str], right: list[str]) -> None:
    wanted = slow_common_length(left, right)
    assert common_length(left, right) == common_length(right, left) == wanted
    assert common_lengths([encode(left)], [encode(right)]).tolist() == [wanted]


@given(WORDS, WORDS)
def test_measures_lie_between_0_and_1_and_are_symmetric(left: list[str], right: list[str]) -> None:
    first, second = " ".join(left), " ".join(right)
    for measure in (rouge_l, jaccard):
        assert 0 <= measure(first, second) == measure(second, first) <= 1
        assert measure(first, first) == (1.0 if left else 0.0)


def test_codes_are_one_character_a_word_and_equal_for_equal_words() -> None:
    code = encode(["tom", "has", "tom"])
    assert len(code) == 3 and code[0] == code[2] != code[1]
    many = encode([f"w{n}" for n in range(20_000)])
    assert len(many) == 20_000 and len(set(many)) > 19_600
    assert not any("\ud800" <= char <= "\udfff" for char in many)
