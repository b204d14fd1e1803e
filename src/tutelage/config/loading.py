"""Settings from a TOML file and from `key=value` words; every problem is found before any is reported.

The order of strength is default, file, command line; the later word of the command line wins. `resolved`, `to_toml`
and `describe` are offered here too, so that one import serves who loads settings.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tutelage.config.aliases import ALIASES, field_of
from tutelage.config.describing import (
    FieldDoc,
    choices_of,
    describe,
    expectation,
    show_value,
    takes_list,
    takes_none,
    takes_scalar,
    takes_text,
)
from tutelage.config.writing import resolved, to_toml
from tutelage.errors import ConfigError

__all__ = ["FieldDoc", "describe", "load_settings", "nearest", "resolved", "to_toml"]

Model = TypeVar("Model", bound=BaseModel)
NONE_WORDS = ("none", "null")
COMMAND_LINE = "command line"
ADVICE = "`tutelage recipes NAME` lists every setting with its range and default"


@dataclass(frozen=True)
class _Given:
    """A value that the user gave: under which key, where, and the value itself."""

    key: str
    value: Any
    where: str


def load_settings(
    cls: type[Model], *, file: Path | None = None, overrides: Sequence[str] = (), advice: str = ADVICE
) -> Model:
    """The settings of `cls` from a file and from the command line.

    Args:
        cls: the config class.
        file: a TOML file of top-level keys, or None.
        overrides: words of the form `key=value`. A value is read as TOML where it can be (`3`, `1e-5`, `true`,
            `["a", "b"]`), else as text; `none` and `null` mean none where the setting may be none.
        advice: what the message says to do.

    Raises:
        ConfigError: with every problem found: a file that cannot be read, a word without `=`, an unknown key (with
            the nearest match), a value out of range, a required key left out. Each names the key, the value seen,
            what was expected and where it stood.
    """
    problems: list[str] = []
    given: dict[str, _Given] = {}
    if file is not None:
        given |= _place(cls, _read_file(cls, file, problems), problems, is_file=True)
    given |= _place(cls, _read_words(cls, overrides, problems), problems, is_file=False)
    problems += _not_finite(cls, given)
    try:
        settings = cls.model_validate({name: item.value for name, item in given.items()})
    except ValidationError as error:
        details = sorted(error.errors(include_url=False), key=lambda detail: _place_of(detail, given))
        found = [_explain(cls, detail, given) for detail in details]
        problems += [text for text in dict.fromkeys(found) if text not in problems]
    if problems:
        raise ConfigError(problems, advice=advice)
    return settings


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that `word` was probably meant to be, or "" where none is near."""
    # get_close_matches is case-sensitive; users type LearningRate and IterativeRPO.
    by_folded = {item.lower().replace("-", "_"): item for item in known}
    folded = word.lower().replace("-", "_")
    starts = [key for key in by_folded if len(folded) >= 3 and key.startswith(folded)]
    found = starts[:1] or difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else ""


def _read_file(cls: type[BaseModel], file: Path, problems: list[str]) -> list[_Given]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        table = tomllib.loads(text)
    except FileNotFoundError:
        problems.append(f"{file}: there is no such file; expected a TOML file of settings")
    except IsADirectoryError:
        problems.append(f"{file}: this is a folder; expected a TOML file of settings")
    except UnicodeDecodeError as error:
        problems.append(f"{file}: not UTF-8 text (byte {error.start}); expected a TOML file of settings")
    except OSError as error:
        problems.append(f"{file}: cannot be read ({error.strerror})")
    except tomllib.TOMLDecodeError as error:
        problems.append(_malformed(file, text, str(error)))
    else:
        return [_Given(key, _from_file(cls, key, value), str(file)) for key, value in table.items()]
    return []


def _malformed(file: Path, text: str, message: str) -> str:
    """Names the line of a TOML error and quotes it; adds what is usually meant by it."""
    match = re.search(r"line (\d+)", message)
    lines = text.splitlines()
    number = int(match.group(1)) if match else len(lines)
    quoted = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    looks_like_yaml = bool(re.match(r"[\w-]+\s*:", quoted)) or file.suffix in (".yaml", ".yml", ".json")
    hint = "expected TOML, `key = value` a line, text in quotes" if looks_like_yaml else "texts need quotes"
    return f"{file}: not valid TOML: {message}; line {number} is: {quoted or '(empty)'}; {hint}"


def _from_file(cls: type[BaseModel], key: str, value: Any) -> Any:
    """The value of a file's key; the text "none" stands for none where the setting may be none."""
    name = field_of(key, cls.model_fields)
    is_none_word = isinstance(value, str) and value.lower() in NONE_WORDS
    return None if name and is_none_word and _none_is_meant(cls.model_fields[name], value) else value


def _read_words(cls: type[BaseModel], words: Sequence[str], problems: list[str]) -> list[_Given]:
    given = []
    for word in words:
        key, sign, text = word.partition("=")
        if word.startswith("-"):
            problems.append(_option_problem(cls, word))
        elif not sign or not key.strip():
            known = field_of(key, cls.model_fields) or "key"
            problems.append(f"{word!r} ({COMMAND_LINE}): expected {known}=VALUE, with = and no spaces around it")
        else:
            name = field_of(key, cls.model_fields)
            value = _parse(text) if name is None else _from_word(cls.model_fields[name], text)
            given.append(_Given(key.strip(), value, COMMAND_LINE))
    return given


