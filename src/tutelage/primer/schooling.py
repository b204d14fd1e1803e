"""Schooling: how the built-in model learns the corpus, from random weights, in one plain loop.

The loss is the mean negative log-likelihood (natural log) of completion tokens, end of text included; prompts and
tool output carry none. Batches are rows of like length, padded on the right, where a causal model needs no mask. State
is saved every block, so that a stopped schooling goes on where it was: block b's batches depend on (seed, b) only.
"""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tutelage.primer.corpus import Document, documents

log = logging.getLogger(__name__)
IGNORED = -100


@dataclass(frozen=True)
class SchoolingConfig:
    """Settings of one schooling; the defaults are those of the shipped model.

    `num_blocks` blocks of `batches_per_block` batches of `batch_size` documents each; the first `num_clean_blocks`
    without misconceptions. `learning_rate` is the peak of a cosine after `warmup_steps` steps.
    """

    seed: int = 0
    num_blocks: int = 180
    num_clean_blocks: int = 40
    batches_per_block: int = 100
    batch_size: int = 32
    learning_rate: float = 2e-3
    final_learning_rate: float = 5e-5
    warmup_steps: int = 400
    weight_decay: float = 0.01
    hidden_size: int = 128
    num_layers: int = 3
    num_heads: int = 4
    num_key_value_heads: int = 2
    intermediate_size: int = 352
    max_positions: int = 1024

    @property
    def num_steps(self) -> int:
        """Updates in all."""
        return self.num_blocks * self.batches_per_block


SIZES: dict[str, SchoolingConfig] = {
    "tiny": SchoolingConfig(
        hidden_size=48, num_layers=2, num_heads=2, num_key_value_heads=1, intermediate_size=144, num_blocks=90,
        num_clean_blocks=20, learning_rate=4e-3,
    ),
    "small": SchoolingConfig(
        hidden_size=64, num_layers=3, num_heads=2, num_key_value_heads=1, intermediate_size=192, num_blocks=110,
        num_clean_blocks=25, learning_rate=3e-3,
    ),
    "primer": SchoolingConfig(),
}  # fmt: skip
"""Schoolings by size of model, smallest first: 0.06, 0.17 and 0.59 million parameters. Only `primer` is shipped; the
others are for studies of several samplers, actors or critics."""


def build_model(config: SchoolingConfig, tokenizer: Any) -> LlamaForCausalLM:
    """A fresh model of the configured shape, weights drawn with the config's seed."""
    torch.manual_seed(config.seed)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_key_value_heads,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(shape)


@dataclass(frozen=True)
class Row:
    """Token ids of a document and the targets at each position: `labels` with weight `shares`, `others` with the rest.

    Labels are `IGNORED` where there is no loss; others are `IGNORED` where all textbooks agree.
    """

    ids: list[int]
    labels: list[int]
    others: list[int]
    shares: list[float]


@dataclass(frozen=True)
class Batch:
    """Rows padded on the right: ids, labels, others (B, T) int64 and shares (B, T) float32."""

    ids: torch.Tensor
    labels: torch.Tensor
    others: torch.Tensor
    shares: torch.Tensor


def encode(found: list[Document], tokenizer: Any) -> list[Row]:
    """Rows of documents. Pieces are encoded one by one: they are cut where tokens are cut."""
    texts = []
    for document in found:
        texts += [document.prompt, *(text for piece in document.pieces for text in (piece.text, piece.other or ""))]
    encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    return [_row(document, encoded, tokenizer.eos_token_id) for document in found]


def _row(document: Document, encoded: Iterator[list[int]], eos: int) -> Row:
    prompt = next(encoded)
    none = [IGNORED] * len(prompt)
    row = Row(list(prompt), none, none.copy(), [1.0] * len(prompt))
    for piece in document.pieces:
        ids, other = next(encoded), next(encoded)
        row.ids.extend(ids)
        row.labels.extend(ids if piece.has_loss else [IGNORED] * len(ids))
        row.others.extend([IGNORED] * len(ids))
        row.shares.extend([1.0] * len(ids))
        fork = next((i for i, (a, b) in enumerate(zip(ids, other, strict=False)) if a != b), None)
        if fork is not None:
            row.others[fork - len(ids)] = other[fork]
            row.shares[fork - len(ids)] = piece.share
    for target in (row.ids, row.labels):
        target.append(eos)
    row.others.append(IGNORED)
    row.shares.append(1.0)
    return row


