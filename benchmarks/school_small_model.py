"""A built-in model of less than a third of the size, for the question whether size decides who is ahead.

The same world, textbooks and schooling as `primer`, with hidden size 64 instead of 128 (0.17 M parameters) and 110
blocks instead of 180. About 25 minutes on one core; resumable.

    python benchmarks/school_small_model.py FOLDER
    python benchmarks/reproduce_irpo_tuning.py --small-model FOLDER
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported

from tutelage.primer.build import build  # noqa: E402
from tutelage.primer.schooling import SchoolingConfig  # noqa: E402

SMALL = SchoolingConfig(
    hidden_size=64, num_layers=3, num_heads=2, num_key_value_heads=1, intermediate_size=192, num_blocks=110,
    num_clean_blocks=25, learning_rate=3e-3,
)  # fmt: skip
CARD_PROBLEMS = 300


def main() -> None:
    """School it, and print its card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the model goes; the state to resume from lies beside it")
    folder: Path = parser.parse_args().folder
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    print(build(SMALL, folder.with_name(f"{folder.name}-work"), folder, CARD_PROBLEMS))


if __name__ == "__main__":
    main()
