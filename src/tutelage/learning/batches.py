"""From records to rows of tokens, what must be left out, and in which order the data is visited.

Nothing is ever cut: a row that is too long is dropped and counted. How rows are laid out into forward passes is
`layout`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.records import Completion, Example, PreferencePair, seed_of


@dataclass(frozen=True)
class Row:
    """One sequence: prompt and completion, and the loss weight of each completion token.

    Args:
        ids: prompt then completion.
        start: number of prompt tokens, >= 1.
        weights: one per completion token, >= 0; 0 is masked.
    """

    ids: tuple[int, ...]
    start: int
    weights: tuple[float, ...]

    @cached_property
    def num_scored(self) -> int:
        """Number of tokens with a weight other than 0."""
        return sum(1 for weight in self.weights if weight)

    @cached_property
    def num_fed(self) -> int:
        """Number of tokens that the model must read: all before the last scored one."""
        last = max((i for i, weight in enumerate(self.weights) if weight), default=-1)
        return self.start + last

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """The ids as an array."""
        return np.array(self.ids, dtype=np.int64)

    @cached_property
    def fed(self) -> tuple[int, ...]:
        """The tokens that the model must read."""
        return self.ids[: self.num_fed]


def pair_rows(pair: PreferencePair) -> tuple[Row, Row]:
    """The chosen and the rejected row of a pair.

    Raises:
        DataError: a mask has another length than its tokens, or the prompt is empty.
    """
    return (
        _row(pair.id, pair.prompt_ids, pair.chosen_ids, pair.chosen_mask),
        _row(pair.id, pair.prompt_ids, pair.rejected_ids, pair.rejected_mask),
    )


def example_row(example: Example) -> Row:
    """The row of a supervised example.

    Raises:
        DataError: `weights` has another length than `target_ids`, holds a negative or non-finite number, or the
            prompt is empty.
    """
    return _row(example.id, example.prompt_ids, example.target_ids, example.weights)


def completion_row(completion: Completion) -> Row:
    """The row of a sampled completion: tokens that the model wrote have weight 1, tool output and forced text 0.

    Raises:
        DataError: the prompt is empty.
    """
    return _row(completion.id, completion.prompt_ids, completion.token_ids, completion.loss_mask())


def _row(name: str, prompt: Sequence[int], target: Sequence[int], weights: Sequence[float]) -> Row:
    if not prompt:
        raise DataError(
            f"record {name} has an empty prompt",
            expected="at least one prompt token, e.g. the begin token",
            advice="the first completion token cannot be scored without a token before it",
        )
    if len(weights) != len(target):
        raise DataError(f"record {name} has {len(weights)} loss weights for {len(target)} tokens", expected="one each")
    if any(not 0 <= weight < math.inf for weight in weights):
        raise DataError(f"record {name} has a loss weight out of range", seen=list(weights), expected="finite, >= 0")
    return Row((*prompt, *target), len(prompt), tuple(float(weight) for weight in weights))


def check_row(name: str, row: Row, *, max_length: int, vocab_size: int) -> str | None:
    """Why a row must be left out ("too_long", "no_loss_tokens"), or None if it is fine.

    Args:
        name: the record's id, for messages.
        row: the row.
        max_length: most tokens of prompt and completion together.
        vocab_size: number of the model's token ids.

    Raises:
        DataError: a token id is not in the model's vocabulary.
    """
    if min(row.ids) < 0 or max(row.ids) >= vocab_size:
        raise DataError(
            f"record {name} holds token ids that the model does not have",
            seen=f"ids from {min(row.ids)} to {max(row.ids)}",
            expected=f"0 to {vocab_size - 1}",
            advice="was it made with another model's tokenizer?",
        )
    if len(row.ids) > max_length:
        return "too_long"
    return None if row.num_scored else "no_loss_tokens"


def num_items_to_visit(num_items: int, epochs: float) -> int:
    """How many items `epochs` passes over `num_items` visit, at least 1."""
    return max(1, math.ceil(epochs * num_items - 1e-9))


def batch_indices(num_items: int, *, step: int, batch_size: int, visits: int, seed: int) -> list[int]:
    """The items of one optimizer step: a pure function of the seed and the step, so that resuming needs no state.

    Every epoch is a fresh permutation; batches run on over an epoch's end, the last one may be smaller.

    Args:
        num_items: size of the data set.
        step: the step, from 0.
        batch_size: items in one step.
        visits: items visited over the whole training (`num_items_to_visit`).
        seed: everything random derives from it.

    Returns:
        Indices into the data set.
    """
    indices: list[int] = []
    position, end = step * batch_size, min((step + 1) * batch_size, visits)
    while position < end:
        epoch, offset = divmod(position, num_items)
        take = min(end - position, num_items - offset)
        order = np.random.default_rng(seed_of("epoch", seed, epoch)).permutation(num_items)
        indices += [int(i) for i in order[offset : offset + take]]
        position += take
    return indices
