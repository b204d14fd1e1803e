"""What the parts of the study of the 360 pipeline share: settings, cells, benches, and the stages that are measured."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tutelage.cli.backends import open_bench
from tutelage.primer import sibling_path
from tutelage.recipes import diverse_rft, learn, sft, stages
from tutelage.recipes.answer_spread import spread_of
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.path_drawing import Drawn
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.styles import styled_examples
from tutelage.records import Example, Problem, SamplingParams, digest
from tutelage.text.programs import Style

PARTS = ("before", "paths", "preference", "dynamic", "sizes", "schools", "judged", "repeats", "answers", "styled")
SEEDS, PILOT_SEEDS = (1, 2, 3, 4, 5, 6, 7, 10, 11, 12), (8, 9)
SHARED: dict[str, Any] = dict(
    model="primer", eval_samples=0, max_new_tokens=96, max_batch=128, device="cpu", dtype="float32",
)  # fmt: skip
SFT: dict[str, Any] = dict(learning_rate=3e-4, batch_size=16, epochs=3.0, schedule="constant")
SAMPLERS: dict[str, Any] = dict(learning_rate=5e-4, epochs=6.0)
ORDERS = 4
PAIRS: dict[str, Any] = dict(
    num_samples=8, temperature=1.0, learning_rate=2e-4, batch_size=16, beta=1.0, epochs=1000.0, max_steps=30
)
PPO: dict[str, Any] = dict(
    iterations=5, problems_per_iteration=12, num_samples=8, batch_size=32, epochs=4, learning_rate=2e-4,
    value_learning_rate=1e-3, kl_coef=0.02, kl_target=2.0, eval_every=5, kl_problems=60,
)  # fmt: skip
STYLES: dict[str, Any] = dict(
    styles=["cot", "pot"], learning_rate=5e-4, batch_size=16, epochs=1000.0, max_steps=24, hardness_samples=8,
    dynamic_loss=True, program_workers=1,
)  # fmt: skip
PLAIN: dict[str, Any] = dict(hard_gamma=0.0, program_weight=1.0, hardness_every="once")
PATHS: dict[str, Any] = dict(num_samples=16, temperature=1.0)
JUDGE: dict[str, Any] = dict(
    annotator="exact", reference=False, num_samples=8, rated_per_problem=6, num_answers=4, max_new_tokens=64,
    judge_tokens=128, learning_rate=5e-4, batch_size=16, epochs=3.0,
)  # fmt: skip
NUM_RATED, NUM_JUDGED, OTHER_PROBLEMS = 100, 50, 500
"""Problems whose solutions teach the judge, dev problems it is measured on, what is added to the seed of the first."""
NEEDED = {
    "paths": [("small", 0)], "sizes": [("small", 0), ("tiny", 0)], "schools": [("tiny", 0), ("tiny", 1)],
    "answers": [("small", 0), ("tiny", 0)],
}  # fmt: skip
"""Siblings of the built-in model that a part needs, by size and schooling seed."""
NUM_TRAIN, NUM_FEW, NUM_SPREAD, HARD_SAMPLES = 60, 24, 60, 8


@dataclass(frozen=True)
class Cell:
    """One part with one seed."""

    part: str
    seed: int
    split: str = "test"
    test: int = 300

    @property
    def key(self) -> str:
        """Tells it from others, settings included."""
        settings = [SHARED, SFT, PAIRS, PPO, STYLES, PLAIN, PATHS, NUM_TRAIN, NUM_FEW, NUM_SPREAD, HARD_SAMPLES]
        settings += [SAMPLERS, ORDERS] if self.part in ("paths", "sizes", "schools", "repeats", "answers") else []
        settings += [JUDGE, NUM_RATED, NUM_JUDGED, OTHER_PROBLEMS] if self.part == "judged" else []
        return f"{self.part}/{self.seed}/{digest([self.split, self.test, settings])}"

    def problems(self, num_train: int) -> dict[str, Any]:
        """The settings of its problems."""
        return dict(
            SHARED, data=f"primer:train?n={num_train}&seed={self.seed}", eval_limit=self.test, seed=self.seed,
            eval_data=f"primer:{self.split}?n={self.test}",
        )  # fmt: skip


def missing_siblings(part: str) -> list[tuple[str, int]]:
    """Those siblings that a part needs and that were not made yet."""
    return [sibling for sibling in NEEDED.get(part, ()) if not sibling_path(*sibling).exists()]


def all_cells(*, is_pilot: bool) -> list[Cell]:
    """The cells of the study, or of its pilot; what is longest first."""
    seeds, split, test = (PILOT_SEEDS, "dev", 150) if is_pilot else (SEEDS, "test", Cell.test)
    parts = [Cell(part, seed, split, test) for part in PARTS if part != "before" for seed in seeds]
    return [*parts, Cell("before", seeds[0], split, test)]


@contextmanager
def bench_for(config: Any, recipe: str) -> Iterator[Bench]:
    """A bench on a scratch run."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        config = config.model_copy(update={"output_dir": str(folder)})
        with open_bench(config, recipe=recipe, folder=folder, progress=SilentProgress()) as bench:
            yield bench


