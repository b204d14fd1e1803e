"""The broker's side of one zygote: starts it, hands it one program at a time, and never waits for ever.

What comes back of a program are bytes from pipes and what the kernel told the zygote about its end. Nothing that the
program wrote decides its status. Not thread-safe: a pool hands a worker to one caller at a time.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import InputError
from tutelage.sandbox.outcome import Ending, Killed, outcome
from tutelage.sandbox.protocol import Execution, Limits
from tutelage.sandbox.streams import Stream
from tutelage.sandbox.surroundings import ENVIRONMENT
from tutelage.sandbox.wire import Channel, WireBroken

OPEN_SECONDS = 120.0
START_SECONDS = 30.0
END_SECONDS = 10.0
CLOSE_SECONDS = 5.0
LONGEST_POLL = 3600.0
MAX_RUNS = 2000
"""Runs of one zygote: all its children share an address layout, so it is made anew now and then."""
SIDE_BYTES = 1 << 14
STDERR_TAIL = 4096
PIECE = 1 << 14
"""Characters or bytes of a payload written at once."""
ROOT = str(Path(__file__).resolve().parents[2])
BOOT = "import sys; sys.path.insert(0, sys.argv[2]); import tutelage.sandbox.zygote as z; del sys.path[0]; " \
    "z.main(int(sys.argv[1]))"  # fmt: skip


class WorkerBroken(Exception):
    """The zygote did not start, is gone, or does not answer; ours, never the program's doing."""


@dataclass(frozen=True)
class WorkerConfig:
    """What a zygote is started with.

    Attributes:
        tier: the walls it builds.
        preload: modules to import; those that are not installed are left out.
        entries: trusted code that `call` may name, see `tutelage.sandbox.entries`.
        search_path: folders to import entries from; readable to the children.
        launcher: words before the interpreter's own, of an external sandbox; of a container engine, only its command.
        variables: environment of a container engine's command.
    """

    tier: str
    preload: tuple[str, ...]
    entries: tuple[str, ...]
    search_path: tuple[str, ...]
    launcher: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


