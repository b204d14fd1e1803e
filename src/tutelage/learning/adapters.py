"""LoRA adapters through peft: attach a fresh one, continue an existing one, switch it off.

Which weights train is decided here, once, by name: peft's `set_adapter` and `disable_adapter` flip `requires_grad`
behind one's back, so nothing later may ask a parameter whether it trains at the moment.
An adapter switched off is the *base* model, not M_t: where M_t is base + adapter, its log-probs must be taken with
the adapter on, before the first update.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from tutelage.config.settings import UpdateSettings
from tutelage.errors import ConfigError, MissingExtra, ModelError
from tutelage.records import seed_of

if TYPE_CHECKING:
    import peft


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtra("peft", "train", "training with LoRA (lora_rank > 0)") from error
    return peft


def attach(
    model: nn.Module, settings: UpdateSettings, *, seed: int, name: str = "default", task: str = "CAUSAL_LM"
) -> peft.PeftModel:
    """A fresh adapter on a model; it starts as a no-op, so the model's outputs do not change.

    Args:
        model: a transformers causal language model, whose modules are changed in place, or one with adapters.
        name: the adapter's.
        settings: `lora_rank` >= 1, `lora_alpha`, `lora_dropout`, `lora_targets`.
        seed: the adapter's random matrices derive from it.
        task: peft's word for what the model is; with `SEQ_CLS` its `score` head trains too.

    Raises:
        MissingExtra: peft is not installed.
        ConfigError: no module has a name in `lora_targets`.
    """
    peft = _peft()
    targets = [target.strip() for target in settings.lora_targets.split(",") if target.strip()]
    config = peft.LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha if settings.lora_alpha is not None else 2 * settings.lora_rank,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
        task_type=task,
    )
    with seeded(next(model.parameters()).device, seed_of("lora", seed)):
        try:
            if not isinstance(model, peft.PeftModel):
                return peft.get_peft_model(model, config, adapter_name=name)
            model.add_adapter(name, config)
            return model
        except ValueError as error:
            raise ConfigError(
                [f"lora_targets={settings.lora_targets!r}: {error}"], advice="lora_targets=all-linear fits every model"
            ) from error


def resume(model: nn.Module, adapter: Path, settings: UpdateSettings | None) -> peft.PeftModel:
    """An existing adapter on its base model, ready to be trained further.

    Args:
        model: the base model; its modules are changed in place.
        adapter: folder with adapter_config.json.
        settings: `lora_rank` must be the adapter's; None takes any rank, for an adapter that is only used.

    Raises:
        MissingExtra: peft is not installed.
        ModelError: the folder holds no LoRA adapter, or one that does not fit the model.
        ConfigError: `lora_rank` is not the adapter's.
    """
    peft = _peft()
    if settings is not None:
        _check_rank(adapter, settings)
    try:
        return peft.PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError("the adapter does not fit the model", seen=f"{adapter}: {error}") from error


def take_up(model: peft.PeftModel, adapter: Path, settings: UpdateSettings, *, name: str) -> None:
    """Put the weights of a saved adapter into one of the same shape that the model has.

    Args:
        model: has an adapter `name`.
        adapter: folder with adapter_config.json.
        settings: `lora_rank` must be the saved adapter's.

    Raises:
        ModelError: the folder holds no LoRA adapter, or one that does not fit the model.
        ConfigError: `lora_rank` is not the adapter's.
    """
    peft = _peft()
    _check_rank(adapter, settings)
    try:
        weights = peft.load_peft_weights(str(adapter), device="cpu")
        unknown = peft.set_peft_model_state_dict(model, weights, adapter_name=name).unexpected_keys
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError("the adapter does not fit the model", seen=f"{adapter}: {error}") from error
    if unknown:
        raise ModelError("the adapter does not fit the model", seen=f"{adapter}: {unknown[0]}")


def _check_rank(adapter: Path, settings: UpdateSettings) -> None:
    file = adapter / "adapter_config.json"
    if not file.is_file():
        raise ModelError("the folder holds no adapter", seen=str(adapter), expected="adapter_config.json")
    try:
        rank = json.loads(file.read_text(encoding="utf-8")).get("r")
    except (json.JSONDecodeError, AttributeError) as error:
        raise ModelError("the adapter's config cannot be read", seen=f"{file}: {error}") from error
    if rank != settings.lora_rank:
        raise ConfigError(
            [f"lora_rank={settings.lora_rank}, but the adapter at {adapter} has rank {rank}"],
            advice=f"set lora_rank={rank}",
        )


def check_trainable(model: str | Path, settings: UpdateSettings, *, adapter: Path | None) -> None:
    """Refuse adapter settings under which nothing of a model would train, without loading its weights.

    Args:
        model: folder or hub name.
        settings: `lora_rank`, `lora_targets`.
        adapter: folder of the adapter to be trained further, if any.

    Raises:
        MissingExtra: peft is needed and not installed.
        ModelError: the adapter folder holds none, or the model's config cannot be read.
        ConfigError: the adapter has another rank, or no module has a name in `lora_targets`.
    """
    if adapter is not None:
        _check_rank(adapter, settings)
    elif settings.lora_rank:
        try:
            config = AutoConfig.from_pretrained(str(model))
            with torch.device("meta"):
                bare = AutoModelForCausalLM.from_config(config)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError("the model's config cannot be read", seen=f"{model}: {error}") from error
        attach(bare, settings, seed=0)


def switched_off(model: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """A context in which a model computes without its adapter: the base.

    Raises:
        ModelError: the model has no adapter.
    """
    if not hasattr(model, "disable_adapter"):
        raise ModelError(
            "the base model is asked for, but all weights are trained",
            expected="lora_rank > 0",
            advice="compute the reference before the first update instead",
        )
    return model.disable_adapter()  # type: ignore[operator]


@contextlib.contextmanager
def seeded(device: torch.device, seed: int) -> Any:
    """A context whose torch random numbers derive from `seed`; the caller's generators are left as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