def solved(bench: Bench, weights: Weights, name: str, seed: int) -> dict[str, Any]:
    """Which test problems are solved greedily, as a stage's row: one character each."""
    params = SamplingParams(max_new_tokens=SHARED["max_new_tokens"])
    result = stages.evaluate(
        bench, weights, bench.test, "greedy", name=f"{name}-greedy", data="test", params=params, seed=seed
    )
    return marks(result.per_problem.get(problem.id, 0) >= 1 for problem in bench.test)


def marks(right: Iterable[bool]) -> dict[str, Any]:
    """A stage's row: by problem whether it is solved."""
    values = "".join(str(int(one)) for one in right)
    return {"greedy": {"solved": values, "accuracy": round(values.count("1") / len(values), 4)}}


def in_all_orders(seat: Bench, seed: int, orders: int) -> list[Example]:
    """Worked solutions of the seat's problems in up to `orders` orders of operands; of one order, the textbooks'."""
    if orders == 1:
        return styled_examples(seat, seat.train, ["cot"])
    made = [
        example for number in range(orders)
        for example in styled_examples(seat, [in_either_order(p, seed, number) for p in seat.train], ["cot"])
    ]  # fmt: skip
    return list({example.id: example for example in made}.values())


def in_either_order(problem: Problem, seed: int, number: int) -> Problem:
    """The problem with the operands of + and * in its worked solution swapped or not, by chance."""
    rng = random.Random(f"order/{seed}/{number}/{problem.id}")

    def swap(found: re.Match[str]) -> str:
        left, sign, right = found.groups()
        return f"{right}{sign}{left}=" if rng.random() < 0.5 else found[0]

    return replace(problem, solution=re.sub(r"(?m)^(\d+)([+*])(\d+)=", swap, problem.solution or ""))


def teach_sampler(
    config: diverse_rft.Config,
    bench: Bench,
    name: str,
    *,
    size: str = "",
    school: int = 0,
    shift: int = 0,
    orders: int = ORDERS,
) -> tuple[Weights, dict[str, Any]]:
    """A sampler: a model fine-tuned on D in all orders, and its row.

    Args:
        bench: whose training problems are D, worked out as the textbooks do.
        name: the sampler's is `sampler-NAME`.
        size: of a sibling; none is the built-in model.
        school: the sibling's schooling seed.
        shift: added to the seed, which orders its batches.
        orders: in how many orders of operands it learns each problem.
    """
    seat = bench.invite(str(sibling_path(size, school))) if size else bench
    other = config.model_copy(update={**SAMPLERS, "seed": config.seed + shift})
    examples = in_all_orders(seat, config.seed, orders)
    weights, _ = learn.from_examples(other, seat, seat.base, examples, label=f"sampler-{name}")
    return weights, solved(seat, weights, name, config.seed)


def learn_paths(config: diverse_rft.Config, bench: Bench, arm: str, drawn: Sequence[Drawn]) -> dict[str, Any]:
    """One arm: selection, training and measurement, as the recipe does them."""
    passed, _ = diverse_rft.passing(config, bench, drawn)
    kept = diverse_rft.choose(config, passed)
    examples, _ = diverse_rft.learnt_from(config, bench, drawn, kept)
    weights, figures = learn.from_examples(config, bench, bench.base, examples, label=arm)
    card = diverse_rft.card_of(config, drawn, passed, kept)
    share = card["distinct"] / len(bench.train)
    return {**solved(bench, weights, arm, config.seed), "updates": figures.steps, "examples": len(examples),
            "paths": card, "figures": {"distinct": share},
            "solved": {name: len(by) for name, by in passed.items()}, "solved_by_any": len(kept)}  # fmt: skip


def sampler_figures(card: Mapping[str, Any], name: str) -> dict[str, float]:
    """Distinct paths a problem of a sampler, and how well log k and k fit their growth, from a union's card."""
    (part,) = [part for part in card["samplers"] if part["sampler"] == name]
    fit = card["distinct_by_samples"][name]["fit"]
    return {"distinct": part["distinct"] / NUM_TRAIN, "log_over_linear": fit["log"] - fit["linear"]}


def start_of_pairs(
    cell: Cell, bench: Bench, *, styles: Sequence[Style] = ("cot",), worked: int = NUM_TRAIN
) -> tuple[Weights, Bench]:
    """The model that pairs improve, after SFT on the first of D in some styles, and the bench with pairs' problems."""
    teaching = sft.Config(**cell.problems(NUM_TRAIN), **{k: v for k, v in SFT.items() if k != "schedule"})
    gold = styled_examples(bench, bench.train[:worked], styles)
    start, _ = learn.from_examples(teaching, bench, bench.base, gold, label="start")
    return start, replace(bench, train=bench.train[NUM_TRAIN:], base=start)


def spread(bench: Bench, weights: Weights, name: str, seed: int) -> Any:
    """How the answers to the first test problems spread."""
    problems = bench.test[:NUM_SPREAD]
    params = SamplingParams(temperature=0.7, max_new_tokens=SHARED["max_new_tokens"])
    made = stages.sample(bench, weights, problems, stages.SamplingPlan(f"{name}-spread", params, 8, seed))
    return spread_of(made, stages.grade(bench, problems, made, name=f"{name}-spread-grade"))
