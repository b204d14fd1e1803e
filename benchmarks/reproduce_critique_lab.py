"""What the cells of the critics study share, from public library pieces: rows, the critics and their data.

A row has the stage's name, `greedy` (for each problem 0 or 1, or a chance where the strategy gives one; whatever the
strategy that answered) and `figures`. Critics and their data lie in a folder of their own, made once for each seed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reproduce_critique_plan import WORK, Scale, critic_learning, measuring, model_of, shared

from tutelage.cli.backends import open_bench
from tutelage.evaluation.results import EvaluationResult
from tutelage.problems.critique_files import read_critiques
from tutelage.recipes import critic, critique_data, learn, stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.critic_measure import Measured, draw_answers, figures, measure_critic
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import SamplingParams, digest
from tutelage.selection.difficulty import difficulty_bin, make_groups

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
    """A stage's row; a strategy that gives chances (`pass@k` of more than k samples) has them as `values` too."""
    own = [round(values.get(problem.id, 0.0), 4) for problem in problems]
    told: Row = {"solved": bits(values, problems), "accuracy": round(sum(own) / max(1, len(own)), 4)}
    if not set(own) <= {0.0, 1.0}:
        told["values"] = own
    return {"stage": stage, "greedy": told, "figures": numbers}


def recorded(bench: Bench, name: str, strategy: str) -> dict[str, float]:
    """A measurement's values by problem, from the run folder."""
    found = bench.run.read("evaluations", EvaluationResult)
    return {r.problem_id: r.value for r in found if (r.name, r.strategy) == (name, strategy)}


# Critics and their data ---------------------------------------------------------------------------------------------


def place(scale: Scale, seed: int, name: str) -> Path:
    """Where something of a seed lies."""
    made_with = [scale.num_critique, scale.critique_samples, scale.num_tests, scale.critic_updates, scale.critic_rate]
    return WORK / f"{name.replace(':', '-')}-{seed}-{digest(made_with)[:8]}"


def data_at(scale: Scale, seed: int, quality: str = "exact") -> Path:
    """A finished run of critique-data whose annotator has this quality; made where it is missing.

    Requests are seeded by problem, so all qualities judge the same flawed solutions; the filter by refinement is the
    recipe's, for each quality anew.
    """
    folder = place(scale, seed, f"data-{quality}")
    if not folder.exists():
        config = critique_data.Config(**shared(
            scale, seed, data=f"primer:train?n={scale.num_critique}&seed={seed}", annotator=quality,
            num_samples=scale.critique_samples, num_refinements=scale.num_tests, min_right=scale.num_tests // 2,
        ))  # fmt: skip
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        with opened(config, critique_data.NAME, part) as bench:
            critique_data.run(config, bench)
        part.rename(folder)
    return folder


def critic_at(scale: Scale, seed: int, quality: str = "exact", size: str = "primer") -> Path:
    """A trained critic of this quality and size; made where it is missing."""
    folder = place(scale, seed, f"critic-{quality}-{size}")
    if not folder.exists():
        config = critic_config(scale, seed, data_at(scale, seed, quality), size)
        with opened(config, critic.NAME) as bench:
            weights = trained_critic(config, bench, quality)
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


def levels_of(bench: Bench, problems: Sequence[Any], count: int, seed: int) -> dict[str, int]:
    """Level of each problem for the bench's base, over `count` samples."""
    params = SamplingParams(0.7, max_new_tokens=64)
    drawn = stages.sample(bench, bench.base, problems, stages.SamplingPlan("levels", params, count, seed))
    verdicts = stages.grade(bench, problems, drawn, name="levels-grade")
    found = {group.problem_id: difficulty_bin(group) for group in make_groups(drawn, verdicts)}
    return {name: level for name, level in found.items() if level is not None}
