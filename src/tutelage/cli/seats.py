"""A model in a seat: its weights, tokenizer, prompts, and the samplers that can be opened on it, chosen by name.

The only place that picks a sampling backend. What is wrong with a model, a prompt or a sampler's name is found here,
before any work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.cli.splits import Splits
from tutelage.errors import InputError, ModelError
from tutelage.models.loading import load_tokenizer, refuse_classifier, resolve_device
from tutelage.models.runs import checkpoint_of
from tutelage.problems.files import read_rows
from tutelage.recipes.bench import ELSEWHERE, Weights
from tutelage.recipes.rehearsal import rehearsal_script
from tutelage.records import Policy, Problem, digest
from tutelage.sampling.session import SamplerSession
from tutelage.text.prompts import Prompter, task_of, tokenizer_digest

FINGERPRINT_BYTES, FINGERPRINT_BLOCKS = 1 << 18, 16


@dataclass(frozen=True)
class Seat:
    """A model that can be asked: its weights, prompts, tokenizer, and ways to open samplers on it."""

    base: Weights
    prompter: Prompter
    tokenizer: Any
    samplers: Samplers


def take_seat(config: Any, splits: Splits) -> Seat:
    """Load and check the model that `config` names, for these problems."""
    model, adapter = model_location(config.model)
    tokenizer = load_tokenizer(model)
    everything = [*splits.train, *splits.held_out, *splits.dev, *splits.test]
    prompter = make_prompter(config, tokenizer, splits)
    limits = model_limits(model)
    check_prompts(prompter, everything, limits, getattr(config, "max_length", None))
    resolve_device(config.device)
    made_of = [fingerprint(model), fingerprint(str(adapter)) if adapter else "", tokenizer_digest(tokenizer)]
    base = Weights(Policy(config.model, adapter="lora" if adapter else ""), model, adapter, digest(made_of))
    return Seat(base, prompter, tokenizer, Samplers(config, tokenizer, prompter, {p.id: p for p in everything}))


def guest_name(name: str) -> str:
    """A guest's name with the last checkpoint of a run in the run's place.

    Raises:
        ModelError: the run has none.
    """
    kind, _, where = name.partition(":")
    return f"local:{checkpoint_of(where)}" if kind == "local" and where else checkpoint_of(name)


def guest_config(config: Any, name: str) -> Any:
    """A run's config with somebody else in it, whom a recipe's setting names.

    Args:
        config: the run's.
        name: `server:URL`, `replay:FILE` or `scripted:FILE.py:FUNCTION`, which answer in the place of the run's model;
            `local:MODEL`, a model that samples in this process whatever the run's own sampler is; or a model, which
            samples as the run does. A model's own prompt form is found anew.
    """
    kind, _, where = name.partition(":")
    if kind == "local" and where:
        return guest_config(config.model_copy(update={"sampler": "local"}), where)
    if name.startswith(ELSEWHERE):
        return config.model_copy(update={"sampler": name})
    return config if name == config.model else config.model_copy(update={"model": name, "prompt": "auto"})


def model_location(name: str) -> tuple[str, Path | None]:
    """Folder or hub name of the model, and the adapter folder where `name` is one; a run is its last checkpoint.

    Raises:
        ModelError: an adapter whose base cannot be told, or a run without a checkpoint.
    """
    if name == "primer":
        from tutelage.primer import model_path

        return str(model_path()), None
    name = checkpoint_of(name)
    folder = Path(name)
    if (folder / "adapter_config.json").is_file():
        import json

        base = json.loads((folder / "adapter_config.json").read_text()).get("base_model_name_or_path")
        if not base:
            raise ModelError(
                "the adapter does not say which model it belongs to", seen=str(folder),
                expected="base_model_name_or_path in adapter_config.json", advice="add it to that file",
            )  # fmt: skip
        return str(base), folder
    return name, None


def make_prompter(config: Any, tokenizer: Any, splits: Splits) -> Prompter:
    """The prompter of a run; primer's own prompt form where the model is primer's."""
    form, template = config.prompt, None
    if form == "auto" and (config.model == "primer" or _is_primer(tokenizer)):
        form = "primer"
    if form == "primer" and not _is_primer(tokenizer):
        raise InputError(
            "prompt=primer is the prompt form of the built-in model only",
            seen=config.model,
            expected="model=primer, or a model fine-tuned from it",
            advice="use prompt=auto",
        )
    if form == "primer":
        from tutelage.problems.primer import cot_prompt, question_text

        def template(problem: Problem) -> str:
            return cot_prompt(question_text(problem))

    return Prompter.create(
        tokenizer, form=form, task=task_of(splits.train or splits.test), instruction=config.instruction,
        system_prompt=config.system_prompt, shots=splits.shots, question_template=template,
    )  # fmt: skip


def _is_primer(tokenizer: Any) -> bool:
    """Whether a tokenizer is primer's, wherever it was saved: its role markers are single tokens."""
    from tutelage.problems.primer.prompts import MARKERS

    return set(MARKERS) <= tokenizer.get_vocab().keys()


@dataclass(frozen=True)
class Limits:
    """What a model can read: longest sequence in tokens, number of token ids; None where its config does not say."""

    context: int | None
    vocabulary: int | None


