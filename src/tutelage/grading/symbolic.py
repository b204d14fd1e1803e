"""The last tier, from the caller's side: pairs that all others left undecided, sent to a sympy worker in the sandbox.

What it is: an optional tier (the extra `math`). Its worker is a process of its own, preloaded, started at the first
pair that needs it; each batch runs in a jailed child of it (grading/symbolic_entry.py) with a limit of CPU time a pair.
What it is not: a place where model text is read; only its JSON and its verdicts pass through here.

Where sympy is missing or no sandbox tier is safe, the tier is absent: pairs stay undecided, `why_absent` says why.
A pair whose answer exhausts its CPU time or memory is `timeout`, the answer's own doing; one that hangs on its gold,
or where both already agree at every point tried and no proof ends, stays undecided. So does one that ran out of wall
time with CPU time left: the machine was too busy, and a score must not depend on that.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from tutelage.errors import MissingExtra, SandboxUnavailable
from tutelage.grading.batching import CPU, Batcher, ItemLimits, Jail, Reply, died
from tutelage.grading.jails import LazyJail, open_sandboxed
from tutelage.text.answers import read_answer
from tutelage.text.expressions import FUNCTIONS
from tutelage.text.values import Equation, Group, Matrix, Named, Region, Scalar, Value

ENTRY = "tutelage.grading.symbolic_entry:judge_pairs"
EXTRA = "math"
PAIR_LIMITS = ItemLimits(cpu_seconds=2.0, wall_seconds=10.0, memory_bytes=1 << 30)

Found = Literal["equal", "different", "undecided", "timeout", "error"]

_COMPARABLE = (Scalar, Group, Region, Matrix, Equation)
_TAME = re.compile(r"(?:\\?[A-Za-z]+|[0-9]+(?:\.[0-9]+)?|[-+*/^=<>≤≥±°π√∞%$,;:|!(){}\[\]\s&\\]|_(?!_))*")
_WORD = re.compile(r"[A-Za-z]{3,}")
_KNOWN = FUNCTIONS | frozenset(
    (
        "frac", "dfrac", "tfrac", "sqrt", "binom", "left", "right", "cdot", "times", "div", "infty", "pmatrix",
        "bmatrix", "begin", "end", "cup", "cap", "leq", "geq", "neq", "circ", "degree", "emptyset", "alpha", "beta",
        "gamma", "delta", "theta", "lambda", "sigma", "omega", "phi", "mathrm", "text", "and", "quad",
    )
)  # fmt: skip
"""Words of three letters or more that a tame answer may hold; sympy's readers know `exec`, `eval` and `chr` as well."""


