"""What the cells of the critics study do, from public library pieces: each function gives the rows of its stages.

A row has the stage's name, `greedy` (0 or 1 for each problem, whatever the strategy that answered) and `figures`.
Critics and their data lie in a folder of their own, made once for each seed.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from reproduce_critique_plan import (
    SPLITS,
    WORK,
    Scale,
    critic_learning,
    learning,
    measuring,
    model_of,
    shared,
    sizes_there,
)

from tutelage.cli.backends import open_bench
from tutelage.evaluation.critic_prompts import target_ids
from tutelage.evaluation.results import EvaluationResult
from tutelage.evaluation.strategy_names import parse_strategy
from tutelage.problems.critique_files import read_critiques
from tutelage.problems.primer import annotate_problem, critique_of, mistaken, primer_problems, story_of
from tutelage.recipes import critic, critique_data, critique_loop, learn, self_talk, stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.critic_measure import Measured, draw_answers, figures, measure_critic
from tutelage.recipes.critique_loop_data import start_examples
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.strategy_stage import Measuring, Seat, Team, run_strategies
from tutelage.records import Completion, Example, SamplingParams, digest, record_id, seed_of
from tutelage.selection.difficulty import NUM_BINS, difficulty_bin, make_groups
from tutelage.text.self_talk import joined, second_thoughts

Row = dict[str, Any]


@contextmanager
def opened(config: Any, name: str, folder: Path | None = None) -> Iterator[Bench]:
    """A bench in a run folder of its own, a temporary one unless `folder` is given."""
    with tempfile.TemporaryDirectory() as scratch:
        where = folder or Path(scratch) / "run"
        with open_bench(config, recipe=name, folder=where, progress=SilentProgress()) as bench:
            yield bench


def bits(values: Mapping[str, float], problems: Sequence[Any]) -> str:
    """0 or 1 for each problem; a tied vote counts as right from one half on, a missing one as wrong."""
    return "".join(str(int(values.get(problem.id, 0.0) >= 0.5)) for problem in problems)


def row(stage: str, values: Mapping[str, float], problems: Sequence[Any], **numbers: Any) -> Row:
    """A stage's row."""
    solved = bits(values, problems)
    accuracy = solved.count("1") / max(1, len(solved))
    return {"stage": stage, "greedy": {"solved": solved, "accuracy": round(accuracy, 4)}, "figures": numbers}


def recorded(bench: Bench, name: str, strategy: str) -> dict[str, float]:
    """A measurement's values by problem, from the run folder."""
    found = bench.run.read("evaluations", EvaluationResult)
    return {r.problem_id: r.value for r in found if (r.name, r.strategy) == (name, strategy)}


# Critics and their data ---------------------------------------------------------------------------------------------


def place(scale: Scale, seed: int, name: str) -> Path:
    """Where something of a seed lies."""
    made_with = [scale.num_critique, scale.critique_samples, scale.num_tests, scale.critic_updates, scale.critic_rate]
    return WORK / f"{name.replace(':', '-')}-{seed}-{digest(made_with)[:8]}"


def data_at(scale: Scale, seed: int) -> Path:
    """A finished run of critique-data with exact annotation; made where it is missing."""
    folder = place(scale, seed, "data-exact")
    if not folder.exists():
        config = critique_data.Config(**shared(
            scale, seed, data=f"primer:train?n={scale.num_critique}&seed={seed}", annotator="exact",
            num_samples=scale.critique_samples, num_refinements=scale.num_tests, min_right=scale.num_tests // 2,
        ))  # fmt: skip
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        with opened(config, critique_data.NAME, part) as bench:
            critique_data.run(config, bench)
        part.rename(folder)
    return folder