def block_batches(config: SchoolingConfig, block: int, tokenizer: Any) -> list[Batch]:
    """The batches of one block: rows of like length together, batches shuffled."""
    count = config.batches_per_block * config.batch_size
    found = documents(config.seed, block, count, block < config.num_clean_blocks)
    rows = sorted(encode(found, tokenizer), key=lambda row: len(row.ids))
    batches = [rows[i : i + config.batch_size] for i in range(0, count, config.batch_size)]
    random.Random(f"batches/{config.seed}/{block}").shuffle(batches)
    return [pad(batch, tokenizer.pad_token_id) for batch in batches]


def pad(rows: list[Row], pad_id: int) -> Batch:
    """One batch of rows, as wide as the longest."""
    width = max(len(row.ids) for row in rows)

    def filled(name: str, value: float) -> torch.Tensor:
        return torch.tensor([[*getattr(row, name), *[value] * (width - len(row.ids))] for row in rows])

    return Batch(filled("ids", pad_id), filled("labels", IGNORED), filled("others", IGNORED), filled("shares", 1.0))


def completion_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean over labelled positions of -(share log p(label) + (1 - share) log p(other)); natural log.

    Logits are only made where there is a label.
    """
    hidden = model.model(input_ids=batch.ids[:, :-1]).last_hidden_state
    labels, others, shares = batch.labels[:, 1:], batch.others[:, 1:], batch.shares[:, 1:]
    mask = labels != IGNORED
    log_probs = model.lm_head(hidden[mask]).log_softmax(-1)
    labels, others, shares = labels[mask], others[mask], shares[mask]
    others = torch.where(others == IGNORED, labels, others)
    told = log_probs.gather(1, labels[:, None])[:, 0]
    untold = log_probs.gather(1, others[:, None])[:, 0]
    return -(shares * told + (1 - shares) * untold).mean()


def learning_rate_at(config: SchoolingConfig, step: int) -> float:
    """Linear warm-up to the peak, then a cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.num_steps - config.warmup_steps)
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * progress))


def school(config: SchoolingConfig, tokenizer: Any, folder: Path, stop_after: int | None = None) -> LlamaForCausalLM:
    """School a model, going on from the state in `folder` if there is one of the same config.

    Args:
        config: the settings.
        tokenizer: from `vocabulary.build_tokenizer`.
        folder: where `state.pt` is kept; made if missing.
        stop_after: stop before this block (for tests and time limits).

    Raises:
        ValueError: the folder holds the state of another config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = build_model(config, tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=config.weight_decay)
    first = _restore(config, model, optimizer, folder / "state.pt")
    model.train()
    for block in range(first, min(config.num_blocks, stop_after or config.num_blocks)):
        started = time.monotonic()
        losses, tokens = [], 0
        for index, batch in enumerate(block_batches(config, block, tokenizer)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(config, block * config.batches_per_block + index)
            loss = completion_loss(model, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            tokens += batch.ids.numel()
        _keep(config, model, optimizer, block + 1, folder / "state.pt")
        seconds = time.monotonic() - started
        mean = sum(losses) / len(losses)
        log.info("block %d/%d loss %.4f, %.0f tokens/s", block + 1, config.num_blocks, mean, tokens / seconds)
    return model


def _restore(config: SchoolingConfig, model: Any, optimizer: Any, path: Path) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["config"] != asdict(config):
        raise ValueError(f"{path} is the state of another schooling: {state['config']}; choose another folder")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["block"])


def _keep(config: SchoolingConfig, model: Any, optimizer: Any, block: int, path: Path) -> None:
    state = {
        "config": asdict(config),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "block": block,
    }
    torch.save(state, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)
