"""The journal: what a run did when, one JSON object a line, append-only.

Every line has `time` (Unix seconds) and `event`:

    created, resumed     versions
    started              stage, digest
    finished             stage, digest, seconds, result
    failed               stage, digest, seconds, error
    metrics              name, values, where

Numbers that are not finite are written as null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.errors import RunError
from tutelage.store.codec import encode_line, finite
from tutelage.store.disk import AppendFile
from tutelage.store.segments import parse, whole_lines

FILE = "journal.jsonl"
_MAX_ERROR = 2000


@dataclass
class Stage:
    """A named part of a run that is done once.

    Attributes:
        name: its name in the journal, e.g. "it1-sample".
        digest: digest of everything that its result depends on.
        is_finished: whether it was done before; `result` is then what was recorded.
        result: plain values to fill inside the `with`; what later stages and the report need of it.
    """

    name: str
    digest: str
    is_finished: bool = False
    result: dict[str, Any] = field(default_factory=dict)
    _metrics: Callable[..., None] | None = field(default=None, repr=False, compare=False)

    def metrics(self, name: str, values: dict[str, Any], **where: Any) -> None:
        """Journal figures of this stage; as `Run.metrics`, with `stage` added to `where`."""
        if self._metrics is not None:
            self._metrics(name, values, **{"stage": self.name, **where})


class Journal:
    """The writer's journal of a run folder, and what it knows of the stages so far.

    Args:
        path: the run folder.
        clock: gives Unix seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._file = AppendFile(path / FILE)
        self._finished = finished_stages(read_journal(path))

    def write(self, event: str, **fields: Any) -> None:
        """Append one line. Raises StorageFull."""
        self._file.write(encode_line({"time": self.clock(), "event": event, **finite(fields)}))

    def begin(self, name: str, digest: str) -> Stage:
        """The stage of this name: as recorded if it is finished, else new and journalled as started.

        Raises:
            RunError: it finished with another digest, so that its result does not fit.
        """
        stage = Stage(name, digest)
        recorded = self._finished.get(name)
        if recorded is None:
            self.write("started", stage=name, digest=digest)
            return stage
        if recorded[0] != digest:
            raise RunError(
                f"stage {name!r} was finished with other settings or inputs",
                seen=f"digest {digest}",
                expected=f"digest {recorded[0]}, as in {FILE}",
                advice="start a new run, or resume with the same settings and data",
            )
        stage.is_finished, stage.result = True, dict(recorded[1])
        return stage

    def finish(self, stage: Stage, seconds: float) -> None:
        """Journal a stage's result; `stage.result` becomes what reading it back would give."""
        stage.result = finite(stage.result)
        self.write("finished", stage=stage.name, digest=stage.digest, seconds=seconds, result=stage.result)
        self._finished[stage.name] = (stage.digest, stage.result)

    def fail(self, stage: Stage, seconds: float, error: BaseException) -> None:
        """Journal why a stage ended early."""
        text = f"{type(error).__name__}: {error}"[:_MAX_ERROR]
        self.write("failed", stage=stage.name, digest=stage.digest, seconds=seconds, error=text)

    def sync(self) -> None:
        """Make everything written so far survive a power cut."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a run folder, oldest first; none where it has no journal yet.

    Raises:
        DataError: a line that cannot be read.
    """
    if (path / FILE).exists():
        for line in whole_lines(path / FILE):
            yield parse(line)


def finished_stages(events: Iterable[dict[str, Any]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Digest and result of each finished stage, by name."""
    return {e["stage"]: (e["digest"], e.get("result") or {}) for e in events if e.get("event") == "finished"}


def latest_metrics(events: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The metrics lines of a name in the order in which they first appeared.

    A resumed run may journal the same figure again: of lines with equal `where`, the last one counts.
    """
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.get("event") == "metrics" and event.get("name") == name:
            found[repr(sorted(event.get("where", {}).items()))] = event
    return list(found.values())
