"""One kind of record in a run folder: append-only JSONL segments `<kind>/0001.jsonl`, `<kind>/0002.jsonl`, ...

A segment is closed when it has reached about 64 MB. Readers may read while another process writes: a last line that
is not finished yet is skipped. A line that is finished and still cannot be read is an error that names file and line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.errors import DataError, RunError
from tutelage.store.disk import AppendFile, storage, sync_folder

SEGMENT_BYTES = 64 * 1024 * 1024
RESERVED = frozenset(("checkpoints", "scratch"))
_KIND = re.compile(r"[a-z][a-z0-9_]*")
_NAME = re.compile(r"\d{4,}\.jsonl")
_LEADING_ID = re.compile(rb'\{"(?:id|completion_id)":"([^"\\]*)"')


class Line(NamedTuple):
    """One whole line: which file, its number from 1, where it starts in bytes, and its bytes with the newline."""

    path: Path
    number: int
    offset: int
    data: bytes


def check_kind(kind: str) -> None:
    """Raises ValueError unless `kind` can name a folder of records."""
    if not _KIND.fullmatch(kind) or kind in RESERVED:
        raise ValueError(f"{kind!r} cannot name a kind of record")


def segments(folder: Path) -> list[Path]:
    """The segments of a kind's folder in writing order; empty where there are none."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if _NAME.fullmatch(p.name)), key=lambda p: int(p.stem))


def kinds(run: Path) -> list[str]:
    """The kinds of record that a run folder holds, in alphabetical order."""
    return sorted(p.name for p in run.iterdir() if p.is_dir() and p.name not in RESERVED and segments(p))


def whole_lines(path: Path, offset: int = 0) -> Iterator[Line]:
    """The whole lines of a file; a last line without its newline is left out.

    Args:
        offset: byte to start at, the beginning of a line; line numbers count from there.

    Raises:
        RunError: the file cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise RunError(
            f"{path} cannot be read: {error.strerror}",
            seen=str(path),
            expected="a readable file",
            advice="check the path and its permissions",
        ) from error
    with file:
        file.seek(offset)
        for number, data in enumerate(file, 1):
            if not data.endswith(b"\n"):
                return
            yield Line(path, number, offset, data)
            offset += len(data)


def parse(line: Line) -> dict[str, Any]:
    """The object of a line.

    Raises:
        DataError: it is not a JSON object; names file and line.
    """
    try:
        value = json.loads(line.data.decode())
    except (ValueError, RecursionError) as error:
        raise bad_line(line, str(error)) from error
    if not isinstance(value, dict):
        raise bad_line(line, "not an object")
    return value


def bad_line(line: Line, why: str) -> DataError:
    """The error for a line that cannot be read."""
    return DataError(
        f"{line.path}:{line.number} cannot be read: {why}",
        seen=line.data[:200].decode(errors="replace").rstrip("\n"),
        expected="one JSON object a line, as tutelage wrote it",
        advice="the file was changed or damaged; remove that line to go on without that record",
    )


def read_segments(folder: Path) -> Iterator[Line]:
    """All whole lines of a kind, oldest first."""
    for path in segments(folder):
        yield from whole_lines(path)


def record_key(kind: str, data: dict[str, Any]) -> str | None:
    """What makes a record of this kind the same record; None where every line stands for itself.

    Its `id`, or the `completion_id` that it is about; a completion may have several scores and a problem several
    groups, so those count their other fields in.
    """
    if kind == "scores":
        return json.dumps([data.get("completion_id"), data.get("kind"), data.get("by")])
    if kind == "groups":
        return json.dumps([data.get("problem_id"), data.get("policy"), data.get("round")], sort_keys=True)
    key = data.get("id", data.get("completion_id"))
    return key if isinstance(key, str) else None


def key_of_line(kind: str, line: Line) -> str | None:
    """`record_key` of a line, without parsing it where the id stands in front."""
    if kind not in ("scores", "groups"):
        found = _LEADING_ID.match(line.data)
        if found:
            try:
                return found.group(1).decode()
            except UnicodeDecodeError as error:
                raise bad_line(line, str(error)) from error
    return record_key(kind, parse(line))


class SegmentWriter:
    """Appends lines to the last segment of a folder, and starts another when it is full.

    Args:
        folder: the kind's folder; made if missing.
        limit: bytes after which a new segment starts.
    """

    def __init__(self, folder: Path, *, limit: int = SEGMENT_BYTES) -> None:
        self.folder, self.limit = folder, limit
        with storage(folder):
            folder.mkdir(exist_ok=True)
        existing = segments(folder)
        for path in existing[:-1]:
            AppendFile(path).close()
        self._number = int(existing[-1].stem) if existing else 1
        self._file = AppendFile(folder / f"{self._number:04d}.jsonl")

    def write(self, lines: bytes) -> None:
        """Append whole lines to one segment. Raises StorageFull; nothing of `lines` is kept then."""
        if self._file.size >= self.limit:
            self._file.sync()
            following = AppendFile(self.folder / f"{self._number + 1:04d}.jsonl")
            self._file.close()
            self._number, self._file = self._number + 1, following
        self._file.write(lines)

    def sync(self) -> None:
        """Make everything written so far survive a power cut."""
        self._file.sync()
        sync_folder(self.folder)

    def close(self) -> None:
        """Close the open segment."""
        self._file.close()
