"""A file system, a network and process numbers of one's own, made of namespaces.

The file system is an empty tmpfs with read-only views of the libraries, four harmless devices and a mount point for
scratch; no /proc, no /sys, no /etc. It is put together from descriptors, so that it does not matter through which
folders a library is reached (a private home of root, say) nor where the new root is mounted meanwhile.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from tutelage.sandbox import kernel
from tutelage.sandbox.visible import DEVICES

NOBODY = 65534
STAGE = "/tmp"
"""Where the new root is mounted until it is the root."""
LOCKED = {os.ST_NOATIME: 1024, os.ST_NODIRATIME: 2048, os.ST_RELATIME: 1 << 21, os.ST_NOEXEC: kernel.MS_NOEXEC}
"""Mount flags that must be kept on a remount inside a user namespace."""


def enter_processes() -> bool:
    """Namespaces for the processes that are forked from now on and, for lack of rights without it, for users.

    Returns:
        Whether a namespace for users was needed; only one user id exists in it.

    Raises:
        OSError: the kernel does not let this user have them.
    """
    needs_users = not kernel.has_capabilities(kernel.CAP_SYS_ADMIN)
    if needs_users:
        uid, gid = os.getuid(), os.getgid()
        kernel.unshare(kernel.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{NOBODY} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{NOBODY} {gid} 1")
    kernel.unshare(kernel.CLONE_NEWPID)
    return needs_users


def enter_file_system(readable: Iterable[str], scratch: str) -> None:
    """Leave the machine's file system, network, message queues and host name.

    Args:
        readable: files and folders that stay visible, read-only, at their places.
        scratch: where the children's scratch folders will be mounted.

    Raises:
        OSError: the kernel refused a step; its text names the call.
    """
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    sources = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in _outermost(readable)]
    devices = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in DEVICES]
    kernel.mount("tmpfs", STAGE, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    for path, descriptor in devices:
        _bind(descriptor, path, kernel.MS_NOSUID | kernel.MS_NOEXEC)
    for path, descriptor in sources:
        _bind(descriptor, path, kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV)
    os.mkdir(STAGE + "/.old")
    os.makedirs(STAGE + scratch, exist_ok=True)
    socket.sethostname("sandbox")
    kernel.pivot_root(STAGE, STAGE + "/.old")
    os.chdir("/")
    kernel.detach("/.old")
    os.rmdir("/.old")
    kernel.mount("none", "/", None, kernel.MS_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV)


def enter_scratch(scratch: str, uid: int, *, size: int, files: int) -> None:
    """Give this process a scratch folder of its own that vanishes with it, and make it the current one.

    Args:
        scratch: where to mount it.
        uid: who owns it.
        size: bytes of all files together.
        files: number of files and folders.
    """
    kernel.unshare(kernel.CLONE_NEWNS)
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("tmpfs", scratch, "tmpfs", flags, f"size={size},nr_inodes={files + 1},mode=700,uid={uid},gid={uid}")
    os.chdir(scratch)


def _outermost(paths: Iterable[str]) -> list[str]:
    """`paths` without those below another one, reached by the same way."""
    kept: list[str] = []
    for path in sorted(paths):
        real = os.path.realpath(path)
        is_covered = any(real == other or real.startswith(other + "/") for other in kept)
        if not (is_covered and real == path):
            kept.append(path)
    return kept


def _bind(descriptor: int, path: str, flags: int) -> None:
    target = STAGE + path
    if os.path.islink(path):
        if not os.path.lexists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.readlink(path), target)
        return
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    kernel.mount(f"/proc/self/fd/{descriptor}", target, None, kernel.MS_BIND | kernel.MS_REC)
    os.close(descriptor)
    for mounted in _mounts_below(target):
        _remount(mounted, flags)


def _remount(target: str, flags: int) -> None:
    now = os.statvfs(target).f_flag
    kept = sum(flag for seen, flag in LOCKED.items() if now & seen)
    kernel.mount("none", target, None, kernel.MS_REMOUNT | kernel.MS_BIND | flags | kept)


def _mounts_below(target: str) -> list[str]:
    """The mount points at `target` and below it, outermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return sorted(point for point in points if point == target or point.startswith(target + "/"))
