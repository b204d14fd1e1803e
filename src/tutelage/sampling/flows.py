"""Flows: interactions of several requests, written once as generators and driven for thousands of problems at once.

A flow yields requests and receives their completions: one for one, or a tuple for a tuple. It returns its result. It
knows neither threads nor batches nor which sampler answers. Examples: writing a solution chunk by chunk, a program that
pauses to be executed, critique and then refinement.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tutelage.errors import SamplerFailed
from tutelage.records import Completion, Policy, Role, SamplingParams, SegmentKind, record_id, seed_of
from tutelage.sampling.session import SampleRequest, SamplerSession

R = TypeVar("R")
Asked = SampleRequest | tuple[SampleRequest, ...]
Answered = Completion | tuple[Completion, ...]
Flow = Generator[Any, Any, R]
"""Yields a `SampleRequest` and receives its `Completion`, or yields a tuple of them and receives a tuple."""


@dataclass(frozen=True)
class FlowFailed:
    """What a flow ended in when it raised.

    Args:
        error: what it raised.
        num_requests: how many requests it had made.
    """

    error: Exception
    num_requests: int


@dataclass
class _Running:
    """A flow that waits for completions."""

    key: Hashable
    flow: Flow[Any]
    wanted: tuple[str, ...] = ()
    is_tuple: bool = False
    num_requests: int = 0


def drive(
    flows: Iterable[Flow[R] | tuple[Hashable, Flow[R]]], session: SamplerSession, *, max_active: int | None = None
) -> Iterator[tuple[Hashable, R | FlowFailed]]:
    """Run flows together and give their results as they end.

    A flow that raises ends in `FlowFailed`; the others go on. Closing the iterator closes the flows that still run.

    Args:
        flows: flows, or pairs of a key and a flow; a flow without a key gets its number, from 0.
        session: answers the requests; nothing else may be outstanding in it.
        max_active: most flows begun and not ended; None for no limit.

    Raises:
        SamplerFailed: the session ended without answering every request, or answered one that no flow made.
    """
    driver = _Driver(session)
    waiting = enumerate(flows)
    try:
        yield from _drive(driver, waiting, max_active)
    finally:
        for running in driver.running():
            running.flow.close()


def _drive(
    driver: _Driver, waiting: Iterator[tuple[int, Any]], max_active: int | None
) -> Iterator[tuple[Hashable, Any]]:
    exhausted = False
    while True:
        while not exhausted and (max_active is None or driver.num_active < max_active):
            entry = next(waiting, None)
            if entry is None:
                exhausted = True
                break
            number, item = entry
            driver.start(*(item if isinstance(item, tuple) else (number, item)))
            yield from driver.results()
        if not driver.num_active:
            return
        answered = 0
        for completion in driver.session.completions():
            answered += 1
            driver.take(completion)
            yield from driver.results()
            if not exhausted and (max_active is None or driver.num_active < max_active):
                break
        if not answered:
            raise SamplerFailed(
                "the sampler stopped with requests unanswered",
                seen=f"{driver.num_active} flows waiting",
                expected="a completion for every request",
                advice="go on with --resume",
            )


class _Driver:
    """Which flow waits for which completion."""

    def __init__(self, session: SamplerSession) -> None:
        self.session = session
        self._waiting: dict[str, _Running] = {}
        self._have: dict[str, Completion] = {}
        self._active = 0
        self._results: deque[tuple[Hashable, Any]] = deque()

    @property
    def num_active(self) -> int:
        """Flows begun and not ended."""
        return self._active

    def running(self) -> list[_Running]:
        """The flows that wait."""
        return list({id(r): r for r in self._waiting.values()}.values())

    def results(self) -> Iterator[tuple[Hashable, Any]]:
        """Results not yet given out."""
        while self._results:
            yield self._results.popleft()

    def start(self, key: Hashable, flow: Flow[Any]) -> None:
        """Begin a flow."""
        self._active += 1
        self._resume(_Running(key, flow), None)

    def take(self, completion: Completion) -> None:
        """Hand a completion to the flow that asked for it."""
        running = self._waiting.pop(completion.id, None)
        if running is None:
            raise SamplerFailed("the sampler answered a request that no flow made", seen=completion.id)
        self._have[completion.id] = completion
        if all(i in self._have for i in running.wanted):
            answers = tuple(self._have.pop(i) for i in running.wanted)
            self._resume(running, answers if running.is_tuple else answers[0])

    def _resume(self, running: _Running, answer: Answered | None) -> None:
        while True:
            try:
                asked = running.flow.send(answer)
                requests = _requests_of(asked, self._waiting)
            except StopIteration as end:
                self._end(running, end.value)
                return
            except Exception as error:  # the boundary between flows: one flow's failure is its own result
                running.flow.close()
                self._end(running, FlowFailed(error, running.num_requests))
                return
            if requests:
                break
            answer = ()
        running.wanted = tuple(r.id for r in requests)
        running.is_tuple = not isinstance(asked, SampleRequest)
        running.num_requests += len(requests)
        for request in requests:
            self._waiting[request.id] = running
            self.session.submit(request)

    def _end(self, running: _Running, result: Any) -> None:
        self._active -= 1
        self._results.append((running.key, result))


def _requests_of(asked: Any, waiting: dict[str, _Running]) -> tuple[SampleRequest, ...]:
    requests = (asked,) if isinstance(asked, SampleRequest) else tuple(asked)
    for request in requests:
        if not isinstance(request, SampleRequest):
            raise TypeError(f"a flow yielded a {type(request).__name__}; expected a SampleRequest or a tuple of them")
    ids = [r.id for r in requests]
    if len(set(ids)) < len(ids) or any(i in waiting for i in ids):
        raise ValueError(f"a flow asked for a completion with an id that is taken: {ids}")
    return requests


def together(flows: Sequence[Flow[R]]) -> Generator[Any, Any, tuple[R, ...]]:
    """Several flows as one, which asks at once what they ask in a turn; their results in order.

    The next turn begins when all answers of the last have come. If one raises, so does the whole.
    """
    results: dict[int, R] = {}
    asked: dict[int, Any] = {}

    def step(number: int, answer: Answered | None) -> None:
        try:
            asked[number] = flows[number].send(answer)
        except StopIteration as end:
            results[number] = end.value

    for number in range(len(flows)):
        step(number, None)
    while asked:
        turn, asked = asked, {}
        lists = {n: (r,) if isinstance(r, SampleRequest) else tuple(r) for n, r in turn.items()}
        answers = yield tuple(request for requests in lists.values() for request in requests)
        by_id = {answer.id: answer for answer in answers}
        for number, requests in lists.items():
            have = tuple(by_id[request.id] for request in requests)
            step(number, have[0] if isinstance(turn[number], SampleRequest) else have)
    return tuple(results[number] for number in range(len(flows)))


def sample_all(
    session: SamplerSession,
    requests: Sequence[SampleRequest],
    *,
    on_completion: Callable[[Completion], None] | None = None,
) -> list[Completion]:
    """The completions of all requests, in the order of the requests.

    Args:
        session: answers them; nothing else may be outstanding in it.
        requests: ids must differ.
        on_completion: called with each completion as it comes.

    Raises:
        SamplerFailed: the session left a request unanswered.
    """
    for request in requests:
        session.submit(request)
    have: dict[str, Completion] = {}
    for completion in session.completions():
        have[completion.id] = completion
        if on_completion is not None:
            on_completion(completion)
    missing = [r.id for r in requests if r.id not in have]
    if missing:
        raise SamplerFailed(f"the sampler left {len(missing)} requests unanswered", seen=missing[0])
    return [have[r.id] for r in requests]


def child_request(
    parent: Completion,
    *,
    role: Role | None = None,
    policy: Policy | None = None,
    params: SamplingParams | None = None,
    prompt_ids: tuple[int, ...] | None = None,
    branch_position: int | None = None,
    inserted_ids: Sequence[int] = (),
    index: int = 0,
    player: str = "",
) -> SampleRequest:
    """A request that continues, answers or judges a completion, with an id and a seed that derive from it.

    Args:
        role: None takes the parent's.
        policy: whose turn it is, e.g. another adapter's; None takes the parent's.
        params: None takes the parent's.
        prompt_ids: None continues the parent: its prompt, and its tokens up to `branch_position`.
        branch_position: how many of the parent's tokens are kept; None keeps all.
        inserted_ids: put after them, e.g. a program's output.
        index: which of several children of one role, policy and branch position, from 0.
        player: whose session answers, in a `RoutedSession`.
    """
    kept = len(parent.token_ids) if branch_position is None else branch_position
    role, policy = role or parent.role, policy or parent.policy
    writer = f"{policy.adapter}:{policy.version}"
    before = parent.prompt_ids + parent.token_ids[:kept] if prompt_ids is None else prompt_ids
    return SampleRequest(
        id=record_id(parent.stage, parent.problem_id, f"{parent.id}/{role}/{writer}/{kept}", index),
        problem_id=parent.problem_id,
        prompt_ids=before + tuple(inserted_ids),
        params=params or parent.params,
        seed=seed_of(parent.seed, role, policy.adapter, kept, index),
        role=role,
        adapter=policy.adapter,
        version=policy.version,
        continues=parent.id if prompt_ids is None else None,
        parent_id=parent.id,
        branch_position=kept if prompt_ids is None else None,
        stage=parent.stage,
        index=index,
        player=player,
    )


def splice(
    first: Completion, inserted_ids: Sequence[int], kind: SegmentKind, rest: Completion, *, inserted_text: str = ""
) -> Completion:
    """One completion of a text that was interrupted: what was written, what was put in, what was written then.

    Args:
        first: the part before the interruption; the result keeps its id, prompt, parameters, seed and provenance.
        inserted_ids: tokens that the model did not write; their log-probs are 0.0.
        kind: "tool" for a program's output, "forced" for text that a recipe put there.
        rest: the part after it, whose prompt must be the first's prompt and tokens and the inserted ones.
        inserted_text: the inserted tokens as text.

    Raises:
        ValueError: `rest` does not continue `first`, or other weights wrote it.
    """
    if rest.prompt_ids != first.prompt_ids + first.token_ids + tuple(inserted_ids):
        raise ValueError(f"completion {rest.id} does not continue {first.id}: its prompt is another")
    if (rest.policy, rest.tokenizer_digest) != (first.policy, first.tokenizer_digest):
        raise ValueError(f"completion {rest.id} was written by {rest.policy}, {first.id} by {first.policy}")
    middle = len(first.token_ids)
    end = middle + len(inserted_ids)
    shifted = tuple((a + end, b + end, k) for a, b, k in rest.segments)
    return replace(
        first,
        token_ids=first.token_ids + tuple(inserted_ids) + rest.token_ids,
        token_logprobs=first.token_logprobs + (0.0,) * len(inserted_ids) + rest.token_logprobs,
        segments=_merged(first.segments + (((middle, end, kind),) if inserted_ids else ()) + shifted),
        text=first.text + inserted_text + rest.text,
        finish_reason=rest.finish_reason,
        note="; ".join(dict.fromkeys(n for n in (first.note, rest.note) if n)),
    )


def _merged(segments: tuple[tuple[int, int, SegmentKind], ...]) -> tuple[tuple[int, int, SegmentKind], ...]:
    """Touching segments of one kind as one."""
    merged: list[tuple[int, int, SegmentKind]] = []
    for start, end, kind in segments:
        if merged and merged[-1][1] == start and merged[-1][2] == kind:
            merged[-1] = (merged[-1][0], end, kind)
        else:
            merged.append((start, end, kind))
    return tuple(merged)
