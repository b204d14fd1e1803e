"""A model that trains: weights, optimizer, scorer and counters in one place, shared by all learners.

Memory, in bytes a parameter: training all weights takes 16 (float32 weights, gradients and two moments), on a GPU
too, where the computation is bfloat16 by autocast: updates as small as 7e-7 would vanish in bfloat16 weights. LoRA
takes 2 (bfloat16, GPU) or 4 (float32) for every base weight and 16 for every adapter weight.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.config.settings import TrainingSettings
from tutelage.errors import RunFailed
from tutelage.learning import adapters
from tutelage.learning.batches import Row
from tutelage.learning.checkpoints import Checkpoint
from tutelage.learning.layout import ATTENTION_COST, FORWARD_OVERHEAD, Group, Packing, Pass, kept_pass, plan_groups
from tutelage.learning.log_probs import LogProbScorer
from tutelage.learning.optimizer import Optimizer
from tutelage.learning.tree_attention import tree_attention
from tutelage.models import loading
from tutelage.records import digest, seed_of


class Opening(TypedDict, total=False):
    """What `TrainablePolicy.open` takes as keywords, for those who hand it on; it says what each means."""

    seed: int
    adapter: Path | None
    device: str
    dtype: str


@dataclass(frozen=True)
class UpdateStats:
    """What an update cost: gradient norm before clipping, tokens fed without and with padding, how rows were packed."""

    grad_norm: float
    num_tokens: int
    num_padded: int
    packing: Packing


class Reader(Protocol):
    """Reads a number per scored token from passes under a model that is no language model: a head's outputs."""

    can_share_beginnings: bool

    def token_values(self, *passes: Pass) -> Tensor:
        """The numbers, pass by pass and row by row, `(S,)`, float32."""
        ...

    def sums(self, *passes: Pass) -> Tensor:
        """Their weighted sums over each row, `(R,)`, float32."""
        ...


