"""Batches of items through a jail: who answered, who died of what, and the rest again in a new child.

What it is: the caller's side of grading/worker_loop.py. It never looks at the items and never raises for what a child
does; a child that dies costs its current item only. Every item gets exactly one reply, in order, however often
children or whole workers are killed from outside.
What it is not: a jail; that is handed in (`SandboxServer`, or `ProcessJail` of grading/process_jail.py).

A child is handed a random tag for each item and its lines count only under these, the first line of a tag wins, and an
item that might run code of its own goes into a child of its own, where it can forge nothing but its own line.
"""

from __future__ import annotations

import json
import secrets
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from tutelage.sandbox.protocol import Execution, Limits

Failure = Literal["raised", "time", "memory", "crash", "lost"]
"""Why an item has no value: its judge raised; it ran out of CPU or wall time; of memory; its child died by itself; or
ours: the jail failed, or the child was killed from outside, each time it was tried."""

MAX_LOST = 3
"""How often an item is tried whose child was lost through no doing of its own."""
LINE_BYTES = 1 << 16
"""Output that one item may need."""
CPU_EXIT, WALL_EXIT = int(signal.SIGPROF), int(signal.SIGALRM)
"""Exit codes of a child that the timers of grading/worker_loop.py ended."""
CPU = "cpu"
"""What the end of an item's own CPU time is called."""
KILLED = "killed"
"""What a death by SIGKILL is called: the kernel, short of memory, or somebody outside; only a second one tells."""


class Jail(Protocol):
    """Runs `function(payload, out)` of a trusted module in a fresh child; safe to call from several threads."""

    def call(self, entry: str, payload: bytes, limits: Limits) -> Execution:
        """What the child wrote and how it ended."""
        ...


@dataclass(frozen=True)
class Reply:
    """What came of an item: `value`, or the `failure` with the phase it was in; `seconds` of CPU."""

    value: Any = None
    failure: Failure | None = None
    phase: str = ""
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class ItemLimits:
    """What one item may use: seconds of CPU (decides), seconds of wall time (backstop), bytes of memory."""

    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Batcher:
    """Runs items through one entry of a jail.

    Args:
        jail: where the children are.
        entry: `module:function`, a function that hands its arguments to `run_items`.
        limits: what one item may use.
        batch_size: items that share a child.
        workers: batches in flight at once.
    """

    jail: Jail
    entry: str
    limits: ItemLimits
    batch_size: int = 16
    workers: int = 1

    def run(self, items: Sequence[Any], is_alone: Callable[[Any], bool] = lambda item: False) -> list[Reply]:
        """A reply for each item, in order.

        Args:
            items: JSON-able.
            is_alone: which items get a child of their own.
        """
        alone = [[place] for place, item in enumerate(items) if is_alone(item)]
        shared = [place for place, item in enumerate(items) if not is_alone(item)]
        batches = [shared[at : at + self.batch_size] for at in range(0, len(shared), self.batch_size)] + alone
        replies: dict[int, Reply] = {}
        if self.workers == 1 or len(batches) == 1:
            for batch in batches:
                replies |= self._finish(items, batch)
        else:
            with ThreadPoolExecutor(min(self.workers, len(batches)), "tutelage-grading") as pool:
                for found in pool.map(lambda batch: self._finish(items, batch), batches):
                    replies |= found
        return [replies[place] for place in range(len(items))]

    def _finish(self, items: Sequence[Any], batch: list[int]) -> dict[int, Reply]:
        """Replies for a batch, whose rest is put into a new child whenever one dies."""
        replies: dict[int, Reply] = {}
        attempts: Counter[int] = Counter()
        queue = deque([batch])
        while queue:
            group = queue.popleft()
            known, culprit = self._call([items[place] for place in group])
            replies |= {group[index]: reply for index, reply in known.items()}
            rest = [place for place in group if place not in replies]
            if not rest or culprit is None:
                continue
            first, others = rest[0], rest[1:]
            attempts[first] += 1
            if _is_final(culprit, is_alone=len(group) == 1, attempts=attempts[first]):
                replies[first] = culprit
            else:
                queue.append([first])
            if others:
                queue.append(others)
        return replies

    def _call(self, items: list[Any]) -> tuple[dict[int, Reply], Reply | None]:
        """Replies by index, and what happened to the first item without one."""
        tags = [secrets.token_hex(8) for _ in items]
        header = {"cpu": self.limits.cpu_seconds, "wall": self.limits.wall_seconds}
        lines = [header, *({"tag": tag, "item": item} for tag, item in zip(tags, items, strict=True))]
        payload = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        execution = self.jail.call(self.entry, payload, self._limits(len(items)))
        known, phases = _read(execution.stdout, {tag: index for index, tag in enumerate(tags)})
        missing = next((index for index in range(len(items)) if index not in known), None)
        if missing is None:
            return known, None
        phase = phases.get(missing, "")
        failure, detail = _failure(execution, phase), _detail(execution)
        seconds = self.limits.cpu_seconds if detail == CPU else _left(execution.cpu_seconds, known.values())
        return known, Reply(None, failure, phase, seconds, detail)

    def _limits(self, count: int) -> Limits:
        """Backstops for a whole batch; the child itself keeps the limits of each item."""
        one = self.limits
        return Limits(
            wall_seconds=one.wall_seconds * count + 5,
            cpu_seconds=one.cpu_seconds * count + 2,
            memory_bytes=one.memory_bytes,
            output_bytes=LINE_BYTES * (count + 1),
        )


