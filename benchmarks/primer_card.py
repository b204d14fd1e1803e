"""The card of the shipped built-in model, one JSON object a split: `python benchmarks/primer_card.py`.

Seeded, so the same machine prints the same figures; about ten seconds a split on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tutelage.primer import PRIMER_VERSION, model_path
from tutelage.primer.measuring import measure_split
from tutelage.problems.primer import PRIMER_SPLITS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="card of the built-in model")
    parser.add_argument("--model", type=Path, default=model_path())
    parser.add_argument("--splits", nargs="+", default=list(PRIMER_SPLITS), choices=PRIMER_SPLITS)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(options.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    for split in options.splits:
        card = measure_split(model, tokenizer, split, options.problems, options.samples)
        print(json.dumps({"version": PRIMER_VERSION} | card), flush=True)


if __name__ == "__main__":
    main()
