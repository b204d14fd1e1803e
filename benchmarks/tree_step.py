"""Preference training on trees of rollouts, packed: against TRL's `DPOTrainer`, and against our own step on rows apart.

    OMP_NUM_THREADS=1 python benchmarks/tree_step.py --json [--only NAME ...]     # about 6 minutes on one idle core

Shapes: a prompt of 60 random tokens and a chain of chunks, one alternative to each chunk, and a pair at every node: the
next chunk against its alternative, given all before. `10x30` has 10 chunks of 30 tokens, `6chunks` the six chunks of
160 tokens of arXiv 2410.22304. `realtrees` are the pairs of a short run of `flow-dpo` on the built-in model (both its
roles, 32 pairs of one role an update, adapters of rank 16, as configs/flow_dpo_primer.toml has it). Models: `primer`
(built in, 0.8 M parameters) and `random25m` (`preference_step.py`).

- `trl-`: the same token ids, loss (DPO with beta 0.1 plus NLL, averaged over tokens), updates and optimizer on both
  sides. All weights train, in float32 on one thread. The reference is computed on both sides and timed. TRL is set as
  in `preference_step.py` and pads all that it computes at once to one length, so how it gets the pairs matters. In
  `10x30` it gets them as its users do: in batches of 8, its default (10 where an update has 10 pairs), shuffled within
  an update. In `10x30tuned` it gets them as the trees give them, in as many parts with their gradients added up as
  made it fastest (`TUNED`, by `--tune`); in `10x30sorted` likewise, but shortest first over all trees.
- `own-`: our learner as it is, against the same learner with trees ruled out: every row is then computed apart, in
  passes of like length, and nothing is shared between rows (only a row that occurs twice is computed once).
  `token_ratio` is what the rows feed over what the trees compute, both counted; `of_token_ratio` is the share of it
  that shows in time. It cannot all show: both ways send the same scored tokens through the output layer, and a token
  of a tree looks at more keys than one of the rows. `product_ratio` counts all multiplications instead.

Timed is CPU time of reference and updates; loading is not. `memory_mb` is as in `preference_step.py`, from a process
for each side. `max_loss_difference` is over all updates, `max_gradient_difference` over all weights of the first
update before clipping, over their largest gradient.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from paired import in_turn, line, summary
from preference_step import (
    ALPHA,
    BETA,
    RANDOM_25M,
    SEED,
    Losses,
    PeakMemory,
    Stopwatch,
    Workload,
    make_trainer,
    pair_of,
    random_model,
)

from tutelage.config.settings import TrainingSettings
from tutelage.learning.layout import Group, make_pass
from tutelage.learning.preference import PairBatch, PreferenceLearner
from tutelage.primer import model_path
from tutelage.records import PreferencePair

CONFIG = Path(__file__).parent.parent / "configs" / "flow_dpo_primer.toml"
USUAL, TUNED = {"primer": 5, "random25m": 1}, {"primer": 8, "random25m": 2}
"""Parts in which TRL computes an update by its default, and fastest (`--tune`)."""


@dataclass(frozen=True)
class TreeWorkload(Workload):
    """Updates of `batch_size` pairs, one after the other; with an adapter of rank `lora_rank`, or all weights."""

    lora_rank: int = 0
    order: str = "trees"

    def settings(self) -> TrainingSettings:
        """Our settings."""
        rank = self.lora_rank
        return TrainingSettings(
            learning_rate=self.learning_rate, batch_size=self.batch_size, lora_rank=rank, lora_alpha=rank or None
        )

    def updates(self) -> list[Sequence[PreferencePair]]:
        """The pairs of each update."""
        return [self.pairs[i : i + self.batch_size] for i in range(0, len(self.pairs), self.batch_size)]

    def in_order(self) -> list[PreferencePair]:
        """The pairs as TRL visits them: tree by tree, shortest first in an update, or as its sampler would."""
        shuffled = random.Random(SEED)
        keys: dict[str, Callable[[PreferencePair], float]] = {
            "trees": lambda pair: 0,
            "shortest": lambda pair: len(pair.prompt_ids),
            "shuffled": lambda pair: shuffled.random(),
        }
        return [pair for part in self.updates() for pair in sorted(part, key=keys[self.order])]

    def opened(self, *, trees: bool) -> PreferenceLearner:
        """A learner with fresh weights, and with trees or with every row apart."""
        learner = PreferenceLearner.open(
            self.folder, self.settings(), beta=BETA, alpha=ALPHA, nll_average="token", seed=SEED, device="cpu"
        )
        if not trees:
            learner.policy.attention_cost = None
        return learner


def shaped_pairs(num_trees: int, *, chunks: int, size: int, prompt: int = 60, vocab_size: int) -> list[PreferencePair]:
    """The pairs of trees of random tokens, tree by tree."""
    rng = np.random.default_rng(SEED)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(int(i) for i in rng.integers(3, vocab_size, count))

    pairs = []
    for tree in range(num_trees):
        path = ids(prompt)
        for node in range(chunks):
            chosen, rejected = ids(size), ids(size)
            pairs.append(pair_of(f"t{tree}n{node}", path, chosen, rejected))
            path += chosen
    return pairs


def real_pairs(num_problems: int, per_update: int) -> list[PreferencePair]:
    """The pairs of a run of `flow-dpo` on the built-in model, in whole updates of one role each."""
    from tutelage.cli.backends import open_bench
    from tutelage.recipes import flow_dpo
    from tutelage.recipes.progress import SilentProgress

    changes = {
        "data": f"primer:train?n={num_problems}",
        "eval_data": "primer:dev?n=2",
        "eval_flow": False,
        "seed": SEED,
    }
    config = flow_dpo.Config(**(tomllib.loads(CONFIG.read_text()) | changes))
    with (
        tempfile.TemporaryDirectory() as folder,
        open_bench(config, recipe="flow-dpo", folder=Path(folder) / "run", progress=SilentProgress()) as bench,
        contextlib.redirect_stdout(sys.stderr),
    ):
        flow_dpo.run(config, bench)
        pairs = list(bench.run.read("pairs", PreferencePair))
    found = []
    for rule in ("next-chunk", "stop-decision"):
        own = [pair for pair in pairs if pair.rule == rule]
        found += own[: len(own) // per_update * per_update]
    return found


def train_ours(work: TreeWorkload, watch: Stopwatch, *, trees: bool = True) -> Losses:
    """Open, then the timed updates; the loss of each."""
    learner = work.opened(trees=trees)
    watch.start()
    reference = learner.reference_logprobs(work.pairs)
    losses = []
    for number, pairs in enumerate(work.updates()):
        first = number * work.batch_size
        losses.append(learner.step(PairBatch(pairs, reference[first : first + len(pairs)])).loss)
    watch.stop()
    return losses


def train_trl(work: TreeWorkload, watch: Stopwatch) -> Losses:
    """Construct, then the timed updates; the loss of each."""
    with tempfile.TemporaryDirectory() as out:
        trainer, losses = make_trainer(work, watch, Path(out))
        with contextlib.redirect_stdout(sys.stderr):  # its summary of the training
            trainer.train()
    whole = np.array([float(loss) for loss in losses]).reshape(-1, work.parts)
    return [float(loss) for loss in whole.mean(1) * (1 if whole[0, 0] > 1e-3 else work.parts)]


def counted(work: TreeWorkload) -> dict[str, Any]:
    """Tokens of the first round: fed by the rows, computed by the trees; and how far gradients differ."""
    import torch

    from tutelage.learning.batches import pair_rows
    from tutelage.learning.objectives import PairWork
    from tutelage.learning.tree_attention import tree_attention

    fed, computed, products = 0, {True: 0, False: 0}, {True: 0, False: 0}
    for pairs in work.updates():
        items = [pair_rows(pair) for pair in pairs]
        fed += sum(row.num_fed for rows in items for row in rows)
        for trees in (True, False):
            groups = plans(work, trees).plan(items)
            computed[trees] += sum(group.num_padded for group in groups)
            products[trees] += num_products(plans(work, trees).model, groups)
    gradients = []
    for trees in (True, False):
        learner = work.opened(trees=trees)
        pairs = work.updates()[0]
        items = [pair_rows(pair) for pair in pairs]
        task = PairWork(
            learner.objective, items, weights=[1.0] * len(pairs),
            reference=learner.reference_logprobs(pairs), device=torch.device("cpu"),
        )  # fmt: skip
        with tree_attention(learner.model) if trees else contextlib.nullcontext():
            for group in learner.policy.plan(items):
                task.group_loss(group, learner.policy.group_sums(items, group)).backward()
        gradients.append(torch.cat([p.grad.reshape(-1) for p in learner.policy.parameters.values()]))
    gap = (gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max()
    return {
        "row_tokens": fed,
        "row_tokens_padded": computed[False],
        "tree_tokens": computed[True],
        "token_ratio": round(fed / computed[True], 3),
        "product_ratio": round(products[False] / products[True], 3),
        "max_gradient_difference": float(f"{float(gap):.2g}"),
    }


def num_products(model: Any, groups: Sequence[Group]) -> int:
    """Multiplications of one forward: of fed tokens with the layers' weights, of queries with the keys and values that
    they see, of scored states with the output layer."""
    config = model.config
    head = model.get_output_embeddings().weight.numel()
    layers = sum(p.numel() for p in model.model.layers.parameters() if p.ndim == 2)
    per_key = 2 * config.hidden_size * config.num_hidden_layers
    scored = sum(len(make_pass(lines).targets) for group in groups for lines in group.passes)
    tokens, seen = (sum(getattr(group, name) for group in groups) for name in ("num_padded", "num_attended"))
    return int(tokens * layers + seen * per_key + scored * head)


_plans: dict[tuple[Path, bool], Any] = {}


def plans(work: TreeWorkload, trees: bool) -> Any:
    """A policy to plan with."""
    key = (work.folder, trees)
    if key not in _plans:
        _plans[key] = work.opened(trees=trees).policy
    return _plans[key]


Side = Callable[[TreeWorkload, Stopwatch], Losses]


def train_rows(work: TreeWorkload, watch: Stopwatch) -> Losses:
    """Our learner with every row apart."""
    return train_ours(work, watch, trees=False)


SIDES: dict[str, Side] = {"ours": train_ours, "trl": train_trl, "own": train_rows}


def memory_of(work: TreeWorkload, side: str) -> dict[str, float]:
    """Peak memory of one side, measured in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "work.json"
        fields = {**vars(work), "folder": str(work.folder), "pairs": [pair.to_json() for pair in work.pairs]}
        file.write_text(json.dumps(fields), encoding="utf-8")
        command = [sys.executable, __file__, "--child", side, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(side: str, file: str) -> None:
    """Train one side and print its memory."""
    fields = json.loads(Path(file).read_text(encoding="utf-8"))
    pairs = [PreferencePair.from_json(pair) for pair in fields["pairs"]]
    watch = PeakMemory()
    SIDES[side](TreeWorkload(**{**fields, "folder": Path(fields["folder"]), "pairs": pairs}), watch)
    print(json.dumps({"growth": round(watch.growth, 1), "process": round(watch.process, 1)}))


def measure(work: TreeWorkload, peer: str, *, rounds: int, warmup: int) -> str:
    """One workload's JSON line."""
    watch = Stopwatch()
    losses: dict[str, Losses] = {}

    def side(name: str) -> Callable[[], None]:
        def run() -> None:
            found = SIDES[name](work, watch)
            losses.setdefault(name, found)

        return run

    times = in_turn(side("ours"), side(peer), rounds=rounds, warmup=warmup, clock=watch.read)
    ratios = [b / a for a, b in zip(*times, strict=True)]
    gap = max(abs(a - b) for a, b in zip(losses["ours"], losses[peer], strict=True))
    counts = counted(work)
    if peer == "own":
        for kind in ("token", "product"):
            counts[f"of_{kind}_ratio"] = round(summary(ratios)["median"] / counts[f"{kind}_ratio"], 3)
    else:
        counts |= {"parts": work.parts, "order": work.order}
    memory = {name: memory_of(work, name) for name in ("ours", peer)}
    speed = [summary([len(work.pairs) / t for t in seconds]) for seconds in times]
    return line(
        work.name,
        ratios,
        ours={"pairs_per_second": speed[0], "memory_mb": memory["ours"]},
        peer={"pairs_per_second": speed[1], "memory_mb": memory[peer], "name": peer},
        pairs=len(work.pairs),
        pairs_per_update=work.batch_size,
        max_loss_difference=float(f"{gap:.2g}"),
        memory_ratio=round(memory[peer]["growth"] / memory["ours"]["growth"], 3),
        **counts,
    )


def workloads(names: Sequence[str], folder: Path) -> list[tuple[TreeWorkload, str, int]]:
    """The workloads asked for, each with its peer and its number of rounds."""
    found = []
    for name in names:
        peer, shape, kind = name.split("-")
        is_small = kind == "primer"
        model = model_path() if is_small else folder / "model"
        if not is_small and not model.exists():
            random_model(model, **RANDOM_25M)
        vocab_size = 300 if is_small else RANDOM_25M["vocab_size"]
        rank, parts, rate, size = 0, 1, 1e-4, 32
        if shape == "realtrees":
            pairs, rank, rate = real_pairs(128, size), 16, 6e-3
        elif shape.startswith("10x30"):
            size, parts = 40 if is_small else 10, (USUAL if shape == "10x30" else TUNED)[kind]
            pairs = shaped_pairs(8 if is_small else 2, chunks=10, size=30, vocab_size=vocab_size)
        else:
            size = 24 if is_small else 6
            pairs = shaped_pairs(4 if is_small else 1, chunks=6, size=160, vocab_size=vocab_size)
        rounds = 3 if is_small else 2
        order = {"10x30": "shuffled", "10x30sorted": "shortest"}.get(shape, "trees")
        found.append((TreeWorkload(name, model, pairs, size, rate, False, parts, rank, order), peer, rounds))
    return found


NAMES = (
    "trl-10x30-primer",
    "trl-10x30tuned-primer",
    "trl-10x30sorted-primer",
    "trl-10x30-random25m",
    "trl-10x30tuned-random25m",
    "own-realtrees-primer",
    "own-6chunks-primer",
    "own-6chunks-random25m",
    "own-10x30-primer",
    "own-10x30-random25m",
)


def tune(work: TreeWorkload) -> None:
    """Print how long TRL takes with an update in 1, 2, 4, ... parts."""
    for parts in (p for p in (1, 2, 4, 5, 8, 10, 20) if work.batch_size % p == 0):
        watch = Stopwatch()
        train_trl(replace(work, parts=parts), watch)
        print(work.name, parts, round(len(work.pairs) / watch.read(), 3), flush=True)


def main() -> None:
    """Run the workloads, print a JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="some of the workloads")
    parser.add_argument("--rounds", type=int, help="counted rounds of each workload")
    parser.add_argument("--tune", action="store_true", help="find the parts that TRL is fastest with")
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    if options.child:
        child(*options.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        for work, peer, rounds in workloads(options.only, Path(folder)):
            if options.tune:
                tune(work)
                continue
            warmup = 1 if work.name.endswith("primer") else 0
            print(measure(work, peer, rounds=options.rounds or rounds, warmup=warmup), flush=True)


if __name__ == "__main__":
    main()