def annotated(scale: Scale, seed: int, quality: str, folder: Path) -> Path:
    """The critique data of a quality: the same solutions, annotated with a share of wrong verdicts; of these critiques
    the ones are kept whose final verdict is right. How well they help is not asked again."""
    exact = data_at(scale, seed)
    if quality == "exact":
        return exact
    noise = float(quality.partition(":")[2])
    problems = {problem.id: problem for problem in primer_problems("train", scale.num_critique, seed)}
    rows = []
    for one in sample_rows(exact):
        problem, solution = problems[one["problem_id"]], one["solution"]
        rng = random.Random(seed_of(seed, "noise", problem.id, solution))
        said = mistaken(story_of(problem), annotate_problem(problem, solution), noise, rng)
        text = critique_of(story_of(problem), said)
        is_right = text.rstrip().endswith("verdict: correct")
        rows.append(one | {"critique": text, "fate": "kept" if is_right == (one["way"] == "right") else "contradicts"})
    path = folder / f"noisy-{noise}.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def sample_rows(folder: Path) -> list[dict[str, Any]]:
    """The records of a run of critique-data."""
    paths = sorted((folder / "critique_samples").glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.open(encoding="utf-8")]


def critic_at(scale: Scale, seed: int, quality: str = "exact", size: str = "primer") -> Path:
    """A trained critic of this quality and size; made where it is missing."""
    folder = place(scale, seed, f"critic-{quality}-{size}")
    if not folder.exists():
        with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
            data = annotated(scale, seed, quality, Path(scratch))
            config = critic_config(scale, seed, data, size)
            weights = trained_critic(config, stack.enter_context(opened(config, critic.NAME)), quality)
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(weights.model, part)
            part.rename(folder)
    return folder


def critic_config(scale: Scale, seed: int, data: Path, size: str = "primer") -> critic.Config:
    """How a critic is trained and measured."""
    return critic.Config(**shared(
        scale, seed, model=model_of(size), critiques=str(data), num_answers=2,
        level_samples=scale.levels, **critic_learning(scale), **measuring(scale, scale.num_judged),
    ))  # fmt: skip


def trained_critic(config: critic.Config, bench: Bench, quality: str) -> Weights:
    """The critic's weights from its data."""
    rows, bad = read_critiques(critic.critique_path(config.critiques))
    examples = critic.examples_of(rows, bad, bench.prompter, config.critiques)
    weights, _ = learn.from_examples(config, bench, bench.base, examples, label=quality.replace(":", "-"))
    return weights


def critics(scale: Scale, seed: int) -> list[Row]:
    """Verdicts and help of the untrained critic and of critics trained on annotations of four qualities; the same
    answers for all."""
    config = critic_config(scale, seed, data_at(scale, seed))
    with opened(config, critic.NAME) as bench:
        actor = critic.actor_of(config, bench)
        answers = draw_answers(actor, bench.test, num=config.num_answers, level_samples=scale.levels, seed=seed)

        def judged(name: str, model: Path | None) -> Row:
            seat = bench if model is None else bench.invite(str(model))
            params = SamplingParams(0.0, max_new_tokens=config.critic_tokens)
            measured = measure_critic(actor, Seat.at(seat, params, label=name), bench.test, answers,
                                      name=f"{name.replace(':', '-')}-critic", seed=seed)  # fmt: skip
            return {"stage": name, "figures": critic_figures(measured, seed)}

        return [judged("untrained", None), *(judged(q, critic_at(scale, seed, q)) for q in scale.qualities)]


def critic_figures(measured: Measured, seed: int) -> dict[str, float]:
    """The figures of a critic as flat numbers; gains of the hardest and of the easiest two levels."""
    told = figures(measured, seed=seed)
    out = {f"verdict_{key}": told["verdicts"][key] for key in ("accuracy", "precision", "recall", "specificity")}
    out["f1"] = told["first_error"]["f1"]
    out |= {key: told["help"][key] for key in ("before", "after", "gain", "right_to_wrong", "wrong_to_right")}
    for name, levels in (("hard", told["levels"][:2]), ("easy", told["levels"][-2:])):
        own = [level for level in levels if level["n"]]
        count = sum(level["n"] for level in own)
        out[f"gain_{name}"] = sum(level["help"]["gain"] * level["n"] for level in own) / count if count else 0.0
    for level in told["levels"]:
        out[f"gain_{level['level']}"] = level["help"]["gain"] if level["n"] else None
        out[f"n_{level['level']}"] = level["n"]
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in out.items()}


# Strategies at test time --------------------------------------------------------------------------------------------


