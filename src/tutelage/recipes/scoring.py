"""Opinions of a reward model on a run's completions: recorded, resumable, and on a scale that a recipe can add up."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tutelage.errors import ModelError
from tutelage.learning.reward import RewardScorer, check_reward_model
from tutelage.models.loading import load_tokenizer
from tutelage.models.runs import checkpoint_of
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench
from tutelage.records import Completion, Score, digest
from tutelage.selection.filters import values_of
from tutelage.text.prompts import Prompter, tokenizer_digest


class ReadingSettings(Protocol):
    """The settings that say how a reward model is read."""

    token_budget: int
    device: str

    @property
    def dtype(self) -> str:
        """Number format to compute in."""
        ...


class RewardSettings(ReadingSettings, Protocol):
    """The settings that name a reward model."""

    reward_model: str | None


class Writes(Protocol):
    """Who writes what a reward model reads."""

    @property
    def prompter(self) -> Prompter:
        """Its prompts, and its tokenizer."""
        ...


def open_reader(config: RewardSettings, bench: Bench) -> RewardReader | None:
    """The reward model that the config names; None if none. It is checked now and loaded when first needed.

    Raises:
        ModelError: it is none, or its tokenizer is not the model's.
    """
    if config.reward_model is None:
        return None
    path = checkpoint_of(config.reward_model)
    check_reward_model(path)
    check_tokenizer(path, bench, what="reward model")
    return RewardReader(path, config, config.reward_model)


def check_tokenizer(path: str, writer: Writes, *, what: str) -> None:
    """Refuse a model that reads other tokens than the policy writes.

    Raises:
        ModelError: its tokenizer is not the policy's.
    """
    ours, theirs = tokenizer_digest(writer.prompter.tokenizer), tokenizer_digest(load_tokenizer(path))
    if ours != theirs:
        raise ModelError(
            f"the {what} and the model have different tokenizers",
            seen=f"{path}: tokenizer {theirs}; the model's is {ours}",
            expected=f"a {what} made from a model with the same tokenizer",
            advice="train a reward model from the model that samples: tutelage run reward-model model=MODEL",
        )


@dataclass
class RewardReader:
    """A reward model, opened when it is first needed.

    Args:
        path: its folder or hub name.
        config: token budget, device, number format.
        name: what its scores say they are by; the same on every machine.
    """

    path: str
    config: ReadingSettings
    name: str
    _scorer: RewardScorer | None = None
    _scale: tuple[float, float] | None = field(default=None, init=False)

    def scores(self, bench: Bench, completions: Sequence[Completion], *, name: str) -> dict[str, float]:
        """The raw score of each completion, by id; those in the run folder are not computed again.

        Args:
            bench: the run that keeps them.
            completions: of the model's tokenizer, not empty.
            name: the stage's name.
        """
        wanted = {c.id for c in completions}
        known = values_of(s for s in bench.run.read("scores", Score) if s.completion_id in wanted and s.by == self.name)
        todo = [c for c in completions if c.id not in known]
        with bench.run.stage(name, digest(["score", self.name, sorted(wanted)])) as journal, bench.spent.on("grading"):
            bench.progress.stage(stages.in_words(name), None)
            if todo:
                if self._scorer is None:
                    self._scorer = RewardScorer.open(
                        self.path, token_budget=self.config.token_budget, device=self.config.device,
                        dtype=self.config.dtype, name=self.name,
                    )  # fmt: skip
                made = self._scorer.score(todo)
                bench.run.append_many("scores", made)
                known |= values_of(made)
            journal.result.update(scored=len(known))
        return known

    def standardised(self, bench: Bench, completions: Sequence[Completion], *, name: str) -> dict[str, float]:
        """Scores less the mean, over the deviation, of those that this reader was asked for first.

        A reward model's zero and unit mean nothing; fixed by the first round they stay comparable through a run.
        """
        raw = self.scores(bench, completions, name=name)
        if self._scale is None and raw:
            ordered = [raw[c.id] for c in completions]
            self._scale = (statistics.fmean(ordered), statistics.pstdev(ordered) or 1.0)
        mean, spread = self._scale or (0.0, 1.0)
        return {key: (value - mean) / spread for key, value in raw.items()}
