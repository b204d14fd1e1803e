"""What an entry names: trusted code that a preloaded process imports before anything untrusted is seen."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import BinaryIO

Function = Callable[[bytes, BinaryIO], None]


def load(entry: str) -> Function:
    """The function of an entry, to be called as `function(payload, out)`.

    Args:
        entry: `module:function`; or `module:factory TEXT`, where `factory(TEXT)`, called once, gives the function.

    Raises:
        ImportError: no such module.
        AttributeError: it has no such function.
    """
    name, is_made, text = entry.partition(" ")
    module, _, function = name.partition(":")
    found = getattr(importlib.import_module(module), function)
    made: Function = found(text) if is_made else found
    return made
