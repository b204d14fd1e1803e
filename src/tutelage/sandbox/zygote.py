"""The process that programs are forked from: libraries loaded, shut in, and told nothing.

It is executed, not forked, from the caller, with an environment of our own, so it holds none of the caller's memory.
Two processes: a warden outside, which dies with the caller and takes all else with it, and the zygote proper inside.
The zygote handles one program at a time and never reads a byte of it.

An entry module: it runs only in a process of its own, and imports what it is told to preload.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage.sandbox import (
    child,
    containers,
    entries,
    kernel,
    landlock,
    namespaces,
    program,
    seccomp,
    visible,
    warming,
)
from tutelage.sandbox.rlimits import mapped_bytes
from tutelage.sandbox.surroundings import LIBRARY_SETTINGS
from tutelage.sandbox.wire import Channel, WireBroken

FIRST_UID = 1_900_000_000
"""As root, a zygote's children get a user id that nobody else has: this plus a process id."""
SETUP_SECONDS = 15.0
LAUNCHED = (
    "-s", "-P", "-B", "-c",
    "import sys; sys.path.insert(0, sys.argv[2]); import tutelage.sandbox.zygote as z; del sys.path[0]; "
    "z.launched(sys.argv[1], sys.argv[3])",
)  # fmt: skip
"""What a Python inside an external sandbox is told."""
ASSUMED_TASKS = 1000


def main(descriptor: int) -> None:
    """Be the warden of a zygote whose broker is at the other end of a socket."""
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        config = channel.receive(SETUP_SECONDS).message
        broker = os.pidfd_open(config["broker"])
        if os.getppid() != config["broker"]:
            return
        is_alone = config["tier"] != "none" and kernel.has_capabilities(kernel.CAP_SETUID, kernel.CAP_SETGID)
        config["uid"] = _own_uid() if is_alone else None
        if config["tier"] == "namespaces" and namespaces.enter_processes():
            config["uid"] = None
        if config["tier"] == "none":
            config["scratch"] = tempfile.mkdtemp(prefix="tutelage-unsafe-")
        inner = _start(channel, config)
    except WireBroken:
        return
    except OSError as error:
        channel.send({"event": "failed", "why": str(error)})
        return
    channel.close()
    _watch(broker, inner)
    if config["tier"] == "none":
        shutil.rmtree(config["scratch"], ignore_errors=True)


def launched(address: str, config: str) -> None:
    """Be a zygote inside an external sandbox, started there by a warden.

    Args:
        address: number of an inherited socket, or the path of one to connect to.
        config: the broker's, as JSON.
    """
    if address.isdigit():
        connection = socket.socket(fileno=int(address))
    else:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
    _be_zygote(Channel(connection), json.loads(config))


def _start(channel: Channel, config: dict[str, Any]) -> int:
    """Start the zygote; returns the process to watch."""
    if containers.is_container(config["tier"]):
        return _start_in_container(channel, config)
    if config["launcher"]:
        python = [sys.executable, *LAUNCHED, str(channel.fileno()), os.path.dirname(visible.PACKAGE)]
        words = [*config["launcher"], *python, json.dumps(config)]
        return subprocess.Popen(words, pass_fds=(channel.fileno(),)).pid
    inner = os.fork()
    if inner == 0:
        _be_zygote(channel, config)
        os._exit(0)
    return inner


def _start_in_container(channel: Channel, config: dict[str, Any]) -> int:
    """Start a container, wait until its zygote calls, and hand that connection to the broker."""
    folder = Path(tempfile.mkdtemp(prefix="tutelage-container-"))
    try:
        folder.chmod(0o711)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "zygote"))
            (folder / "zygote").chmod(0o777)
            listener.listen(1)
            engine = containers.command(config["launcher"][0], config["tier"], folder, dict(os.environ))
            words = [*engine, *LAUNCHED, f"{containers.SOCKETS}/zygote", containers.MOUNT]
            told = json.dumps({**config, "uid": None, "variables": []})
            process = subprocess.Popen([*words, told], env={**os.environ, **dict(config["variables"])})
            while not select.select([listener], [], [], 0.2)[0]:
                if process.poll() is not None:
                    raise ChildProcessError(f"{engine[0]} ended with {process.returncode}")
            with listener.accept()[0] as connection:
                channel.send({"event": "connected"}, (connection.fileno(),))
        return process.pid
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _watch(broker: int, inner: int) -> None:
    """Wait until the caller or the zygote is gone; then see to it that the zygote is."""
    zygote = os.pidfd_open(inner)
    poller = select.poll()
    poller.register(broker, select.POLLIN)
    poller.register(zygote, select.POLLIN)
    poller.poll()
    os.kill(inner, signal.SIGKILL)
    os.waitpid(inner, 0)


def _be_zygote(channel: Channel, config: dict[str, Any]) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    functions = None
    try:
        functions = _load(config)
        jail = _shut_in(config)
    except Exception as error:  # the boundary to the broker: why there is no zygote must be told
        why = f"{type(error).__name__}: {error}"
        channel.send({"event": "failed" if functions is not None else "unloadable", "why": why})
        return
    atexit._clear()  # hooks of preloaded libraries are not the programs' business
    gc.collect()
    gc.freeze()
    channel.send({"event": "open", "has_scratch": jail.has_scratch})
    with contextlib.suppress(WireBroken):
        while True:
            frame = channel.receive()
            if frame.message["event"] == "run":
                _run(channel, jail, functions, frame.message, frame.descriptors)


