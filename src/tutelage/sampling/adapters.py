"""The weights that a local sampler holds: the model, the LoRA adapters on it, and the version of each.

The model itself is published by copying a checkpoint's weights into it; an adapter by loading it with peft. A model
that belongs to someone else (a learner's) gets back the active adapter and the trainable flags it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from tutelage.errors import InputError, MissingExtra, ModelError
from tutelage.models import loading
from tutelage.records import Policy
from tutelage.sampling.adapted import AS_IT_IS, NONE

ADAPTER_FILE = "adapter_config.json"


class HeldWeights:
    """A model with its adapters.

    Args:
        model: a transformers model or a peft wrapper of one.
        policy: what its weights are now; an adapter named here and not found on the model means the model as it is.
            Other adapters that the model has are at version 0.
        is_ours: whether nobody else uses the model.
    """

    def __init__(self, model: Any, policy: Policy, *, is_ours: bool) -> None:
        self.peft = model if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else None
        self.base = model.get_base_model() if self.peft is not None else model
        self.is_ours = is_ours
        self.versions: dict[str, int] = {"": 0, **dict.fromkeys(self._loaded(), 0), policy.adapter: policy.version}
        self._as_it_is = policy.adapter if policy.adapter not in self._loaded() else None

    def _loaded(self) -> set[str]:
        return set(self.peft.peft_config) if self.peft is not None else set()

    def objection(self, adapter: str, version: int) -> str | None:
        """Why this version of this adapter cannot be sampled from now, or None."""
        if adapter not in self.versions:
            return f"adapter {adapter!r} has not been published"
        if self.versions[adapter] != version:
            return f"version {version} of {adapter or 'the model'!r} is not in use: it is at {self.versions[adapter]}"
        return None

    def choice(self, adapter: str) -> str | None:
        """The same as `adapted` says it: an adapter's name, `NONE`, or `AS_IT_IS`."""
        if self.peft is None or adapter == self._as_it_is:
            return AS_IT_IS
        return adapter if adapter in self._loaded() else NONE

    @contextmanager
    def using(self, adapter: str) -> Iterator[None]:
        """The model computes with `adapter` inside ("" = with none)."""
        if self.peft is None or adapter == self._as_it_is:
            yield
            return
        if adapter not in self._loaded():
            with self.peft.disable_adapter():
                yield
            return
        active = list(self.peft.active_adapters)
        if active == [adapter]:
            yield
            return
        with nullcontext() if self.is_ours else self._restored(active):
            self.peft.set_adapter(adapter, inference_mode=True)
            yield

    @contextmanager
    def _restored(self, active: list[str]) -> Iterator[None]:
        assert self.peft is not None
        flags = [(p, p.requires_grad) for p in self.base.parameters()]
        try:
            yield
        finally:
            self.peft.base_model.set_adapter(active)
            for parameter, flag in flags:
                parameter.requires_grad_(flag)

    def load(self, adapter: str, version: int, path: Path) -> None:
        """Take weights from `path`: a checkpoint of the model where `adapter` is "", else a saved LoRA adapter.

        Raises:
            ModelError: the folder does not hold weights that fit this model.
            MissingExtra: an adapter is to be loaded and peft is not installed.
        """
        if adapter:
            self._load_adapter(adapter, adapter_folder(path, adapter))
        else:
            self._load_model(path)
        self.versions[adapter] = version

    def _load_adapter(self, adapter: str, folder: Path) -> None:
        try:
            from peft import PeftModel
        except ImportError as error:
            raise MissingExtra("peft", "train", "sampling from a LoRA adapter") from error
        try:
            if self.peft is None:
                self.peft = PeftModel.from_pretrained(self.base, str(folder), adapter_name=adapter)
            else:
                self.peft.load_adapter(str(folder), adapter_name=adapter)
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            raise ModelError(
                "the adapter cannot be loaded onto this model",
                seen=f"{folder}: {error}",
                expected="a LoRA adapter saved for this model",
                advice="check which model the adapter was trained on",
            ) from error
        self.base.eval()
        if adapter == self._as_it_is:
            self._as_it_is = None

    @torch.no_grad()
    def _load_model(self, path: Path) -> None:
        fresh = loading.load_model(path, device=torch.device("cpu"), dtype=torch.float32)
        target = {name.replace(".base_layer.", "."): p for name, p in self.base.named_parameters()}
        for name, parameter in fresh.named_parameters():
            if name not in target or target[name].shape != parameter.shape:
                raise ModelError(
                    "the checkpoint is of another model",
                    seen=f"{path}: {name} {tuple(parameter.shape)}",
                    expected="the parameters of the model that the sampler was opened with",
                    advice="open a new sampler for another model",
                )
        for name, parameter in fresh.named_parameters():
            target[name].copy_(parameter)

    def adopt(self, adapter: str, version: int) -> None:
        """Note that the weights were changed in place by their owner and are this version now."""
        if adapter not in self.versions:
            raise InputError("no such adapter", seen=adapter, expected=", ".join(map(repr, self.versions)))
        self.versions[adapter] = version


def adapter_folder(path: Path, adapter: str) -> Path:
    """Where in `path` the adapter lies: peft saves adapters that have a name in a folder of that name.

    Raises:
        ModelError: nowhere.
    """
    for folder in (path, path / adapter):
        if (folder / ADAPTER_FILE).is_file():
            return folder
    raise ModelError(
        "no LoRA adapter in this folder",
        seen=str(path),
        expected=f"{ADAPTER_FILE} in it, or in its folder {adapter!r}",
        advice="give the folder that the adapter was saved to",
    )
