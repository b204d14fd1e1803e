"""Settings as plain data and as TOML, such that reading them again gives equal settings."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from tutelage.config.describing import in_order


def resolved(config: BaseModel) -> dict[str, Any]:
    """All settings with their values, JSON-able, in the order of `describe`."""
    values = config.model_dump(mode="json")
    return {name: values[name] for name in in_order(type(config))}


def to_toml(config: BaseModel) -> str:
    """The settings as a TOML file that `load_settings` reads back to equal settings.

    TOML has no none, so it is written as the text "none", which `load_settings` understands.
    """
    return "".join(f"{key} = {_value(value)}\n" for key, value in resolved(config).items())


def _value(value: Any) -> str:
    match value:
        case None:
            return '"none"'
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case list():
            return "[" + ", ".join(_value(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{_text(key)} = {_value(item)}" for key, item in value.items()) + "}"
        case _:
            return _text(str(value))


def _text(value: str) -> str:
    # JSON's escapes are TOML's too, but for DEL, which JSON leaves as it is and TOML forbids.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
