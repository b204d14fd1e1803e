"""Frames between the broker and a zygote: a length, a small JSON object, and descriptors that ride along.

No program and no output of one ever travels in a frame: those go through descriptors, from the broker to the child and
back, so that the zygote never holds a byte of either.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import time
from typing import Any, NamedTuple

LENGTH = struct.Struct("!I")
MAX_FRAME = 1 << 18
MAX_DESCRIPTORS = 8


class Frame(NamedTuple):
    """One message and the descriptors that came with it; whoever receives it closes them."""

    message: dict[str, Any]
    descriptors: list[int]


class WireBroken(Exception):
    """The other side is gone, silent for too long, or speaks nonsense."""


class Channel:
    """One end of a stream socket that carries frames; not for use by two threads at once.

    Args:
        connection: a connected Unix stream socket.
        send_seconds: how long a send may wait for the other side to read.
    """

    def __init__(self, connection: socket.socket, send_seconds: float = 20.0) -> None:
        self.connection = connection
        connection.settimeout(send_seconds)
        self._received = bytearray()
        self._descriptors: list[int] = []

    def fileno(self) -> int:
        """For poll."""
        return self.connection.fileno()

    def send(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """Send one frame.

        Raises:
            WireBroken: the other side is gone or does not read.
        """
        data = json.dumps({**message, "descriptors": len(descriptors)}).encode()
        frame = LENGTH.pack(len(data)) + data
        try:
            sent = socket.send_fds(self.connection, [frame], list(descriptors))
            if sent < len(frame):  # sending nothing fails, too, where the other side has read all and closed
                self.connection.sendall(frame[sent:])
        except OSError as error:
            raise WireBroken(f"cannot send: {error}") from error

    def receive(self, seconds: float | None = None) -> Frame:
        """The next frame.

        Args:
            seconds: how long to wait; None waits until a frame or the end comes.

        Raises:
            WireBroken: the other side is gone, nothing came in time, or what came is no frame.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while (frame := self.next_frame()) is None:
            self._wait(deadline)
            self.read_available()
        return frame

    def read_available(self) -> None:
        """Take what has arrived; to be called when poll says that something has.

        Raises:
            WireBroken: the other side is gone.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self.connection, 1 << 16, MAX_DESCRIPTORS)
        except OSError as error:
            raise WireBroken(f"cannot receive: {error}") from error
        self._descriptors += descriptors
        if not data:
            raise WireBroken("the other side is gone")
        self._received += data

    def next_frame(self) -> Frame | None:
        """The next frame of those that have arrived whole."""
        if len(self._received) < LENGTH.size:
            return None
        (size,) = LENGTH.unpack_from(self._received)
        if size > MAX_FRAME:
            raise WireBroken(f"a frame of {size} bytes")
        if len(self._received) < LENGTH.size + size:
            return None
        data = bytes(self._received[LENGTH.size : LENGTH.size + size])
        del self._received[: LENGTH.size + size]
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise WireBroken("a frame that is no message") from error
        count = message.pop("descriptors", None) if isinstance(message, dict) else None
        if not isinstance(count, int):
            raise WireBroken("a frame that is no message")
        mine, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        if len(mine) != count:
            raise WireBroken("descriptors are missing")
        return Frame(message, mine)

    def close(self) -> None:
        """Close the socket and descriptors that nobody took."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []
        self.connection.close()

    def _wait(self, deadline: float | None) -> None:
        poller = select.poll()
        poller.register(self.connection, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poller.poll(left):
            raise WireBroken("no answer in time")
