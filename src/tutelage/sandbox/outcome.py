"""From how a child ended to an `Execution`: statuses, the value, stderr without paths of the machine."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tutelage.sandbox.protocol import Execution, ExecutionStatus, Limits
from tutelage.sandbox.streams import Stream

Killed = Literal["", "timeout", "output_limit"]
EXIT_MEMORY, EXIT_REFUSED = 72, 73
"""How a child says that an uncaught MemoryError, or a file that it may not open, ended it; else that exits with 1."""
NO_SCRATCH = "the {} tier has no scratch folder: programs cannot write files there\n"


class Ending(NamedTuple):
    """How a child ended.

    Attributes:
        killed: for what the broker had it killed, if it did.
        failure: what went wrong before the program began; ours.
        status: as wait4 gives it.
        seconds, cpu_seconds: of the program.
        peak_memory_bytes: of its process.
    """

    killed: Killed
    failure: str
    status: int
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


def outcome(
    ending: Ending, limits: Limits, streams: Sequence[Stream], *, is_call: bool, tier: str, has_scratch: bool
) -> Execution:
    """The record of a run.

    Args:
        ending: how it ended.
        limits: what it could use.
        streams: stdout, stderr, and the side pipe (the answer variable, or what a call wrote).
        is_call: whether an entry was called.
        tier: what held it.
        has_scratch: whether it could write files.
    """
    out, err, side = (stream.data.decode("utf-8", "replace") for stream in streams)
    status = _status(ending, limits, has_scratch=has_scratch)
    is_signaled = os.WIFSIGNALED(ending.status)
    err = without_paths(err)
    if status == "sandbox_error":
        err = ending.failure
    if status == "refused":
        err += NO_SCRATCH.format(tier)
    code = None if is_signaled else os.waitstatus_to_exitcode(ending.status)
    return Execution(
        status=status,
        stdout=side if is_call else out,
        stderr=err,
        value=_value(out, side) if status == "ok" and not is_call else None,
        seconds=round(ending.seconds, 6),
        cpu_seconds=round(ending.cpu_seconds, 6),
        peak_memory_bytes=ending.peak_memory_bytes,
        exit_code=1 if code in (EXIT_MEMORY, EXIT_REFUSED) else code,
        signal=os.WTERMSIG(ending.status) if is_signaled else None,
        tier=tier,
    )


def without_paths(text: str) -> str:
    """`text` with the folders of this machine's Python and packages written as <python>."""
    package = str(Path(__file__).resolve().parents[2])
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, package, str(Path.home())}
    for prefix in sorted(prefixes - {"/", "/usr"}, key=len, reverse=True):
        text = text.replace(prefix, "<python>")
    return text


def _status(ending: Ending, limits: Limits, *, has_scratch: bool) -> ExecutionStatus:
    if ending.failure:
        return "sandbox_error"
    if ending.killed:
        return ending.killed
    if os.WIFSIGNALED(ending.status):
        return _status_of_signal(os.WTERMSIG(ending.status), ending, limits)
    code = os.waitstatus_to_exitcode(ending.status)
    if code == EXIT_MEMORY:
        return "memory"
    if code == EXIT_REFUSED and not has_scratch:
        return "refused"
    return "error" if code else "ok"


def _status_of_signal(number: int, ending: Ending, limits: Limits) -> ExecutionStatus:
    if number == signal.SIGXCPU:
        return "cpu"
    if number == signal.SIGKILL and ending.cpu_seconds >= limits.cpu_seconds:  # it ignored SIGXCPU
        return "cpu"
    if number == signal.SIGKILL and ending.peak_memory_bytes >= limits.memory_bytes / 2:  # the kernel was short of it
        return "memory"
    return "crash"


def _value(out: str, side: str) -> str | None:
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    return lines[-1] if lines else side.strip() or None
