"""An in-place key/value cache of fixed slots, in the form that a transformers model's forward takes.

What it is: one tensor of keys and one of values per layer, `(slots, heads, capacity, head_dim)`. A forward writes the
new keys of its rows at their positions, as a `WritePlan` says, and sees the first `key_length` positions of those rows.
Rows are left-aligned: position p of a sequence is always at place p of its slot.
What it is not: a record of what is valid. Places not yet written hold zeros or an earlier row's numbers; the mask
given to the forward hides them, so every forward needs an explicit mask.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from tutelage.sampling.grouping import RowSpan, round_up

KEY_MULTIPLE = 16
"""Key lengths are rounded up to this, so that masked tails never change the order of a reduction on a CPU."""
KEY_BLOCK, KEY_UNSPLIT, SPLIT_QUERIES = 512, 192, 4
"""A CPU's attention takes keys in blocks of 512; where four or more queries share keys, the matrix kernel halves a
block of more than 192 keys, wherever that is. So a longer block is always taken whole: then all rows are cut at 256."""


def key_span(length: int, *, shared_queries: int) -> int:
    """How many key positions a forward looks at, so that `length` of them give the same bits whatever the batch.

    Args:
        length: positions that the longest row needs.
        shared_queries: query vectors that meet the same keys: new tokens of a row, times query heads per key head where
            one token is decoded.
    """
    whole, rest = divmod(length, KEY_BLOCK)
    if shared_queries >= SPLIT_QUERIES and rest > KEY_UNSPLIT:
        return (whole + 1) * KEY_BLOCK
    return whole * KEY_BLOCK + round_up(rest, KEY_MULTIPLE)


class WritePlan:
    """Where one forward writes and how far it looks.

    Args:
        positions: `(rows, new_tokens)` position of every new token; row i is in slot i.
        key_length: positions that the forward attends over, from 0.
        spans: groups of rows that need to look less far; empty where there are none. A forward may ignore them.
    """

    def __init__(self, positions: torch.Tensor, key_length: int, spans: tuple[RowSpan, ...] = ()) -> None:
        self.positions, self.key_length, self.spans = positions, key_length, spans
        self.num_rows = positions.shape[0]
        self._places: dict[tuple[int, int], torch.Tensor] = {}

    def places(self, heads: int, capacity: int) -> torch.Tensor:
        """`(rows * heads * new_tokens,)` index of each new vector among all vectors of a layer."""
        if (heads, capacity) not in self._places:
            rows = torch.arange(self.num_rows * heads, device=self.positions.device).view(self.num_rows, heads, 1)
            self._places[heads, capacity] = (rows * capacity + self.positions[:, None]).view(-1)
        return self._places[heads, capacity]


class SlotLayer(CacheLayerMixin):
    """Keys and values of one layer; allocated at the first write, when shapes and dtype are known."""

    is_sliding = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, slots: int, capacity: int) -> None:
        super().__init__()
        self.slots, self.capacity = slots, capacity

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate zeros for all slots; the states are `(rows, heads, new_tokens, head_dim)`."""
        for name, states in (("keys", key_states), ("values", value_states)):
            shape = (self.slots, states.shape[1], self.capacity, states.shape[3])
            setattr(self, name, torch.zeros(shape, dtype=states.dtype, device=states.device))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, plan: WritePlan
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new states and return `(rows, heads, key_length, head_dim)` views of keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        places = plan.places(key_states.shape[1], self.capacity)
        for store, states in ((self.keys, key_states), (self.values, value_states)):
            store.view(-1, store.shape[3]).index_copy_(0, places, states.reshape(-1, store.shape[3]))
        rows, length = plan.num_rows, plan.key_length
        return self.keys[:rows, :, :length], self.values[:rows, :, :length]

    def resize(self, slots: int, capacity: int) -> None:
        """Grow to `slots` x `capacity`, keeping what is written."""
        if self.is_initialized:
            for name in ("keys", "values"):
                old = getattr(self, name)
                new = old.new_zeros((slots, old.shape[1], capacity, old.shape[3]))
                new[: old.shape[0], :, : old.shape[2]] = old
                setattr(self, name, new)
        self.slots, self.capacity = slots, capacity

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Unused: every forward is given a ready mask."""
        return self.capacity, 0

    def get_seq_length(self) -> int:
        """Always 0: rows have lengths of their own, so positions are given explicitly."""
        return 0

    def get_max_length(self) -> int:
        """The capacity in positions."""
        return self.capacity

    def get_max_cache_shape(self) -> int:
        """The same under the name that the first releases of transformers 5 use."""
        return self.capacity


class SlotCache(Cache):
    """The cache of all layers; layers are made as the forward reaches them.

    Args:
        slots: rows that can be held.
        capacity: positions of each row.
    """

    def __init__(self, slots: int, capacity: int) -> None:
        super().__init__(layers=[])
        self.slots, self.capacity = slots, capacity
        self.plan: WritePlan | None = None

    @property
    def slot_layers(self) -> list[SlotLayer]:
        """The layers made so far."""
        return self.layers  # type: ignore[return-value]

    def _layer(self, index: int) -> SlotLayer:
        while len(self.layers) <= index:
            self.layers.append(SlotLayer(self.slots, self.capacity))
        return self.slot_layers[index]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Called by the model's attention layers; writes as `plan` says."""
        assert self.plan is not None, "set plan before a forward"
        return self._layer(layer_idx).update(key_states, value_states, self.plan)

    def resize(self, slots: int, capacity: int) -> None:
        """Grow to `slots` x `capacity`, keeping what is written."""
        for layer in self.slot_layers:
            layer.resize(slots, capacity)
        self.slots, self.capacity = slots, capacity

    def prefix(self, slot: int, length: int) -> Prefix:
        """A copy of the first `length` positions of a slot."""
        return [
            (layer.keys[slot, :, :length].clone(), layer.values[slot, :, :length].clone()) for layer in self.slot_layers
        ]

    def load(self, slot: int, prefix: Prefix, length: int) -> None:
        """Put the first `length` positions of `prefix` into a slot."""
        for index, (keys, values) in enumerate(prefix):
            layer = self._layer(index)
            if not layer.is_initialized:
                layer.lazy_initialization(keys[None], values[None])
            layer.keys[slot, :, :length] = keys[:, :length]
            layer.values[slot, :, :length] = values[:, :length]

    def move(self, moves: Mapping[int, int], lengths: Mapping[int, int]) -> None:
        """Copy slots to others, all at once, so that they may change places.

        Args:
            moves: `{slot: new slot}`.
            lengths: how many positions of each moved slot are written.
        """
        for layer in self.slot_layers:
            for store in (layer.keys, layer.values):
                copies = [(target, store[source, :, : lengths[source]].clone()) for source, target in moves.items()]
                for target, states in copies:
                    store[target, :, : states.shape[1]] = states


Prefix = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of a sequence's first positions: one pair of `(heads, length, head_dim)` per layer."""


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
