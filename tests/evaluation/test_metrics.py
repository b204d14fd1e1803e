"""pass@k and majority votes against enumeration by hand and by machine."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation.metrics import (
    Vote,
    accuracy,
    answer_key,
    expected_majority,
    majority_vote,
    pass_at_k,
)


def votes(text: str) -> list[Vote]:
    """A right answer is `r`, wrong ones are other letters, `-` is no answer, `?` could not be graded."""
    return [Vote(None if c == "-" else c, None if c == "?" else c == "r") for c in text]


def test_accuracy() -> None:
    assert accuracy([1.0, 0.0, 0.5]) == 0.5
    with pytest.raises(ValueError, match="no problems"):
        accuracy([])


def test_pass_at_k_by_hand() -> None:
    # 4 samples, 1 right: of 6 pairs, 3 hold it. 5 samples, 2 right, k = 3: 1 - C(3,3)/C(5,3) = 1 - 1/10.
    assert pass_at_k(4, 1, 2) == 0.5
    assert pass_at_k(5, 2, 3) == 0.9
    assert pass_at_k(8, 0, 8) == 0.0 and pass_at_k(8, 1, 8) == 1.0
    assert pass_at_k(10_000, 1, 1) == 1e-4


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    samples = [i < c for i in range(n)]
    subsets = [any(s) for s in itertools.combinations(samples, k)]
    assert pass_at_k(n, c, k) == pytest.approx(sum(subsets) / len(subsets), abs=1e-15)


@pytest.mark.parametrize("bad", [(4, 1, 5), (4, 1, 0), (4, 5, 2), (4, -1, 2), (0, 0, 1)])
def test_pass_at_k_where_it_is_not_defined(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(*bad)


@pytest.mark.parametrize(
    ("text", "first", "shared"),
    [
        ("rra", 1.0, 1.0),
        ("raa", 0.0, 0.0),
        ("ra", 1.0, 0.5),
        ("ar", 0.0, 0.5),
        ("abr", 0.0, 1 / 3),
        ("--r", 1.0, 1.0),
        ("---", 0.0, 0.0),
        ("", 0.0, 0.0),
        ("??r", None, None),
        ("?rr", 1.0, 1.0),
        ("r?", 1.0, None),
    ],
)
def test_majority_by_hand(text: str, first: float | None, shared: float | None) -> None:
    assert majority_vote(votes(text)) == first
    assert majority_vote(votes(text), share_ties=True) == (shared if shared is None else pytest.approx(shared))


def test_an_answer_is_judged_by_its_first_graded_vote() -> None:
    assert majority_vote([Vote("a", None), Vote("a", True), Vote("b", False)]) == 1.0


@given(st.text("rab-", max_size=8), st.randoms(use_true_random=False))
def test_shared_ties_do_not_depend_on_order(text: str, rng: random.Random) -> None:
    shuffled = "".join(rng.sample(text, len(text)))
    assert majority_vote(votes(text), share_ties=True) == majority_vote(votes(shuffled), share_ties=True)
    if text.strip("-"):
        top = max(text.count(c) for c in "rab")
        tied = [c for c in "rab" if text.count(c) == top]
        assert majority_vote(votes(text), share_ties=True) == ("r" in tied) / len(tied)


def test_expected_majority_by_hand() -> None:
    # r r a, k = 2: rr 1, ra 1/2, ra 1/2.
    assert expected_majority(votes("rra"), 2) == pytest.approx(2 / 3)
    assert expected_majority(votes("rab"), 1) == pytest.approx(1 / 3)
    assert expected_majority(votes("r?"), 2) is None
    with pytest.raises(ValueError, match="maj@4 of 3"):
        expected_majority(votes("rra"), 4)


def test_expected_majority_by_drawing_comes_close_to_the_exact_value() -> None:
    text = "rrrrraaaaabbbcd-"
    exact = expected_majority(votes(text), 5, num_draws=10**6)
    drawn = expected_majority(votes(text), 5, num_draws=4000, seed=1)
    assert exact is not None and drawn is not None
    assert abs(exact - drawn) < 4 * 0.5 / 4000**0.5
    assert drawn == expected_majority(votes(text), 5, num_draws=4000, seed=1)


@pytest.mark.parametrize(
    "same",
    [
        ("0.5", "1/2", r"\frac{1}{2}", ".50"),
        ("1,000", "1000", "1000.0", "$1000$"),
        ("north", "North"),
        ("A", "A "),
        ("x = 5", "5"),
        ("1, 2", "2, 1"),
    ],
)
def test_spellings_of_one_answer_vote_together(same: tuple[str, ...]) -> None:
    assert len({answer_key(s) for s in same}) == 1


@pytest.mark.parametrize("pair", [("1", "2"), ("A", "B"), ("x+1", "x+2"), ("50%", "50"), ("(1,2)", "(2,1)")])
def test_different_answers_vote_apart(pair: tuple[str, str]) -> None:
    assert answer_key(pair[0]) != answer_key(pair[1])


@given(st.text(max_size=60))
def test_any_text_has_a_key(text: str) -> None:
    assert hash(answer_key(text)) == hash(answer_key(text))
