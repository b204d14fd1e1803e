"""Rejection tuning on diverse paths of several small samplers: arXiv 2308.01825 (RFT) and the 360 talk (2024).

    samplers m_1 .. m_n: small models after SFT; M: the larger model that learns
    1. each sampler writes N solutions of each problem at T = 0.7, in each style; all are graded
    2. right ones whose equations all hold are kept; optionally the reward model's top M, the judge's cut
    3. of each sampler and problem: few paths that differ much. A path is known by the canonical form of its program, or
       by its equations; RFT's replacement rule, or the talk's bounded set of `max_paths`
    4. union: the samplers' selections one after the other, and the same pass once more
    5. M <- supervised fine-tuning of M on gold solutions + union (prompt masked)
    6. measure before and after; report who gave what, and how distinct paths grow with the number of samples

Baselines by `select`: `all` keeps every right path (RFT without deduplication), `one-sampler` the first sampler's
diverse paths only; `tutelage run sft` learns from gold alone.

Deviations: RFT fine-tunes the pre-trained base; `model` says what is tuned here. Paths without equations are known by
their text (RFT: one empty key for all). Paths of a sampler with another tokenizer are tokenized again, and counted.

Cost of the published setting: 7.5k problems x 100 samples x 4 to 5 samplers; 3 epochs over 47k to 100k paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import field_validator

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
from tutelage.recipes import learn
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.estimate import Workload
from tutelage.recipes.judging import JudgeSettings, as_scores, judge_scores, open_judge
from tutelage.recipes.measure import measure
from tutelage.recipes.path_drawing import Drawn, draw, examples_of_paths, paths_by_problem
from tutelage.recipes.program_stage import open_runner
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.recipes.scoring import open_reader
from tutelage.recipes.strategy_stage import Seat
from tutelage.recipes.style_report import measure_styles
from tutelage.recipes.style_report import remarks as style_remarks
from tutelage.recipes.styles import styled_examples
from tutelage.recipes.weighing import DynamicLossSettings
from tutelage.records import Completion, Example, Problem, Score
from tutelage.selection.diversity import Path, contributions, distinct_curve, fit_curve, select_paths, unite
from tutelage.selection.filters import Passed, filter_answers
from tutelage.selection.paths import with_true_equations
from tutelage.text.programs import Style

NAME = "diverse-rft"
RFT = "arXiv 2308.01825"


class Config(
    JudgeSettings, DynamicLossSettings, ProgramSettings, DataSettings, ModelSettings, SamplerSettings, TrainingSettings,
    EvaluationSettings, RunSettings,
):  # fmt: skip
    """Settings of diverse rejection tuning."""

    samplers: list[str] = setting(
        [], "Who writes the paths: folders, hub names, adapters, `server:URL`, `replay:FILE`; none: the model itself.",
        source=f"{RFT} §3.3: several models up to 13B or 33B",
    )  # fmt: skip
    select: Literal["diverse", "all", "one-sampler"] = setting(
        "diverse", "Diverse paths of all samplers, every right path, or diverse paths of the first sampler.", source=RFT
    )
    num_samples: int = setting(
        100, "Solutions of each problem and style from each sampler.", source=f"{RFT}: 100", ge=1
    )
    temperature: float = setting(0.7, "Temperature of these.", source=f"{RFT}: 0.7", gt=0, le=5)
    top_p: float = setting(1.0, "Nucleus of sampling.", gt=0, le=1)
    max_new_tokens: int = setting(256, "Longest solution.", unit="tokens", source=f"{RFT}, code: 256", ge=1)
    styles: list[Style] = setting(
        ["cot"], "What is asked for: cot (prose), pot (a program), mixed; where programs are, each style is measured."
    )
    max_paths: int | None = setting(
        None, "Most paths of a problem, by the talk's rule; none takes RFT's rule, one path a key.",
        source="the 360 talk: about 7.8 kept", ge=1,
    )  # fmt: skip
    check_equations: bool = setting(True, "Leave out right answers behind a wrong equation.", source=f"{RFT} §3.2")
    reward_model: str | None = setting(None, "Reward model (a run or folder) whose best paths of each problem go on.")
    reward_top: int = setting(20, "Right or wrong, how many of a sampler's paths of a problem it lets through.", ge=1)
    gold: bool = setting(True, "Learn from the data's worked solutions too.", source=f"{RFT} §3.2: D' = D + paths")
    learning_rate: float = setting(2e-5, "Peak learning rate.", source=f"{RFT}, appendix", gt=0, le=1)
    epochs: float = setting(3.0, "Passes over the paths.", source=f"{RFT}, appendix", gt=0, le=1000)
    batch_size: int = setting(128, "Examples in one optimizer step.", source=f"{RFT}, appendix", ge=1)
    schedule: Literal["constant", "linear", "cosine"] = setting(
        "cosine", "Learning rate after the warm-up.", source=f"{RFT}, appendix"
    )
    nll_average: Literal["sequence", "token"] = setting("sequence", "Per token of each path, or of the batch.")

    @field_validator("styles")
    @classmethod
    def _styles_are_distinct(cls, value: list[Style]) -> list[Style]:
        if not value or len(set(value)) < len(value):
            raise ValueError("styles are some of cot, pot, mixed, each once")
        return value

    @property
    def writers(self) -> list[str]:
        """Who writes the paths; "" is the model itself."""
        names = self.samplers or [""]
        return names[:1] if self.select == "one-sampler" else names

    def workload(self, num_train: int, num_test: int) -> Workload:
        """What a run does at most: samples of all samplers, every path learnt."""
        drawn = num_train * self.num_samples * len(self.writers) * len(self.styles)
        steps = min(self.max_steps, -(-int(self.epochs * (drawn + num_train)) // self.batch_size))
        return Workload(drawn + 2 * num_test * (len(self.styles) + self.eval_samples), 0, steps, self.batch_size)


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        NothingToLearn: no sampler wrote a right solution that passed the filters.
    """
    report = ReportBuilder(NAME, config, bench)
    untrained = IterationReport(0)
    styles = [measured(config, bench, bench.base, untrained)]
    report.add(untrained)
    drawn = draw(config, bench, config.writers, bench.train)
    for one in drawn:
        report.count(one.verdicts.values())
    found, left_out = passing(config, bench, drawn)
    kept = choose(config, found)
    examples, again = learnt_from(config, bench, drawn, kept)
    bench.run.append_many("examples", examples)
    weights, figures = learn.from_examples(config, bench, bench.base, examples)
    styles.append(measured(config, bench, weights, figures))
    report.add(figures)
    card = card_of(config, drawn, found, kept) | {
        "left_out": left_out, "tokenized_again": again, "examples": dict(Counter(e.origin for e in examples)),
    }  # fmt: skip
    whole = {**report.finish(), "paths": card, "remarks": remarks(card)}
    if all(styles):
        whole |= {"styles": {"iterations": styles}, "remarks": [*style_remarks(*styles), *whole["remarks"]]}
    bench.run.write_report(whole)
    return whole


