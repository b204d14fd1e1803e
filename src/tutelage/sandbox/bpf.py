"""A small assembler for classic BPF, as seccomp runs it: labels in, bytes out.

Not a general one: only what a filter over (machine, call number, arguments) needs. Jumps go forward only, as the kernel
wants it, and a conditional one reaches 255 instructions at most; `Assembler.assemble` says where that is exceeded.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

LOAD = 0x20  # ld  [k]: the accumulator becomes the 32-bit word at offset k of seccomp_data
MASK = 0x54  # and #k
JUMP = 0x05  # ja  +k
JUMP_EQUAL = 0x15
JUMP_AT_LEAST = 0x35
RETURN = 0x06

OFFSET_NUMBER, OFFSET_MACHINE, OFFSET_ARGUMENTS = 0, 4, 16

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
KILL_PROCESS = 0x80000000

INSTRUCTION = struct.Struct("=HBBI")


class Step(NamedTuple):
    """One instruction; `yes` and `no` name labels, or None for the next instruction."""

    code: int
    k: int
    yes: str | None = None
    no: str | None = None


class Assembler:
    """Collects instructions and labels."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._labels: dict[str, int] = {}

    def emit(self, code: int, k: int, yes: str | None = None, no: str | None = None) -> None:
        """Add an instruction.

        Args:
            code: one of the constants above.
            k: its operand.
            yes: label to jump to where a condition holds (for `JUMP`: where to go); None is the next instruction.
            no: label to jump to where it does not.
        """
        self._steps.append(Step(code, k, yes, no))

    def label(self, name: str) -> None:
        """Name the next instruction.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._labels:
            raise ValueError(f"the label {name} is set twice")
        self._labels[name] = len(self._steps)

    def new_label(self) -> str:
        """A name that nobody has."""
        return f"L{len(self._steps)}.{len(self._labels)}"

    def assemble(self) -> bytes:
        """The program.

        Raises:
            ValueError: a jump to nowhere, backwards or too far.
        """
        return b"".join(self._encode(index, step) for index, step in enumerate(self._steps))

    def _encode(self, index: int, step: Step) -> bytes:
        if step.code == JUMP:
            return INSTRUCTION.pack(JUMP, 0, 0, self._distance(index, step.yes, 1 << 16))
        yes, no = (self._distance(index, label, 255) for label in (step.yes, step.no))
        return INSTRUCTION.pack(step.code, yes, no, step.k)

    def _distance(self, index: int, label: str | None, most: int) -> int:
        if label is None:
            return 0
        if label not in self._labels:
            raise ValueError(f"no label {label}")
        distance = self._labels[label] - index - 1
        if not 0 <= distance <= most:
            raise ValueError(f"the jump to {label} spans {distance} instructions")
        return distance
