"""`tutelage trace`: where a record came from, back to the problem."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli.plain_text import printable

if TYPE_CHECKING:
    from tutelage.store.lineage import Link

# What of each kind is shown; the rest (token ids, log-probs) is for --json.
SHOWN: dict[str, tuple[str, ...]] = {
    "pairs": ("problem_id", "rule", "iteration", "weight"),
    "examples": ("problem_id", "origin"),
    "completions": ("role", "policy", "params", "seed", "finish_reason", "text"),
    "verdicts": ("outcome", "score", "answer", "method", "decided_by", "note"),
    "problems": ("question", "answer", "answer_kind", "split", "source"),
    "evaluations": ("strategy", "data", "problem_id", "value"),
}
HIDDEN = ("prompt_ids", "token_ids", "token_logprobs", "target_ids", "weights", "chosen_ids", "rejected_ids",
          "chosen_mask", "rejected_mask", "segments")  # fmt: skip


def trace(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    record: Annotated[str, typer.Argument(metavar="ID", help="A record's id, or the beginning of one.")],
    as_json: Annotated[bool, typer.Option("--json", help="Every field, a JSON object a line.")] = False,
) -> None:
    """Show where a record came from: pair, sampled text, verdict, problem."""
    from tutelage.store.lineage import trace as walk

    links = walk(run, record)
    tokenizer = None if as_json else _tokenizer(run)
    for link in links:
        if as_json:
            typer.echo(json.dumps({"kind": link.kind, "relation": link.relation, "depth": link.depth,
                                   "id": link.id, "record": link.record}, ensure_ascii=False))  # fmt: skip
        else:
            typer.echo("\n".join(_lines(link, tokenizer)))


def _tokenizer(run: Path) -> Any:
    """The tokenizer of the run's model, to show prompts as text; None where it does not lie on this machine."""
    from tutelage.primer import model_path
    from tutelage.store.run import Run

    name = str(Run.open(run).config.get("model", ""))
    file = (model_path() if name == "primer" else Path(name)) / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    return Tokenizer.from_file(str(file))


def _lines(link: Link, tokenizer: Any) -> list[str]:
    indent = "  " * link.depth
    relation = f"{link.relation}: " if link.relation not in ("", link.kind, "problem") else ""
    head = f"{indent}{relation}{link.kind.removesuffix('s') or 'record'} {link.id}"
    if link.record is None:
        return [f"{head} (not in this run)"]
    shown = [line for name in _names(link) for line in _field(name, link.record[name])]
    if tokenizer is not None and "prompt_ids" in link.record:
        shown = [*_field("prompt", tokenizer.decode(link.record["prompt_ids"], skip_special_tokens=False)), *shown]
    return [head, *(f"{indent}    {line}" for line in shown)]


def _names(link: Link) -> list[str]:
    record = link.record or {}
    wanted = SHOWN.get(link.kind) or tuple(name for name in record if name not in HIDDEN and name != "id")
    return [name for name in wanted if record.get(name) not in (None, "", [], {})]


def _field(name: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}={item}" for key, item in value.items() if item not in (None, "", [], ()))
    first, *rest = str(value).splitlines() or [""]
    return [f"{name}: {printable(first)}", *(f"  {printable(line)}" for line in rest)]
