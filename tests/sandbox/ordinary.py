"""Runs a command as an ordinary user where we are root: the same interpreter, the same checkout.

Either may lie in folders that only root may enter, such as a private home. Their permissions are left alone: in a mount
namespace of this process's own an empty folder is mounted over each of them, and what is needed is bound to its place
in it. Not a test: a script of the tests, `python ordinary.py HOME WORD...`; it ends with `CANNOT` where that is
impossible here, and says why.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tutelage.sandbox import kernel

CANNOT = 77
FIRST_UID = 61_000
"""Of a range that no distribution gives to anybody, and that containers with few user ids have as well."""
ROOT = Path(__file__).resolve().parents[2]


def needed(root: Path = ROOT) -> list[Path]:
    """What this interpreter and the tests are read from, nothing inside another; of a private folder what is in it."""
    paths = {Path(sys.base_prefix), Path(sys.prefix), root, *_links(Path(sys.executable))}
    paths |= {path.resolve() for path in paths}
    outermost = sorted(path for path in paths if not paths.intersection(path.parents))
    return [part for path in outermost for part in ([path] if _is_open(path) else sorted(path.iterdir()))]


def _is_open(folder: Path) -> bool:
    """Whether everybody may enter and list a folder."""
    return folder.stat().st_mode & 0o005 == 0o005


def _links(path: Path) -> Iterable[Path]:
    """The folders of all links from a path to the file that it means."""
    while path.is_symlink():
        yield path.parent
        path = path.parent / path.readlink()
    yield path.parent


def private_folders(paths: Iterable[Path]) -> list[Path]:
    """The outermost folders above `paths` that not everybody may enter."""
    found = set()
    for path in paths:
        closed = [folder for folder in reversed(path.parents) if not folder.stat().st_mode & stat.S_IXOTH]
        found |= set(closed[:1])
    return sorted(found)


def open_ways() -> None:
    """Make everything that is needed reachable for all, in this process and its children only.

    Raises:
        OSError: this root may not mount.
    """
    paths = needed()
    private = private_folders(paths)
    if not private:
        return
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    hidden = [path for path in paths if any(folder in path.parents for folder in private)]
    sources = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in hidden}
    for folder in private:
        kernel.mount("tmpfs", str(folder), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    for path, source in sources.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if stat.S_ISDIR(os.fstat(source).st_mode) else path.touch()
        kernel.mount(f"/proc/self/fd/{source}", str(path), None, kernel.MS_BIND | kernel.MS_REC)


def become_ordinary(home: Path) -> dict[str, str]:
    """Give up all rights; returns the environment of the new user, whose home and temporary folder `home` is."""
    uid = FIRST_UID + os.getpid() % 1000
    os.chown(home, uid, uid)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.chdir(ROOT)
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def unreadable() -> list[str]:
    """What this user would need and may not read: a checkout or an environment that its owner keeps private."""
    files = [sys.executable, os.__file__, kernel.__file__, pytest.__file__, __file__]
    return [file for file in files if not os.access(file, os.R_OK)]


def main() -> None:
    """Run the words after the home folder."""
    home, words = Path(sys.argv[1]), sys.argv[2:]
    try:
        open_ways()
        environment = become_ordinary(home)
        if files := unreadable():
            raise PermissionError(f"no ordinary user may read {', '.join(files)}")
    except OSError as error:
        print(f"cannot run as an ordinary user: {error}")
        sys.exit(CANNOT)
    os.execvpe(words[0], words, environment)


if __name__ == "__main__":
    main()
