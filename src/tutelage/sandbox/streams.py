"""One pipe out of a child, read without waiting and without keeping more than allowed."""

from __future__ import annotations

import os

CHUNK = 1 << 16


class Stream:
    """A pipe, what came out of it, and whether it was too much.

    Args:
        most: bytes that may come.
        tail: how many of the last bytes to keep; None keeps the first `most`.
    """

    def __init__(self, most: int, tail: int | None = None) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self._most, self._tail = most, tail
        self._kept = bytearray()
        self._count = 0

    @property
    def is_over(self) -> bool:
        """Whether more came than may."""
        return self._count > self._most

    @property
    def data(self) -> bytes:
        """What is kept of what came."""
        return bytes(self._kept)

    def read(self) -> bool:
        """Take what is there, one chunk at most; False at the end of the pipe."""
        try:
            chunk = os.read(self.read_end, CHUNK)
        except BlockingIOError:
            return True
        self._count += len(chunk)
        if self._tail is None:
            self._kept += chunk[: max(0, self._most - len(self._kept))]
        else:
            self._kept += chunk
            del self._kept[: -self._tail]
        return bool(chunk)

    def read_rest(self) -> None:
        """Take all that is there, without waiting for the end: somebody may still hold the pipe open."""
        before = -1
        while not self.is_over and before != self._count:
            before = self._count
            self.read()

    def close_write_end(self) -> None:
        """To be called once the child's side has it."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Close both ends."""
        self.close_write_end()
        if self.read_end >= 0:
            os.close(self.read_end)
            self.read_end = -1
