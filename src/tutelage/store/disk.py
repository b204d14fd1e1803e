"""Writing that survives a killed process and a full disk: append-only files, atomic replacement, one writer.

What is appended goes to the operating system at once, without a buffer of ours: a killed process loses nothing that
`append` returned from, and a forked child can never write a buffer twice. `sync` makes it survive a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tutelage.errors import RunError, StorageFull

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""Disk full, quota used up, file size limit reached."""

_NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP))
_TAIL = 1 << 16
_LOCKED: set[tuple[int, int]] = set()


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn a full disk into `StorageFull`, naming `path`; other operating system errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StorageFull(
            f"{path} could not be written: {error.strerror}",
            seen=str(path),
            expected="free space for the run folder",
            advice="free some space, then go on with --resume: what was written before is kept",
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut; where the file system cannot, nothing happens."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; raises OSError where the system takes only part of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that a reader sees the old content or the new, never half.

    Raises:
        StorageFull: no space; the old content stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    with storage(path):
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(partial, path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def whole_length(fd: int) -> int:
    """Bytes up to and including the last newline: what is behind it was cut off while being written."""
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - _TAIL)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


class AppendFile:
    """An append-only file of lines; opening it drops a torn last line.

    Args:
        path: the file; made if missing, its folder must exist.

    Attributes:
        size: bytes of whole lines in the file.
        dropped: bytes of a torn last line that opening it removed.
    """

    _fd = -1

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self.size = whole_length(self._fd)
        self.dropped = os.fstat(self._fd).st_size - self.size
        self._is_torn = bool(self.dropped)
        self._is_dirty = False
        self._mend()

    def _mend(self) -> None:
        if self._is_torn:
            with storage(self.path):
                os.ftruncate(self._fd, self.size)
            self._is_torn = False

    def write(self, lines: bytes) -> None:
        """Append whole lines; all of them or, when the disk is full, none.

        Raises:
            StorageFull: no space; what was there before stays.
        """
        self._mend()
        with storage(self.path):
            try:
                self._is_torn = True
                write_all(self._fd, lines)
            except BaseException:
                # What was written of it is cut off; if even that fails, the next write or opening does it.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self.size)
                    self._is_torn = False
                raise
        self._is_torn = False
        self._is_dirty = True
        self.size += len(lines)

    def sync(self) -> None:
        """Make everything written so far survive a power cut."""
        if self._is_dirty:
            with storage(self.path):
                os.fsync(self._fd)
            self._is_dirty = False

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


class WriterLock:
    """At most one writer of a folder, over processes and machines that share it; freed when the process ends.

    A POSIX lock, because it is not inherited by forked workers, which may outlive a killed writer. Such a lock does
    not keep a process from itself, hence the set of what this process has locked. Where a network file system has no
    locks, other processes are not kept out: a run there is worth more than the guard.

    Args:
        folder: the folder to lock; the lock file `.lock` in it holds the writer's process id.

    Raises:
        RunError: another writer has it.
    """

    _fd = -1

    def __init__(self, folder: Path) -> None:
        path = folder / ".lock"
        if path.exists() and _identity(path) in _LOCKED:
            raise _taken(folder, str(os.getpid()))
        with storage(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            if error.errno not in _NO_LOCKS:
                os.close(self._fd)
                self._fd = -1
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    raise _taken(folder, holder or "unknown") from None
                raise
        self._identity = _identity(path)
        _LOCKED.add(self._identity)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another writer in; a second call does nothing."""
        if self._fd >= 0:
            _LOCKED.discard(self._identity)
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.release()


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _taken(folder: Path, holder: str) -> RunError:
    return RunError(
        f"the run {folder} is open for writing already",
        seen=f"process {holder}",
        expected="one writer at a time",
        advice="wait for it to end or stop it; reading and viewing the run are possible meanwhile",
    )
