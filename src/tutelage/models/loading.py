"""Open a model and its tokenizer, with an answer to everything that is commonly wrong with the folder.

Samplers and learners open models through here. Not here: adapters and saving, which are theirs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging as hf_logging

from tutelage.errors import ModelError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
GENERIC_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A context without transformers' own progress bars; ours are the command line's."""
    was_enabled = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            hf_logging.enable_progress_bar()


def resolve_device(device: str) -> torch.device:
    """The torch device of a setting; "auto" is a GPU if there is one.

    Raises:
        ModelError: torch does not know the device, or it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            "the device cannot be used",
            seen=f"{device}: {error}",
            expected="auto, cpu or cuda",
            advice="set device=auto",
        ) from error
    return found


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The number format to compute in; "auto" is bfloat16 on a GPU and float32 on a CPU.

    Raises:
        ModelError: the format is not one that tutelage trains in.
    """
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if dtype not in known:
        raise ModelError("the number format is not known", seen=dtype, expected="auto, float32 or bfloat16")
    return known[dtype]


def check_folder(model: str | Path) -> None:
    """Refuse a model folder that cannot be loaded; hub names are not checked.

    Raises:
        ModelError: the folder is missing, holds an adapter only, or lacks a config or weights.
    """
    path = Path(model)
    if not path.exists():
        looks_local = path.is_absolute() or str(model).startswith((".", "~")) or str(model).count("/") > 1
        if looks_local or path.parent.name in _folders_here():
            raise ModelError("the model folder does not exist", seen=str(model), advice="check the path")
        return
    if not path.is_dir():
        raise ModelError("the model is not a folder", seen=str(model), expected="a folder with config.json and weights")
    if not (path / "config.json").exists():
        if (path / "adapter_config.json").exists():
            raise ModelError(
                "the folder holds an adapter, not a model",
                seen=str(model),
                expected="config.json and weights",
                advice="name the base model as the model and this folder as its adapter",
            )
        raise ModelError("the folder holds no model", seen=str(model), expected="config.json", advice="check the path")
    if not any(any(path.glob(pattern)) for pattern in WEIGHT_FILES):
        raise ModelError("the model folder has no weights", seen=str(model), expected=" or ".join(WEIGHT_FILES))


def _folders_here() -> set[str]:
    """Names of the folders in the working directory: `runs/x` is then a path that is wrong, not a hub name."""
    return {entry.name for entry in Path().iterdir() if entry.is_dir()}


def load_tokenizer(model: str | Path) -> Any:
    """The tokenizer of a model.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    check_folder(model)
    path = Path(model)
    if path.is_dir() and not any((path / name).exists() for name in TOKENIZER_FILES):
        raise ModelError(
            "the model folder has no tokenizer",
            seen=str(model),
            expected=f"one of {', '.join(TOKENIZER_FILES)}",
            advice="copy the tokenizer files of the model it was made from into the folder",
        )
    loader = PreTrainedTokenizerFast if _is_generic(path) else AutoTokenizer
    try:
        return loader.from_pretrained(str(model))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            "the tokenizer cannot be loaded",
            seen=f"{model}: {error}",
            expected="a folder that exists, or a hub name and a connection",
            advice="check the path",
        ) from error


def _is_generic(folder: Path) -> bool:
    """Whether the folder's tokenizer.json is to be read as it stands.

    For some model types (Qwen2 is one) transformers 5 takes that type's own tokenizer class whatever class was saved,
    and replaces the pre-tokenizer of the file by its own: another tokenizer, without a word.
    """
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text())
    except (OSError, ValueError):
        return False
    return (folder / "tokenizer.json").is_file() and config.get("tokenizer_class") in GENERIC_TOKENIZERS


def load_model(model: str | Path, *, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A causal language model with weights of one number format, in evaluation mode.

    Args:
        model: folder or hub name.
        device: where the weights go.
        dtype: number format of the weights.

    Raises:
        ModelError: no such folder, not a causal language model, or unreadable weights.
    """
    check_folder(model)
    try:
        config = AutoConfig.from_pretrained(str(model))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError("the model's config cannot be read", seen=f"{model}: {error}") from error
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or config.is_encoder_decoder:
        raise ModelError(
            "the model is not a causal language model",
            seen=f"{model}: model_type {config.model_type!r}",
            expected="a decoder-only model such as Llama, Qwen2 or Phi-3",
        )
    refuse_classifier(model, config)
    try:
        with quiet():
            opened: Any = AutoModelForCausalLM.from_pretrained(str(model), dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError("the model's weights cannot be loaded", seen=f"{model}: {error}") from error
    loaded, info = opened
    if info["missing_keys"]:  # transformers fills them with random numbers and goes on
        raise ModelError(
            "the model folder lacks weights that its config asks for",
            seen=", ".join(sorted(info["missing_keys"])[:4]),
            expected="a tensor for every parameter",
        )
    return loaded.to(device).eval()


def refuse_classifier(model: str | Path, config: Any) -> None:
    """Refuse a model that gives numbers where one that writes is asked for; `config` is transformers' of it.

    Raises:
        ModelError: its architecture is that of a classifier.
    """
    if any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        raise ModelError(
            "the model is a reward model or classifier, not a language model",
            seen=f"{model}: {config.architectures[0]}",
            expected="a model that writes",
            advice="name it where a reward model is asked for (reward_model=)",
        )


def context_length(model: nn.Module) -> int:
    """Most tokens that the model was made for; 2**20 where its config does not say."""
    config: Any = model.config
    return int(getattr(config.get_text_config(), "max_position_embeddings", None) or 2**20)


def vocabulary_size(model: nn.Module) -> int:
    """Number of token ids that the model can read."""
    causal: Any = model
    return int(causal.get_input_embeddings().weight.shape[0])


def count_parameters(model: str | Path) -> int:
    """How many parameters a model of this config has, tied ones once; no weights are read."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(str(model)))
    return sum(parameter.numel() for parameter in empty.parameters())
