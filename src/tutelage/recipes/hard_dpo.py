"""Preference tuning on hard cases: the 360 talk (2024), with the loss of ChatGLM-Math (arXiv 2404.02893 §4.3.3).

    M after rejection tuning; its own samples
    1. sample N = 10 paths of each problem, in each style, and grade them
    2. a problem is hard where 0 < pass rate <= 0.5 by the grader, or where fewer than half of its paths pass the judge
    3. pairs of hard problems only, typed: precision, cot_wrong_pot_right, multistep_pot, plain
    4. M' <- DPO + alpha NLL(chosen) from M, reference M
    5. measure M and M' on the same problems: greedy, wins and losses; by difficulty (pass rate under M) the pass rate,
       the entropy of answers and the number of distinct paths

The comparison: `pairs=best-vs-worst` takes of every problem with a right and a wrong path the highest score against the
lowest, which the talk found useless; step 5 is its diagnosis (answers of easy problems collapse).

Deviations: the talk names the cases and no rule; hardness, types and thresholds are ours. 2404.02893 writes
`lambda L_DPO + L_CE`: lambda = 1 / alpha here, up to the scale of the learning rate.

Cost: problems x N samples, and test problems x `diversity_samples` before and after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import field_validator, model_validator

from tutelage.config.settings import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    ProgramSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
    setting,
)
from tutelage.errors import NothingToLearn
from tutelage.evaluation.comparisons import compare
from tutelage.recipes import learn
from tutelage.recipes.answer_spread import Spread, measure_spread, spread_by_difficulty
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.estimate import Workload
from tutelage.recipes.judging import JudgeSettings, judge_scores, open_judge
from tutelage.recipes.measure import measure
from tutelage.recipes.path_drawing import Drawn, draw
from tutelage.recipes.program_stage import open_runner
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.recipes.scoring import open_reader
from tutelage.recipes.style_report import measure_styles
from tutelage.recipes.style_report import remarks as style_remarks
from tutelage.records import Completion, Group
from tutelage.selection.difficulty import NUM_BINS, make_groups
from tutelage.selection.hard_pairs import PAIR_TYPES, HardPairs, PairType, best_versus_worst, hard_pairs, stage_of
from tutelage.text.programs import Style

NAME = "hard-dpo"
CHATGLM = "arXiv 2404.02893"


class Config(
    JudgeSettings, ProgramSettings, DataSettings, ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings,
    RunSettings,
):  # fmt: skip
    """Settings of preference tuning on hard cases."""

    pairs: Literal["hard", "best-vs-worst"] = setting(
        "hard", "Pairs of hard problems, or the comparison: best against worst of every problem.", source="the 360 talk"
    )
    num_samples: int = setting(10, "Paths of each problem and style.", source="the 360 talk: 10", ge=1)
    temperature: float = setting(0.7, "Temperature of these.", gt=0, le=5)
    top_p: float = setting(1.0, "Nucleus of sampling.", gt=0, le=1)
    max_new_tokens: int = setting(512, "Longest solution.", unit="tokens", ge=1)
    styles: list[Style] = setting(
        ["cot"], "What is asked for: cot (prose), pot (a program), mixed; with programs, each style is measured, "
        "and prose's prompt with what programs come run.",
    )  # fmt: skip
    types: list[PairType] = setting(list(PAIR_TYPES), "Which types of hard pairs are made.", source="the 360 talk")
    pairs_per_problem: int = setting(4, "Most pairs of a hard problem.", ge=1)
    reward_model: str | None = setting(
        None, "Reward model (a run or folder): best and worst are by its score; none takes the judge's or grader's."
    )
    hardness: Literal["grader", "judge"] = setting(
        "grader", "Who says that a path passes: the grader, or `judge` by its `judge_threshold`.",
        source="the 360 talk: fewer than half of ten paths pass the judge",
    )  # fmt: skip
    loss: Literal["dpo_nll", "dpo", "ipo"] = setting(
        "dpo_nll", "DPO with the auxiliary NLL, or a baseline.", source=CHATGLM
    )
    beta: float = setting(0.5, "Strength of the pull to the reference.", source=f"{CHATGLM}: 0.5, 1 or 2", gt=0)
    alpha: float = setting(1.0, "Weight of the auxiliary NLL.", source=f"{CHATGLM}: 1/lambda, lambda 0.5 to 1.5", ge=0)
    nll_average: Literal["sequence", "token"] = setting("sequence", "NLL per token of each sequence, or of the batch.")
    learning_rate: float = setting(1e-6, "Peak learning rate.", source=f"{CHATGLM}: 1e-6", gt=0, le=1)
    batch_size: int = setting(64, "Pairs in one optimizer step.", source=f"{CHATGLM}: 64", ge=1)
    max_steps: int = setting(500, "Most optimizer steps.", unit="steps", source=f"{CHATGLM}: 500", ge=1)
    diversity_samples: int = setting(10, "Samples of each test problem that show how answers spread; 0: none.", ge=0)

    @model_validator(mode="after")
    def _a_judge_is_named(self) -> Config:
        if self.hardness == "judge" and self.judge is None:
            raise ValueError("hardness=judge needs judge=, the run or model that judges")
        return self

    @field_validator("styles", "types")
    @classmethod
    def _each_once(cls, value: list[Any]) -> list[Any]:
        if not value or len(set(value)) < len(value):
            raise ValueError("name one or more, each once")
        return value

    def workload(self, num_train: int, num_test: int) -> Workload:
        """What a run does at most."""
        pairs = num_train * (self.pairs_per_problem if self.pairs == "hard" else 1)
        steps = min(self.max_steps, -(-int(self.epochs * pairs) // self.batch_size))
        drawn = num_train * self.num_samples * len(self.styles)
        ways = 1 if self.styles == ["cot"] else 1 + len(self.styles)
        measured = 2 * num_test * (ways + self.eval_samples + self.diversity_samples)
        return Workload(drawn + measured, pairs, steps, self.batch_size)


@dataclass(frozen=True)
class Measured:
    """One model on the test problems: its report, how its answers spread, and its styles where programs are learnt."""

    figures: IterationReport
    spread: Mapping[str, Spread]
    styles: Mapping[str, Any] | None = None


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        NothingToLearn: no hard problem, or no pair of it.
    """
    report = ReportBuilder(NAME, config, bench)
    before = measured(config, bench, bench.base, IterationReport(0))
    report.add(before.figures)
    (drawn,) = draw(config, bench, [""], bench.train)
    report.count(drawn.verdicts.values())
    pairing = make_pairs(config, bench, drawn)
    bench.run.append_many("pairs", pairing.pairs)
    if not pairing.pairs:
        raise no_pair(config, pairing, drawn.completions)
    weights, figures = learn.from_pairs(config, bench, bench.base, pairing.pairs, iteration=1)
    figures.pairing = pairing.counts
    after = measured(config, bench, weights, figures)
    report.add(after.figures)
    card = card_of(config, before, after)
    whole = {**report.finish(), "hard": card, "remarks": remarks(pairing.counts, card)}
    if before.styles is not None and after.styles is not None:
        told = style_remarks(before.styles, after.styles)
        whole |= {"styles": {"iterations": [before.styles, after.styles]}, "remarks": [*told, *whole["remarks"]]}
    bench.run.write_report(whole)
    return whole