def strategies(scale: Scale, seed: int) -> list[Row]:
    """The base actor under test-time strategies, with the trained critic; curves over K."""
    names = ["greedy", "refine", "refine-judged", "refine-oracle", "self-refine"]
    most = max(scale.ks)
    names += [f"maj@{k}" for k in sorted({*scale.ks, *(3 * k for k in scale.ks)}) if k > 1]
    names += [f"pass@{most}", f"critic-filter@{most}", *(f"critic-maj@{k}" for k in scale.ks)]
    names += [f"sequential@{k}" for k in scale.ks] + [f"grid@{most // 2}x2"]
    config = critique_loop.Config(**shared(scale, seed, iterations=0, **measuring(scale, scale.num_votes)))
    with opened(config, "eval") as bench:
        params = SamplingParams(0.0, max_new_tokens=config.critic_tokens)
        seat = Seat.at(bench.invite(str(critic_at(scale, seed))), params, label="exact")
        how = Measuring(SamplingParams(0.7, max_new_tokens=config.max_new_tokens), seed, "base", scale.split)
        team, wanted = Team(critic=seat), [parse_strategy(name) for name in names]
        found = run_strategies(bench, bench.base, bench.test, wanted, team, how)
        rows = []
        for one in found:
            result = one.result
            cost = sum(cost.completion_tokens for cost in result.cost().values()) / len(bench.test)
            rows.append(row(result.strategy.name, result.per_problem, bench.test, tokens=round(cost, 1)))
            rows += [row(f"{result.strategy.name}:{key}", figure.per_problem, bench.test)
                     for key, figure in result.extras.items() if key in ("vote", "pass")]  # fmt: skip
        return rows


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


def levels_of(bench: Bench, problems: Sequence[Any], count: int, seed: int) -> dict[str, int]:
    """Level of each problem for the bench's base, over `count` samples."""
    params = SamplingParams(0.7, max_new_tokens=64)
    drawn = stages.sample(bench, bench.base, problems, stages.SamplingPlan("levels", params, count, seed))
    verdicts = stages.grade(bench, problems, drawn, name="levels-grade")
    found = {group.problem_id: difficulty_bin(group) for group in make_groups(drawn, verdicts)}
    return {name: level for name, level in found.items() if level is not None}


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


# Sizes --------------------------------------------------------------------------------------------------------------


def sizes(scale: Scale, seed: int) -> list[Row]:
    """Actors and critics of each size there is, every one with every other, on an easy and a hard split."""
    rows = []
    for actor in sizes_there():
        for split, ending in SPLITS.items() if scale.split == "test" else [("easy", "")]:
            config = critique_loop.Config(**shared(
                scale, seed, model=model_of(actor), iterations=0, **measuring(scale, scale.num_sizes, ending),
            ))  # fmt: skip
            with opened(config, "eval") as bench:
                params = SamplingParams(0.0, max_new_tokens=config.critic_tokens)
                for size in sizes_there():
                    seat = Seat.at(bench.invite(str(critic_at(scale, seed, size=size))), params, label=size)
                    how = Measuring(SamplingParams(0.7, max_new_tokens=64), seed, size, split, prefix=f"{size}-")
                    names = ["greedy", "refine"] if size == sizes_there()[0] else ["refine"]
                    found = run_strategies(bench, bench.base, bench.test, [parse_strategy(n) for n in names],
                                           Team(critic=seat), how)  # fmt: skip
                    for one in found:
                        last = "alone" if one.result.strategy.name == "greedy" else size
                        rows.append(row(f"{split}: {actor}+{last}", one.result.per_problem, bench.test))
    return rows


def difficulty(scale: Scale, seed: int) -> list[Row]:
    """The level of each test problem for the base actor, as a string of 0 (hardest) to 4."""
    config = critique_loop.Config(**shared(scale, seed, iterations=0, **measuring(scale, scale.num_greedy)))
    with opened(config, "eval") as bench:
        levels = levels_of(bench, bench.test, scale.levels, seed)
        return [{"stage": "levels", "levels": "".join(str(levels.get(p.id, "-")) for p in bench.test), "figures": {}}]


KINDS = {
    "critics": critics, "rounds": rounds, "strategies": strategies, "ways": ways, "sweep": sweep, "talk": talk,
    "sizes": sizes, "difficulty": difficulty,
}  # fmt: skip
"""Cells by kind; `critics` first, for it makes what the others use."""
