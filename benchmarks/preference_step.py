"""Our preference step against TRL's `DPOTrainer`: the same pairs, token ids, batches, loss and optimizer.

    OMP_NUM_THREADS=1 python benchmarks/preference_step.py --json          # about 6 minutes on one idle core

Loss: DPO (beta 0.1) plus NLL (alpha 1) averaged over tokens, as TRL does. Both train all weights in float32 on one
thread with fused AdamW and clipping at norm 1, one epoch, each pair once, batches of 16 (primer) or 6 pairs in the same
order. The workloads:

- `primer`: the built-in model and the pairs that the demo's first iteration makes (samples, verdicts, `make_pairs`);
- `random25m`: a random Llama of 25 M parameters with 16,384 tokens, 4 random pairs a problem of ragged lengths
  (prompts of 40 to 80 tokens, completions of 60 to 300), none of them twice;
- `-precomputed`: the reference log-probs are there before the clock starts, on both sides. Otherwise TRL's reference is
  computed in each step, and our `reference_logprobs` before the first one; both are timed.

Timed is CPU time from the first batch being asked for to the last update, TRL's data loader and our batch making
included; loading, constructing and tokenizing are not. The two run in turn, each round from fresh weights.
TRL's setting: no gradient checkpointing, no bf16, no logging, no evaluation, no saving; its data set is replaced after
construction by one that is tokenized already, because it makes other ids from text.

`memory_mb` is measured in a process of its own for each side: `growth` is the highest resident memory during training
above what was resident just before (weights loaded, trainer or learner made: TRL's reference model is in its floor),
`process` the highest of the whole process. `max_loss_difference` is the largest over all steps of the first round.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from paired import in_turn, line, summary

from tutelage.config.settings import TrainingSettings
from tutelage.learning.batches import batch_indices
from tutelage.learning.preference import PreferenceLearner
from tutelage.primer import model_path
from tutelage.records import PreferencePair

SEED, BETA, ALPHA = 0, 0.1, 1.0
Losses = list[float]


@dataclass(frozen=True)
class Workload:
    """What both sides train: a model folder, pairs, batch size, learning rate, and whether the reference is known.

    TRL computes a batch in `parts` of the same size, gradients adding up.
    """

    name: str
    folder: Path
    pairs: Sequence[PreferencePair]
    batch_size: int
    learning_rate: float
    is_precomputed: bool
    parts: int = 1

    def settings(self) -> TrainingSettings:
        """Our settings."""
        return TrainingSettings(learning_rate=self.learning_rate, batch_size=self.batch_size, epochs=1.0)

    def in_order(self) -> list[PreferencePair]:
        """The pairs in the order in which our fit visits them."""
        count = len(self.pairs)
        order = batch_indices(count, step=0, batch_size=count, visits=count, seed=SEED)
        return [self.pairs[i] for i in order]


class Stopwatch:
    """CPU seconds spent between `start` and `stop`; to be read by `in_turn`."""

    def __init__(self) -> None:
        self.total = 0.0
        self._began = 0.0

    def start(self) -> None:
        """Begin to count."""
        self._began = time.process_time()

    def stop(self) -> None:
        """Count what has passed since `start`."""
        self.total += time.process_time() - self._began

    def read(self) -> float:
        """All that was counted."""
        return self.total


def primer_pairs(num_problems: int) -> list[PreferencePair]:
    """The pairs of the demo's first iteration on its first problems."""
    from tutelage.cli.backends import open_bench
    from tutelage.cli.demo import DEMO, RECIPE
    from tutelage.config.loading import load_settings
    from tutelage.recipes.iterative_rpo import Config, practise
    from tutelage.recipes.progress import SilentProgress

    changes = {**DEMO, "data": f"primer:train?n={num_problems}", "seed": str(SEED)}
    config = load_settings(Config, overrides=[f"{key}={value}" for key, value in changes.items()])
    with (
        tempfile.TemporaryDirectory() as folder,
        open_bench(config, recipe=RECIPE, folder=Path(folder) / "run", progress=SilentProgress()) as bench,
    ):
        return practise(config, bench, bench.base, 1).pairing.pairs


