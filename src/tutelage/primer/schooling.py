"""Schooling: how the built-in model learns the corpus, from random weights, in one plain loop.

The loss is the mean negative log-likelihood (natural log) of completion tokens, end of text included; prompts and
tool output carry none. Batches are rows of like length, padded on the right, where a causal model needs no mask. State
is saved every block, so that a stopped schooling goes on where it was: block b's texts and batches depend on (seed, b) only.
"""

from __future__ import annotations

import logging
import math
import os
import random
import time
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
    num_blocks: int = 130
    num_clean_blocks: int = 40
    batches_per_block: int = 50
    batch_size: int = 64
    learning_rate: float = 3e-3
    final_learning_rate: float = 5e-5
    warmup_steps: int = 200
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


def encode(found: list[Document], tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels of each document; labels are the ids where there is loss, `IGNORED` elsewhere."""
    texts = [text for document in found for text in (document.prompt, *(piece for piece, _ in document.pieces))]
    pieces = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    rows = []
    for document in found:
        ids = list(next(pieces))
        labels = [IGNORED] * len(ids)
        for _, has_loss in document.pieces:
            piece = next(pieces)
            ids += piece
            labels += piece if has_loss else [IGNORED] * len(piece)
        rows.append(([*ids, tokenizer.eos_token_id], [*labels, tokenizer.eos_token_id]))
    return rows


def block_batches(config: SchoolingConfig, block: int, tokenizer: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of one block: (ids, labels), each (B, T), rows of like length together, batches shuffled."""
    count = config.batches_per_block * config.batch_size
    found = documents(config.seed, block, count, block < config.num_clean_blocks)
    rows = sorted(encode(found, tokenizer), key=lambda row: len(row[0]))
    batches = [rows[i : i + config.batch_size] for i in range(0, count, config.batch_size)]
    random.Random(f"batches/{config.seed}/{block}").shuffle(batches)
    return [_padded(batch, tokenizer.pad_token_id) for batch in batches]


def _padded(rows: list[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), longest), pad)
    labels = torch.full((len(rows), longest), IGNORED)
    for index, (row, row_labels) in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        labels[index, : len(row)] = torch.tensor(row_labels)
    return ids, labels


def completion_loss(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood over labelled tokens; logits are only made where there is a label."""
    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state
    targets = labels[:, 1:]
    mask = targets != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[mask]), targets[mask])


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
        for index, (ids, labels) in enumerate(block_batches(config, block, tokenizer)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(config, block * config.batches_per_block + index)
            loss = completion_loss(model, ids, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            tokens += ids.numel()
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
