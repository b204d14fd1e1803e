"""What the audit's child does: asks math-verify for its opinion on a pair, to be listed where it differs from ours.

Entry module: imported in a worker's preloaded process and run in its jailed children only, as math-verify hands model
text to readers that run code. Its opinion is never a verdict (grading/symbolic_entry.py says why). It is asked at its
best: both answers boxed. Its own time limits are off: they use signals; the worker's limits decide.
"""

from __future__ import annotations

import logging
from typing import Any, BinaryIO

from math_verify import parse, verify

from tutelage.grading.worker_loop import Mark, run_items

logging.disable(logging.CRITICAL)
WARM_UP = ((r"\frac{1}{2}", "0.5"), (r"\sqrt{2}x^2+1", r"1+\sqrt{2}x^2"), (r"(1,\pi)", "[1,3]"), (r"x\le 5", "5"))


def judge_pairs(payload: bytes, out: BinaryIO) -> None:
    """The worker's entry: items are `{"gold", "answer"}`, values are true or false, null where it reads no gold."""
    run_items(payload, out, judge_pair)


def judge_pair(item: dict[str, Any], mark: Mark) -> bool | None:
    """Whether math-verify accepts the answer."""
    mark("gold")
    gold = parse(rf"\boxed{{{item['gold']}}}", parsing_timeout=None)
    mark("answer")
    answer = parse(rf"\boxed{{{item['answer']}}}", parsing_timeout=None)
    return bool(verify(gold, answer, timeout_seconds=None)) if gold else None


for _gold, _answer in WARM_UP:
    judge_pair({"gold": _gold, "answer": _answer}, lambda phase: None)