class Pair(NamedTuple):
    """Two bare answers, and the relative tolerance of the task."""

    gold: str
    answer: str
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the tier found out about a pair; `seconds` of CPU."""

    found: Found
    seconds: float = 0.0
    note: str = ""


class SymbolicTier:
    """Compares pairs in a worker; safe to use from several threads.

    Args:
        workers: preloaded processes, and batches in flight at once; one a core at most.
        limits: what one pair may use.
        cache_size: findings kept, the least recently used dropped.
        jail: where children run; None opens the sandbox when it is first needed.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        limits: ItemLimits = PAIR_LIMITS,
        cache_size: int = 65_536,
        jail: Jail | None = None,
    ) -> None:
        self.limits, self.workers, self.cache_size = limits, workers, cache_size
        self._jail = jail if jail is not None else LazyJail(partial(open_sandboxed, (ENTRY,), (), workers))
        self._is_ready = jail is not None
        self.why_absent: str | None = None
        self._cache: OrderedDict[Pair, Finding] = OrderedDict()
        self._lock = threading.Lock()

    def open(self) -> str:
        """Start the worker now.

        Returns:
            The sandbox's tier.

        Raises:
            MissingExtra: sympy is not installed.
            SandboxUnavailable: no tier of the sandbox is safe here.
        """
        if importlib.util.find_spec("sympy") is None:
            raise MissingExtra("sympy", EXTRA, "The symbolic tier of the grader")
        return self._jail.open().tier if isinstance(self._jail, LazyJail) else ""

    def judge(self, pairs: Sequence[Pair]) -> list[Finding]:
        """A finding for each pair, in order. Never raises; where the tier is absent, all are undecided."""
        known = [self._cached(pair) for pair in pairs]
        todo = list(dict.fromkeys(pair for pair, finding in zip(pairs, known, strict=True) if finding is None))
        made = dict(zip(todo, self._judge(todo), strict=True)) if todo and self._is_there() else {}
        self._keep(made)
        absent = Finding("undecided", note=self.why_absent or "")
        return [finding or made.get(pair, absent) for pair, finding in zip(pairs, known, strict=True)]

    def close(self) -> None:
        """End the worker, if there is one."""
        if isinstance(self._jail, LazyJail):
            self._jail.close()

    def _is_there(self) -> bool:
        """Whether there is a worker; asked once, as a machine does not grow a sandbox."""
        if not self._is_ready and self.why_absent is None:
            try:
                self.open()
                self._is_ready = True
            except (MissingExtra, SandboxUnavailable) as error:
                self.why_absent = str(error)
        return self._is_ready

    def _judge(self, pairs: list[Pair]) -> list[Finding]:
        batcher = Batcher(self._jail, ENTRY, self.limits, workers=self.workers)
        items = [{"gold": gold, "answer": answer, "tolerance": tolerance} for gold, answer, tolerance in pairs]
        replies = batcher.run(items, lambda item: not (is_tame(item["answer"]) and is_tame(item["gold"])))
        return [_finding(reply) for reply in replies]

    def _cached(self, pair: Pair) -> Finding | None:
        if not is_comparable(pair):
            return Finding("undecided")
        with self._lock:
            finding = self._cache.get(pair)
            if finding is not None:
                self._cache.move_to_end(pair)
            return finding

    def _keep(self, made: dict[Pair, Finding]) -> None:
        with self._lock:
            self._cache.update((pair, finding) for pair, finding in made.items() if finding.found != "error")
            while len(self._cache) > self.cache_size:
                self._cache.popitem(last=False)

    def __getstate__(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in ("limits", "workers", "cache_size", "_jail")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.why_absent, self._is_ready = None, not isinstance(self._jail, LazyJail)
        self._cache, self._lock = OrderedDict(), threading.Lock()


def is_comparable(pair: Pair) -> bool:
    """Whether the worker can do anything for a pair: both are expressions, or structures that may hold some."""
    first, second = (_unnamed(read_answer(text)) for text in (pair.gold, pair.answer))
    if not (isinstance(first, _COMPARABLE) and type(first) is type(second)):
        return False
    return not any(isinstance(value, Scalar) and value.too_large for value in (first, second))


def _unnamed(value: Value) -> Value:
    return value.value if isinstance(value, Named) else value


def is_tame(answer: str) -> bool:
    """Whether an answer is made of nothing but school notation: no quote, attribute or unknown name."""
    return _TAME.fullmatch(answer) is not None and all(word in _KNOWN for word in _WORD.findall(answer))


def _finding(reply: Reply) -> Finding:
    if reply.failure is None:
        found: dict[bool | None, Found] = {True: "equal", False: "different", None: "undecided"}
        return Finding(found.get(reply.value, "error"), reply.seconds) if _is_word(reply.value) else Finding("error")
    note = died(reply).detail
    if reply.failure == "lost":
        return Finding("error", reply.seconds, note)
    is_hosts = reply.failure == "time" and reply.detail != CPU
    is_own = reply.phase == "answer" and reply.failure != "raised" and not is_hosts
    return Finding("timeout" if is_own else "undecided", reply.seconds, note)


def _is_word(value: object) -> bool:
    return value is None or isinstance(value, bool)
