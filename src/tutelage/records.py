"""The vocabulary: frozen records, one word per idea, and the rule that makes their ids.

Records cross every boundary of the package (stage to stage, process to process, run to run), so they hold plain
data only: strings, numbers, tuples, dicts of those. `to_json` and `from_json` are the only way to and from disk.
An id is a hash of (stage digest, problem, parent, index, attempt): running a stage again makes the same ids, so a
restart skips what exists.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, Self

SCHEMA_VERSION = 1

AnswerKind = Literal["number", "latex", "choice", "text", "program"]
Role = Literal[
    "answer", "chunk", "stop", "program", "critique", "refinement", "annotation", "judge", "problem", "self_talk"
]
FinishReason = Literal["stop", "length", "pause", "error"]
Outcome = Literal["correct", "incorrect", "no_answer", "truncated", "timeout", "undecided", "error"]
SegmentKind = Literal["model", "tool", "forced"]

OUTCOMES: tuple[Outcome, ...] = typing.get_args(Outcome)
MODEL_OUTCOMES: frozenset[Outcome] = frozenset(("correct", "incorrect", "no_answer", "truncated", "timeout"))
"""The model's doing: reward 0 unless correct; they may lose a pair."""
OUR_OUTCOMES: frozenset[Outcome] = frozenset(("undecided", "error"))
"""Our failures: never a score, excluded from learning, counted and shown."""


def digest(value: Any, *, size: int = 8) -> str:
    """Hex digest of a JSON-able value, equal for equal values whatever the order of their keys.

    Args:
        value: anything `json.dumps` takes.
        size: bytes of the digest (hex characters are twice as many).
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=size).hexdigest()


def record_id(stage: str, problem_id: str, parent_id: str | None = None, index: int = 0, attempt: int = 0) -> str:
    """The id of a record made by a stage.

    Args:
        stage: the stage digest (`digest` of config, sampler, policy lineage, update number and round).
        problem_id: the problem that the record is about.
        parent_id: the record it continues or judges, if any.
        index: which of several siblings, from 0.
        attempt: 0, or the number of the retry.
    """
    return digest([stage, problem_id, parent_id, index, attempt])


def seed_of(*parts: Any) -> int:
    """A 63-bit seed from any JSON-able parts; equal parts give equal seeds on every machine."""
    return int(digest(list(parts)), 16) >> 1


def _decode(kind: Any, value: Any) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if value is None:
        return None
    if origin in (typing.Union, types.UnionType):
        return _decode(next(a for a in args if a is not type(None)), value)
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind.from_json(value)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_decode(args[0], v) for v in value)
        return tuple(_decode(a, v) for a, v in zip(args, value, strict=True))
    return value


@dataclass(frozen=True)
class Record:
    """Base of all records: conversion to and from JSON-able dicts."""

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values; `from_json` of it gives an equal record."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The record that `data` was made from.

        Raises:
            TypeError: a required field is missing. Unknown keys are ignored, so that newer files can be read.
        """
        hints = _hints(cls)
        return cls(**{k: _decode(hints[k], v) for k, v in data.items() if k in hints})


_HINTS: dict[type, dict[str, Any]] = {}


def _hints(cls: type) -> dict[str, Any]:
    if cls not in _HINTS:
        names = {f.name for f in dataclasses.fields(cls)}
        _HINTS[cls] = {k: v for k, v in typing.get_type_hints(cls).items() if k in names}
    return _HINTS[cls]


@dataclass(frozen=True)
class Choices(Record):
    """The options of a multiple-choice question, labels and texts in the same order."""

    labels: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Problem(Record):
    """A question with a checkable answer.

    `answer` is the gold final answer as a string; `solution` a worked solution without the answer marker;
    `metadata` whatever else the source knows (JSON-able).
    """

    id: str
    question: str
    answer: str
    answer_kind: AnswerKind = "number"
    solution: str | None = None
    subject: str | None = None
    level: str | None = None
    split: str = "train"
    source: str = ""
    choices: Choices | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy(Record):
    """Which weights wrote or learn something.

    `model` is a folder or hub name, `adapter` the name of a LoRA adapter on it ("" = the model itself),
    `version` counts updates of these weights from 0.
    """

    model: str
    adapter: str = ""
    version: int = 0


