"""The kernel's own limits of a process, set from `Limits`."""

from __future__ import annotations

import math
import resource
from pathlib import Path
from typing import Any

STACK_BYTES = 8 << 20
"""What login shells set; threads get stacks of the same size, which count as memory."""
ASSUMED_BYTES = 512 << 20
MAX_DESCRIPTORS = 64


def mapped_bytes() -> int:
    """Address space of this process, which a fork of it starts with; a guess where /proc is not to be seen."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return ASSUMED_BYTES
    return pages * resource.getpagesize()


def set_limits(limits: dict[str, Any], *, base_bytes: int, other_tasks: int) -> None:
    """Limit this process.

    Args:
        limits: the fields of `Limits`.
        base_bytes: address space that does not count, see `mapped_bytes`.
        other_tasks: threads that the kernel counts against the same user and that are not the program's.
    """
    cpu = max(1, math.ceil(limits["cpu_seconds"]))
    memory = base_bytes + int(limits["memory_bytes"])
    pairs = {
        resource.RLIMIT_AS: (memory, memory),
        resource.RLIMIT_CPU: (cpu, cpu + 1),  # first SIGXCPU, then SIGKILL
        resource.RLIMIT_FSIZE: (int(limits["file_bytes"]),) * 2,
        resource.RLIMIT_NOFILE: (MAX_DESCRIPTORS, MAX_DESCRIPTORS),
        resource.RLIMIT_NPROC: (int(limits["processes"]) + other_tasks,) * 2,
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_STACK: (STACK_BYTES, STACK_BYTES),
    }
    for kind, (soft, hard) in pairs.items():
        most = resource.getrlimit(kind)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))
