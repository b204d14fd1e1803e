"""Rows from files: jsonl, gzipped jsonl, json, parquet, and folders of those. Every row knows its file and line.

Nothing here knows a data format. Everything wrong with a file is a `DataError` that names the file and the line.
"""

from __future__ import annotations

import difflib
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import DataError, MissingExtra

SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".json", ".json.gz", ".parquet")
_EXPECTED = "a .jsonl, .jsonl.gz, .json or .parquet file, or a folder of them"
_SPLITS = ("train", "test", "dev", "validation", "valid", "val", "eval")


@dataclass(frozen=True)
class Row:
    """One row; `where` is `file:line` (parquet: `file:row N`), `stem` a name for ids, `split` that of the path."""

    data: dict[str, Any]
    where: str
    stem: str
    index: int
    split: str | None


def read_rows(path: Path, split: str | None = None) -> Iterator[Row]:
    """All rows of a file or folder, in the order of sorted file names.

    Args:
        path: a file or a folder.
        split: which split to take where the folder holds several (by file or folder name).

    Raises:
        DataError: the path does not exist, cannot be read, or holds no data files; a line is not UTF-8 or no JSON
            object; a folder holds several splits and none is chosen.
        MissingExtra: a parquet file without pyarrow.
    """
    if not path.exists():
        raise _missing(path)
    if not path.is_dir():
        yield from _read_file(path, path.parent, split or split_of(path.name))
        return
    for file in _files_of(path, split):
        yield from _read_file(file, path, split or split_of(str(file.relative_to(path))) or split_of(path.name))


def split_of(name: str) -> str | None:
    """The split that a file or folder name speaks of: train, test, dev or validation."""
    words = (
        name.lower().replace("\\", "/").replace("/", " ").replace("-", " ").replace("_", " ").replace(".", " ").split()
    )
    found = next((word for word in words if word in _SPLITS), None)
    return {"valid": "validation", "val": "validation", "eval": "validation"}.get(found or "", found)


def _missing(path: Path) -> DataError:
    advice = "check the path"
    if path.parent.is_dir():
        near = difflib.get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=1)
        advice = f"did you mean {path.parent / near[0]}?" if near else advice
    return DataError("The data file does not exist", seen=str(path), expected=_EXPECTED, advice=advice)


def _files_of(folder: Path, split: str | None) -> list[Path]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name.lower().endswith(SUFFIXES))
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    if not files:
        raise DataError("The folder holds no data files", seen=str(folder), expected=_EXPECTED, advice="check the path")
    by_split: dict[str | None, list[Path]] = {}
    for file in files:
        by_split.setdefault(split_of(str(file.relative_to(folder))), []).append(file)
    if split is not None:
        chosen = by_split.get(split_of(split) or split)
        if chosen is None and len(by_split) == 1 and None in by_split:
            return files
        if chosen is None:
            names = ", ".join(sorted(name for name in by_split if name))
            raise DataError(f"The folder {folder} has no split of this name", seen=split, expected=names or "no split")
        return chosen
    splits = sorted(name for name in by_split if name)
    if len(splits) > 1:
        raise DataError(
            f"The folder {folder} holds several splits",
            seen=", ".join(splits),
            expected="one split",
            advice=f"name the file or subfolder, or add ?split={splits[-1]} to the path",
        )
    return files


def _read_file(path: Path, root: Path, split: str | None) -> Iterator[Row]:
    name = path.name.lower()
    relative = path.relative_to(root)
    stem = "-".join(relative.with_name(relative.name.split(".")[0]).parts)
    source: Iterator[tuple[str, Any]]
    if name.endswith(".parquet"):
        source = ((f"{path}:row {i}", data) for i, data in enumerate(_parquet(path)))
    elif name.endswith((".json", ".json.gz")):
        source = _json(path)
    elif name.endswith(SUFFIXES):
        source = _jsonl(path)
    else:
        raise DataError("The data file has a name of no known kind", seen=str(path), expected=_EXPECTED,
                        advice="convert it to jsonl, one JSON object a line")  # fmt: skip
    for index, (where, data) in enumerate(source):
        if not isinstance(data, dict):
            raise DataError(f"{where} is not a JSON object", seen=json.dumps(data), expected='{"question": ..., ...}',
                            advice="write one JSON object for each problem")  # fmt: skip
        yield Row(data, where, stem, index, split)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    number = 0
    try:
        with opener(path, "rb") as handle:
            for number, raw in enumerate(handle, start=1):
                line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                yield f"{path}:{number}", line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number} is not UTF-8", seen=f"{error.object[error.start : error.start + 8]!r}",
                        expected="UTF-8 text", advice="convert the file: iconv -t UTF-8") from error  # fmt: skip
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The data file cannot be read: {error}", seen=f"{path}, after line {number}",
                        expected="a readable, complete file", advice="copy it again") from error  # fmt: skip


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    for where, line in _lines(path):
        if line.strip():
            yield where, _parse(line, where)


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}", seen=text.strip()[:120], expected="one JSON object",
                        advice="correct or remove the line") from error  # fmt: skip


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    """One object, a list of objects, `{"data": [...]}`, or one object a line in spite of the name."""
    lines = [line for _, line in _lines(path)]
    text = "".join(lines)
    if not text.strip():
        return
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        first = next(line for line in lines if line.strip())
        if len(lines) > 1 and first.strip().startswith("{") and first.strip().endswith("}"):
            yield from ((f"{path}:{i}", _parse(line, f"{path}:{i}")) for i, line in enumerate(lines, 1) if line.strip())
            return
        data = _parse(text, str(path))
    if isinstance(data, dict):
        inner = next((data[key] for key in ("data", "rows", "problems") if isinstance(data.get(key), list)), None)
        if inner is None:
            yield str(path), data
            return
        data = inner
    for i, item in enumerate(data if isinstance(data, list) else [data]):
        yield f"{path}:item {i}", item


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", f"Reading {path.name}") from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise DataError(f"The parquet file cannot be read: {error}", seen=str(path), expected="a parquet file",
                        advice="copy it again") from error  # fmt: skip
