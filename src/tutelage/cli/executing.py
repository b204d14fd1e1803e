"""The work of `tutelage exec`: one program, or JSON lines in and JSON lines out."""

from __future__ import annotations

import dataclasses
import json
import math
import queue
import sys
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, NamedTuple, TextIO

from tutelage.cli.plain_text import printable
from tutelage.errors import InputError, RunFailed, TutelageError
from tutelage.sandbox import Execution, Limits, SandboxServer

MOST_BYTES = 16 << 20
"""Above every program; a device or a data set given by mistake is not read to its end."""
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


def read_program(file: Path) -> str:
    """The program in a file; `-` is stdin.

    Raises:
        InputError: there is no such file, or what is there is too large for a program.
    """
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with file.open("rb") as source:
                data = source.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            "the program cannot be read", seen=f"{file}: {error.strerror}", expected="a file of Python source",
            advice="check the path",
        ) from error  # fmt: skip
    if len(data) > MOST_BYTES:
        raise InputError(
            "the program is too large", seen=str(file), expected=f"at most {MOST_BYTES >> 20} MiB of Python source",
            advice="check that this is the right file",
        )  # fmt: skip
    return data.decode("utf-8", "replace")


def in_bytes(option: str, amount: float, unit: int) -> int:
    """An option's amount in bytes.

    Args:
        option: its name.
        amount: what was given.
        unit: bytes in one of it.

    Raises:
        InputError: it is no amount, such as `inf`.
    """
    if not math.isfinite(amount):
        raise InputError(f"{option} is not an amount", seen=amount, expected="a number above 0")
    return int(amount * unit)


def run_program(sandbox: SandboxServer, program: str, limits: Limits, *, as_json: bool) -> bool:
    """Run a program and print what came of it; whether it ended well."""
    execution = sandbox.run(program, limits)
    if as_json:
        print(json.dumps(execution.to_json()))
        return execution.status == "ok"
    _show(execution.stdout, sys.stdout)
    _show(execution.stderr, sys.stderr)
    if execution.status not in ("ok", "error"):
        print(f"{execution.status} after {execution.seconds:.2f} s", file=sys.stderr)
    return execution.status == "ok"


def _show(text: str, stream: TextIO) -> None:
    """Write what a program said: as it is into a file, unable to command where it is a terminal."""
    if stream.isatty():
        text = "\n".join(map(printable, text.split("\n")))
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding, "replace"))


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
    writer = _Writer(answers, out)
    writer.start()
    runners = ThreadPoolExecutor(sandbox.workers)
    try:
        for line in source or sys.stdin.buffer:
            if writer.failure is not None:
                break
            if line.strip():
                answers.put(runners.submit(answer, sandbox, limits, line))
        answers.put(None)
        writer.join()
    finally:
        runners.shutdown(cancel_futures=True)  # interrupted: what has not begun is not waited for
    if writer.failure is not None and not isinstance(writer.failure, BrokenPipeError):
        raise RunFailed("the answers cannot be written", seen=writer.failure.strerror) from writer.failure


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
    try:
        json.dumps(data)
    except (ValueError, RecursionError) as error:  # what cannot be echoed must not reach the writer
        raise InputError("the line is nested too deep", expected="keys that can be echoed") from error
    return data


def _reply(execution: Execution) -> dict[str, Any]:
    names = ("status", "stdout", "stderr", "seconds", "tier", "value")
    return {name: getattr(execution, name) for name in names}


class _Writer(Thread):
    """Writes the answers in order, each as soon as it is there; where that fails, it only empties the queue.

    Args:
        answers: to come; None is the end.
        out: where they go.
    """

    def __init__(self, answers: queue.Queue[Future[dict[str, Any]] | None], out: BinaryIO) -> None:
        super().__init__(daemon=True)
        self.failure: OSError | None = None
        self._answers, self._out = answers, out

    def run(self) -> None:
        """The thread's work."""
        while (future := self._answers.get()) is not None:
            if self.failure is not None:
                future.cancel()
                continue
            try:
                self._out.write(json.dumps(future.result()).encode() + b"\n")
                self._out.flush()
            except CancelledError:
                return
            except OSError as error:
                self.failure = error
