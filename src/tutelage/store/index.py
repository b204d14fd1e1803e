"""`index.sqlite`: where each record lies, for looking up one of millions. Made from the JSONL files, and disposable.

Nothing is known only to the index: it may be deleted at any time, and is brought up to date (only what was appended
since is read) whenever it is used. Where it cannot be written, it is made in memory.

    files(path, size)                                           how far each segment is indexed
    records(kind, id, about, problem_id, file, offset, length)  where each record lies; `id` is the record's own,
                                                                `about` the completion that it judges
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.errors import InputError
from tutelage.store.header import read_header
from tutelage.store.segments import Line, kinds, parse, segments, whole_lines

FILE = "index.sqlite"
_VERSION = 1
_SHOWN = 8
_SCHEMA = """
CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER NOT NULL);
CREATE TABLE records (kind TEXT NOT NULL, id TEXT, about TEXT, problem_id TEXT,
                      file TEXT NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL);
CREATE INDEX by_id ON records (id);
CREATE INDEX by_about ON records (about);
CREATE INDEX by_problem ON records (problem_id, kind);
"""


class Found(NamedTuple):
    """A record as it lies on disk: its kind and its JSON object."""

    kind: str
    record: dict[str, Any]


def build_index(path: str | Path) -> Path:
    """Bring the index of a run folder up to date, making it if it is missing or damaged.

    Args:
        path: the run folder.

    Returns:
        The index file.

    Raises:
        RunError: there is no run.
        DataError: a line that cannot be read.
        OSError: the folder cannot be written (`open_index` goes on in memory then).
    """
    path = Path(path)
    read_header(path)
    try:
        connection = _updated(path, str(path / FILE))
    except sqlite3.OperationalError as error:
        raise OSError(f"{path / FILE} cannot be written: {error}") from error
    connection.close()
    return path / FILE


@contextmanager
def open_index(path: str | Path) -> Iterator[sqlite3.Connection]:
    """A connection to the up-to-date index of a run folder; in memory where the folder cannot be written.

    Raises:
        RunError: there is no run.
        DataError: a line that cannot be read.
    """
    path = Path(path)
    read_header(path)
    try:
        connection = _updated(path, str(path / FILE))
    except sqlite3.OperationalError:
        connection = _updated(path, ":memory:")
    try:
        yield connection
    finally:
        connection.close()


def lookup(path: str | Path, record_id: str) -> Found:
    """The record with an id.

    Args:
        path: the run folder.
        record_id: a record's own id, its beginning if no other id begins like it, or `gold:<problem>`, which is
            that problem.

    Raises:
        InputError: no such id, or several that begin like it.
    """
    with open_index(path) as index:
        return find(index, Path(path), record_id)


def find(index: sqlite3.Connection, run: Path, record_id: str) -> Found:
    """As `lookup`, with an index that is open already."""
    found = exactly(index, run, resolve(index, record_id.removeprefix("gold:")))
    assert found is not None
    return found


def exactly(index: sqlite3.Connection, run: Path, record_id: str, *, kind: str | None = None) -> Found | None:
    """The record with exactly this id, of a kind if one is named; None where there is none."""
    row = index.execute(
        "SELECT kind, file, offset, length FROM records WHERE id = ? AND kind = ifnull(?, kind) ORDER BY kind",
        (record_id, kind),
    ).fetchone()
    return None if row is None else _load(run, *row)


def about(index: sqlite3.Connection, run: Path, completion_id: str) -> list[Found]:
    """What judges a completion: verdicts first, then by kind (critiques, scores, ...) as they were written."""
    rows = index.execute(
        "SELECT kind, file, offset, length FROM records WHERE about = ? ORDER BY kind != 'verdicts', kind, rowid",
        (completion_id,),
    )
    return [_load(run, *row) for row in rows.fetchall()]


def resolve(index: sqlite3.Connection, start: str) -> str:
    """The one id that is `start` or begins with it.

    Raises:
        InputError: none does, with the nearest ids; or several do.
    """
    if index.execute("SELECT 1 FROM records WHERE id = ? LIMIT 1", (start,)).fetchone():
        return start
    ids = _beginning_with(index, start) if start else []
    if len(ids) == 1:
        return ids[0]
    if ids:
        raise InputError(
            f"several records have an id that begins with {start!r}",
            seen=", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else ""),
            expected="the beginning of one id",
            advice="give more of it",
        )
    near: list[str] = []
    for length in range(len(start) - 1, 0, -1):
        near = _beginning_with(index, start[:length])
        if near:
            break
    raise InputError(
        f"no record has the id {start!r}",
        seen=start,
        expected=f"an id such as {', '.join(near[:_SHOWN])}" if near else "the id of a record in this run",
        advice="ids stand in the record files of the run folder",
    )


def _beginning_with(index: sqlite3.Connection, start: str) -> list[str]:
    rows = index.execute(
        "SELECT DISTINCT id FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (start, start + "\U0010ffff", _SHOWN + 1),
    )
    return [row[0] for row in rows]


def _load(run: Path, kind: str, file: str, offset: int, length: int) -> Found:
    with (run / file).open("rb") as opened:
        opened.seek(offset)
        return Found(kind, parse(Line(run / file, 0, offset, opened.read(length))))


def _updated(run: Path, database: str) -> sqlite3.Connection:
    """An index that covers all whole lines; made anew if what is there is damaged, old, or of other files."""
    for _ in range(2):
        connection = sqlite3.connect(database, timeout=30)
        try:
            if _fits(connection, run):
                _add_new_lines(connection, run)
                return connection
        except sqlite3.OperationalError:
            connection.close()
            raise
        except sqlite3.DatabaseError:
            pass
        except BaseException:
            connection.close()
            raise
        connection.close()
        if database != ":memory:":
            Path(database).unlink(missing_ok=True)
    raise sqlite3.OperationalError(f"{database} cannot be made")


def _fits(connection: sqlite3.Connection, run: Path) -> bool:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_VERSION};COMMIT;")
        return True
    if version != _VERSION:
        return False
    known = connection.execute("SELECT path, size FROM files").fetchall()
    return all((run / path).is_file() and (run / path).stat().st_size >= size for path, size in known)


def _add_new_lines(connection: sqlite3.Connection, run: Path) -> None:
    if not _unindexed(connection, run):
        return  # without a lock, so that a folder which cannot be written can use the index it came with
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for kind, name, segment, start in _unindexed(connection, run):
            _add_segment(connection, kind, name=name, segment=segment, start=start)


def _unindexed(connection: sqlite3.Connection, run: Path) -> list[tuple[str, str, Path, int]]:
    """Kind, name, path and indexed bytes of every segment that has grown."""
    known = dict(connection.execute("SELECT path, size FROM files"))
    grown = []
    for kind in kinds(run):
        for segment in segments(run / kind):
            name = f"{kind}/{segment.name}"
            if segment.stat().st_size > known.get(name, 0):
                grown.append((kind, name, segment, known.get(name, 0)))
    return grown


def _add_segment(connection: sqlite3.Connection, kind: str, *, name: str, segment: Path, start: int) -> None:
    end = start
    rows = []
    for line in whole_lines(segment, start):
        data = parse(line)
        rows.append(
            (
                kind,
                *(_text(data, key) for key in ("id", "completion_id", "problem_id")),
                *(name, line.offset, len(line.data)),
            )
        )
        end = line.offset + len(line.data)
        if len(rows) >= 10_000:
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            rows.clear()
    connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (name, end))


def _text(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) else None if value is None else json.dumps(value)