def measured(config: Config, bench: Bench, weights: Weights, figures: IterationReport) -> dict[str, Any]:
    """Step 6 for one model: fills in `figures`; what the report says of styles, empty for prose alone."""
    if config.styles == ["cot"]:
        measure(config, bench, weights, figures)
        return {}
    with open_runner(config, bench.run) as runner:
        return measure_styles(config, bench, weights, runner, figures, config.styles)


Found = Mapping[str, Mapping[str, Sequence[Path]]]
"""By sampler and problem, the paths that may be learnt from."""


def passing(config: Config, bench: Bench, drawn: Sequence[Drawn]) -> tuple[Found, dict[str, Any]]:
    """Step 2: right paths that pass the filters, and what was left out by which."""
    found: dict[str, Mapping[str, Sequence[Path]]] = {}
    wrong_equations, told, judge = 0, {}, open_judge(config, bench)
    for one in drawn:
        ranked, passed = filtered(config, bench, one, judge)
        if passed:
            told[one.name] = [entry.__dict__ for entry in passed]
        right = [c for c in ranked if one.verdicts[c.id].is_correct]
        if config.check_equations:
            right, dropped = with_true_equations(right)
            wrong_equations += dropped
        if not right:
            blank = sum(not c.text.strip() for c in one.completions)
            counted = f"of its {len(one.completions)} solutions {len(one.right)} are right and {blank} empty"
            one.seat.progress.note(f"warning: sampler {one.name} gives no path: {counted}")
        found[one.name] = paths_by_problem(right, one.name)
    return found, {"wrong_equations": wrong_equations, "filters": told}


