"""Open a model and its tokenizer for sampling.

Nothing is fetched that is not there already unless `model` is a hub name. Not here: adapters (`adapters`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tutelage.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def pick_device(device: str) -> torch.device:
    """The torch device that a setting names; "auto" is a GPU if there is one.

    Raises:
        ModelError: the device is not known, or not there.
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


def load_model(model: str | Path, *, device: str, dtype: str) -> Any:
    """A causal language model in evaluation mode, its attention of a kind that takes masks.

    Args:
        model: folder or hub name.
        device: "auto", or a torch device.
        dtype: "auto" (bfloat16 on a GPU, float32 on a CPU), "float32" or "bfloat16".

    Raises:
        ModelError: there is no model of a kind that transformers can load.
    """
    place = pick_device(device)
    if dtype != "auto" and dtype not in DTYPES:
        raise ModelError("the number format is not known", seen=dtype, expected="auto, float32 or bfloat16")
    number = DTYPES.get(dtype, torch.bfloat16 if place.type == "cuda" else torch.float32)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(str(model), dtype=number, attn_implementation="sdpa")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            "the model cannot be loaded",
            seen=f"{model}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected="a folder with config.json and safetensors of a transformers causal language model",
            advice="check the path",
        ) from error
    return loaded.to(place).eval()


def load_tokenizer(model: str | Path) -> Any:
    """The tokenizer that lies beside a model.

    Raises:
        ModelError: there is none that transformers can load.
    """
    try:
        return AutoTokenizer.from_pretrained(str(model))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            "the model has no tokenizer that can be loaded",
            seen=f"{model}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected="tokenizer.json in the model's folder",
            advice="save the tokenizer to the same folder as the model",
        ) from error
