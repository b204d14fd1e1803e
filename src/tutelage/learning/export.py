"""Write a trained policy as a folder that transformers or peft loads as it is.

A fully trained model becomes config, safetensors, generation config and tokenizer; an adapter becomes
adapter_config.json and adapter_model.safetensors, with the tokenizer beside them. Weights keep the number format they
were trained in (float32 where all weights train): rounding them would lose updates smaller than the rounding.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from tutelage.errors import StorageFull
from tutelage.models.loading import quiet


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
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("the disk is full", seen=str(path), advice="free some space, then resume") from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


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
