"""`load_problems`: from what a user types (`gsm8k:train.jsonl`, a path, `primer:test?n=200`) to checked problems.

Everything wrong with the data is raised here, before any work: see the messages of files.py and formats.py.
"""

from __future__ import annotations

import difflib
import gzip
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tutelage.errors import DataError
from tutelage.problems.files import Row, read_rows
from tutelage.problems.formats import DATA_FORMATS, FIELDS, read_problem, sniff
from tutelage.records import Problem

_LOG = logging.getLogger(__name__)
_PRIMER_SIZE = 600
SYNTHESIZED = "synthesized.jsonl"
"""The file of a run of `synthesize` that holds the problems it kept."""
_RENAMED = {"question", "answer", "solution", "id", "subject", "level", "choices", "answer_kind"}


def load_problems(
    spec: str,
    *,
    limit: int | None = None,
    fields: Mapping[str, str] | None = None,
    split: str | None = None,
) -> list[Problem]:
    """The problems that a data spelling names.

    Args:
        spec: `primer[:SPLIT][?n=N&seed=S]`, a path, or `FORMAT:PATH[?question=NAME&answer=NAME&split=NAME]` with a
            format of `DATA_FORMATS`. A bare path is read in the format of its first row, which is logged. The folder
            of a run of `synthesize` means the problems that it kept.
        limit: most problems, at least 1; None is all.
        fields: our field name -> the file's field name, as after `?`.
        split: the split to take from a folder, and to write on the problems; None takes what the file says.

    Raises:
        DataError: unknown format, missing or empty or damaged data, a row without question or answer, a gold that
            cannot be read, two rows with one id.
        MissingExtra: a parquet file without pyarrow.
    """
    if limit is not None and limit < 1:
        raise DataError(
            "The limit of problems is too small", seen=limit, expected="at least 1", advice="leave it out for all"
        )
    head, query = _options(spec)
    name, _, rest = head.partition(":")
    if name == "primer":
        return _primer(rest or "train", query, limit, split)
    data_format, path = _format_and_path(head)
    names = {**{key: value for key, value in query.items() if key != "split"}, **(fields or {})}
    _check_names(names)
    return _load(path, data_format, names, split or query.get("split"), limit)


def _load(
    path: Path, data_format: str | None, names: Mapping[str, str], split: str | None, limit: int | None
) -> list[Problem]:
    problems: list[Problem] = []
    places: dict[str, str] = {}
    for row in read_rows(data_of_run(path), split):
        row = _rename(row, names)
        if data_format is None:
            data_format = _sniffed(row)
            _LOG.info("reading %s as %s (from its first row)", path, data_format)
        problem = read_problem(row, data_format, split)
        _check_id(problem.id, row.where, places)
        problems.append(problem)
        if limit is not None and len(problems) >= limit:
            break
    if not problems:
        raise DataError(
            "The data hold no problems", seen=str(path), expected="at least one row", advice="check the file"
        )
    return problems


def data_of_run(path: Path) -> Path:
    """Where the problems of a run folder lie that made some; any other path as it is.

    Raises:
        DataError: a run that makes no problems, or has not finished.
    """
    try:
        header = json.loads((path / "run.json").read_bytes())
        recipe = header["recipe"]
    except (OSError, ValueError, TypeError, KeyError):
        return path
    if recipe != "synthesize":
        config = header.get("config")
        used = config.get("data") if isinstance(config, dict) else None
        raise DataError(
            "This run made no problems", seen=f"{path}, a run of {recipe}", expected="a run of synthesize, or data",
            advice=f"name the data that it used: {used}" if used else "name the data themselves",
        )  # fmt: skip
    if not (path / SYNTHESIZED).is_file():
        raise DataError(
            "This run has no problems yet: it has not finished", seen=f"no {path / SYNTHESIZED}",
            expected=f"a finished run, with {SYNTHESIZED}", advice="go on with it: --resume",
        )  # fmt: skip
    return path / SYNTHESIZED


def save_problems(problems: Iterable[Problem], path: str | Path) -> Path:
    """Write problems as uniform jsonl (gzipped if the name ends in .gz); `load_problems` reads equal ones back."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "wt", encoding="utf-8") as handle:
        for problem in problems:
            data = {key: value for key, value in problem.to_json().items() if value not in (None, {})}
            if problem.choices is not None:
                data["choices"] = {"label": list(problem.choices.labels), "text": list(problem.choices.texts)}
            handle.write(json.dumps(data, ensure_ascii=False) + "\n")
    return path


def _options(spec: str) -> tuple[str, dict[str, str]]:
    """The spelling without its options; a `?` that is part of an existing file's name stays."""
    head, mark, query = spec.partition("?")
    if not mark or Path(spec).exists():
        return spec, {}
    pairs = parse_qsl(query, keep_blank_values=True)
    if not pairs or any(not value for _, value in pairs):
        raise DataError("The options after `?` cannot be read", seen=query, expected="NAME=VALUE, joined by &",
                        advice="for example jsonl:FILE?question=prompt&answer=target")  # fmt: skip
    return head, dict(pairs)