def _is_final(reply: Reply, *, is_alone: bool, attempts: int) -> bool:
    """Whether a death is the item's own: CPU time always; all else only where nothing else was in the child."""
    if reply.failure == "time":
        return is_alone or reply.detail == CPU
    if reply.failure == "memory":
        return is_alone and (attempts > 1 or not reply.detail.startswith(KILLED))
    if reply.failure == "crash":
        return is_alone and attempts > 1
    return attempts >= MAX_LOST


def _read(stdout: str, places: dict[str, int]) -> tuple[dict[int, Reply], dict[int, str]]:
    """Replies and last phases by index; lines that are torn, foreign or second are passed over."""
    known: dict[int, Reply] = {}
    phases: dict[int, str] = {}
    for text in stdout.split("\n")[:-1]:
        try:
            line = json.loads(text)
            place = places[line["tag"]]
            if place in known:
                continue
            if "phase" in line:
                phases[place] = str(line["phase"])
                continue
            seconds = float(line["seconds"])
            if "error" in line:
                error = str(line["error"])
                failure: Failure = "memory" if error.startswith("MemoryError") else "raised"
                known[place] = Reply(None, failure, phases.get(place, ""), seconds, error)
            else:
                known[place] = Reply(line["value"], seconds=seconds)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return known, phases


def _left(spent: float, known: Iterable[Reply]) -> float:
    """Seconds of a child's CPU that were not those of its earlier items, whatever these said of themselves."""
    return min(max(0.0, spent - sum(reply.seconds for reply in known)), spent)


def _failure(execution: Execution, phase: str) -> Failure:
    """What ended the child, judged by the jail's word and never by the child's."""
    if execution.status in ("sandbox_error", "refused") or not phase:
        return "lost"
    if execution.status in ("cpu", "timeout") or execution.exit_code in (CPU_EXIT, WALL_EXIT):
        return "time"
    if execution.status == "memory":
        return "memory"
    return "lost" if execution.signal == signal.SIGKILL else "crash"


def _detail(execution: Execution) -> str:
    """The jail's word, `cpu` where our own timer spoke, and the last line of stderr if there is one."""
    if execution.exit_code == CPU_EXIT:
        return CPU
    last = execution.stderr.strip().rpartition("\n")[2]
    word = KILLED if execution.signal == signal.SIGKILL else execution.status
    return word if not last else f"{word}: {last[:200]}"


def died(reply: Reply) -> Reply:
    """A failed reply with a sentence for people as its detail."""
    words = {
        "raised": reply.detail, "memory": "it used up its memory",
        "time": "it used up its CPU time" if reply.detail == CPU else "it ran out of wall time",
        "crash": f"its process died ({reply.detail})", "lost": f"its worker was lost ({reply.detail})",
    }  # fmt: skip
    return replace(reply, detail=words[reply.failure or "lost"])
