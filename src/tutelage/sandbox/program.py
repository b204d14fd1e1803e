"""The last part of a child: runs the program, or calls the trusted function, and leaves with an exit code.

The only place where a program is compiled. Everything here is in the program's reach and may be bent by it: what it
can gain is another exit code or output for itself, both of which are its own anyway.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import errno
import io
import linecache
import os
import random
import sys
import threading
import traceback
import types
from collections.abc import Callable

from tutelage.sandbox.entries import Function

EXIT_ERROR, EXIT_MEMORY, EXIT_REFUSED = 1, 72, 73
SEED = 0
NAME = "program.py"
ANSWER = "answer"
MAX_ANSWER = 1 << 14
SIDE = 3
"""Descriptor of the answer variable, or of the result of a call."""


def seed() -> None:
    """Start all generators from `SEED`: the children of one zygote would otherwise share its state."""
    random.seed(SEED)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(SEED)
    if (sympy_random := sys.modules.get("sympy.core.random")) is not None:
        sympy_random.seed(SEED)


def open_standard_streams() -> None:
    """sys.stdout and sys.stderr over descriptors 1 and 2, sys.stdin at its end."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)), "utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8")
    errors = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(errors, "utf-8", "backslashreplace", line_buffering=True)
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)


def run_program(source: bytes) -> int:
    """Run a program as `__main__`, as `python program.py` would; returns the exit code."""
    module = types.ModuleType("__main__")
    module.__dict__.update(__builtins__=builtins, __file__=NAME)
    sys.modules["__main__"] = module
    sys.argv = [NAME]
    code = _guarded(lambda: _execute(source, module))
    if code == 0:
        _tell_answer(module)
    return _finish(code)


def call(function: Function, payload: bytes) -> int:
    """Call a trusted function with the result pipe; returns the exit code."""
    with open(SIDE, "wb", closefd=False) as out:
        code = _guarded(lambda: function(payload, out))
    return _finish(code)


def _execute(source: bytes, module: types.ModuleType) -> None:
    text = source.decode("utf-8", "surrogatepass")
    linecache.cache[NAME] = (len(text), None, text.splitlines(keepends=True), NAME)
    exec(compile(text, NAME, "exec", dont_inherit=True), module.__dict__)


def _guarded(work: Callable[[], None]) -> int:
    try:
        work()
    except SystemExit as leaving:
        return _exit_code(leaving)
    except BaseException as error:  # the boundary: whatever a program raises becomes its exit code
        return _told(error)
    return 0


def _exit_code(leaving: SystemExit) -> int:
    code = leaving.code
    if code is None:
        return 0
    if type(code) is int:
        return code & 0xFF
    with contextlib.suppress(BaseException):  # its text may be anything, also a program
        print(code, file=sys.stderr)
    return EXIT_ERROR


def _told(error: BaseException) -> int:
    """Write the traceback without our own frames; the exit code tells what kind of error it was."""
    with contextlib.suppress(BaseException):
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__name__") == __name__:
            trace = trace.tb_next
        sys.stdout.flush()
        sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))
    if isinstance(error, MemoryError):
        return EXIT_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS):
        return EXIT_REFUSED
    return EXIT_ERROR


def _tell_answer(module: types.ModuleType) -> None:
    with contextlib.suppress(BaseException):  # a hostile __str__ or a closed descriptor: then there is no answer
        if (value := module.__dict__.get(ANSWER)) is not None:
            os.write(SIDE, str(value).encode("utf-8", "replace")[:MAX_ANSWER])


def _finish(code: int) -> int:
    """What the interpreter does at its end, short of taking itself apart."""
    late = _guarded(_end_threads_and_hooks)
    for stream in (sys.stdout, sys.stderr):
        late = _guarded(stream.flush) or late
    return code or late


def _end_threads_and_hooks() -> None:
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
