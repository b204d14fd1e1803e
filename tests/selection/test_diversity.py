"""Choosing diverse paths: both published rules by hand, the union, what samplers gave, and how paths grow with k."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.selection.diversity import (
    Path,
    bounded_set,
    contributions,
    distance,
    distinct_curve,
    expected_distinct,
    fit_curve,
    replacement_pass,
    select_paths,
    sum_of_distances,
    unite,
)


def ids(paths: list[Path]) -> list[str]:
    return [path.id for path in paths]


def test_levenshtein_counts_characters() -> None:
    assert distance("kitten", "sitting") == 3
    assert sum_of_distances("ab", [Path("1", "k", "abc"), Path("2", "m", "")]) == 1 + 2


def test_algorithm_1_by_hand() -> None:
    # keys k, m are new; 3 shares k with 1: Lev(x, abcd) = 4 > Lev(ab, abcd) = 2, so 3 takes the place of 1;
    # 4 shares m with 2: Lev(abc, x) = 3 is not above Lev(abcd, x) = 4, so 2 stays; 5 is new.
    paths = [
        Path("1", "k", "ab"),
        Path("2", "m", "abcd"),
        Path("3", "k", "x"),
        Path("4", "m", "abc"),
        Path("5", "n", "q"),
    ]
    assert ids(replacement_pass(paths)) == ["3", "2", "5"]


def test_a_tie_keeps_what_is_there_and_a_single_key_its_first() -> None:
    assert ids(replacement_pass([Path("1", "k", "ab"), Path("2", "k", "long text")])) == ["1"]
    tied = [Path("1", "k", "ax"), Path("2", "m", "ab"), Path("3", "k", "ay")]
    assert ids(replacement_pass(tied)) == ["1", "2"]


def test_a_bounded_set_by_hand() -> None:
    # a, ab, abc kept: sums of distances a 1+2=3, ab 1+1=2, abc 2+1=3. xyz is 3 from each: in place of ab it gives
    # (3+3) - 2 = 4, in place of a or abc (3+3) - 3 = 3. So ab goes. Then "b": to a 1, xyz 3, abc 2; no gain is above 0.
    paths = [
        Path("1", "1", "a"),
        Path("2", "2", "ab"),
        Path("3", "3", "abc"),
        Path("4", "4", "xyz"),
        Path("5", "5", "b"),
    ]
    assert ids(bounded_set(paths, 3)) == ["1", "4", "3"]


def test_a_held_key_competes_with_its_holder_only() -> None:
    paths = [Path("1", "k", "aaaa"), Path("2", "m", "aaab"), Path("3", "k", "zzzzzz")]
    assert ids(bounded_set(paths, 2)) == ["3", "2"]
    assert ids(bounded_set([*paths, Path("4", "k", "aaaa")], 2)) == ["3", "2"]


texts = st.lists(st.tuples(st.sampled_from("klmnop"), st.text("abc", max_size=6)), max_size=25)


def spread(paths: list[Path]) -> int:
    return sum(distance(a.text, b.text) for i, a in enumerate(paths) for b in paths[i + 1 :])


@given(texts, st.integers(1, 5))
def test_a_bounded_set_never_loses_distance(rows: list[tuple[str, str]], size: int) -> None:
    paths = [Path(str(i), key, text) for i, (key, text) in enumerate(rows)]
    before = 0
    for end in range(len(paths) + 1):
        kept = bounded_set(paths[:end], size)
        assert len(kept) == min(size, len({p.key for p in paths[:end]})) or len(kept) <= size
        assert len({p.key for p in kept}) == len(kept)
        assert spread(kept) >= before
        before = spread(kept)


@given(texts)
def test_algorithm_1_keeps_one_path_a_key_in_order(rows: list[tuple[str, str]]) -> None:
    paths = [Path(str(i), key, text) for i, (key, text) in enumerate(rows)]
    kept = replacement_pass(paths)
    assert [p.key for p in kept] == list(dict.fromkeys(p.key for p in paths))
    assert select_paths(paths) == kept
    assert replacement_pass(kept) == kept


def test_a_union_is_one_more_pass_over_all_selections() -> None:
    first = [Path("1", "k", "ab", "A"), Path("2", "m", "abcd", "A")]
    second = [Path("3", "k", "x", "B"), Path("4", "n", "y", "B")]
    assert ids(unite([first, second])) == ["3", "2", "4"]
    assert len(unite([first, second], size=2)) == 2


def test_contributions_by_hand() -> None:
    found = {
        "A": {"p": [Path("1", "k", "", "A"), Path("2", "k", "", "A"), Path("3", "m", "", "A")]},
        "B": {"p": [Path("4", "m", "", "B")], "q": [Path("5", "m", "", "B")]},
    }
    kept = [Path("1", "k", "", "A"), Path("4", "m", "", "B"), Path("5", "m", "", "B")]
    report = contributions(found, kept, samples={"A": 10, "B": 10}, tokens={"A": 500, "B": 300}).to_json()
    first, second = report["samplers"]
    assert (first["correct"], first["distinct"], first["exclusive"], first["kept"]) == (3, 2, 1, 1)
    assert (second["correct"], second["distinct"], second["exclusive"], second["kept"]) == (2, 2, 1, 2)
    assert (first["tokens_per_kept"], second["tokens_per_kept"]) == (500.0, 150.0)
    assert (first["kept_share"], second["kept_share"]) == (0.3333, 0.6667)
    assert report["distinct"] == 3 and report["shared_share"] == 0.3333
    assert report["overlap"] == {"A | B": 0.3333}


def test_expected_distinct_equals_an_average_over_all_draws() -> None:
    keys = ["k", "k", "k", "m", "n", None, None]
    counts = [3, 1, 1]
    rng = random.Random(0)
    for k in (1, 2, 5, 7):
        draws = [len({key for key in rng.sample(keys, k) if key}) for _ in range(4000)]
        assert expected_distinct(counts, 7, k) == pytest.approx(sum(draws) / len(draws), abs=0.06)
    assert expected_distinct(counts, 7, 7) == 3
    with pytest.raises(ValueError):
        expected_distinct(counts, 7, 8)


def test_curves_and_their_fits() -> None:
    assert distinct_curve([{"k": 4}, {"k": 2, "m": 2}], 4) == [
        (1, 1.0),
        (2, pytest.approx(1 + (1 - 2 / 6) / 2)),
        (4, 1.5),
    ]
    grows_like_log = [(k, 1 + 2 * math.log2(k)) for k in (1, 2, 4, 8, 16)]
    fit = fit_curve(grows_like_log)
    assert fit is not None and fit.log == pytest.approx(1) and fit.per_doubling == pytest.approx(2) and fit.linear < 0.9
    assert fit_curve(grows_like_log[:2]) is None
