"""Reward models: a scalar head on a language model, trained on pairs by Bradley and Terry's model.

The reward of a completion is the head's output at its last token. Only differences between answers of one problem are
trained, so its scale and its zero mean nothing from problem to problem.

Source: arXiv 2203.02155 §3.5. A batch's common beginnings are computed once (`layout`).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from tutelage.config.settings import TrainingSettings
from tutelage.errors import ConfigError, DataError, ModelError
from tutelage.learning import losses
from tutelage.learning.batches import Row, check_row
from tutelage.learning.export import save_policy
from tutelage.learning.fitting import check_not_empty, keep_items
from tutelage.learning.heads import is_head_model, open_head
from tutelage.learning.layout import Group
from tutelage.learning.learner import FitOptions, Learner, Lesson
from tutelage.learning.policy import Opening, TrainablePolicy
from tutelage.learning.session import FitResult, StepMetrics
from tutelage.records import Completion, PreferencePair, Score, digest
from tutelage.text.prompts import tokenizer_digest


def reward_row(name: str, prompt: Sequence[int], completion: Sequence[int]) -> Row:
    """The row whose sum is a completion's reward: one more token, never fed, is "predicted" from the last one.

    Raises:
        DataError: prompt or completion is empty.
    """
    if not prompt or not completion:
        raise DataError(f"record {name} has an empty prompt or completion", expected="at least one token each")
    return Row((*prompt, *completion, 0), len(prompt), (*(0.0,) * len(completion), 1.0))


def reward_rows(pair: PreferencePair) -> tuple[Row, Row]:
    """The reward rows of chosen and rejected; what the loss masks hide is read like the rest."""
    return (
        reward_row(pair.id, pair.prompt_ids, pair.chosen_ids),
        reward_row(pair.id, pair.prompt_ids, pair.rejected_ids),
    )


class RewardLearner(Learner):
    """A session that learns rewards from pairs; a `LearnerSession` over lists of `PreferencePair`.

    Args:
        policy: a model with a scalar head (`open_head`).
        margin: by how much a chosen answer's reward must exceed the rejected one's, >= 0.
    """

    def __init__(self, policy: TrainablePolicy, *, margin: float = 0.0) -> None:
        if margin < 0:
            raise ConfigError([f"margin={margin} is below 0"])
        super().__init__(policy)
        self.margin = margin

    @classmethod
    def open(
        cls, path: str | Path, settings: TrainingSettings, *, margin: float = 0.0, **opening: Unpack[Opening]
    ) -> RewardLearner:
        """Load a language model under a fresh head, or a saved reward model to be trained further.

        Args:
            path: folder or hub name.
            settings: how weights are changed.
            margin: by how much a chosen answer's reward must exceed the rejected one's, >= 0.
            opening: seed, adapter (of the language model, merged first), device, dtype.

        Raises:
            ModelError: the model cannot be used, or its architecture has no scalar head.
            ConfigError: the margin is below 0.
        """
        return cls(open_head(path, settings, **opening), margin=margin)

    def objective_digest(self) -> str:
        """Equal for equal losses and parameters of them."""
        return digest(["bradley_terry", self.margin])

    def step(self, batch: Sequence[PreferencePair], *, learning_rate: float | None = None) -> StepMetrics:
        """One optimizer update on a batch of pairs; none of them is dropped.

        Raises:
            DataError: a pair cannot be trained on.
            RunFailed: training diverged; the weights are left as they were.
        """
        items, _, dropped = keep_items(self.policy, [(pair.id, reward_rows(pair)) for pair in batch])
        if dropped.total or not items:
            raise DataError("a batch holds pairs that cannot be trained on", seen=dropped, expected="none dropped")
        rate = self.policy.settings.learning_rate if learning_rate is None else learning_rate
        return self._step(self.updates + 1, items, [pair.weight for pair in batch], rate)

    def fit(
        self, pairs: Sequence[PreferencePair], checkpoint_dir: Path | None = None, **options: Unpack[FitOptions]
    ) -> FitResult:
        """Train on pairs for the settings' epochs and steps; go on from a checkpoint where there is one.

        Args:
            pairs: what to learn from; those over `max_length` are dropped and counted.
            checkpoint_dir: where resumable checkpoints go; None keeps none.
            options: see `FitOptions`; a probe of log-probs makes no sense here and is refused.

        Raises:
            NothingToLearn: no pair is left.
            RunError: the checkpoint there belongs to another training.
            RunFailed: training diverged.
        """
        if options.get("probe"):
            raise ConfigError(["probe: a reward model has no log-probs to follow"])
        items, indices, dropped = keep_items(self.policy, [(pair.id, reward_rows(pair)) for pair in pairs])
        check_not_empty(items, dropped, what="pair")
        weights = [pairs[i].weight for i in indices]

        def step_on(step: int, chosen: list[int], rate: float) -> StepMetrics:
            return self._step(step, [items[i] for i in chosen], [weights[i] for i in chosen], rate)

        lesson = Lesson(items, dropped, step_on, digest([self.objective_digest(), weights]))
        return self.run_lesson(lesson, checkpoint_dir, options)

    def save(self, path: Path) -> None:
        """Write a folder that `AutoModelForSequenceClassification` loads; a LoRA adapter is merged into it."""
        model: Any = self.model
        if hasattr(model, "merge_and_unload"):
            model = copy.deepcopy(model).merge_and_unload()
        save_policy(model, self.tokenizer, path)

    def _step(self, step: int, items: Sequence[Sequence[Row]], weights: Sequence[float], rate: float) -> StepMetrics:
        started = time.perf_counter()
        by_pair = torch.tensor(weights, dtype=torch.float32, device=self.policy.device)
        shares: list[Tensor] = []
        margins: list[Tensor] = []

        def group_loss(group: Group, rewards: Tensor) -> Tensor:
            pairwise = losses.bradley_terry(rewards[:, 0], rewards[:, 1], margin=self.margin)
            share = (by_pair[torch.tensor(group.items, device=rewards.device)] * pairwise).sum() / len(items)
            shares.append(share.detach())
            margins.append((rewards[:, 0] - rewards[:, 1]).detach())
            return share

        stats = self.policy.update(items, group_loss, learning_rate=rate)
        loss, differences = float(torch.stack(shares).sum()), torch.cat(margins)
        return StepMetrics(
            step=step,
            loss=loss,
            preference_loss=loss,
            margin=float(differences.mean()),
            accuracy=float((differences > 0).float().mean()),
            grad_norm=stats.grad_norm,
            learning_rate=rate,
            num_items=len(items),
            num_tokens=stats.num_tokens,
            num_padded=stats.num_padded,
            seconds=time.perf_counter() - started,
        )


class RewardScorer:
    """Scores completions with a reward model.

    Args:
        policy: a model with a scalar head, with its tokenizer.
        name: what the scores say they are by.
    """

    def __init__(self, policy: TrainablePolicy, *, name: str) -> None:
        self.policy, self.name = policy, name
        self.tokenizer_digest = tokenizer_digest(policy.tokenizer)

    @classmethod
    def open(
        cls, path: str | Path, *, token_budget: int = 8192, device: str = "auto", dtype: str = "auto", name: str = ""
    ) -> RewardScorer:
        """Load a saved reward model.

        Args:
            path: folder or hub name of a sequence classification model with one label.
            token_budget: most tokens, padding included, in one forward pass.
            device: torch device, or auto.
            dtype: number format to compute in, or auto.
            name: what the scores say they are by; "" takes `path`.

        Raises:
            ModelError: there is none, or it is another kind of model.
        """
        check_reward_model(path)
        settings = TrainingSettings(token_budget=token_budget)
        return cls(open_head(path, settings, device=device, dtype=dtype), name=name or str(path))

    def score(self, completions: Sequence[Completion]) -> list[Score]:
        """A score of each completion, in order; prompts and beginnings that they share are computed once.

        Raises:
            DataError: a completion is of another tokenizer, empty, or longer than the model's context.
        """
        rows = []
        for completion in completions:
            if completion.tokenizer_digest != self.tokenizer_digest:
                raise other_tokenizer(self.name, completion)
            row = reward_row(completion.id, completion.prompt_ids, completion.token_ids)
            if check_row(completion.id, row, max_length=self.policy.max_length + 1, vocab_size=self.policy.vocab_size):
                raise DataError(
                    f"completion {completion.id} is longer than the reward model's context",
                    seen=f"{len(row.ids) - 1} tokens", expected=f"at most {self.policy.max_length}",
                    advice="leave it out, or lower max_new_tokens",
                )  # fmt: skip
            rows.append(row)
        values = self.policy.score([(row,) for row in rows])
        return [Score(c.id, "reward_model", v, self.name) for c, (v,) in zip(completions, values, strict=True)]


def check_reward_model(path: str | Path) -> None:
    """Refuse a model that is no reward model.

    Raises:
        ModelError: it is missing, unreadable, or a language model.
    """
    if not is_head_model(path):
        raise ModelError(
            "the model is a language model, not a reward model", seen=str(path),
            expected="a sequence classification model with one label",
            advice="make one with tutelage run reward-model, and name its checkpoints/it1",
        )  # fmt: skip


def other_tokenizer(name: str, completion: Completion) -> DataError:
    """The error that says that a reward model reads other tokens than a completion is made of."""
    return DataError(
        "the reward model and the completions have different tokenizers",
        seen=f"{name}; completion {completion.id} of {completion.policy.model}",
        expected="a reward model trained from a model with the sampler's tokenizer",
        advice="train one from the model that samples: tutelage run reward-model model=MODEL",
    )
