"""Where a record came from: from a training pair back to the sampled text, its verdict, its prompt and its problem."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.store.index import Found, about, exactly, find, open_index

ORIGINS = (
    ("chosen_id", "chosen"),
    ("rejected_id", "rejected"),
    ("source_id", "source"),
    ("parent_id", "parent"),
    ("completion_id", "about"),
)
"""Fields that name what a record was made from, and what the link is called."""


@dataclass(frozen=True)
class Link:
    """One record on the way back.

    Args:
        kind: its kind, e.g. "completions".
        id: its id; for a verdict, score or trajectory the completion's.
        record: its JSON object; None where the run does not hold it.
        relation: what it is to the record before it, one level up: chosen, rejected, source, parent, about, sample,
            verdicts, critiques, scores, trajectories, problem; "" for the record asked for.
        depth: links walked to reach it, from 0.
    """

    kind: str
    id: str
    record: dict[str, Any] | None
    relation: str = ""
    depth: int = 0


def trace(run_path: str | Path, record_id: str) -> list[Link]:
    """Walk from a record to everything it was made from, nearest first along each branch, each record once.

    Args:
        run_path: the run folder.
        record_id: an id, the unambiguous beginning of one, or `gold:<problem>`.

    Returns:
        The record itself, then what it came from, depth first; the problem last.

    Raises:
        InputError: no such id; names the nearest ones.
    """
    path = Path(run_path)
    with open_index(path) as index:
        walk = _Walk(index, path)
        found = find(index, path, record_id)
        walk.visit(found, str(found.record.get("id")), relation="", depth=0)
        return walk.links + walk.problems()


class _Walk:
    """One walk: what was seen, and the problems met on the way."""

    def __init__(self, index: sqlite3.Connection, run: Path) -> None:
        self.index, self.run = index, run
        self.links: list[Link] = []
        self.seen: set[tuple[str, str]] = set()
        self.problem_ids: dict[str, int] = {}

    def visit(self, found: Found, own_id: str, *, relation: str, depth: int) -> None:
        """Add a record and go on to its origins; a stack keeps long chains of parents from being too deep."""
        stack = [(found, own_id, relation, depth)]
        while stack:
            found, own_id, relation, depth = stack.pop()
            if (found.kind, own_id) in self.seen:
                continue
            self.seen.add((found.kind, own_id))
            self.links.append(Link(found.kind, own_id, found.record, relation, depth))
            if found.kind == "completions":
                self._add_opinions(own_id, depth + 1)
            problem = found.record.get("problem_id")
            if isinstance(problem, str):
                self.problem_ids.setdefault(problem, depth + 1)
            stack.extend(reversed(self._origins(found, depth + 1)))

    def _origins(self, found: Found, depth: int) -> list[tuple[Found, str, str, int]]:
        named = [(found.record.get(field), relation) for field, relation in ORIGINS]
        named += [(origin, "sample") for origin in found.record.get("completion_ids") or ()]
        origins = []
        for origin, relation in named:
            if not isinstance(origin, str) or not origin:
                continue
            if origin.startswith("gold:"):
                self.problem_ids.setdefault(origin.removeprefix("gold:"), depth)
                continue
            record = exactly(self.index, self.run, origin)
            if record is None:
                self.links.append(Link("", origin, None, relation, depth))
            else:
                origins.append((record, origin, relation, depth))
        return origins

    def _add_opinions(self, completion_id: str, depth: int) -> None:
        for found in about(self.index, self.run, completion_id):
            own_id = str(found.record.get("id") or completion_id)
            if found.record.get("id") is None:
                self.links.append(Link(found.kind, own_id, found.record, found.kind, depth))
            elif (found.kind, own_id) not in self.seen:
                self.seen.add((found.kind, own_id))
                self.links.append(Link(found.kind, own_id, found.record, found.kind, depth))

    def problems(self) -> list[Link]:
        """The problems met, last; one that is already in the walk is left out."""
        links = []
        for problem_id, depth in self.problem_ids.items():
            if ("problems", problem_id) in self.seen:
                continue
            found = exactly(self.index, self.run, problem_id, kind="problems")
            record = None if found is None else found.record
            links.append(Link("problems", problem_id, record, "problem", depth))
        return links
