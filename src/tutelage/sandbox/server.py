"""The sandbox that callers hold: a pool of zygotes, used by any number of threads."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import NoReturn, Self

from tutelage.errors import InputError, RunFailed
from tutelage.sandbox.protocol import Execution, Limits
from tutelage.sandbox.worker import MAX_RUNS, Worker, WorkerBroken

ATTEMPTS = 2


class SandboxServer:
    """Runs programs of unknown origin, each in a process of its own; made by `open_sandbox`.

    Any thread may call it; as many programs run at a time as there are workers, further callers wait for their turn.
    It belongs to the process that opened it: a process forked from that one must open its own.

    Args:
        tier: what holds the programs.
        start: starts a zygote.
        entries: what `call` may name.
        workers: how many zygotes there may be; all but the first start when they are needed.
        first: a zygote that runs already.
    """

    def __init__(
        self, tier: str, start: Callable[[], Worker], entries: Sequence[str], *, workers: int, first: Worker
    ) -> None:
        self.tier = tier
        self.workers = workers
        self._start = start
        self._entries = entries
        self._owner = os.getpid()
        self._slots: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(workers - 1):
            self._slots.put(None)
        self._slots.put(first)
        self._closing = threading.Lock()
        self._is_closed = False

    def run(self, program: str, limits: Limits = Limits()) -> Execution:  # noqa: B008 - frozen
        """Run Python source; never raises for what the program does.

        Args:
            program: the source.
            limits: what it may use.

        Raises:
            RunFailed: the server is closed.
        """
        return self._execute(program, limits, "")

    def run_many(self, programs: Sequence[str], limits: Limits = Limits()) -> list[Execution]:  # noqa: B008 - frozen
        """Run programs on all workers; the executions are in the order of the programs."""
        if self.workers == 1 or len(programs) < 2:
            return [self.run(program, limits) for program in programs]
        with ThreadPoolExecutor(min(self.workers, len(programs))) as threads:
            return list(threads.map(lambda program: self.run(program, limits), programs))

    def call(self, entry: str, payload: bytes, limits: Limits = Limits()) -> Execution:  # noqa: B008 - frozen
        """Call a trusted function with untrusted data in a new child.

        Args:
            entry: one of those named when the sandbox was opened. The function is called as
                `function(payload, out)`; what it writes to the binary file `out` becomes the execution's stdout.
            payload: bytes for it.
            limits: what it may use.

        Raises:
            InputError: an entry that was not named at opening.
            RunFailed: the server is closed.
        """
        if entry not in self._entries:
            raise InputError("the sandbox has no such entry", seen=entry, expected=", ".join(self._entries))
        return self._execute(payload, limits, entry)

    def close(self) -> None:
        """End all zygotes; programs that still run are waited for."""
        with self._closing:
            if self._is_closed or os.getpid() != self._owner:
                return
            self._is_closed = True
            for _ in range(self.workers):
                if (worker := self._slots.get()) is not None:
                    worker.close()
            for _ in range(self.workers):
                self._slots.put(None)  # so that whoever waits for a turn learns that there is none

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a sandbox cannot be sent to another process; call open_sandbox there")

    def _execute(self, payload: str | bytes, limits: Limits, entry: str) -> Execution:
        if os.getpid() != self._owner:
            raise RunFailed("this sandbox belongs to another process", advice="call open_sandbox in this one")
        worker = self._slots.get()
        try:
            if self._is_closed:
                raise RunFailed("the sandbox is closed")
            failure = ""
            for _ in range(ATTEMPTS):
                try:
                    worker = worker or self._start()
                    execution = worker.execute(payload, limits, entry)
                except WorkerBroken as error:
                    failure = str(error)
                else:
                    if execution.status != "sandbox_error":
                        return execution
                    failure = execution.stderr
                worker = _end(worker)
            return Execution("sandbox_error", stderr=failure, tier=self.tier)
        except BaseException:
            worker = _end(worker)  # interrupted in the middle: what the zygote is doing is not known
            raise
        finally:
            if worker is not None and worker.runs >= MAX_RUNS:
                worker = _end(worker)
            self._slots.put(worker)


def _end(worker: Worker | None) -> Worker | None:
    """End a worker; what is left of it is None."""
    if worker is not None:
        worker.kill()
    return None