@dataclass(frozen=True)
class SamplingParams(Record):
    """How to draw a completion.

    `temperature` 0 is greedy; `top_p` in (0, 1]; `top_k` 0 = off; `max_new_tokens` >= 1; `stop` are texts that end
    the completion (kept in it, `finish_reason="stop"`); `pause` are texts that interrupt it for something outside the
    model (`finish_reason="pause"`); `stop_token_ids` are tokens that end it, besides the model's own end tokens.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()
    pause: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Completion(Record):
    """One sampled text, token by token.

    `token_ids` are all tokens after `prompt_ids`, the end token included; `token_logprobs` (natural log, of the
    untempered model distribution, one per token, 0.0 for tokens the model did not write); `segments` says who wrote
    which half-open span [start, end) of `token_ids`: only `model` spans may enter a loss. `parent_id` is the
    completion that this one continues, answers or was joined of; `branch_position` the number of the parent's tokens
    kept, where it continues it.
    """

    id: str
    problem_id: str
    role: Role
    policy: Policy
    tokenizer_digest: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    text: str
    segments: tuple[tuple[int, int, SegmentKind], ...]
    token_logprobs: tuple[float, ...]
    finish_reason: FinishReason
    params: SamplingParams
    seed: int
    parent_id: str | None = None
    branch_position: int | None = None
    stage: str = ""
    index: int = 0
    note: str = ""

    @property
    def logprob(self) -> float:
        """Sum of the model-written tokens' log-probs (natural log)."""
        return sum(sum(self.token_logprobs[a:b]) for a, b, kind in self.segments if kind == "model")

    def loss_mask(self) -> tuple[int, ...]:
        """1 for every token that the model wrote, 0 for tool output and forced text; length of `token_ids`."""
        mask = [0] * len(self.token_ids)
        for start, end, kind in self.segments:
            if kind == "model":
                mask[start:end] = [1] * (end - start)
        return tuple(mask)


@dataclass(frozen=True)
class Verdict(Record):
    """What the grader says of a completion.

    `score` is 1.0 for correct, 0.0 otherwise, or a user grader's own number; None where the outcome is ours
    (`undecided`, `error`). `answer` is the extracted text, `method` how it was found, `decided_by` the tier. `span` is
    where the answer was found in the completion's text, half-open; None where none was, or in records before it was
    kept.
    """

    completion_id: str
    problem_id: str
    outcome: Outcome
    score: float | None
    answer: str | None = None
    method: str = ""
    decided_by: str = ""
    seconds: float = 0.0
    note: str = ""
    span: tuple[int, int] | None = None

    @property
    def is_correct(self) -> bool:
        """Whether the answer was found to equal the gold."""
        return self.outcome == "correct"

    @property
    def is_usable(self) -> bool:
        """Whether learning may use it: the outcome is the model's doing, not a failure of ours."""
        return self.outcome in MODEL_OUTCOMES


@dataclass(frozen=True)
class CritiqueStep(Record):
    """The judgement of one step."""

    text: str
    is_correct: bool
    explanation: str = ""


@dataclass(frozen=True)
class Critique(Record):
    """Step-level judgement of a completion; `first_error` is the index of the first wrong step, None if none.

    `source_id` is the completion that it was read from, "" where no model wrote it.
    """

    id: str
    completion_id: str
    steps: tuple[CritiqueStep, ...]
    final_is_correct: bool
    source_id: str = ""
    final_explanation: str = ""
    note: str = ""

    @property
    def first_error(self) -> int | None:
        """Index of the first step judged wrong, or None (steps after it are often marked wrong too)."""
        return next((i for i, step in enumerate(self.steps) if not step.is_correct), None)


@dataclass(frozen=True)
class Score(Record):
    """A scalar opinion on a completion."""

    completion_id: str
    kind: Literal["reward_model", "judge", "process"]
    value: float
    by: str


@dataclass(frozen=True)
class PreferencePair(Record):
    """Chosen and rejected continuation of one prompt, as token ids.

    Masks are 1 where a token enters the loss (lengths of `chosen_ids` and `rejected_ids`). `chosen_id` and
    `rejected_id` are the completions they came from ("gold:<problem>" for a worked solution of the data set).
    """

    id: str
    problem_id: str
    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    chosen_mask: tuple[int, ...]
    rejected_mask: tuple[int, ...]
    chosen_id: str
    rejected_id: str
    rule: str
    weight: float = 1.0
    iteration: int = 0


@dataclass(frozen=True)
class Example(Record):
    """A supervised example; `weights` are per-token loss weights of `target_ids` (0 = masked)."""

    id: str
    problem_id: str
    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    weights: tuple[float, ...]
    origin: str
    source_id: str = ""


@dataclass(frozen=True)
class Trajectory(Record):
    """What a policy-gradient step needs of one completion; all sequences are per model-written token."""

    completion_id: str
    old_logprobs: tuple[float, ...]
    values: tuple[float, ...]
    rewards: tuple[float, ...]
    advantages: tuple[float, ...]
    policy: Policy


@dataclass(frozen=True)
class Group(Record):
    """All independent samples of one problem from one policy in one round.

    `pass_rate` counts independent root samples only (never branches or refinements), over usable verdicts; None
    where no verdict was usable.
    """

    problem_id: str
    policy: Policy
    round: int
    completion_ids: tuple[str, ...]
    num_correct: int
    num_usable: int

    @property
    def pass_rate(self) -> float | None:
        """Share of usable samples that are correct, in [0, 1]."""
        return self.num_correct / self.num_usable if self.num_usable else None