class Worker:
    """One zygote and the warden around it.

    Args:
        config: what to start.

    Raises:
        WorkerBroken: it did not start; the text says why.
        InputError: an entry cannot be imported.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.runs = 0
        self._ids = itertools.count()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._channel = Channel(ours)
        self._stderr = os.memfd_create("zygote-stderr")
        words = [sys.executable, "-s", "-P", "-B", "-c", BOOT, str(theirs.fileno()), ROOT]
        try:
            self._process = subprocess.Popen(
                words,
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            self._channel.close()
            os.close(self._stderr)
            raise WorkerBroken(f"cannot start {words[0]}: {error}") from error
        finally:
            theirs.close()
        self.has_scratch = self._open()

    def execute(self, payload: str | bytes, limits: Limits, entry: str = "") -> Execution:
        """Run a program, or call an entry, in a new child.

        Args:
            payload: the program's source, or what the entry is called with; text is sent as UTF-8.
            limits: what it may use.
            entry: an entry of the config; empty runs the payload as a program.

        Raises:
            WorkerBroken: the zygote is no longer usable; nothing is known of the program.
        """
        self.runs += 1
        side = Stream(limits.output_bytes if entry else SIDE_BYTES)
        streams = (Stream(limits.output_bytes), Stream(limits.output_bytes, tail=STDERR_TAIL), side)
        try:
            ending = self._exchange(payload, limits, entry, streams)
        except (WireBroken, KeyError, TypeError, ValueError) as error:
            raise WorkerBroken(str(error)) from error
        finally:
            for stream in streams:
                stream.close()
        return outcome(
            ending, limits, streams, is_call=bool(entry), tier=self.config.tier, has_scratch=self.has_scratch
        )

    def kill(self) -> None:
        """End the zygote and all it has started, at once."""
        self._process.kill()  # the zygote dies with its warden, and its children with it
        self.close()

    def close(self) -> None:
        """End the zygote: it leaves by itself when the socket closes."""
        self._channel.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._stderr >= 0:
            os.close(self._stderr)
            self._stderr = -1

    def _open(self) -> bool:
        config = self.config
        try:
            self._channel.send(
                {
                    "tier": config.tier,
                    "preload": config.preload,
                    "entries": config.entries,
                    "search_path": config.search_path,
                    "launcher": config.launcher,
                    "variables": config.variables,
                    "broker": os.getpid(),
                }
            )
            answer, handed = self._channel.receive(OPEN_SECONDS)
            if answer.get("event") == "connected":  # from now on the zygote itself, through the socket it called
                self._channel.close()
                self._channel = Channel(socket.socket(fileno=handed[0]))
                answer, _ = self._channel.receive(OPEN_SECONDS)
        except WireBroken as error:
            said = self._said()
            self.kill()
            raise WorkerBroken(f"{error}{': ' + said if said else ''}") from error
        if answer.get("event") != "open":
            self.kill()
            if answer.get("event") == "unloadable":
                raise InputError("the sandbox cannot load what it was told to", seen=answer.get("why"))
            raise WorkerBroken(str(answer.get("why")))
        return bool(answer["has_scratch"])

    def _said(self) -> str:
        """The last line that the zygote wrote to stderr, which it does only where it could not even start."""
        lines = os.pread(self._stderr, 1 << 16, 0).decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else ""

    def _exchange(self, payload: str | bytes, limits: Limits, entry: str, streams: Sequence[Stream]) -> Ending:
        run = next(self._ids)
        request = {"event": "run", "id": run, "entry": entry, "limits": limits.to_json()}
        handed = _sealed(payload)
        try:
            self._channel.send(request, (handed, *(stream.write_end for stream in streams)))
        finally:
            os.close(handed)
            for stream in streams:
                stream.close_write_end()
        return _Watch(self._channel, run, limits, streams).until_ended()


class _Watch:
    """Reads what a program writes until it has ended, and has it ended at its limits."""

    def __init__(self, channel: Channel, run: int, limits: Limits, streams: Sequence[Stream]) -> None:
        self._channel, self._run, self._limits, self._streams = channel, run, limits, streams
        self._deadline = time.monotonic() + START_SECONDS
        self._has_started = False
        self._killed: Killed = ""
        self._poller = select.poll()
        self._poller.register(channel, select.POLLIN)
        for stream in streams:
            self._poller.register(stream.read_end, select.POLLIN)

    def until_ended(self) -> Ending:
        """How it ended.

        Raises:
            WireBroken: the zygote is gone or does not do what it is told.
        """
        by_number = {stream.read_end: stream for stream in self._streams}
        while True:
            left = min(max(0.0, self._deadline - time.monotonic()), LONGEST_POLL)
            ready = dict(self._poller.poll(left * 1000))
            for number in ready.keys() & by_number.keys():
                if not by_number[number].read():
                    self._poller.unregister(number)
            if self._channel.fileno() in ready:
                self._channel.read_available()
            while (frame := self._channel.next_frame()) is not None:
                if (ending := self._heard(frame.message)) is not None:
                    return ending
            if any(stream.is_over for stream in self._streams):
                self._kill("output_limit")
            if time.monotonic() >= self._deadline:
                self._time_is_up()

    def _heard(self, message: dict[str, Any]) -> Ending | None:
        if message["id"] != self._run:
            raise WireBroken("an answer to another request")
        if message["event"] == "started":
            self._has_started = True
            self._deadline = time.monotonic() + self._limits.wall_seconds
            return None
        for stream in self._streams:
            stream.read_rest()
        if any(stream.is_over for stream in self._streams):
            self._killed = self._killed or "output_limit"
        return Ending(
            killed=self._killed,
            failure=message["failure"],
            status=message["status"],
            seconds=message["seconds"],
            cpu_seconds=message["cpu_seconds"],
            peak_memory_bytes=message["peak_memory_bytes"],
        )

    def _time_is_up(self) -> None:
        if not self._has_started or self._killed:
            raise WireBroken("the zygote does not answer")
        self._kill("timeout")

    def _kill(self, why: Killed) -> None:
        if not self._killed:
            self._killed = why
            self._channel.send({"event": "kill", "id": self._run})
            self._deadline = time.monotonic() + END_SECONDS


def _sealed(payload: str | bytes) -> int:
    """A descriptor that gives `payload` to whoever reads it: a file in memory, so that nobody waits for a reader.

    It is written piece by piece: the C library keeps twice the largest piece that a thread has held for each thread.
    """
    descriptor = os.memfd_create("payload")
    for start in range(0, len(payload), PIECE):
        piece = payload[start : start + PIECE]
        view = memoryview(piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else piece)
        while view:
            view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
