"""A killable process without a jail: where a user's own grader runs when it needs what a sandbox keeps from it.

What it is: the caller's side of grading/process_main.py, with the same `call` as a sandbox server: a preloaded process
forks a child per call; time and memory are limited, and whatever the code does, hangs included, it does elsewhere.
What it is not: a boundary. The code sees the user's files, environment and network, so model text is never handed to
an evaluator here; only graders that the user trusts run in it, when asked for by name.

The process is started with `subprocess`, never forked from the caller, so that threads, CUDA and asyncio in the caller
do not matter.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from tutelage.sandbox.protocol import Execution, Limits

START_SECONDS = 120.0
"""How long importing the user's code may take."""
GRACE_SECONDS = 10.0
"""How long after its wall limit a call is waited for before the whole worker is given up."""
TIER = "process"


class WorkerLost(Exception):
    """The preloaded process died or does not answer; the message says what is known."""


class ProcessJail:
    """Preloaded processes that fork a child per call; safe to use from several threads.

    Args:
        entries: as `tutelage.sandbox.entries` reads them, imported once when a process starts.
        search_path: folders put in front of the import path.
        workers: processes, so calls at once; each is started when it is first needed.
    """

    tier = TIER

    def __init__(self, *, entries: Sequence[str], search_path: Sequence[str] = (), workers: int = 1) -> None:
        self.entries, self.search_path = tuple(entries), tuple(search_path)
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._busy: set[_Worker] = set()
        for _ in range(workers):
            self._idle.put(None)

    def call(self, entry: str, payload: bytes, limits: Limits) -> Execution:
        """Run `entry(payload, out)` in a fresh child; what is wrong with the worker itself is a `sandbox_error`."""
        worker = self._idle.get()
        began = time.monotonic()
        try:
            if worker is None:
                worker = _Worker(self.entries, self.search_path)
            self._busy.add(worker)
            return worker.call(entry, payload, limits)
        except (WorkerLost, OSError) as error:
            if worker is not None:
                worker.kill()
                self._busy.discard(worker)
            worker = None
            return Execution("sandbox_error", stderr=str(error), seconds=time.monotonic() - began, tier=TIER)
        finally:
            if worker is not None:
                self._busy.discard(worker)
            self._idle.put(worker)

    def close(self) -> None:
        """End the processes; calls in flight end as `sandbox_error`."""
        for worker in tuple(self._busy):
            worker.kill()
        slots = [self._idle.get_nowait() for _ in range(self._idle.qsize())]
        for slot in slots:
            if slot is not None:
                slot.kill()
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Worker:
    """One preloaded process and its two pipes."""

    def __init__(self, entries: Sequence[str], search_path: Sequence[str]) -> None:
        words = [sys.executable, "-P", "-m", "tutelage.grading.process_main", json.dumps(list(entries))]
        own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        paths = [*search_path, own, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        try:
            header = self._line(time.monotonic() + START_SECONDS)
        except WorkerLost:
            self.kill()
            raise
        if "failed" in header:
            self.kill()
            raise WorkerLost(header["failed"])

    def call(self, entry: str, payload: bytes, limits: Limits) -> Execution:
        request = {"entry": entry, "size": len(payload), "limits": limits.to_json()}
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n" + payload)
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerLost("the worker is gone") from error
        deadline = time.monotonic() + limits.wall_seconds + GRACE_SECONDS
        reply = self._line(deadline)
        stdout, stderr = (
            self._read(size, deadline).decode(errors="replace") for size in (reply["stdout"], reply["stderr"])
        )
        return Execution(
            stdout=stdout, stderr=stderr, tier=TIER,
            **{name: reply[name] for name in ("status", "seconds", "cpu_seconds", "peak_memory_bytes", "exit_code",
                                              "signal")},
        )  # fmt: skip

    def kill(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _line(self, deadline: float) -> dict[str, Any]:
        size = int.from_bytes(self._read(4, deadline), "big")
        found: dict[str, Any] = json.loads(self._read(size, deadline))
        return found

    def _read(self, size: int, deadline: float) -> bytes:
        """So many bytes of the process's stdout."""
        assert self.process.stdout is not None
        descriptor, parts = self.process.stdout.fileno(), bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while len(parts) < size:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise WorkerLost("the worker does not answer")
                chunk = os.read(descriptor, size - len(parts))
                if not chunk:
                    raise WorkerLost("the worker is gone")
                parts += chunk
        return bytes(parts)
