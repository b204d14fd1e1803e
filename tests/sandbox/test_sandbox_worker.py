"""The broker's side of one zygote, where it can be looked at without one."""

from __future__ import annotations

import os
import tracemalloc

import pytest

from tutelage.sandbox.worker import PIECE, _sealed

SOURCES = ["", "print(1)", "é" * (PIECE + 1), "x" * (PIECE - 1) + "\U0001f600" * 3, "\ud800" * (2 * PIECE), "a" * PIECE]


def read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


@pytest.mark.parametrize("source", SOURCES, ids=range(len(SOURCES)))
def test_a_payload_arrives_as_it_is(source: str) -> None:
    data = source.encode("utf-8", "surrogatepass")
    assert read_all(_sealed(source)) == data
    assert read_all(_sealed(data)) == data


def test_a_large_source_is_never_held_twice() -> None:
    source = "é" * (1 << 22)
    tracemalloc.start()
    try:
        os.close(_sealed(source))
        assert tracemalloc.get_traced_memory()[1] < 1 << 18
    finally:
        tracemalloc.stop()
