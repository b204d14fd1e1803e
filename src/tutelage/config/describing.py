"""What the settings are, in words: for messages, `tutelage recipes NAME` and the reference pages.

Everything comes from the fields themselves, so it exists once. Not a schema generator.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tutelage.config.aliases import aliases_of


@dataclass(frozen=True)
class FieldDoc:
    """One setting, in words.

    Attributes:
        name: what the user types before the `=`.
        kind: the type in words, without its range ("number, or none").
        default: the default as the user would type it, or "required".
        range: the allowed values in words ("above 0, at most 1"), or "".
        unit: what is counted, or "".
        text: the sentence.
        source: the paper's section, or "ours".
        group: the concern it belongs to, in words.
        aliases: other names under which it is understood.
    """

    name: str
    kind: str
    default: str
    range: str
    unit: str
    text: str
    source: str
    group: str
    aliases: tuple[str, ...]


def describe(cls: type[BaseModel]) -> list[FieldDoc]:
    """All settings of a config class: its own first, then those of its bases in their order.

    Args:
        cls: a config class.
    """
    return [_describe(cls, name, cls.model_fields[name]) for name in in_order(cls)]


def in_order(cls: type[BaseModel]) -> list[str]:
    """The names of the settings as people look for them: the class's own, then those of its bases from left to right.

    pydantic's own order starts with the rightmost base.
    """
    rank = {base: place for place, base in enumerate(cls.__mro__)}
    return sorted(cls.model_fields, key=lambda name: rank[_owner(cls, name)])


def expectation(info: FieldInfo) -> str:
    """What a field takes, as a phrase that follows "expected" ("a number above 0 and at most 1, or none")."""
    kinds, takes_none = _split(info.annotation)
    phrase = " or ".join(_PHRASES.get(kind, "") or _choice_words(kind) for kind in kinds)
    limits = _limits(info)
    if limits:
        phrase += " " + " and ".join(limits)
    unit = _extra(info, "unit")
    if unit:
        phrase += f" ({unit})"
    return phrase + (", or none" if takes_none else "")


def choices_of(info: FieldInfo) -> tuple[str, ...]:
    """The words a field, or each value of its list, chooses from; () where it is not a choice."""
    kinds = _split(info.annotation)[0]
    return tuple(str(word) for kind in kinds for one in (kind, *_items(kind)) for word in _literal(one))


def takes_none(info: FieldInfo) -> bool:
    """Whether the field may be none."""
    return _split(info.annotation)[1]


def takes_text(info: FieldInfo) -> bool:
    """Whether the field takes any text or one of several words, and nothing else but none."""
    kinds = _split(info.annotation)[0]
    return all(kind is str or (_literal(kind) and all(isinstance(w, str) for w in _literal(kind))) for kind in kinds)


def takes_list(info: FieldInfo) -> bool:
    """Whether the field takes several values."""
    return any(typing.get_origin(kind) in (list, tuple) for kind in _split(info.annotation)[0])


def takes_scalar(info: FieldInfo) -> bool:
    """Whether the field takes a single value."""
    return any(typing.get_origin(kind) not in (list, tuple) for kind in _split(info.annotation)[0])


def show_value(value: Any) -> str:
    """A value as the user would type it after `key=` (none, true, 1e-05, text without quotes)."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(show_value(item) for item in value) + "]"
    return str(value)


_PHRASES: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_NOUNS: dict[Any, str] = {int: "whole number", float: "number", bool: "true or false", str: "text"}
_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}


def _describe(cls: type[BaseModel], name: str, info: FieldInfo) -> FieldDoc:
    kinds, has_none = _split(info.annotation)
    words = " or ".join(_NOUNS.get(kind, "") or _choice_words(kind) for kind in kinds)
    return FieldDoc(
        name=name,
        kind=words + (", or none" if has_none else ""),
        default=_default(info),
        range=", ".join(_limits(info)),
        unit=_extra(info, "unit"),
        text=info.description or "",
        source=_extra(info, "source"),
        group=_group(cls, name),
        aliases=aliases_of(name, cls.model_fields),
    )


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    return "required" if value is PydanticUndefined else show_value(value)


def _group(cls: type[BaseModel], name: str) -> str:
    """First sentence of the docstring of the class that defines the field."""
    owner = _owner(cls, name)
    return (owner.__doc__ or owner.__name__).strip().splitlines()[0].rstrip(".")


def _owner(cls: type[BaseModel], name: str) -> type:
    """The most basic class that has the field: who changes only a default does not take the field over."""
    return next(base for base in reversed(cls.__mro__) if name in vars(base).get("__annotations__", {}))


def _split(annotation: Any) -> tuple[tuple[Any, ...], bool]:
    """The alternatives of a type without None, and whether None was among them."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = typing.get_args(annotation)
        return tuple(kind for kind in kinds if kind is not type(None)), type(None) in kinds
    return (annotation,), False


def _literal(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()


def _items(kind: Any) -> tuple[Any, ...]:
    """The types of a list's values; () where it is no list."""
    return typing.get_args(kind) if typing.get_origin(kind) in (list, tuple) else ()


def _choice_words(kind: Any) -> str:
    words = _literal(kind)
    if words:
        return "one of " + ", ".join(str(word) for word in words) if len(words) > 1 else str(words[0])
    if typing.get_origin(kind) in (list, tuple):
        inner = next(iter(_items(kind)), None)
        some = ", ".join(str(word) for word in _literal(inner))
        return "a list of " + (f"words among {some}" if some else _PLURALS.get(inner, "values"))
    return "a table" if typing.get_origin(kind) is dict or kind is dict else getattr(kind, "__name__", str(kind))


def _limits(info: FieldInfo) -> list[str]:
    """The range in words, lower bound first."""
    words = []
    for item in info.metadata:
        match item:
            case annotated_types.Gt(gt=limit):
                words.append(f"above {limit}")
            case annotated_types.Ge(ge=limit):
                words.append(f"at least {limit}")
            case annotated_types.Lt(lt=limit):
                words.append(f"below {limit}")
            case annotated_types.Le(le=limit):
                words.append(f"at most {limit}")
            case annotated_types.MinLen(min_length=limit):
                words.append(f"at least {limit} long")
            case annotated_types.MaxLen(max_length=limit):
                words.append(f"at most {limit} long")
    return words


def _extra(info: FieldInfo, key: str) -> str:
    extra = info.json_schema_extra
    return str(extra.get(key, "")) if isinstance(extra, dict) else ""
