"""All kinds of records of a run folder: appended once each, read back as what they are.

It knows which record class a kind holds and what makes two records the same one; files and lines are `segments`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tutelage.records import (
    Completion,
    Critique,
    Example,
    Group,
    PreferencePair,
    Problem,
    Record,
    Score,
    Trajectory,
    Verdict,
)
from tutelage.store.codec import decoder, encode_line, plain
from tutelage.store.disk import sync_folder
from tutelage.store.segments import (
    SegmentWriter,
    bad_line,
    check_kind,
    key_of_line,
    parse,
    read_segments,
    record_key,
)

R = TypeVar("R", bound=Record)

RECORDS: dict[str, type[Record]] = {
    "problems": Problem,
    "completions": Completion,
    "verdicts": Verdict,
    "critiques": Critique,
    "scores": Score,
    "groups": Group,
    "pairs": PreferencePair,
    "examples": Example,
    "trajectories": Trajectory,
}
"""What each kind of record is; other kinds may be stored, and are read with `cls`."""


def read_records(run: Path, kind: str, cls: type[R] | None = None, *, containing: str = "") -> Iterator[R]:
    """The records of a kind in a run folder, oldest first; `Run.read` says more."""
    check_kind(kind)
    record_class = cls or RECORDS.get(kind)
    if record_class is None:
        raise ValueError(f"say what to read {kind!r} as: it is none of {', '.join(RECORDS)}")
    return _decoded(run / kind, record_class, containing.encode())  # type: ignore[arg-type]


def _decoded(folder: Path, cls: type[R], containing: bytes) -> Iterator[R]:
    decode = decoder(cls)
    for line in read_segments(folder):
        if containing not in line.data:
            continue
        data = parse(line)
        try:
            record = decode(data)
        except (TypeError, ValueError, AttributeError) as error:
            raise bad_line(line, str(error)) from error
        yield record


class RecordFiles:
    """The record files of a run folder, and the ids that are in them.

    Args:
        run: the run folder.
        is_only_writer: whether nobody else appends, so that ids once read stay known.
    """

    def __init__(self, run: Path, *, is_only_writer: bool) -> None:
        self.run, self.is_only_writer = run, is_only_writer
        self._writers: dict[str, SegmentWriter] = {}
        self._keys: dict[str, set[str]] = {}

    def append_many(self, kind: str, records: Iterable[Record]) -> None:
        """Append the records that are not there yet, in one write. Raises StorageFull, DataError, TypeError."""
        expected = RECORDS.get(kind, Record)
        known = self._known(kind)
        fresh: set[str] = set()
        lines = []
        for record in records:
            if not isinstance(record, expected):
                raise TypeError(f"{kind} takes {expected.__name__}, not {type(record).__name__}")
            key = record_key(kind, _key_fields(record))
            if key is not None:
                if key in known or key in fresh:
                    continue
                fresh.add(key)
            lines.append(encode_line(record))
        if lines:
            self._writer(kind).write(b"".join(lines))
            known |= fresh

    def ids(self, kind: str) -> set[str]:
        """The `id`, or else the `completion_id`, of every record of a kind."""
        if kind == "scores":
            return {score.completion_id for score in read_records(self.run, kind, Score)}
        return set(self._known(kind))

    def _known(self, kind: str) -> set[str]:
        check_kind(kind)
        if kind not in self._keys or not self.is_only_writer:
            lines = read_segments(self.run / kind)
            self._keys[kind] = {key for line in lines if (key := key_of_line(kind, line)) is not None}
        return self._keys[kind]

    def _writer(self, kind: str) -> SegmentWriter:
        if kind not in self._writers:
            self._writers[kind] = SegmentWriter(self.run / kind)
            sync_folder(self.run)
        return self._writers[kind]

    def sync(self) -> None:
        """Make everything written so far survive a power cut."""
        for writer in self._writers.values():
            writer.sync()

    def close(self) -> None:
        """Close all files; appending opens them again."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


def _key_fields(record: Record) -> dict[str, Any]:
    fields = record.__dict__
    return {**fields, "policy": plain(fields["policy"])} if isinstance(record, Group) else fields
