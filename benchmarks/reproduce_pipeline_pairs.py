"""Parts of the study of the 360 pipeline on what is preferred to what, from one model and on as many samples.

Parts and their arms:
    preference  start: the built-in model after SFT on D; 60 other problems, 8 samples each
                hard        30 updates on pairs of hard problems (4 a problem)
                best-worst  30 updates on one pair of every problem that has both (by the grader: any right, any wrong)
                ppo         5 rounds of 12 problems x 8 samples: as many samples
    judged      start and samples of `preference`; a judge taught by the world's truth on 100 problems of its own, which
                is not shown the reference answer
                hard-judged       pairs of problems of which fewer than half of the samples pass the judge
                best-worst-judged the right path with the highest score against the wrong one with the lowest
    styled      start-both: the built-in model after SFT on 24 problems of D in prose and programs (on all 60 it solves
                94.7 % of dev problems, and one of the 60 others is hard); these 60, 4 samples in prose and 4 programs
                hard-both   30 updates on hard pairs of both
                measured in prose, by programs, and in prose's prompt with what programs come run (`any`)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reproduce_pipeline_lab import (
    JUDGE,
    NUM_FEW,
    NUM_JUDGED,
    NUM_RATED,
    NUM_TRAIN,
    OTHER_PROBLEMS,
    PAIRS,
    PPO,
    SHARED,
    Cell,
    bench_for,
    marks,
    solved,
    spread,
    start_of_pairs,
)

from tutelage.recipes import hard_dpo, judge, learn, ppo
from tutelage.recipes.answer_spread import spread_by_difficulty
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.path_drawing import draw
from tutelage.recipes.program_stage import open_runner
from tutelage.recipes.style_report import measure_style
from tutelage.records import digest
from tutelage.text.programs import Asked

WAYS: tuple[Asked, ...] = ("cot", "pot", "any")


def preference(cell: Cell) -> dict[str, Any]:
    """Hard pairs, best-versus-worst pairs and PPO from the same model, on as many samples."""
    config = hard_dpo.Config(**cell.problems(2 * NUM_TRAIN), **PAIRS)
    found: dict[str, Any] = {}
    with bench_for(config, hard_dpo.NAME) as bench:
        start, bench = start_of_pairs(cell, bench)
        found["start"] = solved(bench, start, "start", cell.seed)
        spreads = {"start": spread(bench, start, "start", cell.seed)}
        (drawn,) = draw(config, bench, [""], bench.train)
        for arm, kind in (("hard", "hard"), ("best-worst", "best-vs-worst")):
            pairing = hard_dpo.make_pairs(config.model_copy(update={"pairs": kind}), bench, drawn)
            weights, figures = learn.from_pairs(config, bench, start, pairing.pairs, iteration=1, label=arm)
            spreads[arm] = spread(bench, weights, arm, cell.seed)
            found[arm] = solved(bench, weights, arm, cell.seed) | {
                "pairs": pairing.counts, "updates": figures.steps,
                "by_difficulty": spread_by_difficulty(spreads["start"], spreads[arm]),
            }  # fmt: skip
        found["ppo"] = run_ppo(cell, bench)
    return {"stages": found}


def run_ppo(cell: Cell, bench: Bench) -> dict[str, Any]:
    """PPO from the bench's model, its last weights measured."""
    config = ppo.Config(**cell.problems(2 * NUM_TRAIN), **PPO)
    report = ppo.run(config, replace(bench, test=bench.test[:40]))
    last = config.iterations
    folder, lineage = bench.run.checkpoint_path(f"it{last}"), digest([bench.base.lineage, "ppo", last])
    policy = replace(bench.base.policy, version=bench.base.policy.version + last)
    weights = Weights(policy, str(folder), None, lineage)
    return solved(bench, weights, "ppo", cell.seed) | {"kl": report["iterations"][-1].get("kl_after")}


def judged(cell: Cell) -> dict[str, Any]:
    """Pairs by a judge's scores, from the start of the part `preference`."""
    found: dict[str, Any] = {}
    config = hard_dpo.Config(**cell.problems(2 * NUM_TRAIN), **PAIRS)
    asking = judge.Config(**judge_settings(cell))
    with bench_for(asking, judge.NAME) as court, bench_for(config, hard_dpo.NAME) as bench:
        report = judge.run(asking, court)["judge"]["students"][0]["after"]
        by_judge = {"judge": str(court.run.path), "judge_reference": False, "judge_tokens": JUDGE["judge_tokens"]}
        _, bench = start_of_pairs(cell, bench)
        (drawn,) = draw(config, bench, [""], bench.train)
        for arm, kind in (("hard-judged", {"hardness": "judge"}), ("best-worst-judged", {"pairs": "best-vs-worst"})):
            pairing = hard_dpo.make_pairs(config.model_copy(update={**by_judge, **kind}), bench, drawn)
            weights, figures = learn.from_pairs(config, bench, bench.base, pairing.pairs, iteration=1, label=arm)
            found[arm] = solved(bench, weights, arm, cell.seed) | {
                "pairs": pairing.counts, "updates": figures.steps,
                "judge": {key: report["verdicts"][key] for key in ("accuracy", "low", "high", "n")},
            }  # fmt: skip
    return {"stages": found}


def judge_settings(cell: Cell) -> dict[str, Any]:
    """Settings of the judge: taught by the world's truth on problems of its own, measured on dev problems."""
    seed = cell.seed + OTHER_PROBLEMS
    return {**SHARED, **JUDGE, "data": f"primer:train?n={NUM_RATED}&seed={seed}", "seed": cell.seed,
            "eval_data": f"primer:dev?n={NUM_JUDGED}"}  # fmt: skip


def styled_pairs(cell: Cell) -> dict[str, Any]:
    """Hard pairs of prose and programs, from a model that was taught both; every way of solving measured."""
    settings = cell.problems(2 * NUM_TRAIN) | PAIRS | {"num_samples": PAIRS["num_samples"] // 2}
    config = hard_dpo.Config(**settings, styles=["cot", "pot"], program_workers=1)
    found: dict[str, Any] = {}
    with bench_for(config, hard_dpo.NAME) as bench:
        start, bench = start_of_pairs(cell, bench, styles=("cot", "pot"), worked=NUM_FEW)
        found |= solved_in_styles(config, bench, start, "start-both")
        (drawn,) = draw(config, bench, [""], bench.train)
        pairing = hard_dpo.make_pairs(config, bench, drawn)
        weights, figures = learn.from_pairs(config, bench, start, pairing.pairs, iteration=1, label="hard-both")
        after = solved_in_styles(config, bench, weights, "hard-both")
        after["hard-both"] |= {"pairs": pairing.counts, "updates": figures.steps}
    return {"stages": found | after}


def solved_in_styles(config: hard_dpo.Config, bench: Bench, weights: Weights, name: str) -> dict[str, Any]:
    """Which test problems are solved greedily: `NAME` in prose, `NAME-pot` by programs, `NAME-any`."""
    found = {}
    with open_runner(config, bench.run) as runner:
        for way in WAYS:
            result, _ = measure_style(config, bench, weights, way, runner, name=name)
            solved_by = (result.per_problem.get(problem.id, 0) >= 1 for problem in bench.test)
            found[name if way == "cot" else f"{name}-{way}"] = marks(solved_by)
    return found
