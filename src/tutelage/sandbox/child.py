"""One program's process: shut in, limited, and only then shown what it is to run.

The zygote has forked; this runs in the fork. The bytes of the program are read after every wall stands, so that no
process that outlives it has ever held them.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any

from tutelage.sandbox import kernel, landlock, namespaces, program, seccomp
from tutelage.sandbox.entries import Function
from tutelage.sandbox.rlimits import set_limits
from tutelage.sandbox.visible import DEVICES

SCRATCH_TIERS = ("namespaces", "none")
READY = b"ready"
FIRST_FREE = 20
"""Descriptors are moved above this number before they are put in their places."""


@dataclass(frozen=True)
class Jail:
    """What a zygote knows of the walls around its children.

    Attributes:
        tier: "namespaces", "landlock", "bubblewrap" or "none".
        readable: paths that a program may read.
        scratch: the folder that a program starts in.
        uid: the user to become; None keeps the present one.
        abi: Landlock's version, 0 without.
        keep_search: whether libraries lie under private folders that only root's right to search can pass.
        base_bytes: address space of the zygote.
        other_tasks: threads of the same user that are not the program's.
        zygote: the process to die with.
        seccomp: the filter, but for the process id.
        own_modules: names of our modules, which programs do not see; listed once, as looking at all names in every
            child would copy the pages that they lie in.
    """

    tier: str
    readable: tuple[str, ...]
    scratch: str
    uid: int | None
    abi: int
    keep_search: bool
    base_bytes: int
    other_tasks: int
    zygote: int
    seccomp: bytes
    own_modules: tuple[str, ...]

    @property
    def has_scratch(self) -> bool:
        """Whether programs can write files."""
        return self.tier in SCRATCH_TIERS


@dataclass(frozen=True)
class Descriptors:
    """Where a child reads its program and writes what it says; `report` tells the zygote that the walls stand."""

    payload: int
    stdout: int
    stderr: int
    side: int
    report: int


def live(jail: Jail, request: dict[str, Any], descriptors: Descriptors, function: Function | None) -> int:
    """The whole life of a child; returns its exit code.

    Args:
        jail: the walls.
        request: the fields of `Limits` under "limits".
        descriptors: see there.
        function: what to call with the payload; None runs the payload as a program.
    """
    report = descriptors.report
    try:
        payload, report = _place(descriptors, is_call=function is not None)
        _shut_in(jail, request["limits"])
        source = _read_all(payload)
        program.open_standard_streams()
        program.seed()
        if jail.tier != "none":
            kernel.load_filter(seccomp.for_process(jail.seccomp, os.getpid()))
        os.write(report, READY)
    except BaseException as error:  # the boundary to the zygote: a wall that does not stand must be told
        os.write(report, f"{type(error).__name__}: {error}".encode()[:1000])
        return program.EXIT_ERROR
    finally:
        os.close(report)
    if function is not None:
        return program.call(function, source)
    hidden = [sys.modules.pop(name, None) for name in jail.own_modules]  # kept: taking them apart would cost a while
    code = program.run_program(source)
    del hidden
    return code


def _shut_in(jail: Jail, limits: dict[str, Any]) -> None:
    owner = namespaces.NOBODY if jail.uid is None else jail.uid
    if jail.tier == "namespaces":
        namespaces.enter_scratch(
            jail.scratch, owner, size=int(limits["scratch_bytes"]), files=int(limits["scratch_files"])
        )
    else:
        os.chdir(jail.scratch)
    set_limits(limits, base_bytes=jail.base_bytes, other_tasks=jail.other_tasks)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if jail.tier == "none":
        return
    if jail.uid is not None:
        kernel.prctl(kernel.PR_SET_KEEPCAPS, int(jail.keep_search))
        os.setgroups([])
        os.setresgid(jail.uid, jail.uid, jail.uid)
        os.setresuid(jail.uid, jail.uid, jail.uid)
    kernel.set_capabilities(*([kernel.CAP_DAC_READ_SEARCH] if jail.keep_search else []))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # again: changing the user has cleared it
    if os.getppid() != jail.zygote:
        raise RuntimeError("the zygote is gone")
    if jail.abi:
        scratch = [jail.scratch] if jail.has_scratch else []
        landlock.restrict([*jail.readable, *scratch], scratch, DEVICES, abi=jail.abi)


def _place(descriptors: Descriptors, *, is_call: bool) -> tuple[int, int]:
    """Put 0 to 3 in their places and close all else; returns where the payload and the report are now."""
    fields = (descriptors.payload, descriptors.stdout, descriptors.stderr, descriptors.side, descriptors.report)
    payload, stdout, stderr, side, report = (fcntl.fcntl(fd, fcntl.F_DUPFD, FIRST_FREE) for fd in fields)
    nothing = fcntl.fcntl(os.open("/dev/null", os.O_RDONLY), fcntl.F_DUPFD, FIRST_FREE)
    places = (nothing, stderr if is_call else stdout, stderr, side, payload, report)
    for place, descriptor in enumerate(places):
        os.dup2(descriptor, place)
    os.closerange(len(places), 1 << 20)
    return 4, 5


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()
