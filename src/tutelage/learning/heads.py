"""A transformer with a scalar head: what reward models and value networks are.

It is transformers' own class for sequence classification with one label, so a saved one loads with
`AutoModelForSequenceClassification` as it is. Architectures without such a class, or whose class has no linear `score`
layer on top, cannot be used, and the message says so. A fresh head is all zeros: it says 0 of everything until it has
learnt.

How rows are laid out and passes are planned is the policies' (`policy`); only what is read differs.
"""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any, Unpack

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from tutelage.config.settings import TrainingSettings
from tutelage.errors import ModelError
from tutelage.learning import adapters
from tutelage.learning.layout import Pass, make_pass
from tutelage.learning.policy import Opening, TrainablePolicy, recompute_activations
from tutelage.learning.reading import (
    PROBE_TOLERANCE,
    may_share_beginnings,
    picked,
    probe_rows,
    row_sums,
    run_pass,
    scored_tokens,
)
from tutelage.models import loading

CLASSIFIER = "ForSequenceClassification"


class HeadReader:
    """Reads the scalar head at scored positions: the number is of the state *before* each scored token.

    Args:
        model: a sequence classification model with one label, with or without peft's wrapper.
        compute_dtype: autocast to this type; None computes in the weights' type.
    """

    def __init__(self, model: nn.Module, *, compute_dtype: torch.dtype | None = None) -> None:
        wrapped: Any = model
        self._inner: Any = wrapped.get_base_model() if hasattr(wrapped, "get_base_model") else wrapped
        self.model, self.compute_dtype = model, compute_dtype
        self.device = next(model.parameters()).device
        self.can_share_beginnings = may_share_beginnings(model) and self._shares()

    def token_values(self, *passes: Pass) -> Tensor:
        """The head's outputs before the scored tokens of passes on the model's device, `(S,)`, float32."""
        with self._autocast():
            trunk = getattr(self._inner, self._inner.base_model_prefix)
            states = torch.cat([picked(run_pass(trunk, batch).last_hidden_state, batch) for batch in passes])
        trained = [p for p in self._inner.score.parameters() if p.requires_grad] or list(self._inner.score.parameters())
        values = self._inner.score(states.to(trained[0].dtype))[:, 0].float()
        return scored_tokens(values, passes)

    def sums(self, *passes: Pass) -> Tensor:
        """Weighted sums of the head's outputs over the passes' rows, `(R,)`, float32."""
        return row_sums(self.token_values(*passes), passes)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.compute_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.compute_dtype)

    @torch.no_grad()
    def _shares(self) -> bool:
        """Whether two rows on one line have the states that they have apart."""
        rows = probe_rows(self.model)
        trunk = getattr(self._inner, self._inner.base_model_prefix)
        was_training = self.model.training
        self.model.eval()

        def states(batch: Pass) -> Tensor:
            batch = batch.to(self.device)
            return picked(run_pass(trunk, batch).last_hidden_state, batch).index_select(0, batch.scored).float()

        try:
            apart, together = states(make_pass([(row,) for row in rows])), states(make_pass([tuple(rows)]))
        except (RuntimeError, ValueError, TypeError):  # an architecture that takes no mask of this shape
            return False
        finally:
            self.model.train(was_training)
        tolerance = PROBE_TOLERANCE.get(next(self.model.parameters()).dtype, 1e-3)
        return bool((apart - together).abs().max() <= tolerance)


def open_head(path: str | Path, settings: TrainingSettings, **opening: Unpack[Opening]) -> TrainablePolicy:
    """A model with a scalar head, ready to train: a saved one, or a causal language model with a fresh head.

    Args:
        path: folder or hub name.
        settings: `lora_rank` 0 trains all weights, otherwise a fresh adapter of that rank and the head.
        opening: seed, device, dtype as in `TrainablePolicy.open`; `adapter` is one of the language model's, which is
            merged into it first.

    Raises:
        ModelError: the folder cannot be used, or its architecture has no scalar head.
    """
    place = loading.resolve_device(opening.get("device", "auto"))
    compute = loading.resolve_dtype(opening.get("dtype", "auto"), place)
    seed, adapter = opening.get("seed", 0), opening.get("adapter")
    tokenizer = loading.load_tokenizer(path)
    weights = compute if settings.lora_rank else torch.float32
    model = load_head_model(path, tokenizer, device=place, dtype=weights, adapter=adapter)
    if settings.lora_rank:
        model = adapters.attach(model, settings, seed=seed, task="SEQ_CLS")
    if settings.gradient_checkpointing:
        recompute_activations(model)
    autocast = None if compute == torch.float32 else compute
    reader = HeadReader(model, compute_dtype=autocast)
    return TrainablePolicy(model, tokenizer, settings, seed=seed, compute_dtype=autocast, reader=reader)