def filtered(config: Config, bench: Bench, one: Drawn, judge: Seat | None) -> tuple[list[Completion], list[Passed]]:
    """The reward model's best of each problem, then those that pass the judge; and what each let through."""
    kept, told, label = one.completions, list[Passed](), one.name.replace("#", "-")
    reader = open_reader(config, one.seat)
    if reader is not None and kept:
        values = reader.scores(one.seat, kept, name=f"reward-{label}")
        scores = [Score(key, "reward_model", value, reader.name) for key, value in values.items()]
        kept, passed = filter_answers(kept, one.verdicts, ranked_by=scores, top=config.reward_top)
        told += passed
    if judge is not None and kept:
        marks = judge_scores(
            bench, judge, kept, bench.train, name=f"judge-{label}", seed=config.seed, tries=config.judge_tries,
            reference=config.judge_reference,
        )  # fmt: skip
        kept, passed = filter_answers(
            kept, one.verdicts, judged_by=as_scores(marks, "judge"), at_least=config.judge_threshold
        )
        told += passed
    return kept, told


def choose(config: Config, found: Found) -> dict[str, list[Path]]:
    """Steps 3 and 4: each problem's paths to learn from.

    Raises:
        NothingToLearn: there is none.
    """
    problems = list(dict.fromkeys(problem for by in found.values() for problem in by))
    if not problems:
        raise NothingToLearn(
            "no sampler wrote a right solution that passed the filters", seen=f"samplers {', '.join(found)}",
            expected="at least one", advice="take samplers that solve some of these problems (tutelage run sft first), "
            "draw more samples, raise max_new_tokens, or set check_equations=false",
        )  # fmt: skip
    if config.select == "all":
        return {problem: [path for by in found.values() for path in by.get(problem, ())] for problem in problems}
    return {
        problem: unite(
            (select_paths(by.get(problem, ()), size=config.max_paths) for by in found.values()), size=config.max_paths
        )
        for problem in problems
    }


def learnt_from(
    config: Config, bench: Bench, drawn: Sequence[Drawn], kept: Mapping[str, Sequence[Path]]
) -> tuple[list[Example], int]:
    """Step 5: gold solutions and kept paths as examples for the model, and how many were tokenized again."""
    known: dict[str, Problem] = {problem.id: problem for problem in bench.train}
    gold = styled_examples(bench, bench.train, config.styles) if config.gold else []
    paths, again = examples_of_paths(bench, drawn, kept, known)
    return gold + paths, again


def card_of(config: Config, drawn: Sequence[Drawn], found: Found, kept: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """What the report says of paths: who gave what, how many a question, how they grow with the number of samples."""
    shares = contributions(
        found, [path for paths in kept.values() for path in paths],
        samples={one.name: len(one.completions) for one in drawn}, tokens={one.name: one.tokens for one in drawn},
    )  # fmt: skip
    problems = list(dict.fromkeys(c.problem_id for one in drawn for c in one.completions))
    each = config.num_samples * len(config.styles)
    curves = {name: curve_of([by], problems, each) for name, by in found.items()}
    if len(found) > 1:
        curves["union"] = curve_of(list(found.values()), problems, each * len(found))
    return {
        "select": config.select, **shares.to_json(),
        "kept_per_problem": round(sum(map(len, kept.values())) / max(1, len(problems)), 4),
        "distinct_by_samples": curves,
    }  # fmt: skip


def remarks(card: Mapping[str, Any]) -> list[str]:
    """What the contribution report says, in sentences."""
    told = [
        f"{part['sampler']}: {part['correct']} right of {part['samples']} samples, {part['distinct']} distinct paths, "
        f"{part['exclusive_share']:.1%} of all found by it alone; {part['kept']} of its paths are kept, "
        + (f"{part['tokens_per_kept']:,.0f} tokens written for each" if part["kept"] else f"{part['tokens']:,} tokens")
        for part in card["samplers"]
    ]
    for name, passed in card["left_out"]["filters"].items():
        told += [
            f"{name}: the {one['name']} let {one['right_out']} of {one['right_in']} right and {one['wrong_out']} of "
            f"{one['wrong_in']} wrong paths through" for one in passed
        ]  # fmt: skip
    several = f", {card['shared_share']:.1%} found by several samplers" if len(card["samplers"]) > 1 else ""
    told.append(
        f"{card['distinct']} distinct paths{several}; {card['kept']} are learnt, {card['kept_per_problem']:.2f} a "
        f"problem ({card['left_out']['wrong_equations']} right answers behind a false equation are left out)"
    )
    return told


def curve_of(
    sources: Sequence[Mapping[str, Sequence[Path]]], problems: Sequence[str], num_samples: int
) -> dict[str, Any]:
    """Mean distinct paths a problem by number of samples, and whether that grows like its logarithm."""
    counts = [Counter(path.key for by in sources for path in by.get(problem, ())) for problem in problems]
    curve = distinct_curve(counts, num_samples)
    fit = fit_curve(curve)
    return {"points": [[k, round(value, 4)] for k, value in curve], "fit": None if fit is None else fit.__dict__}
