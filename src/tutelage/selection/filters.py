"""Filters that say what they dropped: nothing is truncated, and nothing goes missing without being counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from tutelage.records import Example, PreferencePair

Learnable = TypeVar("Learnable", PreferencePair, Example)


class Filtered(NamedTuple, Generic[Learnable]):
    """What stays and what was dropped, both in the given order."""

    kept: list[Learnable]
    dropped: list[Learnable]


def length_of(record: PreferencePair | Example) -> int:
    """Tokens of the prompt and the longest continuation."""
    if isinstance(record, PreferencePair):
        return len(record.prompt_ids) + max(len(record.chosen_ids), len(record.rejected_ids))
    return len(record.prompt_ids) + len(record.target_ids)


def drop_overlong(records: Iterable[Learnable], max_length: int) -> Filtered[Learnable]:
    """Drop what is longer than `max_length` tokens, prompt included; a pair goes if either side is too long."""
    result: Filtered[Learnable] = Filtered([], [])
    for record in records:
        (result.kept if length_of(record) <= max_length else result.dropped).append(record)
    return result


def drop_empty(records: Iterable[Learnable]) -> Filtered[Learnable]:
    """Drop what has no token that enters the loss: a pair needs one on each side."""
    result: Filtered[Learnable] = Filtered([], [])
    for record in records:
        if isinstance(record, PreferencePair):
            is_kept = any(record.chosen_mask) and any(record.rejected_mask)
        else:
            is_kept = any(record.weights)
        (result.kept if is_kept else result.dropped).append(record)
    return result