class TrainablePolicy:
    """A model, what of it trains, and how.

    Args:
        model: a transformers causal language model, with or without peft's wrapper; its parameters that require
            gradients now are the ones that will train.
        tokenizer: its tokenizer.
        settings: how weights are changed.
        seed: everything random derives from it.
        compute_dtype: autocast to this type; None computes in the weights' type.
        reader: what is read from a model with another head; None reads log-probs. Where methods here speak of
            log-probs, the reader's numbers are meant then.

    Raises:
        ModelError: nothing trains.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        settings: TrainingSettings,
        *,
        seed: int,
        compute_dtype: torch.dtype | None = None,
        reader: Reader | None = None,
    ) -> None:
        self.model, self.tokenizer, self.settings, self.seed = model, tokenizer, settings, seed
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = Optimizer(self.parameters, settings)
        self.device = next(model.parameters()).device
        self.compute_dtype = compute_dtype
        scorer = LogProbScorer(model, compute_dtype=compute_dtype) if reader is None else None
        self.scorer: Reader | LogProbScorer = scorer or reader  # type: ignore[assignment]
        self._read_tokens = scorer.token_logprobs if scorer else reader.token_values  # type: ignore[union-attr]
        context = loading.context_length(model)
        self.max_length = min(settings.max_length or context, context)
        self.vocab_size = loading.vocabulary_size(model)
        self.updates = 0
        self.fingerprint = _fingerprint(self.parameters)
        self.overhead = FORWARD_OVERHEAD.get(self.device.type, 64)
        causal: Any = model
        hidden = causal.get_input_embeddings().weight.shape[1]
        self.attention_cost = ATTENTION_COST / hidden if self.scorer.can_share_beginnings else None

    @classmethod
    def open(
        cls,
        path: str | Path,
        settings: TrainingSettings,
        *,
        seed: int = 0,
        adapter: Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> TrainablePolicy:
        """Load M_t: a model folder, or a base model with M_t's adapter.

        Args:
            path: M_t's folder where all weights train; the base model's with LoRA.
            settings: `lora_rank` 0 trains all weights, otherwise an adapter of that rank.
            seed: order of the data, dropout and fresh adapters derive from it.
            adapter: M_t's adapter, to be trained further; None with `lora_rank` > 0 attaches a fresh one.
            device: torch device, or auto.
            dtype: number format to compute in, or auto.

        Raises:
            ModelError: the folder cannot be used, or nothing trains.
            ConfigError: an adapter is given but `lora_rank` is 0, or not the adapter's.
        """
        place = loading.resolve_device(device)
        compute = loading.resolve_dtype(dtype, place)
        weights = compute if settings.lora_rank else torch.float32
        tokenizer = loading.load_tokenizer(path)
        model = loading.load_model(path, device=place, dtype=weights)
        if adapter is not None:
            model = adapters.resume(model, Path(adapter), settings)
        elif settings.lora_rank:
            model = adapters.attach(model, settings, seed=seed)
        if settings.gradient_checkpointing:
            recompute_activations(model)
        autocast = None if compute == torch.float32 else compute
        return cls(model, tokenizer, settings, seed=seed, compute_dtype=autocast)

    @property
    def has_dropout(self) -> bool:
        """Whether the model computes something else in training mode."""
        return any(isinstance(m, nn.Dropout) and m.p > 0 for m in self.model.modules()) or any(
            "dropout" in key and isinstance(value, float) and value > 0
            for key, value in vars(self.model.config).items()  # attention dropout is a number, not a module
        )

    def plan(self, items: Sequence[Sequence[Row]]) -> list[Group]:
        """The groups and passes that compute some items within the token budget."""
        return plan_groups(
            items,
            token_budget=self.settings.token_budget,
            overhead=self.overhead,
            attention_cost=self.attention_cost,
        )

    def group_sums(self, items: Sequence[Sequence[Row]], group: Group) -> Tensor:
        """Log-prob sums of a group's items, `(items in the group, rows of an item)`, in the order of `group.items`.

        All items have the same number of rows.
        """
        sums, places = self._sums(group)
        sides = len(items[group.items[0]])
        order = [places[row] for item in group.items for row in items[item]]
        return sums.index_select(0, torch.tensor(order, device=self.device)).view(-1, sides)

    def _sums(self, group: Group) -> tuple[Tensor, dict[Row, int]]:
        """Log-prob sums of a group's different rows, and where each row lies among them."""
        sums = self.scorer.sums(*(kept_pass(lines).to(self.device) for lines in group.passes))
        return sums, {row: place for place, row in enumerate(_rows_of(group))}

    def group_tokens(self, items: Sequence[Sequence[Row]], group: Group) -> Tensor:
        """Log-probs of the scored tokens of a group's items, `(S,)`: item by item in the order of `group.items`."""
        values, starts = self._tokens(group)
        rows = [row for item in group.items for row in items[item]]
        places = [torch.arange(starts[row], starts[row] + row.num_scored) for row in rows]
        return values.index_select(0, torch.cat(places).to(self.device))

    def _tokens(self, group: Group) -> tuple[Tensor, dict[Row, int]]:
        """Log-probs of the scored tokens of a group's different rows, and where each row's begin."""
        values = self._read_tokens(*(kept_pass(lines).to(self.device) for lines in group.passes))
        rows = list(_rows_of(group))
        return values, dict(zip(rows, accumulate((row.num_scored for row in rows), initial=0), strict=False))

    @torch.no_grad()
    def score(self, items: Sequence[Sequence[Row]]) -> list[list[float]]:
        """Log-prob sums of every item's rows as the model is now, in evaluation mode; equal rows are scored once."""
        self.model.eval()
        found: dict[Row, float] = {}
        for group in self.plan([(row,) for row in dict.fromkeys(row for rows in items for row in rows)]):
            sums, places = self._sums(group)
            values = sums.tolist()
            found.update({row: values[place] for row, place in places.items()})
        return [[found[row] for row in rows] for rows in items]

    @torch.no_grad()
    def score_tokens(self, rows: Sequence[Row]) -> list[list[float]]:
        """Log-probs of every row's scored tokens as the model is now, in evaluation mode; equal rows are read once."""
        self.model.eval()
        found: dict[Row, list[float]] = {}
        for group in self.plan([(row,) for row in dict.fromkeys(rows)]):
            read, starts = self._tokens(group)
            values = read.tolist()
            found.update({row: values[start : start + row.num_scored] for row, start in starts.items()})
        return [found[row] for row in rows]

    def update(
        self, items: Sequence[Sequence[Row]], loss_of: Callable[[Group, Tensor], Tensor], *, learning_rate: float
    ) -> UpdateStats:
        """One optimizer update on a batch, group by group.

        Args:
            items: the rows of every item of the batch.
            loss_of: from a group and its log-prob sums to the group's share of the batch loss (a scalar); shares must
                add up to the batch loss.
            learning_rate: of this update.

        Raises:
            RunFailed: the loss or a gradient is not finite; the weights are left as they were.
        """
        return self._update(items, lambda group: loss_of(group, self.group_sums(items, group)), learning_rate)

    def update_on_tokens(
        self, items: Sequence[Sequence[Row]], loss_of: Callable[[Group, Tensor], Tensor], *, learning_rate: float
    ) -> UpdateStats:
        """As `update`, for losses of single tokens: `loss_of` is given what `group_tokens` gives."""
        return self._update(items, lambda group: loss_of(group, self.group_tokens(items, group)), learning_rate)

    def _update(
        self, items: Sequence[Sequence[Row]], loss_of: Callable[[Group], Tensor], learning_rate: float
    ) -> UpdateStats:
        if not self.model.training:
            self.model.train()
        groups = self.plan(items)
        packing = groups[0].packing
        attention = tree_attention(self.model) if packing == "tree" else contextlib.nullcontext()
        with attention, adapters.seeded(self.device, seed_of("dropout", self.seed, self.updates)):
            for group in groups:
                loss = loss_of(group)
                if not torch.isfinite(loss):
                    self.optimizer.adamw.zero_grad(set_to_none=True)
                    raise RunFailed(
                        "training diverged: the loss is not finite",
                        seen=f"{loss.item()} at update {self.updates + 1}",
                        advice="lower learning_rate; the last checkpoint is kept",
                    )
                loss.backward()
        kept_pass.cache_clear()
        norm = self.optimizer.update(learning_rate)
        self.updates += 1
        tokens = sum(row.num_fed for rows in items for row in rows)
        return UpdateStats(norm, tokens, sum(group.num_padded for group in groups), packing)

    def snapshot(self, step: int, identity: Mapping[str, str], history: Mapping[str, Any]) -> Checkpoint:
        """The state from which `restore` goes on exactly; tensors are shared, so write it before the next update."""
        full = {**history, "updates": self.updates}
        return Checkpoint(step, self.parameters, self.optimizer.state(), {**identity, **self.identity()}, full)

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a snapshot of the same training."""
        for name, parameter in self.parameters.items():
            parameter.copy_(checkpoint.weights[name])
        self.optimizer.load(checkpoint.optimizer)
        self.updates = int(checkpoint.history["updates"])

    def identity(self) -> dict[str, str]:
        """Digests of the settings and of the weights that the session started from."""
        fields = self.settings.model_dump(include=set(TrainingSettings.model_fields) - {"checkpoint_every"})
        return {"settings": digest([fields, self.seed, str(self.compute_dtype)]), "start": self.fingerprint}


def _rows_of(group: Group) -> Iterator[Row]:
    """The different rows of a group, in the order in which its passes compute them."""
    return (row for lines in group.passes for line in lines for row in line)


def recompute_activations(model: nn.Module) -> None:
    """Switch activation checkpointing on; transformers 5 renames the method, and peft passes it through."""
    causal: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    enable = getattr(causal, "activation_checkpointing_enable", None) or causal.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _fingerprint(parameters: Mapping[str, Tensor]) -> str:
    """A digest of a few numbers of every parameter: tells starting weights apart without reading all of them."""
    state = hashlib.blake2b(digest_size=8)
    for name, parameter in sorted(parameters.items()):
        flat = parameter.detach().reshape(-1)
        sample = flat[:: max(1, len(flat) // 64)].float().cpu().numpy()
        state.update(name.encode() + np.ascontiguousarray(sample).tobytes())
    return state.hexdigest()
