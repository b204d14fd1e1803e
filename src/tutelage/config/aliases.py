"""Names that users bring from other tools, and what they are called here.

An alias is taken only where the settings have the field it stands for and no field of the alias's own name. It is
understood in files and on the command line; what tutelage writes always has our names.
Source: the field names of TRL, LLaMA-Factory, OpenRLHF, open-instruct and vLLM.
"""

from __future__ import annotations

from collections.abc import Collection

ALIASES: dict[str, tuple[str, ...]] = {
    "model_name_or_path": ("model",),
    "model_name": ("model",),
    "pretrain": ("model",),
    "dataset_name": ("data",),
    "dataset": ("data",),
    "train_file": ("data",),
    "train_data": ("data",),
    "eval_dataset": ("eval_data",),
    "eval_dataset_name": ("eval_data",),
    "lora_r": ("lora_rank",),
    "lora_target_modules": ("lora_targets",),
    "lora_target": ("lora_targets",),
    "num_generations": ("num_samples",),
    "num_return_sequences": ("num_samples",),
    "n": ("num_samples",),
    "lr": ("learning_rate",),
    "max_tokens": ("max_new_tokens",),
    "max_completion_length": ("max_new_tokens",),
    "per_device_train_batch_size": ("batch_size",),
    "train_batch_size": ("batch_size",),
    "num_train_epochs": ("epochs",),
    "num_epochs": ("epochs",),
    "max_train_steps": ("max_steps",),
    "lr_scheduler_type": ("schedule",),
    "lr_warmup_steps": ("warmup_steps",),
    "num_warmup_steps": ("warmup_steps",),
    "max_seq_length": ("max_length",),
    "cutoff_len": ("max_length",),
    "max_len": ("max_length",),
    "save_steps": ("checkpoint_every",),
    "dpo_beta": ("beta",),
    "rpo_alpha": ("alpha", "nll_weight"),
    "num_iterations": ("iterations",),
    "torch_dtype": ("dtype",),
    "output": ("output_dir",),
    "out": ("output_dir",),
    "save_path": ("output_dir",),
    "max_concurrency": ("max_in_flight",),
    "few_shot": ("num_shots",),
    "num_fewshot": ("num_shots",),
}
"""Alias -> the fields it may stand for, the first that exists winning."""


def field_of(key: str, fields: Collection[str]) -> str | None:
    """The field that `key` names, directly or by an alias, or None.

    Hyphens are read as underscores.

    Args:
        key: what the user wrote.
        fields: the names of the fields there are.
    """
    name = key.strip().replace("-", "_")
    if name in fields:
        return name
    return next((field for field in ALIASES.get(name, ()) if field in fields), None)


def aliases_of(field: str, fields: Collection[str]) -> tuple[str, ...]:
    """The aliases under which `field` is understood, sorted."""
    return tuple(sorted(alias for alias in ALIASES if alias not in fields and field_of(alias, fields) == field))