def is_head_model(path: str | Path) -> bool:
    """Whether a folder or hub name is a saved model with a classification head.

    Raises:
        ModelError: its config cannot be read.
    """
    loading.check_folder(path)
    try:
        config = AutoConfig.from_pretrained(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError("the model's config cannot be read", seen=f"{path}: {error}") from error
    return any(name.endswith(CLASSIFIER) for name in config.architectures or ())


def load_head_model(
    path: str | Path, tokenizer: Any, *, device: torch.device, dtype: torch.dtype, adapter: Path | None = None
) -> nn.Module:
    """A saved scalar model as it is, or a causal language model's transformer under a fresh head of zeros.

    Args:
        path: folder or hub name.
        tokenizer: the model's; tells which token may be padding.
        device: where the weights go.
        dtype: number format of the weights.
        adapter: an adapter of the language model, merged into it first.

    Raises:
        ModelError: unreadable, of an architecture without a scalar head, or a classifier with several labels.
    """
    if is_head_model(path):
        return _saved(path, device=device, dtype=dtype)
    causal: Any = loading.load_model(path, device=device, dtype=dtype)
    if adapter is not None:
        causal = adapters.resume(causal, Path(adapter), None).merge_and_unload()
    return with_head(causal, pad_token_id=padding_token(tokenizer))


def _saved(path: str | Path, *, device: torch.device, dtype: torch.dtype) -> nn.Module:
    try:
        with loading.quiet():
            opened: Any = AutoModelForSequenceClassification.from_pretrained(
                str(path), dtype=dtype, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError("the model's weights cannot be loaded", seen=f"{path}: {error}") from error
    model, info = opened
    if info["missing_keys"] or model.config.num_labels != 1 or not hasattr(model, "score"):
        raise ModelError(
            "the model is no reward model",
            seen=f"{path}: {model.config.num_labels} labels, missing weights: {sorted(info['missing_keys'])[:3]}",
            expected="a sequence classification model with one label and a `score` layer",
            advice="make one with tutelage run reward-model",
        )
    return model.to(device).eval()


def with_head(causal: nn.Module, *, pad_token_id: int | None) -> nn.Module:
    """The transformer of a causal language model under a scalar head of zeros; it is shared, not copied.

    Args:
        causal: a transformers causal language model.
        pad_token_id: a token that never ends a completion; transformers' class finds a row's end by it.

    Raises:
        ModelError: transformers has no sequence classification class with a linear `score` for the architecture.
    """
    language_model: Any = causal
    config = copy.deepcopy(language_model.config)
    config.num_labels, config.pad_token_id = 1, pad_token_id
    scalar: Any = None
    if config.model_type in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        with torch.device("meta"):
            scalar = AutoModelForSequenceClassification.from_config(config)
    prefix: str = getattr(scalar, "base_model_prefix", "")
    trunk = getattr(language_model, prefix, None) if prefix else None
    if trunk is None or type(getattr(scalar, "score", None)) is not nn.Linear:
        raise ModelError(
            "transformers has no model with a scalar head for this architecture",
            seen=f"model_type {config.model_type!r}",
            expected="one with a ...ForSequenceClassification class that ends in `score`, such as Llama, Qwen2, Phi-3",
            advice="take a model of another architecture as reward model or value network",
        )
    setattr(scalar, prefix, trunk)
    like = next(trunk.parameters())
    scalar.score = nn.Linear(scalar.score.in_features, 1, bias=False, device=like.device, dtype=like.dtype)
    nn.init.zeros_(scalar.score.weight)
    return scalar.eval()


def padding_token(tokenizer: Any) -> int | None:
    """A token that can pad rows without being taken for their end: transformers reads the last token that is not it.

    Many tokenizers pad with their end token; then the unknown or the begin token serves, which end no completion.
    """
    ends = {tokenizer.eos_token_id}
    candidates = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id)
    return next((token for token in candidates if token is not None and token not in ends), None)
