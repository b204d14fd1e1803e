"""The settings of Flow-DPO, and what its parts take of them; the defaults are those of arXiv 2410.22304, Table 2."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from pydantic import field_validator, model_validator

from tutelage.config.settings import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    RunSettings,
    SamplerSettings,
    Settings,
    UpdateSettings,
    setting,
)
from tutelage.learning.objectives import Objective
from tutelage.recipes.estimate import Workload, evaluated
from tutelage.recipes.flow_chain import FlowSettings
from tutelage.recipes.flow_trees import RolloutSettings
from tutelage.recipes.flow_updates import UpdatePlan
from tutelage.text.prompts import Prompter

FLOW = "arXiv 2410.22304"


class FlowChunks(Settings):
    """How solutions are written in chunks and judged; shared with what uses a trained flow."""

    max_chunks: int = setting(6, "Most chunks of an answer.", source=f"{FLOW} Table 2", ge=1, le=1000)
    chunk_tokens: int = setting(
        160, "Most tokens of a chunk, end token included.", unit="tokens", source=f"{FLOW} Table 2", ge=1
    )
    chunk_unit: Literal["tokens", "steps"] = setting(
        "tokens", "What a chunk is: `chunk_tokens` tokens, or `chunk_steps` lines of at most that many.",
        source=f"{FLOW}: tokens",
    )  # fmt: skip
    chunk_steps: int = setting(1, "Lines of a chunk where `chunk_unit` is steps.", unit="lines", ge=1)
    stop_prompt: Literal["correctness", "completeness"] = setting(
        "correctness", "What Stop is asked of a partial answer.", source=f"{FLOW}: appendix correct, body complete"
    )
    stop_decision: Literal["sample", "compare"] = setting(
        "sample", "Stop's decision: its reply is drawn, or the likelier of Yes and No is taken."
    )
    stop_temperature: float = setting(0.0, "Temperature of Stop's replies; 0 is greedy.", ge=0, le=5)
    top_p: float = setting(1.0, "Nucleus of sampling.", gt=0, le=1)

    def shape(self, prompter: Prompter, *, temperature: float, seed: int, context: int) -> FlowSettings:
        """The settings of a flow that only writes main chains.

        Args:
            prompter: knows what ends a text.
            temperature: of Answer.
            seed: everything random derives from it.
            context: most tokens of prompt and answer together.
        """
        return FlowSettings(
            self.max_chunks, self.chunk_tokens, self.chunk_steps if self.chunk_unit == "steps" else 0, temperature,
            temperature, temperature, self.top_p, self.stop_temperature, 1, seed, context, prompter.stop_token_ids,
            prompter.stop_texts,
        )  # fmt: skip


class FlowShape(FlowChunks):
    """The same, where an answer in one go may be as long as one in chunks."""

    @property
    def max_new_tokens(self) -> int:
        """Longest answer, in tokens, in one go or in chunks."""
        return self.max_chunks * self.chunk_tokens


class Config(FlowShape, DataSettings, ModelSettings, SamplerSettings, UpdateSettings, EvaluationSettings, RunSettings):
    """Settings of Flow-DPO."""

    temperature: float = setting(
        0.0, "Temperature of main chains; 0 is greedy.", source="ours; not stated in the paper", ge=0, le=5
    )
    deviation_temperature: float = setting(
        1.0, "Temperature of the different chunk that begins a rollout.", source="ours; not stated in the paper",
        gt=0, le=5,
    )  # fmt: skip
    rollout_temperature: float | None = setting(
        None, "Temperature of a rollout after that chunk; none is that of main chains.", ge=0, le=5
    )
    deviation_tries: int = setting(8, "Draws until a chunk is different; then the node has no rollout.", ge=1, le=1000)
    rollouts_per_node: int = setting(1, "Random rollouts of a node.", source=f"{FLOW} §3: one", ge=1, le=64)
    min_entropy: float = setting(
        0.0, "Nodes are tried again only where the mean -log p of their tokens is at least this; 0 tries all.",
        unit="nats a token", ge=0,
    )  # fmt: skip
    stream_window: int = setting(
        1, "Problems grown under one version of the models; updates follow in their order.",
        source=f"{FLOW}: 1", unit="problems", ge=1,
    )  # fmt: skip
    pairs_per_update: int = setting(32, "Pairs of one model in an update.", source=f"{FLOW} Table 2", ge=1)
    update_after: Literal["pairs", "problem"] = setting(
        "pairs", "Update a model when it has `pairs_per_update` pairs, or after every problem that gave it any."
    )
    learn_leftover: bool = setting(True, "Learn from the last pairs too, though they are fewer.")
    train: bool = setting(True, "Learn; off grows the same main chains without rollouts: the untrained flow.")
    loss: Literal["dpo", "dpo_nll", "ipo"] = setting("dpo", "The paper's loss, with an NLL term, or IPO.", source=FLOW)
    beta: float = setting(1.0, "Strength of the pull to the reference.", source=f"{FLOW} Table 2", gt=0)
    alpha: float = setting(1.0, "Weight of the NLL term of dpo_nll.", ge=0)
    nll_average: Literal["sequence", "token"] = setting("sequence", "Per token of each chunk, or of the batch.")
    replay_pairs: int = setting(0, "Pairs of earlier updates that are learnt from again in each update.", ge=0)
    replay_from: int = setting(256, "How many of the last pairs these are chosen from.", unit="pairs", ge=1)
    learning_rate: float = setting(5e-6, "Learning rate.", source=f"{FLOW} Table 2", gt=0, le=1)
    lora_rank: int = setting(8, "Rank of each adapter's matrices.", source=f"{FLOW} Table 2", ge=1)
    lora_alpha: float | None = setting(8.0, "LoRA scale; none takes twice the rank.", source=f"{FLOW} Table 2", gt=0)
    lora_dropout: float = setting(0.05, "Dropout of LoRA inputs in training.", source=f"{FLOW} Table 2", ge=0, lt=1)
    checkpoint_every: int = setting(20, "Updates between resumable checkpoints.", unit="updates", ge=1)
    answer_adapter: str | None = setting(None, "Folder of an Answer adapter to go on from; none begins at the base.")
    stop_adapter: str | None = setting(None, "Folder of a Stop adapter to go on from; none begins at the base.")
    eval_flow: bool = setting(True, "Measure the flow on the evaluation data too, before and after.")
    eval_samples: int = setting(0, "Samples a problem for the majority vote of Answer alone; 0 leaves it out.", ge=0)
    progressive_window: int = setting(200, "Problems of the windowed accuracy.", unit="problems", ge=1)

    def workload(self, num_train: int, num_test: int) -> Workload:
        """What a run does at most: every node of every tree is tried again, for half an answer, and makes a pair."""
        nodes = (2 * self.max_chunks - 1) * self.rollouts_per_node if self.train else 0
        measured = (1 + self.train) * (
            evaluated(self, num_test) + self.eval_flow * min(self.eval_limit or num_test, num_test)
        )
        pairs = num_train * nodes
        steps = math.ceil(pairs / self.pairs_per_update)
        return Workload(num_train * (1 + nodes // 2) + measured, pairs, steps, self.pairs_per_update)

    @field_validator("sampler")
    @classmethod
    def _sampler_shares_the_weights(cls, value: str) -> str:
        if value.split(":")[0] not in ("local", "scripted"):
            raise ValueError("flow-dpo samples from the weights that it trains: it needs sampler=local")
        return value

    @model_validator(mode="after")
    def _rollouts_can_differ(self) -> Config:
        if self.rollouts_per_node > 1 and not (self.rollout_temperature or self.temperature):
            raise ValueError("rollouts_per_node above 1 needs rollout_temperature above 0: else rollouts are equal")
        return self

    @model_validator(mode="after")
    def _context_holds_a_chunk(self) -> Config:
        if self.max_length is not None and self.max_length <= self.chunk_tokens:
            raise ValueError("max_length leaves no room for a prompt and a chunk of chunk_tokens")
        return self

    def rollouts(self) -> RolloutSettings:
        """Where trees branch; the untrained flow has no use for branches."""
        return RolloutSettings(self.rollouts_per_node if self.train else 0, self.min_entropy)

    def flow(self, prompter: Prompter, context: int) -> FlowSettings:
        """How the flow is run on prompts of this form, within a context of so many tokens."""
        rollout = self.temperature if self.rollout_temperature is None else self.rollout_temperature
        return replace(
            self.shape(prompter, temperature=self.temperature, seed=self.seed, context=context),
            deviation_temperature=self.deviation_temperature,
            rollout_temperature=rollout,
            deviation_tries=self.deviation_tries,
        )

    def updates(self) -> UpdatePlan:
        """When the models learn."""
        return UpdatePlan(
            self.pairs_per_update, self.update_after, self.learn_leftover, self.replay_pairs, self.replay_from,
            self.checkpoint_every, self.seed,
        )  # fmt: skip

    def objective(self) -> Objective:
        """The loss of both models."""
        return Objective(self.loss, self.beta, self.alpha, self.nll_average)
