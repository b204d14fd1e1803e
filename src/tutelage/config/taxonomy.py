"""The taxonomy of problems: fields with their keywords, and personas; a TOML file that the user may copy and change.

The packaged one is `taxonomy.toml` beside this file; `tutelage data taxonomy OUT.toml` copies it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError, InputError

PACKAGED = Path(__file__).with_name("taxonomy.toml")
_KEYS = ("about", "aliases", "keywords")


@dataclass(frozen=True)
class Field:
    """A field of mathematics: what is asked of it, how data sets call it, what its problems are built around."""

    name: str
    about: str
    aliases: tuple[str, ...]
    keywords: tuple[str, ...]


@dataclass(frozen=True)
class Taxonomy:
    """The fields by name, in the file's order, and the personas."""

    fields: dict[str, Field]
    personas: tuple[str, ...]

    def field_of(self, subject: str | None, question: str) -> str:
        """The field of a problem: by its subject, else by most keywords in the question, else the last field."""
        if subject is not None:
            for field in self.fields.values():
                if subject.lower() in (field.name.lower(), *(alias.lower() for alias in field.aliases)):
                    return field.name
        text = f" {question.lower()} "
        counts = {name: sum(f" {word}" in text for word in field.keywords) for name, field in self.fields.items()}
        best = max(counts, key=lambda name: counts[name])
        return best if counts[best] else list(self.fields)[-1]

    def only(self, names: list[str]) -> Taxonomy:
        """The taxonomy with some of the fields; all of them where none is named.

        Raises:
            InputError: a name that it does not have.
        """
        unknown = [name for name in names if name not in self.fields]
        if unknown:
            raise InputError("there is no such field in the taxonomy", seen=unknown[0], expected=", ".join(self.fields),
                             advice="correct fields=, or add it to the taxonomy file")  # fmt: skip
        return Taxonomy({name: self.fields[name] for name in names or self.fields}, self.personas)


def load_taxonomy(path: str | Path | None = None) -> Taxonomy:
    """The taxonomy of a file; None is the packaged one.

    Raises:
        InputError: the file does not exist, or is not TOML.
        ConfigError: what is in it is not as described in the packaged file; all faults are told.
    """
    file = PACKAGED if path is None else Path(path).expanduser()
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            "the taxonomy cannot be read", seen=f"{file}: {error}", expected="a TOML file",
            advice="begin with a copy of the packaged one: tutelage data taxonomy OUT.toml",
        ) from error  # fmt: skip
    faults = list(_faults(data))
    if faults:
        raise ConfigError([f"{file}: {fault}" for fault in faults], advice="see tutelage data taxonomy")
    fields = {
        name: Field(name, entry["about"], tuple(entry.get("aliases", ())), tuple(entry["keywords"]))
        for name, entry in data["fields"].items()
    }
    return Taxonomy(fields, tuple(data.get("personas", ())))


def _faults(data: dict[str, Any]) -> list[str]:
    faults = [f"unknown key {key!r}; known are fields, personas" for key in data if key not in ("fields", "personas")]
    if not _is_texts(data.get("personas", [])):
        faults.append("personas must be a list of texts")
    fields = data.get("fields")
    if not isinstance(fields, dict) or not fields:
        return [*faults, "it has no [fields.NAME]"]
    for name, entry in fields.items():
        if not isinstance(entry, dict):
            faults.append(f"fields.{name} must be a table")
            continue
        known = ", ".join(_KEYS)
        faults += [f"fields.{name} has the unknown key {key!r}; known are {known}" for key in entry.keys() - {*_KEYS}]
        if not isinstance(entry.get("about"), str) or not entry["about"].strip():
            faults.append(f"fields.{name} needs `about`, a text")
        if not _is_texts(entry.get("keywords")) or not entry["keywords"]:
            faults.append(f"fields.{name} needs `keywords`, a list of texts, one at least")
        if not _is_texts(entry.get("aliases", [])):
            faults.append(f"fields.{name}.aliases must be a list of texts")
    return faults


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value)
