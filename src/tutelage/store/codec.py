"""Records to JSON lines and back, fast: equal to `Record.to_json` and `Record.from_json`, without walking every token.

`dataclasses.asdict` copies each element of each tuple and `from_json` looks at the type of each; a completion has
hundreds of tokens, so that would cost more than writing the file. Here a class's fields are looked at once.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from tutelage.errors import DataError
from tutelage.records import Record

R = TypeVar("R", bound=Record)


_FIELDS: dict[type, tuple[str, ...]] = {}


def _field_names(kind: type) -> tuple[str, ...]:
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(f.name for f in dataclasses.fields(kind))
    return _FIELDS[kind]


def plain(value: Any) -> Any:
    """What `value` is written as, for values that the JSON encoder does not know itself.

    Records become dicts of their fields, numpy and torch scalars numbers, sets sorted lists, paths text.

    Raises:
        TypeError: nothing of these.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in _field_names(type(value))}
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def _encoder(*, ascii_only: bool) -> json.JSONEncoder:
    return json.JSONEncoder(
        ensure_ascii=ascii_only, check_circular=False, allow_nan=False, separators=(",", ":"), default=plain
    )


_UTF8, _ASCII = _encoder(ascii_only=False), _encoder(ascii_only=True)


def encode_line(value: Any) -> bytes:
    r"""`value` as one line of UTF-8 JSON, newline included.

    Lone surrogates, which a model's or a server's text may hold and UTF-8 cannot, are written as `\udXXX` escapes,
    so that reading gives the same text back.

    Args:
        value: a record, or anything made of dicts, lists, tuples, text and finite numbers.

    Raises:
        DataError: it holds a number that is not finite (JSON has none, and other readers refuse it).
    """
    try:
        text = _UTF8.encode(plain(value) if isinstance(value, Record) else value)
    except ValueError as error:
        raise DataError(
            f"a {type(value).__name__} cannot be stored: {error}",
            seen=getattr(value, "id", None) or getattr(value, "completion_id", None),
            expected="finite numbers: JSON has no NaN or infinity",
            advice="find out where the number comes from",
        ) from error
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return _ASCII.encode(plain(value) if isinstance(value, Record) else value).encode() + b"\n"


def finite(value: Any) -> Any:
    """A copy of `value` made of plain JSON values, NaN and infinities replaced by None; tuples become lists.

    Raises:
        TypeError: it holds something that `plain` does not know.
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return finite(plain(value))


def _decoder_of(hint: Any) -> Callable[[Any], Any] | None:
    """How a JSON value becomes a field of this type; None where it is one already."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _decoder_of(next(a for a in args if a is not type(None)))
    if isinstance(hint, type) and issubclass(hint, Record):
        return decoder(hint)
    if origin is not tuple:
        return None
    if len(args) == 2 and args[1] is Ellipsis:
        each = _decoder_of(args[0])
        return tuple if each is None else lambda v: tuple([each(x) for x in v])
    inners = [_decoder_of(a) for a in args]
    if not any(inners):
        return tuple
    return lambda v: tuple([x if f is None else f(x) for f, x in zip(inners, v, strict=True)])


def decoder(kind: type[R]) -> Callable[[dict[str, Any]], R]:
    """A function that makes records of `kind` from dicts, equal to `kind.from_json`.

    Unknown keys are ignored; the function raises TypeError for a missing field or a value of the wrong shape.
    """
    if kind not in _DECODERS:
        _DECODERS[kind] = _make_decoder(kind)
    return _DECODERS[kind]


_DECODERS: dict[type, Callable[[dict[str, Any]], Any]] = {}


def _make_decoder(kind: type[R]) -> Callable[[dict[str, Any]], R]:
    if getattr(kind.from_json, "__func__", None) is not Record.from_json.__func__:  # type: ignore[attr-defined]
        return kind.from_json
    hints = typing.get_type_hints(kind)
    names = frozenset(_field_names(kind))
    converted = [(name, f) for name in _field_names(kind) if (f := _decoder_of(hints[name])) is not None]

    def decode(data: dict[str, Any]) -> R:
        fields = {k: v for k, v in data.items() if k in names}
        for name, convert in converted:
            value = fields.get(name)
            if value is not None:
                fields[name] = convert(value)
        return kind(**fields)

    return decode
