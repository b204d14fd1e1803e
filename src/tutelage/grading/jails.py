"""Jails as graders hold them: opened on first use, again in a forked process, closed at the end.

A grader may live in a thread, in an event loop, in a spawned pool's process or beside CUDA: nothing is started before
it is needed, nothing is forked from the process that grades, and a copy that is pickled or forked opens its own.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tutelage.grading.process_jail import ProcessJail
from tutelage.sandbox.protocol import Execution, Limits


class ClosableJail(Protocol):
    """A jail that was opened; `tier` says what holds its children."""

    @property
    def tier(self) -> str:
        """E.g. `namespaces`, `landlock`, `process`."""
        ...

    def call(self, entry: str, payload: bytes, limits: Limits) -> Execution:
        """What the child wrote and how it ended."""
        ...

    def close(self) -> None:
        """End its processes."""
        ...


class LazyJail:
    """Opens a jail when it is first called; safe to use from several threads, and to pickle.

    Args:
        opener: opens the jail; a module's function or a `functools.partial` of one, where the grader is to be pickled.
    """

    def __init__(self, opener: Callable[[], ClosableJail]) -> None:
        self.opener = opener
        self._start()

    def _start(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._opened: ClosableJail | None = None
        self._end: Callable[[], Any] = lambda: None

    def open(self) -> ClosableJail:
        """The jail, opened if it is not yet.

        Raises:
            Exception: whatever the opener raises; it is asked again at the next call.
        """
        if self._pid != os.getpid():
            self._start()  # forked: the opened one is the parent's, and so is the state of its lock
        with self._lock:
            if self._opened is None:
                self._opened = self.opener()
                self._end = weakref.finalize(self, self._opened.close)
            return self._opened

    def call(self, entry: str, payload: bytes, limits: Limits) -> Execution:
        """As `ClosableJail.call`."""
        return self.open().call(entry, payload, limits)

    def close(self) -> None:
        """End its processes, if there are any; the next call starts new ones."""
        if self._pid == os.getpid():
            with self._lock:
                self._end()
                self._opened, self._end = None, lambda: None

    def __getstate__(self) -> dict[str, Any]:
        return {"opener": self.opener}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.opener = state["opener"]
        self._start()


def open_sandboxed(entries: Sequence[str], search_path: Sequence[str], workers: int) -> ClosableJail:
    """The sandbox, its zygotes with `entries` imported.

    Raises:
        SandboxUnavailable: no tier is safe on this machine.
    """
    from tutelage.sandbox import open_sandbox

    return open_sandbox(workers=workers, preload=(), entries=tuple(entries), search_path=tuple(search_path))


def open_process(entries: Sequence[str], search_path: Sequence[str], workers: int) -> ClosableJail:
    """Plain killable processes, without a jail."""
    return ProcessJail(entries=entries, search_path=search_path, workers=workers)
