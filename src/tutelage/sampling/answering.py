"""What the backends without a model share: requests wait in order, and each is answered on its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from typing import Any

from tutelage.errors import SamplerFailed
from tutelage.records import Completion, Policy
from tutelage.sampling.session import SampleRequest
from tutelage.text.prompts import tokenizer_digest


class AnsweringSession(ABC):
    """The queue of a sampler session; a backend says how one request is answered.

    Args:
        tokenizer: makes the tokens of the completions.
        policy: what the completions are said to come from.
    """

    def __init__(self, tokenizer: Any, policy: Policy) -> None:
        self.tokenizer, self._policy = tokenizer, policy
        self.tokenizer_digest = tokenizer_digest(tokenizer)
        self._waiting: deque[SampleRequest] = deque()
        self._closed = False

    @property
    def policy(self) -> Policy:
        """As given."""
        return self._policy

    def submit(self, request: SampleRequest) -> None:
        """Queue a request. Raises SamplerFailed if the session is closed."""
        if self._closed:
            raise SamplerFailed("the sampler is closed", advice="open a new session")
        self._waiting.append(request)

    def completions(self) -> Iterator[Completion]:
        """Completions in the order of the requests."""
        while self._waiting:
            yield self._answer(self._waiting.popleft())

    @abstractmethod
    def _answer(self, request: SampleRequest) -> Completion:
        """The completion of one request; an error completion where there is none."""

    def close(self) -> None:
        """Stop; outstanding requests are abandoned."""
        self._closed = True
        self._waiting.clear()
