"""The cells of the critics study that train actors: the loop round by round, other data, self-talk."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproduce_critique_lab import Row, critic_at, data_at, levels_of, opened, recorded, row
from reproduce_critique_plan import Scale, learning, measuring, shared

from tutelage.evaluation.critic_prompts import target_ids
from tutelage.evaluation.results import EvaluationResult
from tutelage.recipes import critique_loop, learn, self_talk
from tutelage.recipes.bench import Bench
from tutelage.recipes.critique_loop_data import start_examples
from tutelage.records import Completion, Example, digest, record_id
from tutelage.selection.difficulty import NUM_BINS
from tutelage.text.self_talk import joined, second_thoughts

# The loop -----------------------------------------------------------------------------------------------------------


def loop_config(scale: Scale, seed: int, **changes: Any) -> critique_loop.Config:
    """The loop with the trained critic at test time; `num_refinements=0` is vanilla self-improvement."""
    settings = shared(
        scale, seed, critic=str(critic_at(scale, seed)), num_samples=scale.num_samples, iterations=scale.rounds,
        num_refinements=scale.num_refinements, start_limit=scale.num_start, eval_critic=True, eval_samples=0,
        **learning(scale), **measuring(scale, scale.num_greedy),
    )  # fmt: skip
    return critique_loop.Config(**{**settings, **changes})


def loop_rows(config: critique_loop.Config, name: str, levels: Mapping[str, int] | None = None) -> list[Row]:
    """The rows of a run, a stage a round, and of each with the critic at test time."""
    with opened(config, critique_loop.NAME) as bench:
        report = critique_loop.run(config, bench)
        solved = examples_by_round(bench) if levels else {}
        rows = []
        for t, told in enumerate(report["iterations"]):
            kept = told.get("kept") or {}
            numbers: dict[str, Any] = {"kept": kept.get("original", 0) + kept.get("refinement", 0), **kept}
            numbers["tokens"] = sum(cost["completion"] for cost in (told.get("tokens") or {}).values())
            numbers["solved_problems"] = told.get("problems_solved", 0)
            if levels and solved.get(t):
                shares = [sum(levels.get(p) == level for p in solved[t]) / len(solved[t]) for level in range(NUM_BINS)]
                numbers |= {"hard_share": round(sum(shares[:2]), 4), "levels": [round(share, 4) for share in shares]}
            rows.append(row(f"{name}-{t}", recorded(bench, f"it{t}", "greedy"), bench.test, **numbers))
            with_critic = recorded(bench, f"it{t}", "refine")
            if with_critic:
                rows.append(row(f"{name}-{t}+critic", with_critic, bench.test))
        return rows


def examples_by_round(bench: Bench) -> dict[int, list[str]]:
    """Problems of the solutions learnt in each round, by the round of the actor who wrote them."""
    made = {c.id: c for c in bench.run.read("completions", Completion)}
    found: dict[int, list[str]] = {}
    for example in bench.run.read("examples", Example):
        if example.origin in ("self", "refinement") and example.source_id in made:
            round_of = made[example.source_id].policy.version - bench.base.policy.version
            found.setdefault(round_of, []).append(example.problem_id)
    return found


def train_levels(scale: Scale, seed: int) -> dict[str, int]:
    """Level of each training problem for the base actor, 0 (hardest) to 4."""
    config = critique_loop.Config(**shared(scale, seed, iterations=0))
    with opened(config, "eval") as bench:
        return levels_of(bench, bench.train, scale.levels, seed)


def rounds(scale: Scale, seed: int) -> list[Row]:
    """Vanilla self-improvement and the loop, round by round, with and without the critic at test time."""
    levels = train_levels(scale, seed)
    rows = loop_rows(loop_config(scale, seed, num_refinements=0), "vanilla", levels)
    return rows + loop_rows(loop_config(scale, seed), "loop", levels)


def sweep(scale: Scale, seed: int) -> list[Row]:
    """One round of both with other numbers of samples."""
    rows = []
    for count in scale.sweep:
        for name, refinements in (("vanilla", 0), ("loop", scale.num_refinements)):
            config = loop_config(scale, seed, num_samples=count, num_refinements=refinements, iterations=1,
                                 eval_critic=False)  # fmt: skip
            rows += [one for one in loop_rows(config, f"{name}@{count}") if one["stage"].endswith("-1")]
    return rows


def ways(scale: Scale, seed: int) -> list[Row]:
    """Other data for the same training: gold of all problems; D_0 with refinements; D_0 with self-corrections."""
    rows = loop_rows(loop_config(scale, seed, iterations=0, start_limit=None), "gold")
    with tempfile.TemporaryDirectory() as scratch:
        chosen = Path(scratch) / "refinements.jsonl"
        kept = refined_rows(scale, seed)
        chosen.write_text("".join(json.dumps(one) + "\n" for one in kept), encoding="utf-8")
        rows += loop_rows(loop_config(scale, seed, iterations=0, start_refinements=str(chosen)), "refine-data")
    return rows + corrected(scale, seed, kept)


def sample_rows(folder: Path) -> list[dict[str, Any]]:
    """The records of a run of critique-data."""
    paths = sorted((folder / "critique_samples").glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.open(encoding="utf-8")]


def refined_rows(scale: Scale, seed: int) -> list[dict[str, Any]]:
    """Rows of the critic's data about training problems of the actor that hold a refined solution."""
    config = critique_loop.Config(**shared(scale, seed, iterations=0))
    with opened(config, "eval") as bench:
        known = {problem.id for problem in bench.train}
    return [
        one
        for one in sample_rows(data_at(scale, seed))
        if one["fate"] == "kept" and one["refined"] and one["problem_id"] in known
    ]


