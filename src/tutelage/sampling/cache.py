"""An in-place key/value cache of fixed slots, in the form that a transformers model's forward takes.

What it is: one tensor of keys and one of values per layer, `(slots, heads, capacity, head_dim)`, all layers in one
piece (a bank), so that a row comes and goes by one copy. A forward writes the new keys of its rows at their positions,
as a `WritePlan` says, and sees the first `key_length` positions of those rows.
Rows are left-aligned: position p of a sequence is always at place p of its slot.
What it is not: a record of what is valid. Places not yet written hold zeros or an earlier row's numbers; the mask
given to the forward hides them, so every forward needs an explicit mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from tutelage.sampling.grouping import RowSpan


class WritePlan:
    """Where one forward writes and how far it looks.

    Args:
        positions: `(rows, new_tokens)` position of every new token; row i is in slot i.
        key_length: positions that the forward attends over, from 0.
        spans: groups of rows that need to look less far; empty where there are none. A forward may ignore them.
    """

    def __init__(self, positions: torch.Tensor, key_length: int, spans: tuple[RowSpan, ...] = ()) -> None:
        self.positions, self.key_length, self.spans = positions, key_length, spans
        self.num_slots = positions.shape[0]
        self._places: dict[tuple[int, int], torch.Tensor] = {}

    def places(self, heads: int, capacity: int) -> torch.Tensor:
        """`(rows * heads * new_tokens,)` index of each new vector among all vectors of a layer."""
        if (heads, capacity) not in self._places:
            rows = torch.arange(self.num_slots * heads, device=self.positions.device).view(self.num_slots, heads, 1)
            self._places[heads, capacity] = (rows * capacity + self.positions[:, None]).view(-1)
        return self._places[heads, capacity]


class Run(NamedTuple):
    """Tokens `start` to `stop` (exclusive) of a fill: they look at the first `length` positions of `slot`."""

    slot: int
    start: int
    stop: int
    length: int


class FillPlan(WritePlan):
    """Where a forward of many tokens of few sequences writes, and what each looks at.

    Args:
        slots: `(tokens,)` slot of every token.
        positions: `(tokens, 1)` its position.
        runs: cover all tokens in order; those of a run are of one slot.
    """

    def __init__(self, slots: torch.Tensor, positions: torch.Tensor, runs: Sequence[Run]) -> None:
        super().__init__(positions, max(run.length for run in runs))
        self.slots, self.runs = slots, runs
        self.num_slots = max(run.slot for run in runs) + 1

    def places(self, heads: int, capacity: int) -> torch.Tensor:
        """`(tokens * heads,)` index of each new vector among all vectors of a layer."""
        if (heads, capacity) not in self._places:
            rows = self.slots[:, None] * heads + torch.arange(heads, device=self.slots.device)
            self._places[heads, capacity] = (rows * capacity + self.positions).view(-1)
        return self._places[heads, capacity]


@dataclass
class Bank:
    """Tensors of one shape in one piece, so that a slot of all of them is copied at once.

    Args:
        states: `(entries, slots, heads, capacity, width)`; an entry is the keys or the values of a layer.
        bound: entries that belong to a layer.
        used: entries that hold anything.
    """

    states: torch.Tensor
    bound: int = 0
    used: int = 0


class SlotLayer(CacheLayerMixin):
    """Keys and values of one layer; found at the first write, when shapes and dtype are known."""

    is_sliding = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self.cache = cache
        self._entries: list[tuple[Bank, int]] = []

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Take places in the banks; the states are `(rows, heads, new_tokens, head_dim)`."""
        self._entries = [self.cache.entry_for(states) for states in (key_states, value_states)]
        self.bind()
        self.is_initialized = True

    def bind(self) -> None:
        """Look at the banks' present tensors."""
        self.keys, self.values = (bank.states[index] for bank, index in self._entries)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, plan: WritePlan
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new states and return `(slots, heads, key_length, head_dim)` views of keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        places = plan.places(key_states.shape[1], self.cache.capacity)
        for store, states in ((self.keys, key_states), (self.values, value_states)):
            store.view(-1, store.shape[3]).index_copy_(0, places, states.reshape(-1, store.shape[3]))
        slots, length = plan.num_slots, plan.key_length
        return self.keys[:slots, :, :length], self.values[:slots, :, :length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Unused: every forward is given a ready mask."""
        return self.cache.capacity, 0

    def get_seq_length(self) -> int:
        """Always 0: rows have lengths of their own, so positions are given explicitly."""
        return 0

    def get_max_length(self) -> int:
        """The capacity in positions."""
        return self.cache.capacity

    def get_max_cache_shape(self) -> int:
        """The same under the name that the first releases of transformers 5 use."""
        return self.cache.capacity


class SlotCache(Cache):
    """The cache of all layers; layers are made as the forward reaches them.

    Args:
        slots: rows that can be held.
        capacity: positions of each row.
        layers: how many layers the model has, if they are to lie in one piece. It must be the same for all caches that
            pass positions to each other.
    """

    def __init__(self, slots: int, capacity: int, layers: int = 1) -> None:
        super().__init__(layers=[])
        self.slots, self.capacity, self._per_bank = slots, capacity, 2 * layers
        self.banks: list[Bank] = []
        self.plan: WritePlan | None = None

    @property
    def slot_layers(self) -> list[SlotLayer]:
        """The layers made so far."""
        return self.layers  # type: ignore[return-value]

    def entry_for(self, states: torch.Tensor) -> tuple[Bank, int]:
        """A place for keys or values like these `(rows, heads, new_tokens, width)`: a bank and the entry in it."""
        shape = (states.shape[1], states.shape[3])
        for bank in self.banks:
            if (bank.states.shape[2], bank.states.shape[4]) == shape and bank.bound < len(bank.states):
                break
        else:
            bank = self._new_bank(states.new_empty((1, shape[0], 1, shape[1])))
        bank.bound += 1
        bank.used = max(bank.used, bank.bound)
        return bank, bank.bound - 1

    def _new_bank(self, like: torch.Tensor) -> Bank:
        """A bank for states of `(entries, heads, length, width)`."""
        entries = max(self._per_bank, len(like))
        bank = Bank(like.new_zeros((entries, self.slots, like.shape[1], self.capacity, like.shape[3])))
        self.banks.append(bank)
        return bank

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Called by the model's attention layers; writes as `plan` says."""
        assert self.plan is not None, "set plan before a forward"
        while len(self.layers) <= layer_idx:
            self.layers.append(SlotLayer(self))
        return self.slot_layers[layer_idx].update(key_states, value_states, self.plan)

    def resize(self, slots: int, capacity: int) -> None:
        """Grow to `slots` x `capacity`, keeping what is written."""
        for bank in self.banks:
            old = bank.states
            bank.states = old.new_zeros((len(old), slots, old.shape[2], capacity, old.shape[4]))
            bank.states[: bank.used, : old.shape[1], :, : old.shape[3]] = old[: bank.used]
        for layer in self.slot_layers:
            if layer.is_initialized:
                layer.bind()
        self.slots, self.capacity = slots, capacity

    def written(self, slot: int, start: int, stop: int) -> Prefix:
        """Views of positions `start` to `stop` of a slot."""
        return [bank.states[: bank.used, slot, :, start:stop] for bank in self.banks]

    def prefix(self, slot: int, length: int, room: int = 0) -> Prefix:
        """A copy of the first `length` positions of a slot, with room for `room` in all."""
        found = self.written(slot, 0, length)
        if room <= length:
            return [states.clone() for states in found]
        copies = [states.new_empty((*states.shape[:2], room, states.shape[3])) for states in found]
        for copy, states in zip(copies, found, strict=True):
            copy[:, :, :length] = states
        return copies

    def load(self, slot: int, prefix: Prefix, length: int) -> None:
        """Put the first `length` positions of `prefix` into a slot."""
        for index, states in enumerate(prefix):
            bank = self.banks[index] if index < len(self.banks) else self._new_bank(states)
            bank.used = max(bank.used, len(states))
            bank.states[: len(states), slot, :, :length] = states[:, :, :length]

    def move(self, moves: Mapping[int, int], lengths: Mapping[int, int]) -> None:
        """Copy slots to others, all at once, so that they may change places.

        Args:
            moves: `{slot: new slot}`.
            lengths: how many positions of each moved slot are written.
        """
        for bank in self.banks:
            store = bank.states[: bank.used]
            copies = [(target, store[:, source, :, : lengths[source]].clone()) for source, target in moves.items()]
            for target, states in copies:
                store[:, target, :, : states.shape[2]] = states


Prefix = list[torch.Tensor]
"""Keys and values of a sequence's first positions, per bank of a cache: `(entries, heads, length, width)`."""


def attention_mask(
    positions: torch.Tensor, key_length: int, dtype: torch.dtype, *, window: int | None = None
) -> torch.Tensor:
    """Additive mask for rows whose new tokens are at `positions`.

    Args:
        positions: `(rows, new_tokens)` position of every new token.
        key_length: positions attended over.
        dtype: dtype of the model's states.
        window: width of sliding-window attention, None for full attention.

    Returns:
        `(rows, 1, new_tokens, key_length)`: 0 where a token may look (itself and earlier), the lowest number elsewhere.
    """
    keys = torch.arange(key_length, device=positions.device)
    hidden = keys > positions[..., None]
    if window is not None:
        hidden |= keys <= positions[..., None] - window
    mask = torch.zeros(hidden.shape, dtype=dtype, device=positions.device)
    return mask.masked_fill_(hidden, torch.finfo(dtype).min)[:, None]