def _option_problem(cls: type[BaseModel], word: str) -> str:
    bare, sign, text = word.lstrip("-").partition("=")
    name = field_of(bare, cls.model_fields) or nearest(bare, cls.model_fields)
    shape = f"{name or 'key'}={text if sign else 'VALUE'}"
    return f"{word!r} ({COMMAND_LINE}): no such option; settings are written without dashes: {shape}"


def _from_word(info: FieldInfo, text: str) -> Any:
    """The value of a word for a field: none, TOML, or the text itself."""
    if text.strip().lower() in NONE_WORDS and _none_is_meant(info, text.strip()):
        return None
    value = _parse(text)
    if takes_text(info) and not isinstance(value, str):
        return text  # `model=7`, `data=2024-01-01`: the field wants text, so it is text
    if takes_list(info) and not isinstance(value, list):
        parts = [_parse(part.strip()) for part in text.split(",")]
        return parts if len(parts) > 1 or not takes_scalar(info) else parts[0]
    return value


def _none_is_meant(info: FieldInfo, text: str) -> bool:
    return takes_none(info) and text.lower() not in choices_of(info)


def _parse(text: str) -> Any:
    """A TOML value, or the text where it is none (`a/b`, `True`, two lines, a date)."""
    try:
        value = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    single = len(value) == 1 and isinstance(value["value"], str | int | float | bool | list | dict)
    return value["value"] if single else text


def _place(cls: type[BaseModel], items: Sequence[_Given], problems: list[str], *, is_file: bool) -> dict[str, _Given]:
    """The items by field; unknown keys become problems, and so do two names of one field in a file."""
    placed: dict[str, _Given] = {}
    for item in items:
        name = field_of(item.key, cls.model_fields)
        if name is None:
            problems.append(_unknown(cls, item))
        elif is_file and name in placed:
            problems.append(f"{item.key} ({item.where}): given twice, also as {placed[name].key}; keep one")
        else:
            placed[name] = item
    return placed


def _unknown(cls: type[BaseModel], item: _Given) -> str:
    if isinstance(item.value, dict):
        return f"[{item.key}] ({item.where}): settings are flat; put its keys at the top, without the [{item.key}] line"
    near = nearest(item.key, [*cls.model_fields, *(a for a in ALIASES if field_of(a, cls.model_fields))])
    field = field_of(near, cls.model_fields) if near else None
    guess = f"; did you mean {field}?" if field else ""
    return f"{item.key} = {_short(item.value)} ({item.where}): there is no such setting{guess}"


def _not_finite(cls: type[BaseModel], given: dict[str, _Given]) -> list[str]:
    """NaN and infinity pass every comparison or none; no setting means them."""
    return [
        f"{item.key} = {_short(item.value)} ({item.where}): expected {expectation(cls.model_fields[name])}"
        for name, item in given.items()
        if isinstance(item.value, float) and not math.isfinite(item.value)
    ]


def _place_of(detail: ErrorDetails, given: dict[str, _Given]) -> int:
    """Where the user gave what a validation error is about, so that problems come in the order of what was written."""
    names = list(given)
    return names.index(str(detail["loc"][0])) if detail["loc"] and detail["loc"][0] in given else len(names)


def _explain(cls: type[BaseModel], detail: ErrorDetails, given: dict[str, _Given]) -> str:
    """One validation error in our words."""
    name = str(detail["loc"][0]) if detail["loc"] else ""
    info = cls.model_fields.get(name)
    own_message = str(detail.get("ctx", {}).get("error", "")) if detail["type"] == "value_error" else ""
    if info is None:
        return own_message or detail["msg"]
    if detail["type"] == "missing":
        return f"{name}: required, but not given; expected {expectation(info)}: {info.description or name}"
    item = given.get(name)
    seen = f"{item.key} = {_short(item.value)} ({item.where})" if item else f"{name} = {_short(detail['input'])}"
    if item and field_of(item.key, cls.model_fields) != item.key.replace("-", "_"):
        seen = f"{item.key} (that is, {name}) = {_short(item.value)} ({item.where})"
    wrong = item.value if item else None
    said = own_message or f"expected {expectation(info)}"
    if any(isinstance(place, int) for place in detail["loc"]):  # one value of a list
        wrong = detail["input"]
        is_alone = item is not None and isinstance(item.value, list) and len(item.value) == 1
        said = said if is_alone else f"{_short(wrong)} is wrong, {said}"
    near = nearest(wrong, choices_of(info)) if isinstance(wrong, str) else ""
    guess = f"; did you mean {near}?" if near else ""
    return f"{seen}: {said}{guess}"


def _short(value: Any) -> str:
    text = show_value(value) if value != "" else "(nothing)"
    return text if len(text) <= 80 else text[:77] + "..."
