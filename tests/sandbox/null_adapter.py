"""The hostile set under subprocess + timeout, which holds nothing back: shows that the set detects what it should.

Run in namespaces of its own (see test_sandbox_hostile.py), where it first takes away the means to do harm: everything
is mounted read-only but the temporary folders, which become empty ones. Prints one JSON object: case to damage.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path

HERE = Path(__file__).resolve().parent
WALL_SECONDS = 5
libc = ctypes.CDLL(None, use_errno=True)


def shut_in() -> None:
    """Make this mount namespace harmless, and its loopback network usable."""
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        if Path(folder).is_dir():
            _mount(b"tmpfs", folder.encode(), b"tmpfs", 0)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = line.split()[4]
        if target not in ("/tmp", "/var/tmp", "/dev/shm") and not target.startswith("/proc"):
            flags = os.statvfs(target).f_flag
            kept = sum(flag for flag in (2, 4, 8, 1024, 2048) if flags & flag) | ((1 << 21) if flags & 4096 else 0)
            with contextlib.suppress(OSError):
                _mount(b"none", target.encode(), None, 32 | 4096 | 1 | kept)
    if not os.statvfs("/").f_flag & os.ST_RDONLY:
        raise SystemExit("unshare: the root is not read-only, so this is not done")
    with socket.socket() as any_socket:
        ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
    if libc.mount(source, target, kind, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), f"mount {target.decode()}")


def load_set():
    """tests/sandbox/hostile_set.py."""
    spec = importlib.util.spec_from_file_location("sandbox_hostile_set", HERE / "hostile_set.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def said(source: str, home: Path) -> str:
    """What a naive caller reads of a program, whatever its exit code."""
    words = [sys.executable, "-c", source]
    environment = {**os.environ, "HOME": str(home)}
    try:
        done = subprocess.run(
            words, capture_output=True, timeout=WALL_SECONDS, env=environment, cwd=home.parent.parent, input=b"typed"
        )
    except (subprocess.TimeoutExpired, ValueError, OSError):
        return ""
    return done.stdout.decode(errors="replace")


def main() -> None:
    """Run all cases that are no hogs."""
    shut_in()
    hostile_set = load_set()
    through = {}
    with hostile_set.open_field() as field:
        before = said(hostile_set.AFTER, field.home).splitlines()[:1]
        for category in hostile_set.CATEGORIES:
            for case in hostile_set.cases(category):
                if "hog" in case.flags:
                    continue
                output = said(field.fill(case), field.home)
                if not field.folder.exists():  # a case has mounted something over it
                    libc.umount2(b"/tmp", 2)
                damage = field.damage(case, output)
                if "forges" in case.flags and hostile_set.REFERENCE in output:
                    damage.append("forged")
                if "state" in case.flags and said(hostile_set.AFTER, field.home).splitlines()[:1] != before:
                    damage.append("state")
                through[f"{category}.{case.name}"] = damage
    print(json.dumps(through))


if __name__ == "__main__":
    main()
