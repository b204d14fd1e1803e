"""Whether a sandbox holds, found out by trying to get out of it.

Six programs try the network, a planted secret, a file outside, a second process, a signal at a decoy and endless time;
a seventh is honest. What each did is checked from outside as well. Versions and settings of the machine are not looked
at: they say what should hold, not what does.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tutelage.sandbox.protocol import Execution, Limits

Run = Callable[[str, Limits], Execution]

LIMITS = Limits(wall_seconds=10.0, cpu_seconds=5.0)
SHORT = Limits(wall_seconds=0.3, cpu_seconds=5.0)
DECOY = "import shutil, sys; sys.stdin.read(); shutil.rmtree(sys.argv[1], ignore_errors=True)"
"""Waits to be shot at; where we are shot ourselves, its stdin ends, and it clears up."""
PROBES = {
    "network": "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2).send(b'x')\nprint('out')",
    "secret": "print(open({secret!r}).read())",
    "write": "open({marker!r}, 'w').write('x')\nprint('out')",
    "fork": "import os\nif os.fork() == 0:\n    os._exit(0)\nprint('out')",
    "kill": "import os\nos.kill({decoy}, 9)\nprint('out')",
}


@dataclass(frozen=True)
class Bait:
    """What the probes are after."""

    folder: Path
    token: str
    listener: socket.socket
    decoy: subprocess.Popen[bytes]


def faults(run: Run) -> list[str]:
    """What does not hold; nothing where all does.

    Args:
        run: runs a program under limits.
    """
    with _bait() as bait:
        found = [fault for name in PROBES if (fault := _probe(run, name, bait))]
        endless = run("while True: pass", SHORT)
        if endless.status != "timeout":
            found.append(f"time: an endless program ended with {endless.status}")
        honest = run("print(6 * 7)", LIMITS)
        if (honest.status, honest.value) != ("ok", "42"):
            found.append(f"an honest program ended with {honest.status}: {honest.stderr[-300:]}")
    return found


def _probe(run: Run, name: str, bait: Bait) -> str | None:
    marker = bait.folder / f"{name}.marker"
    program = PROBES[name].format(
        port=bait.listener.getsockname()[1],
        secret=str(bait.folder / "secret"),
        marker=str(marker),
        decoy=bait.decoy.pid,
    )
    execution = run(program, LIMITS)
    is_out = execution.status == "ok" or bait.token in execution.stdout or marker.exists()
    if name == "network":
        is_out = is_out or _was_reached(bait.listener)
    if name == "kill":
        is_out = is_out or bait.decoy.poll() is not None
    if execution.status == "sandbox_error":
        return f"{name}: {execution.stderr[-300:]}"
    return f"{name}: a program got out" if is_out else None


def _was_reached(listener: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        listener.accept()[0].close()
        return True
    return False


@contextlib.contextmanager
def _bait() -> Iterator[Bait]:
    folder = Path(tempfile.mkdtemp(prefix="tutelage-selftest-"))
    folder.chmod(0o777)  # so that nothing but the sandbox keeps a program from it
    token = secrets.token_hex(16)
    (folder / "secret").write_text(token)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    decoy = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", DECOY, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield Bait(folder, token, listener, decoy)
    finally:
        decoy.kill()
        decoy.communicate()
        listener.close()
        shutil.rmtree(folder, ignore_errors=True)