def check_prompts(prompter: Prompter, problems: Sequence[Problem], limits: Limits, max_length: int | None) -> None:
    """Refuse prompts that leave no room for an answer, or that the model cannot read.

    Args:
        prompter: renders the prompts.
        problems: what will be asked.
        limits: the model's.
        max_length: the user's limit on prompt and completion, if any.

    Raises:
        InputError: names the longest prompt and how many are too long.
        ModelError: a token id is outside the model's vocabulary.
    """
    most = min(limit for limit in (limits.context, max_length, 1 << 40) if limit is not None)
    prompts = {p.id: prompter.render(p).ids for p in problems}
    too_long = {i: len(ids) for i, ids in prompts.items() if len(ids) >= most}
    if too_long:
        worst = max(too_long, key=lambda i: too_long[i])
        raise InputError(
            f"{len(too_long)} prompts are longer than the model's context or max_length allows",
            seen=f"{too_long[worst]} tokens in problem {worst}",
            expected=f"fewer than {most} tokens",
            advice="lower num_shots, shorten the instruction, leave these problems out, raise max_length, or use a "
            "longer-context model",
        )
    largest = max((max(ids, default=0) for ids in prompts.values()), default=0)
    if limits.vocabulary is not None and max(largest, *prompter.stop_token_ids) >= limits.vocabulary:
        raise ModelError(
            "the tokenizer does not belong to the model: it gives token ids that the model does not have",
            seen=f"token id {max(largest, *prompter.stop_token_ids)}",
            expected=f"ids below {limits.vocabulary}",
            advice="save the model's own tokenizer to its folder",
        )


def model_limits(model: str) -> Limits:
    """What a model's config says of its context and vocabulary.

    Raises:
        ModelError: the config cannot be read, or is that of a model that does not write.
    """
    from transformers import AutoConfig

    try:
        whole = AutoConfig.from_pretrained(model)
        config = whole.get_text_config()
    except (OSError, ValueError) as error:
        raise ModelError("the model's config cannot be read", seen=f"{model}: {error}") from error
    refuse_classifier(model, whole)
    return Limits(getattr(config, "max_position_embeddings", None), getattr(config, "vocab_size", None))


def fingerprint(model: str) -> str:
    """A digest of a model folder's files (their sizes, and blocks spread over each); a hub name as it is."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    hasher = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".safetensors", ".bin", ".json"):
            continue
        size = path.stat().st_size
        hasher.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for block in range(FINGERPRINT_BLOCKS):
                file.seek(max(0, size - FINGERPRINT_BYTES) * block // (FINGERPRINT_BLOCKS - 1))
                hasher.update(file.read(FINGERPRINT_BYTES))
    return hasher.hexdigest()


class Samplers:
    """Opens samplers of the kind that the config names."""

    def __init__(self, config: Any, tokenizer: Any, prompter: Prompter, problems: dict[str, Problem]) -> None:
        self.config, self.tokenizer, self.prompter, self.problems = config, tokenizer, prompter, problems
        self.kind, _, self.where = config.sampler.partition(":")
        kinds = {
            "local": self._local, "server": self._server, "replay": self._replay, "scripted": self._scripted,
        }  # fmt: skip
        if self.kind not in kinds or (self.kind in ("server", "replay") and not self.where):
            raise InputError(
                "unknown sampler", seen=config.sampler,
                expected="local, server:URL, replay:FILE, scripted or scripted:FILE.py:FUNCTION",
                advice="set sampler= to one of these",
            )  # fmt: skip
        self._check_source()
        self._opener = kinds[self.kind]
        self._script = self._load_script()

    def _check_source(self) -> None:
        """Refuse an unreadable recording before any work."""
        if self.kind == "replay":
            next(iter(read_rows(Path(self.where))), None)

    def open(self, weights: Weights) -> AbstractContextManager[SamplerSession]:
        """A session that samples from `weights`; close it by leaving the context."""
        return closing(self._opener(weights))

    def of_model(self, model: Any, weights: Weights) -> AbstractContextManager[SamplerSession]:
        """A session on a model in memory; scripted samplers stay scripted."""
        if self.kind == "scripted":
            return self.open(weights)
        from tutelage.sampling.local import LocalSampler

        return closing(LocalSampler(model, self.tokenizer, policy=weights.policy, max_batch=self.config.max_batch))

    def _local(self, weights: Weights) -> SamplerSession:
        from tutelage.sampling.local import LocalSampler

        return LocalSampler.open(
            weights.model, tokenizer=self.tokenizer, adapter=weights.adapter, device=self.config.device,
            dtype=self.config.dtype, max_batch=self.config.max_batch, policy=weights.policy,
        )  # fmt: skip

    def _server(self, weights: Weights) -> SamplerSession:
        from tutelage.sampling.server import ServerSampler

        session = ServerSampler(
            self.where, self.tokenizer, weights.policy, model=self.config.server_model,
            max_in_flight=self.config.max_in_flight, timeout_seconds=self.config.timeout_seconds,
            max_retries=self.config.max_retries,
        )  # fmt: skip
        if weights.policy.version:
            session.publish(weights.policy.adapter, weights.policy.version, weights.adapter or Path(weights.model))
        return session

    def _replay(self, weights: Weights) -> SamplerSession:
        from tutelage.sampling.replay import ReplaySampler

        return ReplaySampler(self.where, self.tokenizer, weights.policy)

    def _scripted(self, weights: Weights) -> SamplerSession:
        from tutelage.sampling.scripted import ScriptedSampler

        return ScriptedSampler(self._script, self.tokenizer, weights.policy)

    def _load_script(self) -> Callable[[Any], Any]:
        if self.kind == "scripted" and self.where:
            from tutelage.sampling.scripted import load_script

            return load_script(self.where)
        return rehearsal_script(self.problems, self.prompter)
