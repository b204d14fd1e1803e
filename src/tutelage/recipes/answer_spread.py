"""How a model's answers to one problem spread: pass rate, entropy of answers, distinct right paths; before and after.

What it is for: a training that sharpens shows here. The 360 talk found that after training on best-versus-worst pairs
the answers of easy problems collapse while hard ones stay unsolved.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.evaluation.metrics import answer_key
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.program_stage import sample_styled
from tutelage.recipes.styles import styled
from tutelage.records import Completion, SamplingParams, Verdict
from tutelage.sampling.executing import ProgramRunner
from tutelage.selection.difficulty import NUM_BINS, difficulty_bin, make_groups
from tutelage.selection.paths import path_of


@dataclass(frozen=True)
class Spread:
    """One problem's samples.

    Args:
        bin: difficulty, 0 (pass rate below 0.2) to 4.
        pass_rate: share of right samples.
        entropy: of the answers, in nats; samples without an answer count as one answer.
        distinct: distinct right paths.
    """

    bin: int
    pass_rate: float
    entropy: float
    distinct: int


def entropy(values: Iterable[Hashable]) -> float:
    """`-sum p ln p` of the values' frequencies, in nats.

    >>> round(entropy("aabb"), 4), entropy("aaaa")
    (0.6931, 0.0)
    """
    counts = Counter(values)
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values()) + 0.0


def spread_of(completions: Sequence[Completion], verdicts: Mapping[str, Verdict]) -> dict[str, Spread]:
    """Each problem's spread; problems without a usable verdict are left out."""
    written = {completion.id: completion for completion in completions}
    found = {}
    for group in make_groups(completions, verdicts):
        number, rate = difficulty_bin(group), group.pass_rate
        if number is None or rate is None:
            continue
        judged = [verdicts[i] for i in group.completion_ids if verdicts[i].is_usable]
        answers = [None if v.answer is None else answer_key(v.answer) for v in judged]
        paths = {path_of(written[v.completion_id]).key for v in judged if v.is_correct}
        found[group.problem_id] = Spread(number, rate, entropy(answers), len(paths))
    return found


def measure_spread(
    config: Any, bench: Bench, weights: Weights, *, name: str, runner: ProgramRunner | None = None
) -> dict[str, Spread]:
    """The spread of `diversity_samples` answers to each test problem, at the temperature of the votes.

    Args:
        runner: runs the programs that are written; without it none is run.
    """
    problems = bench.test[: config.eval_sample_limit]
    params = SamplingParams(temperature=config.eval_temperature, max_new_tokens=config.max_new_tokens)
    plan = stages.SamplingPlan(name, params, config.diversity_samples, config.seed)
    if runner is None:
        completions, asked = stages.sample(bench, weights, problems, plan), bench
    else:
        completions = sample_styled(
            bench, weights, problems, plan, style="any", runner=runner, max_programs=config.max_programs
        )
        asked = styled(bench, "any")
    return spread_of(completions, stages.grade(asked, problems, completions, name=f"{name}-grade"))


def spread_by_difficulty(before: Mapping[str, Spread], after: Mapping[str, Spread]) -> list[dict[str, Any]]:
    """Means over the problems of each difficulty under the first model, hardest first; none for an empty bin."""
    rows = []
    for number in range(NUM_BINS):
        ids = [i for i, one in before.items() if one.bin == number and i in after]
        row: dict[str, Any] = {"bin": number, "problems": len(ids)}
        for what in ("pass_rate", "entropy", "distinct"):
            pair = [[getattr(side[i], what) for i in ids] for side in (before, after)]
            row[what] = [round(sum(values) / len(values), 4) if values else None for values in pair]
        rows.append(row)
    return rows
