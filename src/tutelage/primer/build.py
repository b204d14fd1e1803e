"""Make the built-in model from nothing: `python -m tutelage.primer.build`.

Also its smaller siblings, which are not shipped (`--size small --seed 1`: 25 minutes on one core, found again by
`sibling_path`): the same world, textbooks and script.

Texts, schooling, card, packaging, in this order, on one thread; under two hours on 2 cores. Seeded: the same seed on
the same machine gives the same weights. Resumable: started again with the same folder, it goes on from the last block.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from tutelage.primer import PRIMER_VERSION, model_path, sibling_path
from tutelage.primer.measuring import measure_split
from tutelage.primer.schooling import SIZES, SchoolingConfig, school
from tutelage.primer.vocabulary import build_tokenizer, save_tokenizer
from tutelage.problems.primer import cell_table
from tutelage.records import digest

CARD_PROBLEMS = 500


def cell_digest() -> str:
    """Digest of the cell table: two models with different ones live in different worlds."""
    return digest([asdict(cell) for cell in cell_table().values()])


def package(model: Any, facts: dict[str, Any], folder: Path) -> None:
    """Write the model folder: complete or not at all, replacing what was there.

    Args:
        model: the schooled model.
        facts: what goes into primer.json.
        folder: the place, usually `model_path()`.
    """
    new = folder.with_name(folder.name + ".new")
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(new, ignore_errors=True)
    model.generation_config.update(do_sample=True, temperature=1.0, top_k=0, max_new_tokens=128)
    model.save_pretrained(new)
    save_tokenizer(new)
    (new / "primer.json").write_text(json.dumps(facts, indent=1) + "\n")
    for path in new.iterdir():
        path.chmod(0o644)  # weights are written readable by their owner only; a package is for everyone
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def build(config: SchoolingConfig, work: Path, output: Path, num_problems: int = CARD_PROBLEMS) -> dict[str, Any]:
    """School, measure and package; returns the facts in primer.json."""
    started = time.monotonic()
    tokenizer = build_tokenizer()
    model = school(config, tokenizer, work).eval()
    facts = {
        "version": PRIMER_VERSION,
        "cells": cell_digest(),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "schooling": asdict(config),
        "dev": measure_split(model, tokenizer, "dev", num_problems),
    }
    package(model, facts, output)
    logging.getLogger(__name__).info("built %s in %.0f s: %s", output, time.monotonic() - started, facts["dev"])
    return facts


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", choices=tuple(SIZES), default="primer", help="which of the sizes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder of the resumable state")
    parser.add_argument("--output", type=Path, help="folder of the finished model")
    parser.add_argument("--blocks", type=int, help="length of the schooling")
    parser.add_argument("--clean-blocks", type=int)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # Two threads beside another busy process are far slower than one, and sums would depend on their number.
    torch.set_num_threads(1)
    changed = {"num_blocks": options.blocks, "num_clean_blocks": options.clean_blocks}
    config = replace(SIZES[options.size], seed=options.seed, **{k: v for k, v in changed.items() if v is not None})
    is_shipped = options.size == "primer" and options.seed == 0
    output = options.output or (model_path() if is_shipped else sibling_path(options.size, options.seed))
    build(config, options.work or Path("runs/primer-build", f"{options.size}-{options.seed}"), output)


if __name__ == "__main__":
    main()
