"""A run folder: made once, written by one process, read by any number, resumed after anything.

    run.json                 resolved config, seed, versions, git commit, machine, sandbox tier, grader version
    journal.jsonl            stages started / finished / failed, metrics
    <kind>/NNNN.jsonl        records; append-only segments
    checkpoints/<name>/      weights, laid out by whoever saves them
    scratch/<name>/          resumable training state, removed when done
    report.json  report.html

It does not know what a stage does or what a config means; it keeps both, and refuses what does not fit them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from tutelage.errors import RunError
from tutelage.records import Record
from tutelage.store import provenance
from tutelage.store.codec import finite
from tutelage.store.disk import WriterLock, replace_file, storage
from tutelage.store.header import (
    HEADER,
    check_config,
    make_empty_folder,
    make_header,
    not_empty,
    pretty,
    read_header,
    read_object,
)
from tutelage.store.journal import Journal, Stage, latest_metrics, read_journal
from tutelage.store.record_files import RecordFiles, read_records
from tutelage.store.report_page import write_html

R = TypeVar("R", bound=Record)
REPORT, PAGE = "report.json", "report.html"


class Run:
    """An open run folder; use `create`, `resume` or `open`. A context manager that closes itself.

    Attributes:
        path: the folder.
        header: what `run.json` says.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float], lock: WriterLock | None) -> None:
        self.path, self.header = path, read_header(path)
        self._lock, self._pid, self._mutex = lock, os.getpid(), threading.RLock()
        self._clock = clock
        self._journal = Journal(path, clock) if lock else None
        self._files = RecordFiles(path, is_only_writer=lock is not None)

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        recipe: str,
        config: dict[str, Any],
        seed: int,
        info: dict[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Make a run folder and open it for writing.

        Args:
            path: a folder that is missing or empty.
            recipe: the recipe's name.
            config: the resolved settings, JSON-able.
            info: `sandbox_tier`, `grader_version` and whatever else `run.json` should keep.
            clock: gives Unix seconds.

        Raises:
            RunError: the folder is not empty, or cannot be made.
            StorageFull: no space.
        """
        path = Path(path)
        make_empty_folder(path)
        lock = WriterLock(path)
        try:
            if (path / HEADER).exists():
                raise not_empty(path, HEADER)
            header = make_header(recipe, config, seed=seed, info=info, clock=clock)
            replace_file(path / HEADER, pretty(header))
            return cls._for_writing(path, lock, clock, "created")
        except BaseException:
            lock.release()
            raise

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        recipe: str,
        config: dict[str, Any],
        may_differ: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open an existing run folder for writing; torn last lines of a killed writer are dropped.

        Args:
            recipe: must be the one that made it.
            config: must equal the recorded settings.
            may_differ: dotted keys of settings that change nothing about the results.

        Raises:
            RunError: missing, of another recipe, with another config (every differing key is named with both
                values), or open in another process.
        """
        path = Path(path)
        header = read_header(path)
        if header.get("recipe") != recipe:
            raise RunError(
                f"the run {path} was made by another recipe",
                seen=recipe,
                expected=str(header.get("recipe")),
                advice="resume with that recipe, or choose another output_dir",
            )
        check_config(path, header.get("config", {}), new=finite(config), may_differ=may_differ)
        lock = WriterLock(path)
        try:
            return cls._for_writing(path, lock, clock, "resumed")
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _for_writing(cls, path: Path, lock: WriterLock, clock: Callable[[], float], event: str) -> Self:
        run = cls(path, clock=clock, lock=lock)
        assert run._journal is not None
        run._journal.write(event, versions=provenance.versions())
        run._journal.sync()
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a run folder for reading; another process may be writing it.

        Raises:
            RunError: there is no run, or one of a newer version.
        """
        return cls(Path(path), clock=time.time, lock=None)

    @property
    def recipe(self) -> str:
        """The recipe that made it."""
        return str(self.header["recipe"])

    @property
    def config(self) -> dict[str, Any]:
        """Its resolved settings."""
        return dict(self.header["config"])

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.header["seed"])

    # --- records

    def append(self, kind: str, record: Record) -> None:
        """Add one record; as `append_many`."""
        self.append_many(kind, (record,))

    def append_many(self, kind: str, records: Iterable[Record]) -> None:
        """Add records. One whose id is there already is left out: what was recorded first stays.

        When this returns, a killed process does not lose them. Safe to call from several threads.

        Raises:
            StorageFull: no space; none of `records` is kept, everything before is.
            DataError: a number that is not finite.
            RunError: the run is open for reading only, or this is a forked child of the writer.
        """
        with self._mutex:
            self._writing()
            self._files.append_many(kind, records)

    def read(self, kind: str, cls: type[R] | None = None, *, containing: str = "") -> Iterator[R]:
        """The records of a kind, oldest first; nothing where there is none.

        Args:
            cls: what to read them as; needed for kinds that are not in `RECORDS`.
            containing: leave out, without looking closer, lines that do not hold this text, e.g. a stage digest: many
                times as fast as reading all. Plain ASCII without quotes or backslashes; other records may hold it too.

        Raises:
            DataError: a line that cannot be read as such a record; names file and line.
        """
        return read_records(self.path, kind, cls, containing=containing)

    def ids(self, kind: str) -> set[str]:
        """The `id`, or else the `completion_id`, of every record of a kind."""
        with self._mutex:
            return self._files.ids(kind)

    def _writing(self) -> Journal:
        if self._journal is None:
            raise RunError(
                f"the run {self.path} is not open for writing",
                seen="opened for reading, or closed",
                expected="a run from Run.create or Run.resume",
            )
        if os.getpid() != self._pid:
            raise RunError(
                f"the run {self.path} can be written only by the process that opened it",
                seen=f"process {os.getpid()}",
                expected=f"process {self._pid}",
                advice="send records to the parent process instead",
            )
        return self._journal

    # --- journal

    def metrics(self, name: str, values: dict[str, Any], **where: Any) -> None:
        """Journal figures.

        Args:
            name: what they are of, e.g. "train".
            values: numbers by name; those that are not finite are written as null.
            where: what they belong to, e.g. `iteration=1, step=20`; of lines with equal `where`, the last counts.
        """
        with self._mutex:
            self._writing().write("metrics", name=name, values=values, where=where)

    def journal(self) -> Iterator[dict[str, Any]]:
        """The journal's events, oldest first."""
        return read_journal(self.path)

    def read_metrics(self, name: str) -> list[dict[str, Any]]:
        """The metrics lines of a name, each figure once: {time, event, name, values, where}."""
        return latest_metrics(self.journal(), name)

    @contextmanager
    def stage(self, name: str, digest: str) -> Iterator[Stage]:
        """A part of the run that is done once; `with run.stage(...) as stage`.

        A stage that finished before with this digest comes with `is_finished` and its recorded `result`; the body
        should then do nothing. Its end is journalled, and everything written so far then survives a power cut.

        Raises:
            RunError: it finished before with another digest.
        """
        with self._mutex:
            stage = self._writing().begin(name, digest)
            stage._metrics = self.metrics
        if stage.is_finished:
            yield stage
            return
        began = self._clock()
        try:
            yield stage
        except BaseException as error:
            # The reason matters more than a journal that cannot be written any more.
            with contextlib.suppress(Exception), self._mutex:
                self._writing().fail(stage, self._clock() - began, error)
                self.flush()
            raise
        with self._mutex:
            self._files.sync()
            self._writing().finish(stage, self._clock() - began)
            self.flush()

    def flush(self) -> None:
        """Make everything written so far survive a power cut (a killed process loses nothing anyway)."""
        with self._mutex:
            journal = self._writing()
            self._files.sync()
            journal.sync()

    def close(self) -> None:
        """Flush, and let another writer in. A second call does nothing."""
        with self._mutex:
            if self._journal is None or self._lock is None:
                return
            try:
                if os.getpid() == self._pid:
                    self.flush()
            finally:
                self._files.close()
                self._journal.close()
                self._journal = None
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- weights and report

    def checkpoint_path(self, name: str) -> Path:
        """Where the weights called `name` lie; the folder around it exists, it itself may not."""
        return self._inside("checkpoints", name)

    def scratch_path(self, name: str) -> Path:
        """Where resumable state called `name` lies; the folder around it exists, it itself may not."""
        return self._inside("scratch", name)

    def remove_scratch(self, name: str) -> None:
        """Remove resumable state that is no longer needed; nothing happens where there is none."""
        self._writing()
        path = self._inside("scratch", name)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def _inside(self, folder: str, name: str) -> Path:
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} cannot name a folder")
        if self._lock is not None:
            with storage(self.path / folder):
                (self.path / folder).mkdir(exist_ok=True)
        return self.path / folder / name

    def write_report(self, report: dict[str, Any]) -> None:
        """Write `report.json` and the page `report.html` beside it, whole or not at all; NaN becomes null."""
        self._writing()
        clean = finite(report)
        replace_file(self.path / REPORT, pretty(clean))
        page = {"recipe": self.recipe, "config": self.config, "seed": self.seed, **clean}
        write_html(page, self.path / PAGE)

    def report(self) -> dict[str, Any]:
        """What `report.json` says.

        Raises:
            RunError: the run has not finished, or the file is damaged.
        """
        return read_object(self.path / REPORT, "the run has no report yet", "let it finish: go on with --resume")
