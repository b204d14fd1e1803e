"""Programs that are run while sampling goes on: a session around a session whose player `sandbox` is no model.

A flow asks for a program's execution as it asks for a completion: `execution_request`. Programs start at once in
threads of their own, and what has ended is handed out between completions, so that nobody waits for a slow program
but the flow that wrote it. Executions are recorded under `executions`, and never run again when a stage is resumed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tutelage.records import Completion, Policy, Record, SamplingParams, record_id
from tutelage.sampling.session import SampleRequest, SamplerSession, ScoreRequest
from tutelage.sandbox import Execution, Limits, Sandbox
from tutelage.store.run import Run

KIND = "executions"
PLAYER = "sandbox"
_PARAMS = SamplingParams(temperature=0.0, max_new_tokens=1)


@dataclass(frozen=True)
class ProgramExecution(Record):
    """A program that a model wrote, and what running it gave; `completion_id` is the text that it stands in."""

    id: str
    problem_id: str
    completion_id: str
    program: str
    execution: Execution


@dataclass(frozen=True)
class Executed(Completion):
    """The answer to an execution request: no tokens, but what running the program gave. It is not recorded as such."""

    execution: Execution = field(default_factory=lambda: Execution("sandbox_error"))


def execution_request(parent: Completion, program: str, index: int) -> SampleRequest:
    """The request to run a program that stands in `parent`; `index` tells its programs apart."""
    return SampleRequest(
        id=record_id(parent.stage, parent.problem_id, f"{parent.id}/program", index), problem_id=parent.problem_id,
        prompt_ids=(), params=_PARAMS, seed=0, role="program", parent_id=parent.id, stage=parent.stage, index=index,
        player=PLAYER, metadata={"program": program},
    )  # fmt: skip


class ProgramRunner:
    """Runs programs for the flows of a run, in a sandbox that is opened when the first one comes.

    Args:
        run: where executions are recorded, and found again.
        open_sandbox: opens the sandbox; it is entered once, and left when the runner is closed.
        limits: what a program may use.
        workers: programs that run at a time.
    """

    def __init__(
        self, run: Run, open_sandbox: Callable[[], AbstractContextManager[Sandbox]], limits: Limits, *, workers: int = 2
    ) -> None:
        self.run, self.limits = run, limits
        self._opener = open_sandbox
        self._workers = workers
        self._stack = ExitStack()
        self._sandbox: Sandbox | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._opening = threading.Lock()
        self._have: dict[str, ProgramExecution] | None = None

    def around(self, session: SamplerSession) -> SamplerSession:
        """A session that runs programs, and hands everything else on to `session`."""
        return ExecutingSession(session, self)

    def known(self, request_id: str) -> ProgramExecution | None:
        """The recorded execution of a request."""
        if self._have is None:
            self._have = {e.id: e for e in self.run.read(KIND, ProgramExecution)}
        return self._have.get(request_id)

    def start(self, request: SampleRequest, done: queue.Queue[tuple[SampleRequest, ProgramExecution]]) -> None:
        """Run a request's program in a thread; what it gave goes to `done`."""
        if self._threads is None:
            self._threads = self._stack.enter_context(ThreadPoolExecutor(self._workers))

        def work() -> None:
            done.put((request, self._executed(request)))

        self._threads.submit(work)

    def keep(self, made: Sequence[ProgramExecution]) -> None:
        """Record executions."""
        self.run.append_many(KIND, made)
        if self._have is not None:
            self._have.update((one.id, one) for one in made)

    def close(self) -> None:
        """End the sandbox; programs that still run are waited for."""
        self._stack.close()
        self._threads = self._sandbox = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _executed(self, request: SampleRequest) -> ProgramExecution:
        program = str(request.metadata["program"])
        try:
            execution = self._open().run(program, self.limits)
        except Exception as error:  # the boundary of a thread: a failure of ours becomes a record that says so
            execution = Execution("sandbox_error", stderr=f"{type(error).__name__}: {error}")
        return ProgramExecution(request.id, request.problem_id, request.parent_id or "", program, execution)

    def _open(self) -> Sandbox:
        with self._opening:
            if self._sandbox is None:
                self._sandbox = self._stack.enter_context(self._opener())
            return self._sandbox


class ExecutingSession:
    """Answers execution requests with a runner; everything else is the inner session's."""

    def __init__(self, inner: SamplerSession, runner: ProgramRunner) -> None:
        self.inner, self.runner = inner, runner
        self._done: queue.Queue[tuple[SampleRequest, ProgramExecution]] = queue.Queue()
        self._running = 0

    @property
    def policy(self) -> Policy:
        """The inner session's."""
        return self.inner.policy

    def submit(self, request: SampleRequest) -> None:
        """Queue a request, or start its program."""
        if request.player != PLAYER:
            self.inner.submit(request)
            return
        self._running += 1
        known = self.runner.known(request.id)
        if known is not None:
            self._done.put((request, known))
        else:
            self.runner.start(request, self._done)

    def completions(self) -> Iterator[Completion]:
        """Completions and executions until every request is answered."""
        while True:
            answered = False
            for completion in self.inner.completions():
                answered = True
                yield completion
                yield from self._ended(wait=False)
            if self._running:
                yield from self._ended(wait=True)
            elif not answered:
                return

    def _ended(self, *, wait: bool) -> Iterator[Completion]:
        """What has ended by now; with `wait` one at least."""
        ended = [self._done.get()] if wait else []
        while True:
            try:
                ended.append(self._done.get_nowait())
            except queue.Empty:
                break
        self._running -= len(ended)
        self.runner.keep([made for _, made in ended])
        for request, made in ended:
            yield _executed(request, made.execution)

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
        """Nothing: whoever opened the inner session and the runner closes them."""


def _executed(request: SampleRequest, execution: Execution) -> Executed:
    return Executed(
        request.id, request.problem_id, "program", Policy(PLAYER), "", (), (), execution.stdout, (), (), "stop",
        request.params, 0, request.parent_id, None, request.stage, request.index, execution.status, execution,
    )  # fmt: skip
