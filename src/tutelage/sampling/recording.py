"""A session around a session: what the run folder holds is answered from there, what is drawn anew is recorded.

So a flow that is run again after a kill asks the same requests and draws only what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tutelage.records import Completion, Policy
from tutelage.sampling.session import SampleRequest, SamplerSession, ScoreRequest
from tutelage.store.run import Run

WRITTEN_AT_ONCE = 64
"""Completions written at once: what a kill can lose; they are then drawn again, with equal results on a CPU."""


class RecordingSession:
    """Answers what the run folder holds from there, and records what is drawn anew.

    Args:
        inner: draws.
        run: the run folder.
        have: recorded completions by id.
    """

    def __init__(self, inner: SamplerSession, run: Run, have: Mapping[str, Completion]) -> None:
        self.inner, self.run, self.have = inner, run, have
        self._known: list[Completion] = []
        self._fresh: list[Completion] = []

    @property
    def policy(self) -> Policy:
        """The inner session's."""
        return self.inner.policy

    def submit(self, request: SampleRequest) -> None:
        """Queue a request."""
        known = self.have.get(request.id)
        if known is not None:
            self._known.append(known)
        else:
            self.inner.submit(request)

    def completions(self) -> Iterator[Completion]:
        """Completions until every submitted request is answered."""
        while True:
            while self._known:
                yield self._known.pop()
            answered = False
            for completion in self.inner.completions():
                answered = True
                if not self._keep(completion):
                    continue
                self._fresh.append(completion)
                if len(self._fresh) >= WRITTEN_AT_ONCE:
                    self.flush()
                yield completion
                while self._known:
                    yield self._known.pop()
            if not answered and not self._known:
                return

    def _keep(self, completion: Completion) -> bool:
        """Whether a completion is final: recorded, and handed on."""
        return True

    def flush(self) -> None:
        """Write what was drawn and is not yet written."""
        self.run.append_many("completions", self._fresh)
        self._fresh = []

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """The inner session's."""
        return self.inner.score(requests)

    def publish(self, adapter: str, version: int, path: Path) -> None:
        """The inner session's."""
        self.inner.publish(adapter, version, path)

    def release(self, completion_id: str) -> None:
        """The inner session's."""
        self.inner.release(completion_id)

    def close(self) -> None:
        """Nothing: whoever opened the inner session closes it."""
