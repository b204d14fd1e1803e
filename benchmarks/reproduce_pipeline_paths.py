"""Parts of the study of the 360 pipeline on paths: whose paths, how many of them, and how long they are learnt.

Parts and their arms:
    paths       D = 60 problems with one worked solution each. Samplers: the built-in model, and the small sibling twice
                (two orders of its batches), each fine-tuned on D, written in up to four ways; 16 samples a problem each
                sft         D alone                              sft-long  D, for as many updates as rft
                rft         D + diverse paths of one sampler     thrice    D + those of one sampler drawn three times
                union       D + those of three samplers
                all from the built-in model, 3 epochs of batch 16
    sizes       rft-again   as rft               rft-all      D + every right path of that sampler, repeats included
                union-sizes D + paths of the built-in model, the small and the tiny sibling
    repeats     rft-long    what rft learns from, for as many updates as rft-all takes
                all-short   what rft-all learns from, for as many updates as rft takes
    schools     union-schools  D + paths of two tiny siblings of two schooling seeds     tiny-twice  of one, drawn twice
    answers     24 problems with worked solutions in the textbooks' order, and 60 more with answers only. Samplers of
                three sizes, fine-tuned on the 24; 16 samples of each of the 84 problems
                few         the 24 alone                         few-long  those, for as many updates as few-rft
                few-rft     with paths of one sampler            few-union with those of three
                many        worked solutions of all 84
Each but `answers` has a control of its own, or shares the seed of a part that has: a seed's samplers, samples and
training are the same in every part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reproduce_pipeline_lab import (
    NUM_FEW,
    NUM_TRAIN,
    PATHS,
    SFT,
    Cell,
    bench_for,
    in_either_order,
    learn_paths,
    sampler_figures,
    solved,
    teach_sampler,
)

from tutelage.recipes import diverse_rft, learn
from tutelage.recipes.bench import Bench
from tutelage.recipes.path_drawing import Drawn, draw
from tutelage.recipes.styles import styled_examples


def paths(cell: Cell) -> dict[str, Any]:
    """Samplers, their paths, and what is learnt from which."""
    config = config_of(cell, NUM_TRAIN)
    found: dict[str, Any] = {}
    with bench_for(config, diverse_rft.NAME) as bench:
        samplers = []
        for name, size, shift in (("primer", "", 0), ("small", "small", 0), ("small-b", "small", 100)):
            weights, found[f"sampler-{name}"] = teach_sampler(config, bench, name, size=size, shift=shift)
            samplers.append(weights.model)
        bench = in_textbook_order(bench, cell.seed)
        found["sft"] = learn_gold(config, bench, "sft")
        drawn = draw(config, bench, [*samplers, samplers[0], samplers[0]], bench.train)
        arms = {"rft": drawn[:1], "union": drawn[:3], "thrice": [drawn[0], *drawn[3:]]}
        for arm, some in arms.items():
            found[arm] = learn_paths(config, bench, arm, some)
        for part in found["union"]["paths"]["samplers"]:
            found[part["sampler"]]["figures"] = sampler_figures(found["union"]["paths"], part["sampler"])
        found["sft-long"] = learn_gold(for_updates(config, found["rft"]["updates"]), bench, "sft-long")
    return {"stages": found}


def sizes(cell: Cell) -> dict[str, Any]:
    """RFT of one sampler with and without deduplication, and of three samplers of three sizes."""
    config = config_of(cell, NUM_TRAIN)
    found: dict[str, Any] = {}
    with bench_for(config, diverse_rft.NAME) as bench:
        samplers = []
        for size in ("primer", "small", "tiny"):
            own = "" if size == "primer" else size
            weights, found[f"sampler-{size}"] = teach_sampler(config, bench, size, size=own)
            samplers.append(weights.model)
        bench = in_textbook_order(bench, cell.seed)
        drawn = draw(config, bench, samplers, bench.train)
        every = config.model_copy(update={"select": "all"})
        found["rft-again"] = learn_paths(config, bench, "rft-again", drawn[:1])
        found["rft-all"] = learn_paths(every, bench, "rft-all", drawn[:1])
        found["union-sizes"] = learn_paths(config, bench, "union-sizes", drawn)
    return {"stages": _own(found, "union-sizes", ("sampler-tiny",))}


def repeats(cell: Cell) -> dict[str, Any]:
    """Diverse paths and every right path of one sampler, each for the other's number of updates."""
    config = config_of(cell, NUM_TRAIN)
    found: dict[str, Any] = {}
    with bench_for(config, diverse_rft.NAME) as bench:
        weights, _ = teach_sampler(config, bench, "primer")
        bench = in_textbook_order(bench, cell.seed)
        drawn = draw(config, bench, [weights.model], bench.train)
        every = config.model_copy(update={"select": "all"})
        few, many = updates_of(config, bench, drawn), updates_of(every, bench, drawn)
        found["rft-long"] = learn_paths(for_updates(config, many), bench, "rft-long", drawn)
        found["all-short"] = learn_paths(for_updates(every, few), bench, "all-short", drawn)
    return {"stages": found}