def make_pairs(config: Config, bench: Bench, drawn: Drawn) -> HardPairs:
    """Steps 2 and 3."""
    completions, verdicts = drawn.completions, drawn.verdicts
    stage = stage_of(f"{config.pairs}-pairs", completions)
    marks = judged(config, bench, completions)
    if config.pairs == "best-vs-worst":
        reader = open_reader(config, bench)
        scores = marks if reader is None else reader.scores(bench, completions, name="reward")
        return best_versus_worst(bench.train, verdicts, completions, scores=scores, stage=stage, seed=config.seed)
    groups = make_groups(completions, verdicts)
    bench.run.append_many("groups", groups)
    rates: dict[str, float | None] = {group.problem_id: group.pass_rate for group in groups}
    by_judge = config.hardness == "judge"
    if by_judge:
        rates = {group.problem_id: judged_rate(group, marks, config.judge_threshold) for group in groups}
    return hard_pairs(
        bench.train, verdicts, completions, rates=rates, count=config.pairs_per_problem, stage=stage,
        types=config.types, by_judge=by_judge,
    )  # fmt: skip


def judged_rate(group: Group, marks: Mapping[str, float], threshold: int) -> float | None:
    """Share of a problem's paths that pass the judge, of those whose rating can be read; None if none can."""
    readable = [marks[key] for key in group.completion_ids if key in marks]
    return sum(mark >= threshold for mark in readable) / len(readable) if readable else None


