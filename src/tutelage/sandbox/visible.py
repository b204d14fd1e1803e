"""Which paths of the machine a program may read: libraries, and nothing that is anybody's.

Not the whole of `sys.path`: an editable install puts whole project folders there, with whatever lies in them.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store", "/etc/ld.so.cache", "/usr/share/zoneinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
SCRATCHES = ("/tmp", "/scratch")
PACKAGE = str(Path(__file__).resolve().parents[1])
"""The folder of this package; entries import from it."""


def readable(more: Iterable[str] = ()) -> tuple[str, ...]:
    """Files and folders that this interpreter needs, and `more`; sorted, only what exists."""
    named = sysconfig.get_paths()
    paths = {named[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    for prefix in {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}:
        paths |= {os.path.join(prefix, "lib"), os.path.join(prefix, "lib64")}
    paths |= {*SYSTEM, PACKAGE, *map(os.path.abspath, more)}
    paths |= {os.path.realpath(path) for path in paths}
    return tuple(sorted(path for path in paths if os.path.exists(path)))


def is_open_to_all(path: str) -> bool:
    """Whether any user may reach `path`, as far as the folders above it are concerned."""
    folders = [Path(path), *Path(path).parents]
    return all(folder.stat().st_mode & 0o001 for folder in folders if folder.is_dir())


def scratch(paths: Iterable[str]) -> str:
    """Where the scratch folder goes: /tmp, unless that would hide one of `paths`."""
    shown = list(paths)
    return next(place for place in SCRATCHES if not any(path.startswith(place + "/") for path in shown))
