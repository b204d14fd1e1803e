"""The preloaded process behind `ProcessJail`: imports the entries, then forks a child for every call and watches it.

Entry module: runs only in a process of its own (`python -m tutelage.grading.process_main`). Requests come on stdin,
`{"entry", "size", "limits"}` and a payload; replies go to stdout, a length of four bytes, a JSON object with the sizes
of the child's stdout and stderr, and these. It has one thread, so forking is safe.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from tutelage.sandbox.entries import Function, load
from tutelage.sandbox.protocol import Limits

STDERR_BYTES = 1 << 14
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve calls until stdin ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    try:
        entries = {name: load(name) for name in json.loads(sys.argv[1])}
    except BaseException as error:  # boundary to the user's code, which may even exit while it is imported
        _send(replies, {"failed": f"{type(error).__name__}: {error}"})
        return
    _send(replies, {"ready": os.getpid()})
    while line := requests.readline():
        request = json.loads(line)
        payload = requests.read(request["size"])
        function, limits = entries[request["entry"]], Limits.from_json(request["limits"])
        reply, parts = _watched(function, payload, limits, (replies, requests))
        _send(replies, reply, *parts)


def _send(replies: BinaryIO, reply: dict[str, Any], *parts: bytes) -> None:
    data = json.dumps(reply).encode()
    replies.write(len(data).to_bytes(4, "big") + data + b"".join(parts))
    replies.flush()


def _watched(
    function: Function, payload: bytes, limits: Limits, own: tuple[BinaryIO, BinaryIO]
) -> tuple[dict[str, Any], tuple[bytes, bytes]]:
    """Fork, collect what the child writes, end it at its limits; the reply and its two texts."""
    began = time.monotonic()
    pipes = [os.pipe(), os.pipe()]
    child = os.fork()
    if child == 0:
        _be_child(function, payload, limits, pipes, own)
    for _, write_end in pipes:
        os.close(write_end)
    texts, overrun = _collect(child, [read_end for read_end, _ in pipes], limits, began)
    _, status, usage = os.wait4(child, 0)
    _end_group(child)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    reply = {
        "status": overrun or _status(status, usage.ru_utime + usage.ru_stime, limits, texts[1]), "signal": number,
        "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "seconds": time.monotonic() - began, "peak_memory_bytes": usage.ru_maxrss * 1024,
        "stdout": len(texts[0]), "stderr": len(texts[1]),
    }  # fmt: skip
    return reply, (bytes(texts[0]), bytes(texts[1]))


def _be_child(
    function: Function,
    payload: bytes,
    limits: Limits,
    pipes: list[tuple[int, int]],
    own: tuple[BinaryIO, BinaryIO],
) -> None:
    """The child's life; never returns."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for stream in own:
        os.close(stream.fileno())
    os.dup2(pipes[0][1], 1)
    os.dup2(pipes[1][1], 2)
    for read_end, write_end in pipes:
        os.close(read_end)
        os.close(write_end)
    code = 1
    try:
        seconds = max(1, int(limits.cpu_seconds + 0.999))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + limits.memory_bytes,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        function(payload, os.fdopen(os.dup(1), "wb"))
        code = 0
    except BaseException:  # the outermost boundary of the child: told on stderr, the exit code says the rest
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _collect(child: int, ends: list[int], limits: Limits, began: float) -> tuple[list[bytearray], str | None]:
    """What the child writes, until it has ended; "timeout" or "output_limit" where it had to be killed."""
    texts, caps = [bytearray(), bytearray()], [limits.output_bytes, STDERR_BYTES]
    overrun: str | None = None
    alive = os.pidfd_open(child)
    with selectors.DefaultSelector() as selector:
        selector.register(alive, selectors.EVENT_READ)
        for place, end in enumerate(ends):
            os.set_blocking(end, False)
            selector.register(end, selectors.EVENT_READ, place)
        is_over = False
        while not is_over:
            events = selector.select(max(0.0, began + limits.wall_seconds - time.monotonic()))
            # A grandchild may hold the pipes open: the child's own end is what counts.
            is_over = not events or any(key.fileobj == alive for key, _ in events)
            if not events:
                overrun = "timeout"
            for place, end in enumerate(ends):
                if not _drain(end, texts[place]) and end in selector.get_map():
                    selector.unregister(end)
            if len(texts[0]) > caps[0]:
                overrun, is_over = "output_limit", True
            del texts[1][: max(0, len(texts[1]) - caps[1])]
    if overrun:
        os.kill(child, signal.SIGKILL)
    for end in (*ends, alive):
        os.close(end)
    del texts[0][caps[0] :]
    return texts, overrun


def _drain(end: int, text: bytearray) -> bool:
    """Read what there is; False at the end of the pipe."""
    try:
        while chunk := os.read(end, 1 << 16):
            text += chunk
            if len(text) > 1 << 26:
                return True
    except BlockingIOError:
        return True
    return False


def _end_group(child: int) -> None:
    """End what the child left running in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _status(status: int, cpu_seconds: float, limits: Limits, stderr: bytes | bytearray) -> str:
    if os.WIFEXITED(status):
        if os.WEXITSTATUS(status) == 0:
            return "ok"
        return "memory" if b"MemoryError" in stderr else "error"
    if cpu_seconds >= limits.cpu_seconds - 0.1 and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXCPU):
        return "cpu"
    return "crash"


if __name__ == "__main__":
    main()
