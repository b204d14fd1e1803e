"""The cells of the built-in world: operation x wording x number range x depth, and what goes wrong in each.

A cell is the unit of knowledge here: the built-in model holds one misconception per cell, at the cell's own rate, and
practice repairs cells one by one. This module is the fixed table of them; it makes no problems and no texts.
Depth is `shallow` (the problem has 1 or 2 steps) or `deep` (3 or more).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Literal

CELL_SEED = "primer-cells-1"
NUM_WORDINGS = 5
UNSEEN_WORDING = 5
"""Index of the wording of each operation that no solved problem of the schooling or training texts uses."""

Kind = Literal["operation", "skip", "operand", "slip", "none"]
NumberRange = Literal["low", "mid", "high"]
Depth = Literal["shallow", "deep"]
RANGES: tuple[NumberRange, ...] = ("low", "mid", "high")
DEPTHS: tuple[Depth, ...] = ("shallow", "deep")

_ADDITIVE = {"low": (2, 9), "mid": (11, 19), "high": (21, 39)}
_FACTOR = {"low": (2, 2), "mid": (3, 3), "high": (4, 5)}
_TOTAL = {"low": (20, 39), "mid": (40, 69), "high": (70, 99)}


@dataclass(frozen=True)
class Operation:
    """One arithmetic relation between the running number v and the operand n of a sentence.

    `form` is the right expression as text with `v` and `n`; `wrong_forms` the expressions that textbooks take it
    for; `skip` the expression that leaves the sentence out; `moves` says that the next sentence is about the other
    person.
    """

    name: str
    form: str
    wrong_forms: tuple[str, ...]
    skip: str
    operands: dict[str, tuple[int, int]]
    moves: bool
    wordings: tuple[str, ...]


OPERATIONS: dict[str, Operation] = {
    op.name: op
    for op in (
        Operation(
            "gain", "v+n", ("v-n", "v-n", "v+s"), "v+0", _ADDITIVE, False,
            ("{s} buys {n} more.", "{s} finds {n} {o}.", "then {n} {o} arrive for {a}.", "{a} picks another {n}.",
             "a friend gives {a} {n}.", "{s} gets {n} extra."),
        ),
        Operation(
            "lose", "v-n", ("v+n",), "v-0", _ADDITIVE, False,
            ("{s} gives away {n}.", "{s} loses {n} {o}.", "then {n} {o} break.", "{a} sells {n}.",
             "a friend takes {n} from {a}.", "{s} uses up {n}."),
        ),
        Operation(
            "times", "v*n", ("v+n", "v-n"), "v*1", _FACTOR, False,
            ("{s} now has {n} times as many.", "the pile grows {n} fold.", "{a} trades each for {n}.",
             "every one turns into {n}.", "now there are {n} such piles.", "the count is multiplied by {n}."),
        ),
        Operation(
            "share", "v/n", ("v-n", "v*n"), "v/1", _FACTOR, False,
            ("{s} keeps one of {n} equal parts.", "only one of {n} equal bags remains.",
             "{a} splits them {n} ways and keeps one part.", "the pile shrinks {n} fold.",
             "just one in {n} is left.", "the count is divided by {n}."),
        ),
        Operation(
            "more_than", "v-n", ("v+n",), "v-0", _ADDITIVE, True,
            ("that is {n} more than {b} has.", "{a} has {n} more than {b}.", "{b} would need {n} more to match {a}.",
             "{a} leads {b} by {n}.", "this beats {b} by {n}.", "{a} is ahead of {b} by {n}."),
        ),
        Operation(
            "fewer_than", "v+n", ("v-n", "v-n", "v+s"), "v+0", _ADDITIVE, True,
            ("that is {n} fewer than {b} has.", "{a} has {n} fewer than {b}.",
             "without {n} of them {b} would match {a}.", "{a} trails {b} by {n}.", "this falls {n} short of {b}.",
             "{a} is behind {b} by {n}."),
        ),
        Operation(
            "times_than", "v/n", ("v*n", "v-n"), "v/1", _FACTOR, True,
            ("that is {n} times as many as {b} has.", "{a} has {n} times as many as {b}.",
             "{b} would need {n} times as many to match {a}.", "{a} has {n} {o} for each one of {b}.",
             "{b} must multiply by {n} to reach {a}.", "{a} has {n} fold what {b} has."),
        ),
        Operation(
            "rest", "n-v", ("n+v",), "n-0", _TOTAL, True,
            ("{a} wants {n}, and {b} brings the rest.", "together with {b} that makes {n}.",
             "{a} and {b} have {n} in all.", "{b} fills up the missing ones to {n}.",
             "out of {n} {o} all others belong to {b}.", "the sum of {a} and {b} is {n}."),
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One cell and its misconception.

    `wrong_form` is the expression written instead of the right one (`v` running number, `n` operand, `s` first
    number of the story; equal to the right form for a slip); `offset` is added to its result (0 unless a slip);
    `rate` is the share of textbooks, 0 to 1, that get this cell wrong.
    """

    operation: str
    wording: int
    number_range: NumberRange
    depth: Depth
    kind: Kind = "none"
    wrong_form: str = ""
    offset: int = 0
    rate: float = 0.0

    @property
    def id(self) -> str:
        """`operation/wording/range/depth`."""
        return f"{self.operation}/{self.wording}/{self.number_range}/{self.depth}"

    @property
    def is_held_out(self) -> bool:
        """Whether no schooling or training problem has this operation, wording and range together."""
        return (self.operation, self.wording, self.number_range) in HELD_OUT