def random_pairs(count: int, *, vocab_size: int) -> list[PreferencePair]:
    """Random pairs, 4 a problem: prompts of 40 to 80 tokens, completions of 60 to 300."""
    rng = np.random.default_rng(SEED)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(i) for i in rng.integers(3, vocab_size, rng.integers(low, high + 1)))

    prompts = [ids(40, 80) for _ in range(-(-count // 4))]
    return [pair_of(f"p{i}", prompts[i // 4], ids(60, 300), ids(60, 300)) for i in range(count)]


def pair_of(name: str, prompt: Sequence[int], chosen: Sequence[int], rejected: Sequence[int]) -> PreferencePair:
    """A pair of token ids, none of them masked."""
    return PreferencePair(
        id=name,
        problem_id=name,
        prompt_ids=tuple(prompt),
        chosen_ids=tuple(chosen),
        rejected_ids=tuple(rejected),
        chosen_mask=(1,) * len(chosen),
        rejected_mask=(1,) * len(rejected),
        chosen_id=f"{name}/w",
        rejected_id=f"{name}/l",
        rule="random",
    )


def random_model(folder: Path, **size: Any) -> Path:
    """A random Llama in a folder, with primer's tokenizer beside it."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    model = LlamaForCausalLM(LlamaConfig(max_position_embeddings=4096, pad_token_id=0, **size))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_path()).save_pretrained(folder)
    return folder


RANDOM_25M = dict(
    vocab_size=16384, hidden_size=384, intermediate_size=1024, num_hidden_layers=7, num_attention_heads=6,
    num_key_value_heads=6, tie_word_embeddings=False,
)  # fmt: skip


def train_ours(work: Workload, watch: Stopwatch) -> Losses:
    """Open, then one timed epoch; the loss of each step."""

    def opened() -> PreferenceLearner:
        return PreferenceLearner.open(
            work.folder, work.settings(), beta=BETA, alpha=ALPHA, nll_average="token", seed=SEED, device="cpu"
        )

    known = opened().reference_logprobs(work.pairs) if work.is_precomputed else None  # by a learner that goes
    learner = opened()
    watch.start()
    reference = learner.reference_logprobs(work.pairs) if known is None else known
    result = learner.fit(work.pairs, reference)
    watch.stop()
    return [step.loss for step in result.metrics]


def make_trainer(work: Workload, watch: Stopwatch, out: Path) -> tuple[Any, Losses]:
    """TRL's trainer on the same ids in the same order, and the list that its losses go to."""
    import datasets
    import torch
    import transformers
    import trl

    load = transformers.AutoModelForCausalLM.from_pretrained
    text = {"prompt": "a", "chosen": "b", "rejected": "c"}
    losses: list[Any] = []

    class Clock(transformers.TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            watch.start()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            watch.stop()

    class Trainer(trl.DPOTrainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def compute_loss(self, *arguments: Any, **options: Any) -> Any:
            loss = super().compute_loss(*arguments, **options)
            losses.append(loss.detach())
            return loss

    trainer = Trainer(
        model=load(work.folder, dtype="float32"),
        ref_model=None if work.is_precomputed else load(work.folder, dtype="float32"),
        args=trl_settings(work, out),
        train_dataset=datasets.Dataset.from_list([text] * 2),
        processing_class=transformers.AutoTokenizer.from_pretrained(work.folder),
        callbacks=[Clock()],
    )
    rows = [
        {"prompt_ids": list(p.prompt_ids), "chosen_ids": list(p.chosen_ids), "rejected_ids": list(p.rejected_ids)}
        for p in work.in_order()
    ]
    if work.is_precomputed:
        for start in range(0, len(rows), work.batch_size):
            part = rows[start : start + work.batch_size]
            values = trainer.compute_ref_log_probs(trainer.model, trainer.data_collator(part))
            for row, chosen, rejected in zip(part, *(side.tolist() for side in values), strict=True):
                row |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    trainer.train_dataset = datasets.Dataset.from_list(rows)
    return trainer, losses


def trl_settings(work: Workload, out: Path) -> Any:
    """TRL's settings for the same training."""
    import trl

    return trl.DPOConfig(
        output_dir=str(out),
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, ALPHA],
        beta=BETA,
        learning_rate=work.learning_rate,
        lr_scheduler_type="constant",
        num_train_epochs=1,
        per_device_train_batch_size=work.batch_size // work.parts,
        gradient_accumulation_steps=work.parts,
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        precompute_ref_log_probs=work.is_precomputed,
        max_length=None,
        logging_strategy="no",
        eval_strategy="no",
        save_strategy="no",
        report_to=[],
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        disable_tqdm=True,
        seed=SEED,
    )


def train_trl(work: Workload, watch: Stopwatch) -> Losses:
    """Construct, then one timed epoch; the loss of each step."""
    with tempfile.TemporaryDirectory() as out:
        trainer, losses = make_trainer(work, watch, Path(out))
        with contextlib.redirect_stdout(sys.stderr):  # its summary of the training
            trainer.train()
    return [float(loss) for loss in losses]


class PeakMemory(Stopwatch):
    """Instead of seconds: resident memory before `start` and the highest until `stop`, in MB."""

    def __init__(self) -> None:
        super().__init__()
        self.before = self.floor = self.growth = self.process = 0.0

    def start(self) -> None:
        """Note what is resident, and forget the highest so far."""
        self.before = status_mb("VmHWM")
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before must not hide what is needed now
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self.floor = status_mb("VmRSS")

    def stop(self) -> None:
        """Note the highest."""
        peak = status_mb("VmHWM")
        self.growth, self.process = peak - self.floor, max(peak, self.before)


def status_mb(key: str) -> float:
    """A memory figure of this process, in MB (2**20 bytes)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(text.split()[1]) / 1024 for text in lines if text.startswith(key))


def memory_of(work: Workload, side: str) -> dict[str, float]:
    """Peak memory of one side, measured in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.jsonl"
        file.write_text("".join(json.dumps(pair.to_json()) + "\n" for pair in work.pairs), encoding="utf-8")
        command = [
            sys.executable, __file__, "--child", side, str(work.folder), str(file), str(work.batch_size),
            str(work.learning_rate), str(int(work.is_precomputed)),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(side: str, folder: str, file: str, batch_size: str, learning_rate: str, is_precomputed: str) -> None:
    """Train one side and print its memory."""
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    pairs = [PreferencePair.from_json(json.loads(text)) for text in lines]
    work = Workload("child", Path(folder), pairs, int(batch_size), float(learning_rate), is_precomputed == "1")
    watch = PeakMemory()
    (train_ours if side == "ours" else train_trl)(work, watch)
    print(json.dumps({"growth": round(watch.growth, 1), "process": round(watch.process, 1)}))


def measure(work: Workload, *, rounds: int, warmup: int) -> str:
    """One workload's JSON line."""
    watch = Stopwatch()
    losses: dict[str, Losses] = {}

    def side(name: str, train: Callable[[Workload, Stopwatch], Losses]) -> Callable[[], None]:
        def run() -> None:
            found = train(work, watch)
            losses.setdefault(name, found)

        return run

    ours, peer = in_turn(
        side("ours", train_ours), side("trl", train_trl), rounds=rounds, warmup=warmup, clock=watch.read
    )
    gaps = [abs(a - b) for a, b in zip(losses["ours"], losses["trl"], strict=True)]
    memory = {name: memory_of(work, name) for name in ("ours", "trl")}
    count = len(work.pairs)
    return line(
        f"trl-pairs-{work.name}",
        [b / a for a, b in zip(ours, peer, strict=True)],
        ours={"pairs_per_second": summary([count / t for t in ours]), "memory_mb": memory["ours"]},
        peer={"pairs_per_second": summary([count / t for t in peer]), "memory_mb": memory["trl"], "name": "trl"},
        pairs=count,
        batch_size=work.batch_size,
        steps=len(gaps),
        max_loss_difference=float(f"{max(gaps):.2g}"),
        last_loss=round(losses["ours"][-1], 5),
        memory_ratio=round(memory["trl"]["growth"] / memory["ours"]["growth"], 3),
    )


def main() -> None:
    """Run the workloads, print a JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["primer", "random25m"], help="one of the two models")
    parser.add_argument("--rounds", type=int, default=4, help="counted rounds of primer; 2 at most of random25m")
    parser.add_argument("--problems", type=int, default=100, help="primer problems that are sampled")
    parser.add_argument("--pairs", type=int, default=12, help="pairs of random25m")
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    if options.child:
        child(*options.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "random25m":
            pairs = primer_pairs(options.problems)
            for name, known in (("primer", False), ("primer-precomputed", True)):
                work = Workload(name, model_path(), pairs, 16, 7e-5, known)
                print(measure(work, rounds=options.rounds, warmup=1), flush=True)
        if options.only != "primer":
            model = random_model(Path(folder) / "model", **RANDOM_25M)
            pairs = random_pairs(options.pairs, vocab_size=RANDOM_25M["vocab_size"])
            for name, known in (("random25m", False), ("random25m-precomputed", True)):
                work = Workload(name, model, pairs, 6, 1e-4, known)
                print(measure(work, rounds=min(2, options.rounds), warmup=0), flush=True)


if __name__ == "__main__":
    main()
