"""Frames: what arrives whole is understood, whatever the pieces; nonsense breaks the wire and nothing else."""

from __future__ import annotations

import os
import random
import socket

import pytest

from tutelage.sandbox.wire import LENGTH, MAX_FRAME, Channel, WireBroken


@pytest.fixture
def ends():
    """A channel and the raw socket at its other end."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def test_a_frame_survives_any_cutting(ends) -> None:
    channel, raw = ends
    data = b'{"event": "x", "descriptors": 0}'
    for byte in LENGTH.pack(len(data)) + data:
        raw.send(bytes([byte]))
        channel.read_available()
    assert channel.next_frame().message == {"event": "x"}
    assert channel.next_frame() is None


def test_descriptors_go_with_their_frame(ends) -> None:
    channel, raw = ends
    read_end, write_end = os.pipe()
    Channel(raw).send({"n": 1}, (write_end,))
    Channel(raw).send({"n": 2})
    frame = channel.receive(1)
    os.write(frame.descriptors[0], b"x")
    assert (frame.message, os.read(read_end, 1)) == ({"n": 1}, b"x")
    assert channel.receive(1).message == {"n": 2}
    for descriptor in (read_end, write_end, *frame.descriptors):
        os.close(descriptor)


@pytest.mark.parametrize("seed", range(40))
def test_random_bytes_never_hang_or_crash(seed: int) -> None:
    rng = random.Random(seed)
    ours, theirs = socket.socketpair()
    noise = rng.randbytes(rng.randint(0, 3000))
    if seed % 2:
        body = rng.choice([b"[]", b"{}", b"null", b'{"descriptors": 3}', b'{"descriptors": "x"}', b"\xff", b"[" * 900])
        noise = LENGTH.pack(len(body)) + body + noise
    theirs.sendall(noise)
    theirs.close()
    channel = Channel(ours)
    with pytest.raises(WireBroken):
        for _ in range(10_000):
            channel.receive(1)
    channel.close()


def test_frames_that_are_too_long_are_not_waited_for(ends) -> None:
    channel, raw = ends
    raw.sendall(LENGTH.pack(MAX_FRAME + 1))
    with pytest.raises(WireBroken, match="bytes"):
        channel.receive(1)


def test_silence_ends(ends) -> None:
    with pytest.raises(WireBroken, match="in time"):
        ends[0].receive(0.05)


def test_a_reader_that_closes_once_it_has_all_is_no_failure(ends, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = ends
    send_fds = socket.send_fds

    def sent_and_closed(*arguments) -> int:
        sent = send_fds(*arguments)
        theirs.close()
        return sent

    monkeypatch.setattr(socket, "send_fds", sent_and_closed)
    ours.send({"event": "connected"})
