"""Rows from records, what is dropped, the order of the data."""

from __future__ import annotations

import dataclasses

import pytest

from tutelage.errors import DataError
from tutelage.learning.batches import (
    Row,
    batch_indices,
    check_row,
    example_row,
    num_items_to_visit,
    pair_rows,
)
from tutelage.records import Example


def row_of(length: int, start: int = 2) -> Row:
    return Row(tuple(range(1, length + 1)), start, (1.0,) * (length - start))


def test_every_epoch_visits_everything_once_and_is_reshuffled():
    seen = [i for step in range(5) for i in batch_indices(10, step=step, batch_size=4, visits=20, seed=3)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10)) and seen[:10] != seen[10:]
    assert batch_indices(10, step=5, batch_size=4, visits=20, seed=3) == []
    assert batch_indices(10, step=2, batch_size=4, visits=20, seed=3) != batch_indices(
        10, step=2, batch_size=4, visits=20, seed=4
    )


@pytest.mark.parametrize(("items", "epochs", "visits"), [(10, 1.4, 14), (10, 0.05, 1), (3, 1.0, 3), (7, 1.5, 11)])
def test_num_items_to_visit(items: int, epochs: float, visits: int):
    assert num_items_to_visit(items, epochs) == visits


def test_check_row_never_cuts():
    row = row_of(9)
    assert check_row("a", row, max_length=9, vocab_size=50) is None
    assert check_row("a", row, max_length=8, vocab_size=50) == "too_long"
    assert check_row("a", dataclasses.replace(row, weights=(0.0,) * 7), max_length=9, vocab_size=50) == "no_loss_tokens"
    with pytest.raises(DataError, match="token ids that the model does not have"):
        check_row("a", row, max_length=9, vocab_size=9)


def test_bad_records_are_refused(make_pair):
    with pytest.raises(DataError, match="empty prompt"):
        pair_rows(make_pair("x", [], [1], [2]))
    with pytest.raises(DataError, match="1 loss weights for 2 tokens"):
        pair_rows(make_pair("x", [1], [1, 2], [2], chosen_mask=(1,)))
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(DataError, match="out of range"):
            example_row(Example("e", "p", (1,), (2,), (weight,), "test"))


def test_pair_rows_share_the_prompt(make_pair):
    chosen, rejected = pair_rows(make_pair("x", [1, 2], [3], [4, 5]))
    assert chosen == Row((1, 2, 3), 2, (1.0,)) and rejected == Row((1, 2, 4, 5), 2, (1.0, 1.0))
    assert (rejected.num_scored, rejected.num_fed) == (2, 3)
