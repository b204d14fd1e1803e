"""The built-in model `primer`: where its weights lie, and which version they are.

Importing this loads nothing: no torch, no weights. `tutelage.primer.build` makes the model from nothing; the world it
is schooled on is `tutelage.problems.primer`.
"""

import os
from pathlib import Path

PRIMER_VERSION = "1"
"""Figures measured with different versions must not be compared."""


def model_path() -> Path:
    """The folder of the shipped model; `AutoModelForCausalLM` and `AutoTokenizer` load it as it is."""
    return Path(__file__).parent / "model"


def sibling_path(size: str, seed: int) -> Path:
    """The folder of a model of another size or schooling seed, whether it is there or not; none is shipped.

    It lies in the user's cache (`XDG_CACHE_HOME`, else `~/.cache`): schooling takes minutes to an hour, once.

    Args:
        size: `tiny`, `small` or `primer`.
        seed: of the schooling.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "tutelage" / f"primer-{PRIMER_VERSION}-{size}-{seed}"
