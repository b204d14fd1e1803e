"""The sampler protocol: what every backend promises, and the requests it takes.

A session takes requests and gives completions back in the order in which they finish. A request names its full
prompt ids, parameters, seed and policy; `continues` names the completion whose tokens it extends and is a cache hint
only, never the truth. No request is ever dropped silently: one that cannot be served comes back as a completion with
`finish_reason="error"` and the reason in `note`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tutelage.records import Completion, Policy, Role, SamplingParams


@dataclass(frozen=True)
class SampleRequest:
    """One completion asked for.

    Args:
        id: id that the completion will carry.
        problem_id: the problem it is about.
        prompt_ids: everything before the first new token: the prompt, then earlier chunks and tool output if any.
        params: how to draw.
        seed: everything random about this completion derives from it.
        role: the completion's role.
        adapter: name of the published adapter to sample from ("" = the model itself).
        version: version of that adapter that must be in use.
        continues: id of the completion that this one continues (cache hint).
        parent_id, branch_position: provenance, copied to the completion.
        stage, index: provenance, copied to the completion.
        messages: the same prompt as chat messages, for servers that take text; None where there is none.
        prompt_text: the same prompt as text, for servers that take text.
        player: which of several models is asked, where a `RoutedSession` knows several; other backends ignore it.
        note: what a reader of the completion must know of its prompt, copied to the completion's note.
        metadata: what a scripted sampler may want to know of the problem; no other backend reads it.
    """

    id: str
    problem_id: str
    prompt_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    role: Role = "answer"
    adapter: str = ""
    version: int = 0
    continues: str | None = None
    parent_id: str | None = None
    branch_position: int | None = None
    stage: str = ""
    index: int = 0
    messages: tuple[dict[str, str], ...] | None = None
    prompt_text: str = ""
    player: str = ""
    note: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreRequest:
    """Tokens whose log-probs are asked for under the named adapter version (and player, where there are several)."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    adapter: str = ""
    version: int = 0
    player: str = ""


@runtime_checkable
class SamplerSession(Protocol):
    """A running sampling backend."""

    @property
    def policy(self) -> Policy:
        """The weights that the session was opened with, at their present version."""
        ...

    def submit(self, request: SampleRequest) -> None:
        """Queue a request. Raises SamplerFailed if the session is closed."""
        ...

    def completions(self) -> Iterator[Completion]:
        """Completions in finishing order until every submitted request is answered.

        Requests submitted while iterating are served too; the iterator ends when none is outstanding.
        """
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Log-probs (natural log, untempered) of each request's `token_ids`, one list per request, in order."""
        ...

    def publish(self, adapter: str, version: int, path: Path) -> None:
        """Load weights from `path` as `adapter` ("" = the model itself); returns when they are in use."""
        ...

    def release(self, completion_id: str) -> None:
        """Say that no later request will continue this completion."""
        ...

    def close(self) -> None:
        """Stop; outstanding requests are abandoned."""
        ...
