"""The built-in model `primer`: where its weights lie, and which version they are.

Importing this loads nothing: no torch, no weights. `tutelage.primer.build` makes the model from nothing; the world it
is schooled on is `tutelage.problems.primer`.
"""

from pathlib import Path

PRIMER_VERSION = "1"
"""Figures measured with different versions must not be compared."""


def model_path() -> Path:
    """The folder of the shipped model; `AutoModelForCausalLM` and `AutoTokenizer` load it as it is."""
    return Path(__file__).parent / "model"
