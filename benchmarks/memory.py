"""Peak memory of a preference step against sequence length and vocabulary, ours and TRL's `DPOTrainer`.

    OMP_NUM_THREADS=1 python benchmarks/memory.py --json                # 6 minutes on one idle core

A random Llama (2 layers, hidden size 64, tied embeddings) trains two steps of 2 random pairs (a prompt of a quarter of
the sequence length, completions of the rest, DPO + NLL, float32, AdamW, reference known beforehand). Each point is a
process of its own, which first trains a tiny model, so that what libraries load lazily is there, then loads the model
and notes resident memory; `working_mb` is the highest resident memory during the steps above that, less gradients and
AdamW's moments (12 bytes a parameter); `state_mb` is the model's own state (16 bytes a parameter, weights included).

- `trl-memory-...`: ratio is TRL's working memory over ours, at the same point;
- `own-flat-...`: ratio is our working memory with the smallest vocabulary over that with this one, at the same length:
  1 is flat. What is left of a slope: 128 tokens at 2,048 entries do not fill one chunk of logits (16 MB), and where
  embedding and output layer are tied, a gradient of each is made before they are added (V x H numbers, 37 MB at most).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from paired import line
from preference_step import SEED, PeakMemory, Workload, pair_of, random_model, train_ours, train_trl

VOCABULARIES = (2048, 32768, 151936)
LENGTHS = (128, 512, 2048)
WITH_TRL = ((2048, 512), (32768, 512), (151936, 128), (151936, 512), (151936, 2048))
NUM_PAIRS, BATCH = 4, 2
SMALL = dict(hidden_size=64, intermediate_size=172, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)
MB = 2**20


def workload(folder: Path, vocab_size: int, length: int) -> Workload:
    """A random model and pairs of one shape."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    prompt = length // 4

    def ids(count: int) -> list[int]:
        return [int(i) for i in rng.integers(3, vocab_size, count)]

    pairs = [pair_of(f"p{i}", ids(prompt), ids(length - prompt), ids(length - prompt)) for i in range(NUM_PAIRS)]
    model = random_model(folder, vocab_size=vocab_size, tie_word_embeddings=True, **SMALL)
    return Workload("memory", model, pairs, BATCH, 1e-4, is_precomputed=True)


def child(side: str, vocab_size: int, length: int) -> None:
    """Train at one point and print what it took."""
    from safetensors import safe_open

    train = train_ours if side == "ours" else train_trl
    with tempfile.TemporaryDirectory() as folder:
        train(workload(Path(folder) / "tiny", 512, 32), PeakMemory())
        work = workload(Path(folder) / "model", vocab_size, length)
        watch = PeakMemory()
        train(work, watch)
        with safe_open(work.folder / "model.safetensors", "pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - not a dict
    numbers = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes)
    found = {"working_mb": watch.growth - 12 * numbers / MB, "state_mb": 16 * numbers / MB, "process_mb": watch.process}
    print(json.dumps({name: round(value, 1) for name, value in found.items()}))


def measure(side: str, vocab_size: int, length: int) -> dict[str, Any]:
    """One point, in a process of its own."""
    command = [sys.executable, __file__, "--child", side, str(vocab_size), str(length)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} at {vocab_size}, {length}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure all points, print a JSON line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--child", nargs=3, metavar=("SIDE", "VOCABULARY", "LENGTH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import torch

        torch.set_num_threads(1)
        child(options.child[0], int(options.child[1]), int(options.child[2]))
        return
    for length in LENGTHS:
        least: dict[str, Any] = {}
        for vocab_size in VOCABULARIES:
            ours = measure("ours", vocab_size, length)
            point = dict(vocabulary=vocab_size, length=length)
            least = least or ours
            if ours is not least:
                ratio = least["working_mb"] / ours["working_mb"]
                smallest = {"name": f"own, vocabulary {VOCABULARIES[0]}", **least}
                print(line(f"own-flat-v{vocab_size}-t{length}", [ratio], ours=ours, peer=smallest, **point), flush=True)
            if (vocab_size, length) in WITH_TRL:
                peer = {"name": "trl", **measure("trl", vocab_size, length)}
                ratio = peer["working_mb"] / ours["working_mb"]
                print(line(f"trl-memory-v{vocab_size}-t{length}", [ratio], ours=ours, peer=peer, **point), flush=True)


if __name__ == "__main__":
    main()
