"""A stage made of flows: several models talk about many problems at once, everything recorded, resumable.

    results = run_flows(bench, "it1-refine", stage, flows, {"actor": (bench, weights), "critic": (critic, critic.base)})

A request must carry `stage` as its stage, for that is how its completion is found again; requests made by
`child_request` inherit it. Flows must ask the same again when they are run again: everything random derives from seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from tutelage.errors import SamplerFailed
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.stages import MAX_ERROR_SHARE, in_words
from tutelage.records import Completion
from tutelage.sampling.flows import Flow, FlowFailed, drive
from tutelage.sampling.recording import RecordingSession
from tutelage.sampling.routing import RoutedSession
from tutelage.sampling.session import SampleRequest, SamplerSession

R = TypeVar("R")


class RetryingSession(RecordingSession):
    """As its base, but a request that failed is asked once more before its failure is recorded."""

    def __init__(self, inner: SamplerSession, run: Any, have: Mapping[str, Completion]) -> None:
        super().__init__(inner, run, have)
        self._asked: dict[str, SampleRequest] = {}
        self.answered = self.failed = 0

    def submit(self, request: SampleRequest) -> None:
        """Queue a request."""
        if request.id not in self.have:
            self._asked[request.id] = request
        super().submit(request)

    def _keep(self, completion: Completion) -> bool:
        request = self._asked.pop(completion.id, None)
        if completion.finish_reason == "error" and request is not None:
            self.inner.submit(request)
            return False
        self.answered += 1
        self.failed += completion.finish_reason == "error"
        return True


def run_flows(
    bench: Bench,
    name: str,
    stage: str,
    flows: Iterable[tuple[Hashable, Flow[R]]],
    players: Mapping[str, tuple[Bench, Weights]],
    *,
    on_result: Callable[[Hashable, R], None] | None = None,
    max_active: int | None = None,
    around: Callable[[SamplerSession], SamplerSession] | None = None,
) -> dict[Hashable, R]:
    """Drive flows together; their results by key, in the order of `flows`.

    A stage that an earlier session finished, or began, is answered from the run folder as far as it goes; no model is
    loaded for it unless something is missing.

    Args:
        name: the stage's name in the journal, e.g. "it1-refine".
        stage: its digest, over everything that decides what the flows ask.
        flows: pairs of a key and a flow.
        players: who answers, by the name in `SampleRequest.player`: a bench and the weights to open on it.
        on_result: called with key and result of each flow as it ends.
        max_active: most flows begun and not ended; None for no limit.
        around: puts a session around the recorded one, e.g. one that answers some requests itself.

    Raises:
        SamplerFailed: more than half of the requests failed even when asked twice.
        Exception: whatever a flow raised.
    """
    todo = list(flows)
    bench.progress.stage(in_words(name), len(todo))
    results: dict[Hashable, R] = {}
    with bench.run.stage(name, stage) as journal, bench.spent.on("sampling"):
        have = {c.id: c for c in bench.run.read("completions", Completion, containing=stage) if c.stage == stage}
        openers = {player: partial(seat.open_sampler, weights) for player, (seat, weights) in players.items()}
        with RoutedSession(openers) as routed:
            session = RetryingSession(routed, bench.run, have)
            try:
                for key, result in _finished(todo, around(session) if around else session, max_active):
                    results[key] = result
                    bench.progress.advance()
                    if on_result is not None:
                        on_result(key, result)
            finally:
                session.flush()
        _check(name, session)
        journal.result.update(flows=len(todo), drawn=session.answered, failed=session.failed)
    return {key: results[key] for key, _ in todo}


def _finished(
    flows: Iterable[tuple[Hashable, Flow[R]]], session: SamplerSession, max_active: int | None
) -> Iterator[tuple[Hashable, R]]:
    """Results as they end; the failure of one flow is raised as it is."""
    for key, result in drive(flows, session, max_active=max_active):
        if isinstance(result, FlowFailed):
            raise result.error
        yield key, result


def _check(name: str, session: RetryingSession) -> None:
    if session.failed > MAX_ERROR_SHARE * session.answered:
        raise SamplerFailed(
            f"{session.failed} of {session.answered} requests failed in stage {name}",
            expected="a sampler that answers",
            advice="look at the notes of the failed completions, mend the sampler, and begin a new run",
        )
