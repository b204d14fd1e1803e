"""`run.json`: what a run folder says of itself, how it is made, and whether a config fits it.

It records versions, commit and machine (see `provenance`), and compares configs key by key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tutelage.errors import RunError
from tutelage.records import SCHEMA_VERSION
from tutelage.store import provenance
from tutelage.store.codec import finite
from tutelage.store.disk import storage

HEADER = "run.json"
_OURS_BEFORE_THE_HEADER = frozenset((".lock", f".{HEADER}.partial"))


def make_header(
    recipe: str, config: dict[str, Any], *, seed: int, info: dict[str, Any] | None, clock: Callable[[], float]
) -> dict[str, Any]:
    """What `run.json` says of a new run; arguments as in `Run.create`."""
    about = dict(info or {})
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": recipe,
        "config": finite(config),
        "seed": seed,
        "started": clock(),
        "versions": provenance.versions(),
        "git_commit": provenance.git_commit(Path.cwd()),
        "machine": provenance.machine(),
        "sandbox_tier": about.pop("sandbox_tier", None),
        "grader_version": about.pop("grader_version", None),
        "info": finite(about),
    }


def pretty(value: Any) -> bytes:
    """JSON for people: indented, finite numbers only."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def read_object(path: Path, what: str, advice: str) -> dict[str, Any]:
    """The JSON object in a file. Raises RunError with `what` and `advice` where there is no file."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise RunError(what, seen=str(path), expected=f"a file {path.name}", advice=advice) from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}", seen=str(path), expected="JSON", advice=advice) from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged", seen=type(value).__name__, expected="a JSON object", advice=advice)
    return value


def read_header(path: Path) -> dict[str, Any]:
    """What `run.json` says. Raises RunError: there is no run, or one of a newer tutelage."""
    header = read_object(path / HEADER, f"there is no run in {path}", "check the path; `tutelage run` makes runs")
    if header.get("schema_version", 0) > SCHEMA_VERSION:
        raise RunError(
            f"the run {path} was made by a newer tutelage",
            seen=f"schema version {header['schema_version']}",
            expected=f"{SCHEMA_VERSION} or lower",
            advice="update tutelage",
        )
    return header


def not_empty(path: Path, found: str) -> RunError:
    """The error for a run folder that holds something already."""
    return RunError(
        f"the run folder {path} exists and is not empty",
        seen=found,
        expected="a folder that is missing or empty",
        advice="go on with that run by --resume, or choose another output_dir",
    )


def make_empty_folder(path: Path) -> None:
    """Make a run folder. Raises RunError: it cannot be made, or is not empty."""
    try:
        with storage(path):
            path.mkdir(parents=True, exist_ok=True)
        found = sorted(p.name for p in path.iterdir() if p.name not in _OURS_BEFORE_THE_HEADER)
    except OSError as error:
        raise RunError(
            f"the run folder {path} cannot be made: {error.strerror}",
            seen=str(path),
            expected="a place where a folder can be made",
            advice="choose another output_dir",
        ) from error
    if found:
        raise not_empty(path, ", ".join(found[:5]))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for name, inner in value.items() for k, v in _flat(inner, f"{prefix}{name}.").items()}
    return {prefix.rstrip("."): value}


def check_config(path: Path, old: dict[str, Any], *, new: dict[str, Any], may_differ: Collection[str] = ()) -> None:
    """Compare the config of a run with the one it is resumed with.

    Raises:
        RunError: they differ in keys that are not in `may_differ`; names each with both values.
    """
    missing = object()
    before, now = _flat(old), _flat(new)
    different = []
    for key in sorted(before.keys() | now.keys()):
        a, b = before.get(key, missing), now.get(key, missing)
        if a != b and key not in may_differ:
            shown = ["(not set)" if v is missing else repr(v)[:80] for v in (a, b)]
            different.append(f"{key}: the run has {shown[0]}, now {shown[1]}")
    if different:
        raise RunError(
            f"the run {path} was made with another config:\n" + "\n".join(f"  - {d}" for d in different),
            expected="the same settings",
            advice="resume with the settings of the run, or choose another output_dir",
        )
