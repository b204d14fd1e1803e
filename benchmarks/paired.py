"""What every benchmark script shares: paired timing of ours against a peer, and the JSON line that is printed.

Two workloads run in turn, ours then the peer's, so that a drift of the machine hits both; each round gives one ratio.
Times are CPU seconds of this process (`time.process_time`) where nothing else is said: these machines are shared.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "trl", "math-verify", "sympy")


def machine() -> dict[str, Any]:
    """The processor, its usable cores and the versions that a figure hangs on."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest, highest and number of some values."""
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
        "n": len(values),
    }


def in_turn(
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    rounds: int,
    warmup: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> tuple[list[float], list[float]]:
    """Seconds of `ours` and of `peer`, run in turn.

    Args:
        ours, peer: the two workloads.
        rounds: counted runs of each.
        warmup: uncounted runs of each, first.
        clock: what time is read from.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(warmup + rounds):
        for seconds, work in zip(times, (ours, peer), strict=True):
            gc.collect()
            began = clock()
            work()
            if index >= warmup:
                seconds.append(clock() - began)
    return times


def line(name: str, ratios: Sequence[float], *, ours: dict[str, Any], peer: dict[str, Any], **more: Any) -> str:
    """One workload's JSON line; a ratio above 1 means that tutelage is ahead."""
    row = {"name": name, "ratio": summary(ratios), "ours": ours, "peer": peer, **more, "machine": machine()}
    return json.dumps(row)
