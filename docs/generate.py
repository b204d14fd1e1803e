"""Writes docs/cli.md and docs/config.md from the commands and the settings themselves.

`python docs/generate.py` writes them; `--check` writes nothing and fails where they are not current.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from tutelage.cli.evaluation import EvalSettings
from tutelage.cli.main import app
from tutelage.config.describing import FieldDoc, describe
from tutelage.config.settings import (
    EvaluationSettings,
    GradingSettings,
    ModelSettings,
    ProgramSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
)
from tutelage.recipes import RECIPES

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- made by docs/generate.py; do not edit -->"
SKIPPED = ("help",)
SHARED = (
    GradingSettings, ModelSettings, SamplerSettings, ProgramSettings, TrainingSettings, EvaluationSettings, RunSettings,
)  # fmt: skip


def cli_page() -> str:
    """The reference of all commands."""
    root: Any = typer.main.get_command(app)
    lines = ["# Command line", "", NOTE, "", f"{root.help}", "", *_options(root)]
    lines += ["Exit codes: 0 done; 1 ran and failed; 2 the input is wrong.", ""]
    for path, command in _walk(root, "tutelage"):
        lines += [f"## {path}", "", f"    {_usage(path, command)}", "", *_paragraphs(command.help), *_options(command)]
    return "\n".join(lines).rstrip() + "\n"


def config_page() -> str:
    """The reference of all settings, recipe by recipe."""
    lines = [
        "# Settings", "", NOTE, "",
        "Settings come from a TOML file (`-c FILE.toml`) and from `key=value` words, which win; later words win over",
        "earlier ones. `none` unsets a setting that may be none. An unknown key is an error, and so is a value out of",
        "range; all problems are told at once. `--dry-run` prints the settings as they would be used.", "",
    ]  # fmt: skip
    configs = {info.name: importlib.import_module(info.module).Config for info in RECIPES.values()}
    for info in RECIPES.values():
        lines += [f"## {info.name}", "", f"{info.summary[0].upper()}{info.summary[1:]}. Source: {info.paper}.", ""]
        lines += _own_settings(configs[info.name])
    lines += ["## eval", "", "The settings of `tutelage eval`, most of which its options set.", ""]
    lines += _own_settings(EvalSettings)
    for part in SHARED:
        users = [name for name, config in {**configs, "eval": EvalSettings}.items() if issubclass(config, part)]
        docs = describe(part)
        lines += [f"## {docs[0].group}", "", f"Settings of {', '.join(users)}.", "", *map(_setting, docs), ""]
    return "\n".join(lines).rstrip() + "\n"


def _walk(command: Any, path: str) -> list[tuple[str, Any]]:
    found = []
    for name, child in getattr(command, "commands", {}).items():
        below = f"{path} {name}"
        found += _walk(child, below) if getattr(child, "commands", None) else [(below, child)]
    return found


def _usage(path: str, command: Any) -> str:
    arguments = [_argument(param) for param in command.params if param.param_type_name == "argument"]
    has_options = any(param.param_type_name == "option" and param.name not in SKIPPED for param in command.params)
    return " ".join([path, *(["[OPTIONS]"] if has_options else []), *arguments])


def _argument(param: Any) -> str:
    name = param.metavar or str(param.name).upper()
    return name if param.required else f"[{name}]" + ("..." if param.nargs == -1 else "")


def _paragraphs(text: str | None) -> list[str]:
    return [*(text or "").splitlines(), ""]


def _options(command: Any) -> list[str]:
    shown = [param for param in command.params if param.name not in SKIPPED]
    rows = [f"- {_names(param)}: {param.help or ''}{_default(param)}" for param in shown]
    return [*rows, ""] if rows else []


def _names(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{_argument(param).strip('[].')}`"
    return ", ".join(f"`{name}`" for name in param.opts)


def _default(param: Any) -> str:
    shown = getattr(param, "show_default", None)
    if isinstance(shown, str):
        return f" Default: {shown}."
    value = param.default
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
    return f" Default: {value}." if is_plain else ""


def _own_settings(config: type[BaseModel]) -> list[str]:
    """The settings that only this config has, and its defaults that differ from the shared ones."""
    shared = {doc.name: doc for part in SHARED if issubclass(config, part) for doc in describe(part)}
    docs = describe(config)
    own = [_setting(doc) for doc in docs if doc.name not in shared]
    other = [
        f"`{doc.name}` {doc.default}" for doc in docs if doc.name in shared and doc.default != shared[doc.name].default
    ]
    groups = ", ".join(f"[{part}](#{_anchor(part)})" for part in dict.fromkeys(doc.group for doc in shared.values()))
    return [*own, "", f"And those of: {groups}.", *([f"Other defaults: {', '.join(other)}."] if other else []), ""]


def _anchor(heading: str) -> str:
    """The anchor that Markdown readers give a heading."""
    return "".join(char for char in heading.lower().replace(" ", "-") if char.isalnum() or char in "-_")


def _setting(doc: FieldDoc) -> str:
    default = "required" if doc.default == "required" else f"default `{doc.default}`"
    facts = [doc.kind, doc.range, f"in {doc.unit}" if doc.unit else "", default]
    also = f" Also understood as {', '.join(f'`{alias}`' for alias in doc.aliases)}." if doc.aliases else ""
    return f"- `{doc.name}` ({', '.join(filter(None, facts))}): {doc.text} Source: {doc.source}.{also}"


PAGES = {"cli.md": cli_page, "config.md": config_page}


def main(words: list[str]) -> int:
    """Write the pages, or with `--check` say which are not current (exit code 1)."""
    stale = []
    for name, page in PAGES.items():
        text, path = page(), DOCS / name
        if "--check" not in words:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"not current: {', '.join(stale)}; run python docs/generate.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
