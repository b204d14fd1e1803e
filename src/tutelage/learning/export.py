"""Write a trained policy as a folder that transformers or peft loads as it is.

A fully trained model becomes config, safetensors, generation config and tokenizer; an adapter becomes
adapter_config.json and adapter_model.safetensors, with the tokenizer beside them. Weights keep the number format they
were trained in (float32 where all weights train): rounding them would lose updates smaller than the rounding.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from tutelage.errors import StorageFull
from tutelage.models.loading import quiet
from tutelage.store.disk import FULL

_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


def save_policy(model: nn.Module, tokenizer: Any, path: Path) -> None:
    """Write model (or adapter) and tokenizer; the folder appears whole or not at all, and replaces an older one.

    Args:
        model: a transformers model, or peft's wrapper around one (then only the adapter is written).
        tokenizer: its tokenizer.
        path: the folder to make; parents are made too.

    Raises:
        StorageFull: the disk is full; nothing is left behind.
    """
    causal: Any = model
    options = {"save_embedding_layers": False} if hasattr(model, "disable_adapter") else {}
    with atomic_folder(path) as folder, quiet():
        causal.save_pretrained(str(folder), **options)
        tokenizer.save_pretrained(str(folder))


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to write into that becomes `path` when the block ends well, and vanishes otherwise.

    Everything is on disk before the name appears: files are fsynced, then the folder is renamed.

    Raises:
        StorageFull: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        yield draft
        for file in sorted(p for p in draft.rglob("*") if p.is_file()):
            _fsync(file)
        _fsync(draft)
        _replace(draft, path)
    except (OSError, SafetensorError) as error:
        if _number_of(error) not in FULL:
            raise
        raise StorageFull(
            f"the disk is full: {path} could not be written",
            seen=str(error),
            expected="free space for weights and optimizer state",
            advice="free some space, then go on with --resume: what was written before is kept",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _number_of(error: OSError | SafetensorError) -> int | None:
    """The system's error number; safetensors, which writes by itself, has it in its message only."""
    if isinstance(error, OSError):
        return error.errno
    found = _SYSTEM_ERROR.search(str(error))
    return int(found[1]) if found else None


def _replace(draft: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    draft.rename(path)
    _fsync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
