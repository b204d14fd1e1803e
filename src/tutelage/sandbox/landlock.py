"""Landlock: an allow-list of paths that this process gives itself and can only shrink.

It does not cover stat, chdir, readlink and chmod, nor descriptors that are open already, and it has no quota: the
seccomp rules take away what changes files, and the tier that rests on Landlock has no scratch folder.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from tutelage.sandbox.kernel import syscall

CREATE_VERSION = 1
RULE_PATH_BENEATH = 1
WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_SOCK, MAKE_BLOCK, EXECUTE, IOCTL_DEV = 1 << 6, 1 << 9, 1 << 11, 1 << 0, 1 << 15
BITS_BY_VERSION = ((5, 16), (3, 15), (2, 14), (1, 13))
NET_VERSION, SCOPE_VERSION = 4, 6


def version() -> int:
    """The kernel's version of Landlock, 0 where it has none or does not let us use it."""
    try:
        return syscall("landlock_create_ruleset", 0, 0, CREATE_VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[str], writable: Iterable[str], devices: Iterable[str], *, abi: int) -> None:
    """Leave this process nothing but some paths, no TCP, and no signals or abstract sockets outwards.

    Args:
        readable: files and folders that may be read, with all below them.
        writable: folders in which anything but devices, sockets and executing is allowed.
        devices: files that may be read and written.
        abi: what `version` said, 1 or more.

    Raises:
        OSError: the kernel refused.
    """
    bits = next(bits for first, bits in BITS_BY_VERSION if abi >= first)
    handled = (1 << bits) - 1
    scratch = handled & ~(MAKE_CHAR | MAKE_SOCK | MAKE_BLOCK | EXECUTE | IOCTL_DEV)
    attributes = struct.pack("=Q", handled)
    if abi >= NET_VERSION:
        attributes += struct.pack("=Q", 0b11)  # TCP bind and connect
    if abi >= SCOPE_VERSION:
        attributes += struct.pack("=Q", 0b11)  # abstract sockets and signals
    ruleset = syscall("landlock_create_ruleset", attributes, len(attributes), 0)
    try:
        for paths, access in ((readable, READ_FILE | READ_DIR), (writable, scratch), (devices, READ_FILE | WRITE_FILE)):
            for path in paths:
                _allow(ruleset, path, access)
        syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return  # then nothing of it can be read either
    try:
        if not os.path.isdir(path):
            access &= READ_FILE | WRITE_FILE
        syscall("landlock_add_rule", ruleset, RULE_PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)
    finally:
        os.close(descriptor)
