"""The sandbox protocol: run one program under limits, refuse where that cannot be done safely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from tutelage.records import Record

ExecutionStatus = Literal[
    "ok", "error", "timeout", "cpu", "memory", "output_limit", "crash", "refused", "sandbox_error"
]


@dataclass(frozen=True)
class Limits(Record):
    """What one program may use: seconds of wall clock and CPU, bytes of memory, processes, bytes of output."""

    wall_seconds: float = 5.0
    cpu_seconds: float = 5.0
    memory_bytes: int = 1 << 30
    processes: int = 1
    output_bytes: int = 1 << 16


@dataclass(frozen=True)
class Execution(Record):
    """What running a program gave.

    `value` is the last printed line. A `sandbox_error` is our failure, never a wrong answer; every status but `ok`,
    `refused` and `sandbox_error` is the program's doing.
    """

    status: ExecutionStatus
    stdout: str = ""
    stderr: str = ""
    value: str | None = None
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    tier: str = ""


@runtime_checkable
class Sandbox(Protocol):
    """No network, no files, no secrets; bounded CPU, memory, processes, output; refuses where it cannot be safe."""

    def run(self, program: str, limits: Limits) -> Execution:
        """Run `program` (Python source) under `limits`. Never raises for what the program does."""
        ...
