"""Further parts of the study of the 360 pipeline: RFT on every right path, more sizes and schoolings, judged pairs.

Their cells are apart from those of `reproduce_pipeline.py`, so that rows which are there already stay. Each has the
control that its arms are compared with, made anew from the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reproduce_pipeline_lab import (
    JUDGE,
    NUM_JUDGED,
    NUM_RATED,
    NUM_TRAIN,
    OTHER_PROBLEMS,
    PAIRS,
    PATHS,
    SFT,
    SHARED,
    Cell,
    bench_for,
    in_either_order,
    learn_paths,
    sampler_figures,
    solved,
    start_of_pairs,
    teach_sampler,
)

from tutelage.primer import sibling_path
from tutelage.recipes import diverse_rft, hard_dpo, judge, learn
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.path_drawing import draw


def sizes(cell: Cell) -> dict[str, Any]:
    """RFT of one sampler with and without deduplication, and of three samplers of three sizes."""
    config = diverse_rft.Config(**cell.problems(NUM_TRAIN), **SFT, **PATHS)
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


def schools(cell: Cell) -> dict[str, Any]:
    """RFT of two samplers of one size and two schoolings, and of one of them drawn twice."""
    config = diverse_rft.Config(**cell.problems(NUM_TRAIN), **SFT, **PATHS)
    found: dict[str, Any] = {}
    with bench_for(config, diverse_rft.NAME) as bench:
        first, _ = teach_sampler(config, bench, "tiny", size="tiny")
        second, found["sampler-tiny-b"] = teach_sampler(config, bench, "tiny-b", size="tiny", school=1)
        bench = in_textbook_order(bench, cell.seed)
        drawn = draw(config, bench, [first.model, second.model, first.model], bench.train)
        found["union-schools"] = learn_paths(config, bench, "union-schools", drawn[:2])
        found["tiny-twice"] = learn_paths(config, bench, "tiny-twice", [drawn[0], drawn[2]])
    return {"stages": _own(found, "union-schools", ("sampler-tiny-b",))}


def in_textbook_order(bench: Bench, seed: int) -> Bench:
    """The bench whose gold solutions have the operands in one order each, chosen by chance."""
    return replace(bench, train=[in_either_order(problem, seed, 0) for problem in bench.train])


def _own(found: dict[str, Any], union: str, samplers: tuple[str, ...]) -> dict[str, Any]:
    """The stages without samplers that other parts have; figures added to those that are left."""
    kept = {name: stage for name, stage in found.items() if not name.startswith("sampler-") or name in samplers}
    for name in samplers:
        kept[name]["figures"] = sampler_figures(found[union]["paths"], name)
    return kept


def judged(cell: Cell) -> dict[str, Any]:
    """Pairs by a judge's scores, and hard pairs of prose and programs, from the start of the part `preference`."""
    found: dict[str, Any] = {}
    config = hard_dpo.Config(**cell.problems(2 * NUM_TRAIN), **PAIRS)
    asking = judge.Config(**judge_settings(cell))
    with bench_for(asking, judge.NAME) as court, bench_for(config, hard_dpo.NAME) as bench:
        report = judge.run(asking, court)["judge"]["students"][0]["after"]
        by_judge = {"judge": str(court.run.path), "judge_reference": False, "judge_tokens": JUDGE["judge_tokens"]}
        start, bench = start_of_pairs(cell, bench)
        (drawn,) = draw(config, bench, [""], bench.train)
        for arm, kind in (("hard-judged", {"hardness": "judge"}), ("best-worst-judged", {"pairs": "best-vs-worst"})):
            pairing = hard_dpo.make_pairs(config.model_copy(update={**by_judge, **kind}), bench, drawn)
            found[arm] = learn_pairs(config, bench, arm, pairing)
            found[arm]["judge"] = {key: report["verdicts"][key] for key in ("accuracy", "low", "high", "n")}
        found["hard-styles"] = of_two_styles(cell, start)
    return {"stages": found}


def judge_settings(cell: Cell) -> dict[str, Any]:
    """Settings of the judge: taught by the world's truth on problems of its own, measured on dev problems."""
    seed = cell.seed + OTHER_PROBLEMS
    return {**SHARED, **JUDGE, "data": f"primer:train?n={NUM_RATED}&seed={seed}", "seed": cell.seed,
            "eval_data": f"primer:dev?n={NUM_JUDGED}"}  # fmt: skip


def learn_pairs(config: hard_dpo.Config, bench: Bench, arm: str, pairing: Any) -> dict[str, Any]:
    """One arm of pairs: training from the bench's model, and measurement."""
    weights, figures = learn.from_pairs(config, bench, bench.base, pairing.pairs, iteration=1, label=arm)
    return solved(bench, weights, arm, config.seed) | {"pairs": pairing.counts, "updates": figures.steps}


def of_two_styles(cell: Cell, start: Weights) -> dict[str, Any]:
    """Hard pairs where half of the samples are programs, as many samples in all; measured in prose."""
    settings = {**cell.problems(2 * NUM_TRAIN), **PAIRS, "num_samples": PAIRS["num_samples"] // 2, "model": start.model}
    config = hard_dpo.Config(**settings, styles=["cot", "pot"], program_workers=1)
    with bench_for(config, hard_dpo.NAME) as bench:
        bench = replace(bench, train=bench.train[NUM_TRAIN:])
        (drawn,) = draw(config, bench, [""], bench.train)
        return learn_pairs(config, bench, "hard-styles", hard_dpo.make_pairs(config, bench, drawn))


MORE: dict[str, Callable[[Cell], dict[str, Any]]] = {"sizes": sizes, "schools": schools, "judged": judged}
"""Parts by name."""
NEEDED = {"paths": [("small", 0)], "sizes": [("small", 0), ("tiny", 0)], "schools": [("tiny", 0), ("tiny", 1)]}
"""Siblings of the built-in model that a part needs, by size and schooling seed."""


def missing_siblings(part: str) -> list[tuple[str, int]]:
    """Those of them that were not made yet."""
    return [sibling for sibling in NEEDED.get(part, ()) if not sibling_path(*sibling).exists()]
