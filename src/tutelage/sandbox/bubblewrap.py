"""The command that starts a zygote inside bubblewrap: for machines where bwrap may make namespaces and Python may not.

bwrap gives the namespaces and the read-only file system; user ids, limits, Landlock and seccomp are ours, as in the
other tiers. There is no scratch folder, because bwrap's tmpfs has no limit on the number of files. The environment is
cleared where bwrap is started: --clearenv alone leaves the caller's in the memory of bwrap's own process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tutelage.sandbox.visible import DEVICES, readable, scratch

NEEDED_BY_ROOT = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL")


def command(program: str, search_path: Sequence[str]) -> tuple[str, ...]:
    """The words before the interpreter's.

    Args:
        program: path of bwrap.
        search_path: folders to show besides the interpreter's own.
    """
    is_root = os.geteuid() == 0
    words = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--hostname", "sandbox"]
    if is_root:
        words += [word for name in NEEDED_BY_ROOT for word in ("--cap-add", name)]
    else:
        words += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    words += ["--die-with-parent", "--new-session", "--dir", scratch(readable(search_path))]
    real = os.path.realpath(sys.executable)
    own = {os.path.dirname(sys.executable), os.path.dirname(real), os.path.join(sys.prefix, "pyvenv.cfg")}
    paths = sorted({*readable(search_path), *filter(os.path.exists, own)})
    for path in paths:
        words += _folders_above(path, paths)
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        else:
            words += ["--ro-bind", path, path]
    words += ["--dir", "/dev"]
    for path in DEVICES:
        words += ["--dev-bind", path, path]
    return (*words, "--remount-ro", "/", "--chdir", "/")


def _folders_above(path: str, shown: Sequence[str]) -> list[str]:
    """Words that make the folders above a path, open to all: bwrap itself would make them private."""
    folders = [str(folder) for folder in reversed(Path(path).parents)][1:]
    new = [
        folder for folder in folders if not any(folder == other or folder.startswith(other + "/") for other in shown)
    ]
    return [word for folder in new for word in ("--dir", folder)]
