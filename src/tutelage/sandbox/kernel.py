"""The system calls that the jail is built with, which Python's `os` lacks.

Every function raises OSError with the name of the call where the kernel refuses. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path

from tutelage.sandbox.syscalls import number

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP = 1, 4, 8, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
SECCOMP_SET_MODE_FILTER = 1
MADV_COLLAPSE = 25
HUGE = 2 << 20
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_READ_SEARCH, CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN = 2, 6, 7, 21

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def machine() -> str:
    """The machine's name in the system call tables: "x86_64", "aarch64", or another that has no table."""
    name = platform.machine()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name.lower(), name)


def syscall(name: str, *arguments: object) -> int:
    """Make a system call by name.

    Args:
        name: a name of the table in `syscalls`.
        arguments: ints, bytes or ctypes objects.

    Raises:
        OSError: the kernel refused.
    """
    call = number(name, machine())
    result: int = _libc.syscall(ctypes.c_long(call or -1), *map(_as_c, arguments))
    return _checked(result, name)


def unshare(flags: int) -> None:
    """Move this process into new namespaces."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount `source` on `target`."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _checked(_libc.mount(*texts, ctypes.c_ulong(flags), options.encode() or None), f"mount {kind or 'bind'}")


def detach(target: str) -> None:
    """Unmount `target` and everything below it."""
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH), "umount2")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root; the old one appears at `put_old`."""
    syscall("pivot_root", os.fsencode(new_root), os.fsencode(put_old))


def prctl(option: int, *arguments: int) -> int:
    """Set or ask for a property of this process."""
    padded = [*arguments, 0, 0, 0, 0][:4]
    return _checked(_libc.prctl(option, *(ctypes.c_ulong(value) for value in padded)), f"prctl {option}")


def has_capabilities(*wanted: int) -> bool:
    """Whether this process has all of some capabilities; asks /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    bits = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return all(bits >> capability & 1 for capability in wanted)


def drop_bounding_set() -> None:
    """Give up every capability that an executed program could otherwise gain."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            return  # past the last one that this kernel knows, or not allowed to: no_new_privs says the same


def set_capabilities(*kept: int) -> None:
    """Give up all capabilities of this process but `kept` (each below 32)."""
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    bits = sum(1 << capability for capability in kept)
    _checked(_libc.capset(header, struct.pack("=6I", bits, bits, 0, 0, 0, 0)), "capset")


def load_filter(program: bytes) -> None:
    """Put this process under a seccomp filter for good; no_new_privs must be set."""
    buffer = ctypes.create_string_buffer(program, len(program))
    count = len(program) // 8
    header = struct.pack("@HP", count, ctypes.addressof(buffer))
    syscall("seccomp", SECCOMP_SET_MODE_FILTER, 0, header)


def use_huge_pages() -> None:
    """Gather this process's private memory in huge pages where the kernel can: forks of it are cheaper then."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, inode, *name = line.split()
        first, last = (int(text, 16) for text in span.split("-"))
        first, last = -(-first // HUGE) * HUGE, last // HUGE * HUGE
        if rights.startswith("rw") and inode == "0" and last > first and name in ([], ["[heap]"]):
            size = ctypes.c_size_t(last - first)
            _libc.madvise(ctypes.c_void_p(first), size, MADV_COLLAPSE)  # where it fails, all stays as it is


def _as_c(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int, name: str) -> int:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