def schools(cell: Cell) -> dict[str, Any]:
    """RFT of two samplers of one size and two schoolings, and of one of them drawn twice."""
    config = config_of(cell, NUM_TRAIN)
    found: dict[str, Any] = {}
    with bench_for(config, diverse_rft.NAME) as bench:
        first, _ = teach_sampler(config, bench, "tiny", size="tiny")
        second, found["sampler-tiny-b"] = teach_sampler(config, bench, "tiny-b", size="tiny", school=1)
        bench = in_textbook_order(bench, cell.seed)
        drawn = draw(config, bench, [first.model, second.model, first.model], bench.train)
        found["union-schools"] = learn_paths(config, bench, "union-schools", drawn[:2])
        found["tiny-twice"] = learn_paths(config, bench, "tiny-twice", [drawn[0], drawn[2]])
    return {"stages": _own(found, "union-schools", ("sampler-tiny-b",))}


def answers(cell: Cell) -> dict[str, Any]:
    """RFT where most problems have an answer and no worked solution: paths are all there is to learn of them."""
    config = config_of(cell, NUM_FEW + NUM_TRAIN)
    found: dict[str, Any] = {}
    with bench_for(config, diverse_rft.NAME) as bench:
        worked, others = bench.train[:NUM_FEW], bench.train[NUM_FEW:]
        found["many"] = learn_gold(config, bench, "many")
        few = replace(bench, train=worked)
        samplers = []
        for name, size in (("primer", ""), ("small", "small"), ("tiny", "tiny")):
            weights, stage = teach_sampler(config, few, f"few-{name}", size=size, orders=1)
            found[f"sampler-few-{name}"] = stage
            samplers.append(weights.model)
        found["few"] = learn_gold(config, few, "few")
        bench = replace(bench, train=[*worked, *(replace(problem, solution=None) for problem in others)])
        drawn = draw(config, bench, samplers, bench.train)
        found["few-rft"] = learn_paths(config, bench, "few-rft", drawn[:1])
        found["few-union"] = learn_paths(config, bench, "few-union", drawn)
        found["few-long"] = learn_gold(for_updates(config, found["few-rft"]["updates"]), few, "few-long")
    return {"stages": found}


def config_of(cell: Cell, num_train: int) -> diverse_rft.Config:
    """The settings of the recipe on the cell's problems."""
    return diverse_rft.Config(**cell.problems(num_train), **SFT, **PATHS)


def for_updates(config: diverse_rft.Config, count: int) -> diverse_rft.Config:
    """The settings, training for a number of updates whatever there is to learn from."""
    return config.model_copy(update={"epochs": 1000.0, "max_steps": count})


def updates_of(config: diverse_rft.Config, bench: Bench, drawn: Sequence[Drawn]) -> int:
    """How many updates the recipe would make of these paths."""
    passed, _ = diverse_rft.passing(config, bench, drawn)
    examples, _ = diverse_rft.learnt_from(config, bench, drawn, diverse_rft.choose(config, passed))
    return math.ceil(config.epochs * len(examples) / config.batch_size)


def learn_gold(config: diverse_rft.Config, bench: Bench, arm: str) -> dict[str, Any]:
    """One arm that learns from the bench's worked solutions alone."""
    gold = styled_examples(bench, bench.train, ["cot"])
    weights, figures = learn.from_examples(config, bench, bench.base, gold, label=arm)
    return solved(bench, weights, arm, config.seed) | {"updates": figures.steps, "examples": len(gold)}


def in_textbook_order(bench: Bench, seed: int) -> Bench:
    """The bench whose gold solutions have the operands in one order each, chosen by chance."""
    return replace(bench, train=[in_either_order(problem, seed, 0) for problem in bench.train])


def _own(found: dict[str, Any], union: str, samplers: tuple[str, ...]) -> dict[str, Any]:
    """The stages without samplers that other parts have; figures added to those that are left."""
    kept = {name: stage for name, stage in found.items() if not name.startswith("sampler-") or name in samplers}
    for name in samplers:
        kept[name]["figures"] = sampler_figures(found[union]["paths"], name)
    return kept
