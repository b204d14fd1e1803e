"""math-verify's opinion on pairs, for an audit: asked in the sandbox, where it is installed, and never a verdict."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import partial

from tutelage.errors import SandboxUnavailable
from tutelage.grading.batching import Batcher, ItemLimits
from tutelage.grading.jails import LazyJail, open_sandboxed
from tutelage.grading.symbolic import is_tame

ENTRY = "tutelage.grading.math_verify_entry:judge_pairs"
LIMITS = ItemLimits(cpu_seconds=5.0, wall_seconds=30.0, memory_bytes=1 << 30)


class MathVerify:
    """Asks math-verify in a worker that is started when it is first asked.

    Args:
        workers: worker processes.
    """

    def __init__(self, workers: int = 1) -> None:
        self.why_absent: str | None = None
        self._jail = LazyJail(partial(open_sandboxed, (ENTRY,), (), workers))
        self._workers = workers

    def is_there(self) -> bool:
        """Whether it can be asked; if not, `why_absent` says why."""
        if importlib.util.find_spec("math_verify") is None:
            self.why_absent = "math-verify is not installed (pip install 'tutelage[math]')"
        if self.why_absent is None:
            try:
                self._jail.open()
            except SandboxUnavailable as error:
                self.why_absent = " ".join(str(error).split())
        return self.why_absent is None

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
        """Whether it accepts each (gold, answer); None where it ran out of time or reads no gold."""
        items = [{"gold": gold, "answer": answer} for gold, answer in pairs]
        batcher = Batcher(self._jail, ENTRY, LIMITS, workers=self._workers)
        replies = batcher.run(items, lambda item: not all(map(is_tame, item.values())))
        return [reply.value if isinstance(reply.value, bool) else None for reply in replies]

    def close(self) -> None:
        """End the worker."""
        self._jail.close()