def _load(config: dict[str, Any]) -> dict[str, entries.Function]:
    """Import what is preloaded, and the entries; both are trusted."""
    sys.path[:0] = config["search_path"]
    for name in config["preload"]:
        warming.load(name)
    return {entry: entries.load(entry) for entry in config["entries"]}


def _shut_in(config: dict[str, Any]) -> child.Jail:
    tier, uid = config["tier"], config["uid"]
    with contextlib.suppress(OSError):  # so that the kernel, short of memory, ends programs before their caller
        Path("/proc/self/oom_score_adj").write_text("500")
        kernel.use_huge_pages()
    readable = visible.readable(config["search_path"])
    abi = landlock.version() if tier != "none" else 0
    if tier == "landlock" and not abi:
        raise RuntimeError("the kernel has no Landlock, or does not let us use it")
    has_scratch = tier in child.SCRATCH_TIERS
    scratch = config.get("scratch") or visible.scratch(readable)
    if tier == "landlock" or containers.is_container(tier):
        scratch = "/"
    jail = child.Jail(
        tier=tier,
        readable=readable,
        scratch=scratch,
        uid=uid,
        abi=abi,
        keep_search=tier == "landlock" and uid is not None and not all(map(visible.is_open_to_all, readable)),
        base_bytes=mapped_bytes(),
        other_tasks=_other_tasks(tier, uid),
        zygote=os.getpid(),
        seccomp=seccomp.build(kernel.machine(), has_scratch=has_scratch) if tier != "none" else b"",
        own_modules=tuple(name for name in sys.modules if name.split(".")[0] == "tutelage"),
    )
    if tier == "namespaces":
        namespaces.enter_file_system(readable, scratch)
    if tier != "none":
        kernel.drop_bounding_set()
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    _have_environment("/tmp" if scratch == "/" else scratch)
    return jail


def _own_uid() -> int:
    """A user id for the children: one of their own where this container maps it, else nobody's."""
    wanted = FIRST_UID + os.getpid()
    ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    is_mapped = any(int(first) <= wanted < int(first) + int(count) for first, _, count in ranges)
    return wanted if is_mapped else namespaces.NOBODY


def _other_tasks(tier: str, uid: int | None) -> int:
    """Threads that count against the same user: the warden and the zygote, or, told roughly, all of the machine."""
    if uid is not None:
        return 0
    if tier == "namespaces":
        return 2
    with contextlib.suppress(OSError):
        return int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
    return ASSUMED_TASKS


def _have_environment(scratch: str) -> None:
    """What a program sees in os.environ: nothing of the caller's, and of what the zygote was started with no more than
    libraries need that are loaded late: numpy would start a thread a core, sympy could take integers that do not stop.
    """
    for name in list(os.environ):
        if name not in LIBRARY_SETTINGS:
            del os.environ[name]
    os.environ.update(LANG="C.UTF-8", TZ="UTC", HOME=scratch, TMPDIR=scratch)
    tempfile.tempdir = scratch


def _run(
    channel: Channel,
    jail: child.Jail,
    functions: dict[str, entries.Function],
    request: dict[str, Any],
    received: Sequence[int],
) -> None:
    report, report_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_child(jail, functions, request, child.Descriptors(*[*received, report_end]))
    began = time.monotonic()
    for descriptor in (*received, report_end):
        os.close(descriptor)
    told = _read_report(report)
    os.close(report)
    if told == child.READY:
        began = time.monotonic()
        channel.send({"event": "started", "id": request["id"]})
        _wait(channel, pid, request["id"])
    else:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - began
    if jail.tier == "namespaces" and os.getpid() == 1:  # nothing but this namespace's own may be swept
        _sweep()
    channel.send(_ended(request["id"], told, status, usage, seconds))


def _be_child(
    jail: child.Jail,
    functions: dict[str, entries.Function],
    request: dict[str, Any],
    descriptors: child.Descriptors,
) -> None:
    code = program.EXIT_ERROR
    try:
        function = functions[request["entry"]] if request["entry"] else None
        code = child.live(jail, request, descriptors, function)
    finally:
        os._exit(code)


def _read_report(report: int) -> bytes:
    """What the child says of its walls, before anything hostile has run."""
    poller = select.poll()
    poller.register(report, select.POLLIN)
    told = b""
    deadline = time.monotonic() + SETUP_SECONDS
    while poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        if not (data := os.read(report, 1 << 12)):
            return told
        told += data
    return told or b"the set-up of the child took too long"


def _wait(channel: Channel, pid: int, run: int) -> None:
    """Wait until the child has ended; end it when the broker says so or is gone."""
    process = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(process, select.POLLIN)
    poller.register(channel, select.POLLIN)
    try:
        while process not in dict(poller.poll()):
            try:
                channel.read_available()
                frame = channel.next_frame()
            except WireBroken:
                os.kill(pid, signal.SIGKILL)
                raise
            if frame is not None and frame.message == {"event": "kill", "id": run}:
                os.kill(pid, signal.SIGKILL)
    finally:
        os.close(process)


def _sweep() -> None:
    """End whatever else lives in this namespace; nothing should."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


def _ended(run: int, told: bytes, status: int, usage: resource.struct_rusage, seconds: float) -> dict[str, Any]:
    return {
        "event": "ended",
        "id": run,
        "failure": "" if told == child.READY else told.decode("utf-8", "replace"),
        "status": status,
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_bytes": usage.ru_maxrss * 1024,
    }