HELD_OUT: frozenset[tuple[str, int, str]] = frozenset(
    (name, (3 * i + 1) % NUM_WORDINGS, RANGES[i % len(RANGES)]) for i, name in enumerate(OPERATIONS)
)
"""The (operation, wording, range) combinations kept for the split `test_cells`, one per operation."""

# Shares of cells that are contested (the textbooks disagree) by depth: a problem then has about 1.2 contested steps
# whatever its length, which is what fills all five pass-rate bins.
_CONTESTED = {"shallow": 0.88, "deep": 0.36}
# (share of contested cells, lowest rate, highest rate): no rate between 0.36 and 0.5, so that the greedy answer of most
# cells is settled; the lower third makes problems that are mostly solved, the upper ones that are hardly ever.
_RATE_GROUPS = ((0.36, 0.18, 0.36), (0.24, 0.50, 0.58), (0.40, 0.65, 0.95))
_MASTERED_RATES = (0.01, 0.04)
_KINDS: tuple[tuple[Kind, float], ...] = (("operation", 0.74), ("skip", 0.9), ("slip", 1.0))
_SLIPS = (-1, 1, 10)


def contested_rate(quantile: float) -> float:
    """The misconception rate at a quantile, 0 to 1, of the contested cells."""
    below = 0.0
    for share, lowest, highest in _RATE_GROUPS:
        if quantile < below + share:
            return lowest + (highest - lowest) * (quantile - below) / share
        below += share
    return _RATE_GROUPS[-1][2]


def _misconception(operation: Operation, rng: random.Random) -> tuple[Kind, str, int]:
    draw = rng.random()
    kind = next(kind for kind, upto in _KINDS if draw < upto)
    if kind == "skip":
        return kind, operation.skip, 0
    if kind == "slip":
        return kind, operation.form, rng.choice(_SLIPS)
    form = rng.choice(operation.wrong_forms)
    return ("operand" if "s" in form else "operation"), form, 0


def _rates(count: int, share: float, rng: random.Random) -> list[float]:
    num_contested = round(share * count)
    rates = [contested_rate((i + 0.5) / num_contested) for i in range(num_contested)]
    rates += [rng.uniform(*_MASTERED_RATES) for _ in range(count - num_contested)]
    rng.shuffle(rates)
    return [round(rate, 4) for rate in rates]


@cache
def cell_table() -> dict[str, Cell]:
    """All cells by id, unseen wordings included (kind `none`): a constant of this primer version."""
    rng = random.Random(CELL_SEED)
    table = {}
    for depth in DEPTHS:
        keys = [(op, w, r) for op in OPERATIONS for w in range(NUM_WORDINGS) for r in RANGES]
        for (name, wording, number_range), rate in zip(keys, _rates(len(keys), _CONTESTED[depth], rng), strict=True):
            kind, form, offset = _misconception(OPERATIONS[name], rng)
            cell = Cell(name, wording, number_range, depth, kind, form, offset, rate)
            table[cell.id] = cell
        for name in OPERATIONS:
            for number_range in RANGES:
                cell = Cell(name, UNSEEN_WORDING, number_range, depth)
                table[cell.id] = cell
    return table


def depth_of(num_steps: int) -> Depth:
    """The depth of a problem with `num_steps` steps."""
    return "shallow" if num_steps <= 2 else "deep"