def corrected(scale: Scale, seed: int, kept: Sequence[Mapping[str, Any]]) -> list[Row]:
    """SFT on D_0 and on texts that let a wrong solution stand, say so, and write the refined one."""
    config = loop_config(scale, seed, iterations=0)
    with opened(config, critique_loop.NAME) as bench:
        start = start_examples(bench, limit=scale.num_start, refinements=None)
        prompts = {problem.id: bench.prompter.render(problem).ids for problem in bench.train}
        stage = digest(["corrections", [one["id"] for one in kept]])
        made = []
        for one in kept:
            ids = target_ids(bench.prompter, joined(second_thoughts(one["solution"], one["refined"], "primer")))
            made.append(Example(record_id(stage, one["id"]), one["problem_id"], prompts[one["problem_id"]], ids,
                                (1.0,) * len(ids), "self-correct", one["id"]))  # fmt: skip
        bench.run.append_many("examples", start + made)
        actor, told = learn.from_examples(config, bench, bench.base, start + made, iteration=0)
        seat = critique_loop.seat_of_critic(config, bench)
        critique_loop.measure_round(config, bench, actor, told, critic=seat, levels=critique_loop.Levels())
        rows = [row("correct-data-0", recorded(bench, "it0", "greedy"), bench.test)]
        return [*rows, row("correct-data-0+critic", recorded(bench, "it0", "refine"), bench.test)]


# Self-talk ----------------------------------------------------------------------------------------------------------

TALK_VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    "learn_errors=false": {"learn_errors": False},
    "feedback=wrong": {"feedback": "wrong"},
    "num_right=0": {"num_right": 0},
    "updates x 3": {"max_steps": 3},
    "problems x 3": {"data": 3},
}
"""One-variable experiments: what self-talk is changed by; the last two are factors."""


def talk(scale: Scale, seed: int, variant: str = "") -> list[Row]:
    """Self-talk, self-correction and plain solutions learnt from the same trains; the actor alone and two players."""
    changes = dict(TALK_VARIANTS[variant])
    if variant:
        changes["arms"] = ["self-talk"]
    settings = shared(
        scale, seed, critic=str(critic_at(scale, seed)), num_samples=4, num_wrong=2, num_right=1, eval_samples=4,
        data=f"primer:train?n={scale.talk_train * changes.pop('data', 1)}&seed={seed}",
        **learning(scale), **measuring(scale, scale.num_talk),
    )  # fmt: skip
    settings["max_new_tokens"] = 160  # a talk is several times as long as a solution
    settings["max_steps"] *= changes.pop("max_steps", 1)
    config = self_talk.Config(**{**settings, **changes})
    with opened(config, self_talk.NAME) as bench:
        report = self_talk.run(config, bench)
        rows = [talk_row(bench, "actor alone", "it0", "greedy"), talk_row(bench, "two players", "it0", "refine")]
        rows += [row("two players:vote", recorded(bench, "it0", "critic-maj@4"), bench.test),
                 row("two players:pass", recorded(bench, "it0", "critic-maj@4:pass"), bench.test)]  # fmt: skip
        for number, arm in enumerate(config.arms, start=1):
            rows.append(talk_row(bench, arm, f"it{number}", "greedy"))
            rows.append(row(f"{arm}:vote", recorded(bench, f"it{number}", "maj@4"), bench.test))
            rows.append(row(f"{arm}:pass", recorded(bench, f"it{number}", "pass@4"), bench.test))
        rows[0]["figures"] |= {"learnt": report["self_talk"]["trains"]["learnt"]}
        return rows


def talk_row(bench: Bench, arm: str, name: str, strategy: str) -> Row:
    """One arm's greedy answers; for its texts also how many hold an error that is taken back, and how the talk went."""
    found = [r for r in bench.run.read("evaluations", EvaluationResult) if (r.name, r.strategy) == (name, strategy)]
    texts = {c.id: c.text for c in bench.run.read("completions", Completion)}
    own = {r.problem_id: texts.get(r.completion_ids[-1], "") if r.completion_ids else "" for r in found}
    noticed = {problem for problem, text in own.items() if " wrong" in text}
    values = {r.problem_id: r.value for r in found}
    wrong_unnoticed = sum(values[p] < 0.5 and p not in noticed for p in values)
    return row(
        arm, values, bench.test, noticed=len(noticed),
        mended=sum(values[p] >= 0.5 for p in noticed), wrong_unnoticed=wrong_unnoticed,
    )  # fmt: skip
