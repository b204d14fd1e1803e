"""The sandbox protocol: run one program under limits, refuse where that cannot be done safely."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from tutelage.errors import InputError
from tutelage.records import Record

ExecutionStatus = Literal[
    "ok", "error", "timeout", "cpu", "memory", "output_limit", "crash", "refused", "sandbox_error"
]

MOST = 1 << 50
"""Above every limit that means something, and small enough for the kernel."""


@dataclass(frozen=True)
class Limits(Record):
    """What one program may use.

    Attributes:
        wall_seconds: seconds by the clock, from the first line of the program on.
        cpu_seconds: seconds of CPU, all threads together; the kernel counts whole seconds, rounded up.
        memory_bytes: address space in bytes beyond what the preloaded interpreter has mapped.
        processes: threads of the program, the first one included; a second process is always refused.
        file_bytes: largest size of one file, bytes.
        scratch_bytes: total size of all files in the scratch folder, bytes.
        scratch_files: number of files and folders in the scratch folder.
        output_bytes: bytes of stdout, and as many of stderr.

    Raises:
        InputError: a limit is zero or less, or beyond all measure.
    """

    wall_seconds: float = 5.0
    cpu_seconds: float = 5.0
    memory_bytes: int = 1 << 30
    processes: int = 32
    file_bytes: int = 8 << 20
    scratch_bytes: int = 16 << 20
    scratch_files: int = 256
    output_bytes: int = 1 << 16

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 < value <= MOST:
                raise InputError(
                    f"the limit {field.name} is out of range", seen=value, expected=f"above 0, at most {MOST}"
                )


@dataclass(frozen=True)
class Execution(Record):
    """What running a program gave.

    A `sandbox_error` is our failure, never a wrong answer; every status but `ok`, `refused` and `sandbox_error` is the
    program's doing.

    Attributes:
        status: how it ended.
        stdout: what it printed, cut at `Limits.output_bytes`.
        stderr: the end of what it wrote there, without paths of this machine.
        value: of a program that ended `ok`: its last printed line that is not blank, else the variable `answer`.
        seconds: by the clock.
        cpu_seconds: of CPU.
        peak_memory_bytes: resident memory, the preloaded interpreter included.
        exit_code: None where a signal ended it.
        signal: the signal that ended it, if one did.
        tier: what held it; "none" where nothing did.
    """

    status: ExecutionStatus
    stdout: str = ""
    stderr: str = ""
    value: str | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    exit_code: int | None = None
    signal: int | None = None
    tier: str = ""


@runtime_checkable
class Sandbox(Protocol):
    """No network, no files, no secrets; bounded CPU, memory, processes, output; refuses where it cannot be safe."""

    def run(self, program: str, limits: Limits) -> Execution:
        """Run `program` (Python source) under `limits`. Never raises for what the program does."""
        ...
