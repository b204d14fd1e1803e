"""The audit of `tutelage grade`: outcomes and tiers by class of line, and where others judge otherwise.

Others are a line's own label (`equivalent` or `correct`, true or false) and math-verify, where it is installed. Neither
is the truth: published labels are wrong in places, and math-verify differs from the rules of tutelage.grading.
Memory does not grow with the number of lines: everything is counted, the first disagreements are kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tutelage.cli.tables import result_console
from tutelage.grading.peer import MathVerify

KEPT = 40
"""Disagreements of each kind that are listed; the rest are only counted."""
ASKED_AT_ONCE = 256
FIELDS = ("class", "source", "model")
LABELS = ("equivalent", "correct")
SHOWN = ("correct", "incorrect", "no_answer", "truncated", "timeout", "undecided", "error")
_NUMBERED = re.compile(r"(.*?\D)[-_/:.]?\d+(?:[-_/:.]\d+)*")


@dataclass
class _Class:
    """What is counted of a class; an agreement is (agreeing, compared)."""

    outcomes: Counter[str] = field(default_factory=Counter)
    label: list[int] = field(default_factory=lambda: [0, 0])
    peer: list[int] = field(default_factory=lambda: [0, 0])


@dataclass(frozen=True)
class _Graded:
    """What is kept of a line until math-verify has been asked, or for the list."""

    name: str
    where: str
    gold: str
    answer: str
    equivalent: bool | None
    decided_by: str


class Audit:
    """Counts lines as they are graded.

    Args:
        by: field that classes are taken from; None takes `class`, `source`, `model`, or what stands before the number
            in `id`, whichever comes first.
        peer: gives math-verify's opinion.
    """

    def __init__(self, by: str | None = None, peer: MathVerify | None = None) -> None:
        self.by, self.peer = by, peer or MathVerify()
        self.classes: dict[str, _Class] = {}
        self.tiers: Counter[tuple[str, str]] = Counter()
        self.disagreements: dict[str, list[tuple[_Graded, bool]]] = {"label": [], "math-verify": []}
        self._lines = 0
        self._waiting: list[_Graded] = []
        self._has_peer: bool | None = None

    def add(self, row: Mapping[str, Any], verdict: Mapping[str, Any], *, gold: str) -> None:
        """Count a line.

        Args:
            row: its object as it was read, with its label if it has one.
            verdict: its object as it is written.
            gold: its gold answer as text.
        """
        self._lines += 1
        name = class_of(row, self.by)
        graded = _Graded(name, str(row.get("id", f"line {self._lines}")), gold, verdict["answer"] or "",
                         verdict["equivalent"], verdict["decided_by"])  # fmt: skip
        found = self.classes.setdefault(name, _Class())
        found.outcomes[verdict["outcome"]] += 1
        self.tiers[(verdict["decided_by"], verdict["outcome"])] += 1
        label = next((row[key] for key in LABELS if isinstance(row.get(key), bool)), None)
        if label is not None:
            self._compare("label", found.label, graded, label)
        if graded.answer:
            self._waiting.append(graded)
        if len(self._waiting) >= ASKED_AT_ONCE:
            self._ask()

    def show(self, console: Console | None = None) -> None:
        """Print the tables and the disagreements, and end math-verify's worker."""
        self._ask()
        self.peer.close()
        console = console or result_console()
        console.print(self._class_table())
        console.print(self._tier_table())
        for other, shown in self.disagreements.items():
            count = sum(part[1] - part[0] for part in self._parts(other))
            compared = sum(part[1] for part in self._parts(other))
            if compared:
                console.print(f"{other}: {compared - count} of {compared} agree", markup=False)
                for graded, says in shown:
                    console.print(_in_words(graded, other, says), markup=False, soft_wrap=True)
                if count > len(shown):
                    console.print(f"  and {count - len(shown)} more", markup=False)
        if self.peer.why_absent:
            console.print(f"math-verify was not asked: {self.peer.why_absent}", markup=False)

    def _parts(self, other: str) -> list[list[int]]:
        return [found.label if other == "label" else found.peer for found in self.classes.values()]

    def _ask(self) -> None:
        """Ask math-verify about the lines that wait."""
        if self._has_peer is None and self._waiting:
            self._has_peer = self.peer.is_there()
        if self._has_peer:
            says = self.peer.ask([(graded.gold, graded.answer) for graded in self._waiting])
            for graded, opinion in zip(self._waiting, says, strict=True):
                if opinion is not None:
                    self._compare("math-verify", self.classes[graded.name].peer, graded, opinion)
        self._waiting.clear()

    def _compare(self, other: str, part: list[int], graded: _Graded, says: bool) -> None:
        part[1] += 1
        part[0] += graded.equivalent == says
        if graded.equivalent != says and len(self.disagreements[other]) < KEPT:
            self.disagreements[other].append((graded, says))

    def _class_table(self) -> Table:
        seen = [outcome for outcome in SHOWN if any(found.outcomes[outcome] for found in self.classes.values())]
        others = [other for other in self.disagreements if any(part[1] for part in self._parts(other))]
        table = _table("class", "lines", *seen, *(f"{other} agrees" for other in others))
        for name, found in sorted(self.classes.items()):
            parts = [found.label if other == "label" else found.peer for other in others]
            agree = [f"{part[0]}/{part[1]}" if part[1] else "-" for part in parts]
            counts = [str(found.outcomes[outcome] or "-") for outcome in seen]
            table.add_row(name, str(found.outcomes.total()), *counts, *agree)
        return table

    def _tier_table(self) -> Table:
        seen = [outcome for outcome in SHOWN if any(key[1] == outcome for key in self.tiers)]
        table = _table("decided by", "lines", *seen)
        for tier in sorted({tier for tier, _ in self.tiers}):
            counts = [self.tiers[(tier, outcome)] for outcome in seen]
            table.add_row(tier, str(sum(counts)), *(str(count or "-") for count in counts))
        return table


def class_of(row: Mapping[str, Any], by: str | None = None) -> str:
    """The class of a line: a field of it, or its id without the numbers at its end; `all` where it has neither."""
    for name in (by,) if by else FIELDS:
        if isinstance(row.get(name), str | int):
            return str(row[name])
    found = _NUMBERED.fullmatch(str(row.get("id", ""))) if not by else None
    return found[1].rstrip("-_/:.") if found else "all"


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column(first)
    for heading in others:
        table.add_column(heading.replace("_", " "), justify="right")
    return table


def _in_words(graded: _Graded, other: str, says: bool) -> str:
    ours = {True: "equal", False: "different", None: "undecided"}[graded.equivalent]
    theirs = "equal" if says else "different"
    answer = repr(graded.answer) if graded.answer else "no answer"
    return f"  {graded.where}: {graded.gold!r} and {answer}: {ours} by {graded.decided_by}, {other} says {theirs}"
