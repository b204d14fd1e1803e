"""The work of `tutelage exec`: one program, or JSON lines in and JSON lines out."""

from __future__ import annotations

import dataclasses
import json
import queue
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, NamedTuple

from tutelage.errors import InputError, TutelageError
from tutelage.sandbox import Execution, Limits, SandboxServer

READ_AHEAD = 64
"""Requests that may wait for their answer before no more are read."""


class Request(NamedTuple):
    """What one line of `--serve` asks for.

    Attributes:
        code: the program.
        limits: what it may use.
    """

    code: str
    limits: Limits


def run_file(sandbox: SandboxServer, file: Path, limits: Limits, *, as_json: bool) -> bool:
    """Run a file and print what came of it; whether it ended well.

    Raises:
        InputError: there is no such file.
    """
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise InputError("the program cannot be read", seen=f"{file}: {error.strerror}") from error
    execution = sandbox.run(data.decode("utf-8", "replace"), limits)
    if as_json:
        print(json.dumps(execution.to_json()))
        return execution.status == "ok"
    sys.stdout.write(execution.stdout)
    sys.stderr.write(execution.stderr.encode(sys.stderr.encoding or "utf-8", "replace").decode(errors="replace"))
    if execution.status not in ("ok", "error"):
        print(f"{execution.status} after {execution.seconds:.2f} s", file=sys.stderr)
    return execution.status == "ok"


def serve_lines(
    sandbox: SandboxServer, limits: Limits, source: BinaryIO | None = None, sink: BinaryIO | None = None
) -> None:
    """Answer each line of `source` on `sink`, in order, until `source` ends.

    Args:
        sandbox: where the programs run, as many at a time as it has workers.
        limits: for requests that do not name their own `wall`.
        source: JSON lines; stdin by default.
        sink: where the answers go; stdout by default.
    """
    out = sink or sys.stdout.buffer
    answers: queue.Queue[Future[dict[str, Any]] | None] = queue.Queue(READ_AHEAD)
    with ThreadPoolExecutor(sandbox.workers) as runners:
        writer = Thread(target=_write_all, args=(answers, out), daemon=True)
        writer.start()
        for line in source or sys.stdin.buffer:
            if line.strip():
                answers.put(runners.submit(answer, sandbox, limits, line))
        answers.put(None)
        writer.join()


def answer(sandbox: SandboxServer, limits: Limits, line: bytes) -> dict[str, Any]:
    """The answer to one line, whatever it holds."""
    echoed: dict[str, Any] = {}
    try:
        data = _object(line)
        echoed = {key: value for key, value in data.items() if key not in ("code", "wall")}
        code, asked = parse(data, limits)
    except InputError as error:
        failure = Execution("error", stderr=error.message(), tier=sandbox.tier)
        return {**echoed, **_reply(failure), "error": error.what}
    try:
        return {**echoed, **_reply(sandbox.run(code, asked))}
    except TutelageError as error:  # a sandbox that is no more: the lines after this one must be answered too
        return {**echoed, **_reply(Execution("sandbox_error", stderr=error.message(), tier=sandbox.tier))}


def parse(data: dict[str, Any], limits: Limits) -> Request:
    """What a line asks for.

    Raises:
        InputError: it has no code, or its wall is no number of seconds.
    """
    code, wall = data.get("code"), data.get("wall")
    if not isinstance(code, str):
        raise InputError("the line has no code", expected='an object like {"code": "print(1)", "wall": 5}')
    if wall is None:
        return Request(code, limits)
    if isinstance(wall, bool) or not isinstance(wall, int | float):
        raise InputError("wall is not a number", seen=wall, expected="seconds")
    return Request(code, dataclasses.replace(limits, wall_seconds=wall, cpu_seconds=wall))


def _object(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError("the line is not JSON", seen=str(error)[:200]) from error
    if not isinstance(data, dict):
        raise InputError("the line is not a JSON object", seen=data)
    return data


def _reply(execution: Execution) -> dict[str, Any]:
    names = ("status", "stdout", "stderr", "seconds", "tier", "value")
    return {name: getattr(execution, name) for name in names}


def _write_all(answers: queue.Queue[Future[dict[str, Any]] | None], out: BinaryIO) -> None:
    """Write the answers in order, each as soon as it is there; after a broken pipe only empty the queue."""
    write: Callable[[bytes], object] = out.write
    while (future := answers.get()) is not None:
        try:
            write(json.dumps(future.result()).encode() + b"\n")
            out.flush()
        except BrokenPipeError:
            write = len
