"""The loop inside a worker's child: a batch of items in, one JSON line out for each, every item under its own limits.

What it is: the only code between a jailed child and its judge (a comparison in sympy, a user's grader). It runs in a
process that is thrown away after the batch and needs nothing but the standard library.
What it is not: a jail. Memory, files and the network are the caller's business (tutelage.sandbox, or
grading/process_jail.py), and so is putting the rest of a batch into a new child when this one dies.

The limit that decides is CPU time, so that a verdict does not depend on how busy the machine is; wall time is a
backstop. Both are kept by the kernel's interval timers with `_exit` of the C library as the handler: a Python handler
would wait for the end of a long C call, and the default action is ignored by the first process of a PID namespace.
The exit code is then the number of the signal.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

Mark = Callable[[str], None]
Judge = Callable[[Any, Mark], Any]
"""What is done with an item: its value, and a function to call with the name of each phase as it begins."""

MAX_DETAIL = 500


def run_items(payload: bytes, out: BinaryIO, judge: Judge) -> None:
    """Judge the items of a batch, one line written for each as soon as it is known.

    Args:
        payload: JSON lines: `{"cpu": seconds, "wall": seconds}`, then `{"tag": ..., "item": ...}` each.
        out: where lines go: `{"tag", "phase"}` as a phase begins, `{"tag", "value" or "error", "seconds"}` at the end.
        judge: what is done with an item; whatever it raises becomes the line's `error`.
    """
    header, *items = (json.loads(line) for line in payload.splitlines())
    channel, arm = _channel(out), _timers()
    for item in items:
        arm(header["cpu"], header["wall"])
        channel(_judged(item, judge, channel))
    arm(0, 0)


def _judged(item: dict[str, Any], judge: Judge, channel: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The line of one item. Boundary to foreign code: whatever it raises, SystemExit too, is recorded in the line."""
    tag, began = item["tag"], time.process_time()

    def mark(phase: str) -> None:
        channel({"tag": tag, "phase": phase})

    mark("begun")
    line: dict[str, Any] = {"tag": tag}
    try:
        line["value"] = judge(item["item"], mark)
    except BaseException as error:
        line["error"] = f"{type(error).__name__}: {error}"[:MAX_DETAIL]
    line["seconds"] = time.process_time() - began
    return line


def _channel(out: BinaryIO) -> Callable[[dict[str, Any]], None]:
    """A writer of lines on a descriptor of its own; what is printed goes to stderr from now on."""
    out.flush()
    try:
        descriptor = os.dup(out.fileno())
    except OSError:  # no real file: a buffer
        return lambda line: _put(out.write, line)
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def write_all(data: bytes) -> None:
        while data:
            data = data[os.write(descriptor, data) :]

    return lambda line: _put(write_all, line)


def _put(write: Callable[[bytes], Any], line: dict[str, Any]) -> None:
    write(json.dumps(line).encode() + b"\n")


def _timers() -> Callable[[float, float], None]:
    """A function that gives the process so many seconds of CPU and of wall time from now on; 0 is no limit."""
    library = ctypes.CDLL(None)
    library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    library.signal.restype = ctypes.c_void_p
    leave = ctypes.cast(library._exit, ctypes.c_void_p)

    def arm(cpu: float, wall: float) -> None:
        for number, timer, seconds in (
            (signal.SIGPROF, signal.ITIMER_PROF, cpu), (signal.SIGALRM, signal.ITIMER_REAL, wall),
        ):  # fmt: skip
            library.signal(number, leave)  # again each time: the judge may have put its own in place
            signal.setitimer(timer, seconds)

    return arm
