"""The kinds of mistakes that are put into right solutions: a table in TOML that the user can edit.

The table that comes with tutelage is ours (`mistakes.toml` beside this module); the paper (arXiv 2411.16579) names
calculation errors as its example and publishes no list.
"""

from __future__ import annotations

import tomllib
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.problems.primer.mistakes import MistakeKind

PACKAGED = Path(__file__).with_name("mistakes.toml")
_KEYS = ("description", "weight", "primer")


@dataclass(frozen=True)
class Mistake:
    """A kind of mistake.

    Args:
        name: its name in records.
        description: what whoever writes or annotates it is told.
        weight: how often it is chosen, relative to the others; > 0.
        primer: how the built-in world makes it; None where it cannot.
    """

    name: str
    description: str
    weight: float = 1.0
    primer: MistakeKind | None = None


def read_mistakes(path: Path | None = None) -> tuple[Mistake, ...]:
    """The kinds in a TOML file, in its order; None reads the packaged one.

    Raises:
        DataError: the file cannot be read, is empty, or a kind in it is not as described there.
    """
    path = path or PACKAGED
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"the kinds of mistakes cannot be read: {error}", seen=str(path), expected="a TOML file",
                        advice=f"start from a copy of {PACKAGED}") from error  # fmt: skip
    if not table:
        raise DataError("there are no kinds of mistakes in the file", seen=str(path), expected="at least one table")
    return tuple(_mistake(name, fields, path) for name, fields in table.items())


def _mistake(name: str, fields: Any, path: Path) -> Mistake:
    def wrong(seen: object, expected: str) -> DataError:
        return DataError(f"{path}: the kind of mistake {name} is not usable", seen=str(seen), expected=expected)

    if not isinstance(fields, dict) or not isinstance(fields.get("description"), str):
        raise wrong(fields, "a table with a description")
    unknown = next((key for key in fields if key not in _KEYS), None)
    if unknown is not None:
        raise wrong(unknown, ", ".join(_KEYS))
    weight, primer = fields.get("weight", 1), fields.get("primer")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1e6:
        raise wrong(weight, "a weight above 0")
    if primer is not None and primer not in typing.get_args(MistakeKind):
        raise wrong(primer, ", ".join(typing.get_args(MistakeKind)))
    return Mistake(name, fields["description"], float(weight), primer)