def _format_and_path(head: str) -> tuple[str | None, Path]:
    name, separator, rest = head.partition(":")
    if Path(head).exists() or not separator:
        if not Path(head).exists() and not separator and name in DATA_FORMATS:
            raise DataError("The format is named without a file", seen=head, expected=f"{name}:PATH",
                            advice=f"for example --data {name}:data/{name}/train.jsonl")  # fmt: skip
        if not Path(head).exists() and "/" not in head and "." not in head:
            raise _unknown(head)
        return None, Path(head).expanduser()
    if name not in DATA_FORMATS:
        if len(name) == 1 or "/" in name:  # a drive letter or a path with a colon
            return None, Path(head)
        raise _unknown(name)
    if not rest:
        raise DataError("The format is named without a file", seen=head, expected=f"{name}:PATH")
    return name, Path(rest).expanduser()


def _unknown(name: str) -> DataError:
    known = [*DATA_FORMATS, "primer"]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return DataError(
        "Unknown data format or set",
        seen=name,
        expected=f"{', '.join(f'{known_name}:PATH' for known_name in DATA_FORMATS)}, primer, or the path of a file",
        advice=f"did you mean {near[0]}?" if near else "see `tutelage data list`",
    )


def _check_names(names: Mapping[str, str]) -> None:
    for name in names:
        if name not in _RENAMED:
            near = difflib.get_close_matches(name, sorted(_RENAMED), n=1)
            raise DataError("Unknown field to map", seen=name, expected=", ".join(sorted(_RENAMED)),
                            advice=f"did you mean {near[0]}?" if near else "write OURS=THEIRS")  # fmt: skip


def _rename(row: Row, names: Mapping[str, str]) -> Row:
    if not names:
        return row
    data = dict(row.data)
    for ours, theirs in names.items():
        if theirs not in row.data:
            near = difflib.get_close_matches(theirs, list(row.data), n=1)
            raise DataError(f"{row.where} has no field `{theirs}`", seen=f"fields {', '.join(row.data)}",
                            expected=f"the field that holds the {ours}",
                            advice=f"did you mean {near[0]}?" if near else f"name it: ?{ours}=NAME")  # fmt: skip
        data[ours] = row.data[theirs]
    return Row(data, row.where, row.stem, row.index, row.split)


def _sniffed(row: Row) -> str:
    data_format = sniff(row.data)
    if data_format is None:
        raise DataError(
            f"{row.where}: its fields fit no known format",
            seen=f"fields {', '.join(row.data)}",
            expected="question and answer, or the fields of "
            + ", ".join(name for name in DATA_FORMATS if name != "jsonl"),
            advice="name the fields: jsonl:FILE?question=NAME&answer=NAME",
        )
    return data_format


def _check_id(name: str, where: str, places: dict[str, str]) -> None:
    if name in places:
        raise DataError(
            f"Two rows have the same id: {places[name]} and {where}",
            seen=name,
            expected="an id that is unique in the data",
            advice="make the ids unique, or leave the field out to number the rows",
        )
    places[name] = where


def _primer(name: str, query: Mapping[str, str], limit: int | None, split: str | None) -> list[Problem]:
    from tutelage.problems.primer import primer_choice_problems, primer_problems

    unknown = sorted(set(query) - {"n", "seed", "choice"})
    if unknown:
        raise DataError(
            "Unknown option of primer", seen=unknown[0], expected="n, seed, choice", advice="primer:train?n=600&seed=0"
        )
    numbers: dict[str, int] = {}
    for key in ("n", "seed"):
        value = query.get(key, str(limit or _PRIMER_SIZE) if key == "n" else "0")
        if not (value.isascii() and value.isdigit()) or (key == "n" and int(value) < 1):
            raise DataError(
                f"The option {key} of primer is no count", seen=value, expected="a whole number, for n at least 1"
            )
        numbers[key] = int(value)
    is_choice = query.get("choice", "0").lower() in ("1", "true", "yes")
    make: Any = primer_choice_problems if is_choice else primer_problems
    problems: Sequence[Problem] = make(split or name, numbers["n"], numbers["seed"])
    return list(problems[:limit])


assert set(FIELDS) >= _RENAMED  # a field that can be renamed is a field