def judged(config: Config, bench: Bench, completions: Sequence[Completion]) -> dict[str, float]:
    """The judge's scores by completion id; none without a judge."""
    seat = open_judge(config, bench)
    if seat is None or not completions:
        return {}
    return judge_scores(
        bench, seat, completions, bench.train, seed=config.seed, tries=config.judge_tries,
        reference=config.judge_reference,
    )  # fmt: skip


def measured(config: Config, bench: Bench, weights: Weights, figures: IterationReport) -> Measured:
    """Step 5 for one model.

    A pair of two styles teaches to answer prose's prompt by a program; so where programs are sampled, those that come
    are run, and the styles asked for are measured one by one too.
    """
    name = f"it{figures.iteration}-spread"
    if config.styles == ["cot"]:
        measure(config, bench, weights, figures)
        return Measured(figures, measure_spread(config, bench, weights, name=name) if config.diversity_samples else {})
    with open_runner(config, bench.run) as runner:
        styles = measure_styles(config, bench, weights, runner, figures, ["any", *config.styles])
        is_spread = config.diversity_samples > 0
        answers = measure_spread(config, bench, weights, name=name, runner=runner) if is_spread else {}
    return Measured(figures, answers, styles)


def card_of(config: Config, before: Measured, after: Measured) -> dict[str, Any]:
    """Wins and losses, and the diagnosis by difficulty."""
    assert before.figures.greedy is not None and after.figures.greedy is not None
    first, second = before.figures.greedy.per_problem, after.figures.greedy.per_problem
    result = compare(first, second, seed=config.seed) if len(first.keys() & second.keys()) > 1 else None
    return {
        "pairs": config.pairs,
        "win_rate": None if result is None else result.win_rate,
        "lose_rate": None if result is None else result.lose_rate,
        "by_difficulty": spread_by_difficulty(before.spread, after.spread),
    }


def remarks(counts: Mapping[str, int], card: Mapping[str, Any]) -> list[str]:
    """What the pairs and the diagnosis say, in sentences."""
    shown = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    told = [f"{card['pairs']} pairs: {shown}"]
    if card["win_rate"] is not None:
        told.append(
            f"only the new model solves {card['win_rate']:.1%} of the problems, only the old {card['lose_rate']:.1%}"
        )
    for row in card["by_difficulty"]:
        if row["problems"]:
            rate, spread, paths = (row[what] for what in ("pass_rate", "entropy", "distinct"))
            told.append(
                f"{row['problems']} problems that it solved in {row['bin'] / NUM_BINS:.0%} to "
                f"{(row['bin'] + 1) / NUM_BINS:.0%} of samples: {rate[0]:.0%}, then {rate[1]:.0%}; entropy of answers "
                f"{spread[0]:.2f}, then {spread[1]:.2f} nats; distinct right paths {paths[0]:.2f}, then {paths[1]:.2f}"
            )
    return told


def no_pair(config: Config, pairing: HardPairs, completions: Sequence[Completion]) -> NothingToLearn:
    """The error that says why there is no pair, and what to try."""
    shown = ", ".join(f"{count} {name}" for name, count in pairing.counts.items() if count)
    if config.pairs == "best-vs-worst":
        what, advice = "no problem has both a right and a wrong path", "draw more samples, or raise the temperature"
    elif not pairing.counts.get("hard"):
        what = "no problem is hard for this model: none has a pass rate above 0 and up to 0.5"
        advice = "give it harder problems (or easier ones, if most are unsolved), or draw more samples"
    else:
        what, advice = "no hard problem has a pair of the types asked for", "name more types, or sample pot beside cot"
    blank = sum(not completion.text.strip() for completion in completions)
    if blank:
        shown += f"; of {len(completions)} solutions {blank} are empty"
    if 2 * blank > len(completions):
        advice = "look at the completions in the run folder, and see why the sampler writes nothing"
    return NothingToLearn(what, seen=shown, expected="some hard problems with a right and a wrong path", advice=advice)
