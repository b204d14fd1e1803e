"""AutoMathCritique, the data: step-level critiques of flawed and right solutions. arXiv 2411.16579, sections 2 and 3.

    for each problem, as one flow:
        1. flawed solutions by the actor:
           RG1  sample N solutions hot; the wrong ones
           RG2  keep steps 1 .. j-1 of a right one, raise the temperature from step j on; the wrong ones, and j
           RG3  put a mistake of a chosen kind into step j, let the actor finish; the wrong ones, j, and the kind
        2. the annotator, told the reference answer and what is known, judges every step and the final answer; a text
           that cannot be read is asked for again
        3. the actor refines each wrong solution R times with its critique; keep the critique iff at least k are right
    right solutions and their critiques are kept too
    write the data for other trainers, and a card

Deviations: N, R, k, temperatures and the kinds of mistakes are not published; they are ours. RG2's known step is the
first that differs from the right path. Right solutions are not filtered by refinement. Critiques whose final verdict is
not the grader's are dropped (`check_final`). On the built-in problems the world makes RG3's mistakes, and may annotate.

Cost: N samples, some branches, one annotation and R refinements of each wrong solution. The published set has 76,321
critiques; annotated by a GPT-4-class model.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from tutelage.config.settings import DataSettings, ModelSettings, RunSettings, SamplerSettings, setting
from tutelage.errors import InputError, NothingToLearn
from tutelage.evaluation.plays import ACTOR, Table
from tutelage.problems.mistakes import Mistake, read_mistakes
from tutelage.recipes.bench import Bench
from tutelage.recipes.critique_annotators import ANNOTATOR, ModelAnnotator, WorldAnnotator, world_annotator
from tutelage.recipes.critique_card import card_of, rows_of, write_dataset
from tutelage.recipes.critique_flaws import HeatSettings
from tutelage.recipes.critique_flow import CritiqueFlow, CritiqueRules, Made
from tutelage.recipes.estimate import Workload
from tutelage.recipes.flow_stage import run_flows
from tutelage.recipes.grading_on_the_way import GradingOnTheWay
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import Problem, SamplingParams, digest

NAME = "critique-data"
PAPER = "arXiv 2411.16579"


class Config(DataSettings, ModelSettings, SamplerSettings, RunSettings):
    """Settings of critique data. `model` is the actor, whose solutions are criticised."""

    eval_data: str | None = setting(None, "Problems that `data` should not hold; found in both, they are told of.")
    annotator: str = setting(
        "exact", "Who writes critiques: a model folder or hub name, `server:URL`; on the built-in problems also "
        "`exact`, or `noisy:P` with a share P of wrong verdicts.", source=f"{PAPER} §3: a GPT-4-class model",
    )  # fmt: skip
    annotation_tries: int = setting(3, "How often an annotator is asked until its text can be read.", ge=1, le=100)
    annotation_temperature: float = setting(0.0, "Temperature of the first try.", ge=0, le=5)
    annotation_tokens: int = setting(1536, "Longest critique.", unit="tokens", source=f"{PAPER}, code", ge=1)
    num_samples: int = setting(10, "RG1: solutions sampled of each problem, N.", ge=1)
    temperature: float = setting(1.0, "RG1: temperature.", gt=0, le=5)
    max_new_tokens: int = setting(1024, "Longest solution.", unit="tokens", source=f"{PAPER}, code", ge=1)
    rg2_samples: int = setting(2, "RG2: branches of each problem.", ge=0)
    rg2_temperature: float = setting(1.0, "RG2: temperature of the first new step.", source=f"{PAPER} figure", gt=0)
    rg2_rise: float = setting(0.1, "RG2: by how much it rises a step.", ge=0, le=5)
    rg2_limit: float = setting(1.5, "RG2: highest temperature.", gt=0, le=5)
    rg3_samples: int = setting(2, "RG3: inserted mistakes of each problem.", ge=0)
    mistakes: str | None = setting(None, "RG3: TOML file of kinds of mistakes; none takes the one that comes along.")
    mistake_writer: Literal["annotator", "actor"] = setting(
        "annotator", "RG3: who writes the wrong step; on the built-in problems the world does.",
        source=f"{PAPER} figure: a second model",
    )  # fmt: skip
    num_wrong: int = setting(2, "Most wrong RG1 solutions of a problem that are annotated.", ge=0)
    num_right: int = setting(1, "Most right solutions of a problem that are annotated.", ge=0)
    num_refinements: int = setting(10, "Refinements that test a critique.", ge=1)
    min_right: int = setting(3, "Right refinements that it takes to keep a critique, k; 0 keeps all untested.", ge=0)
    refine_temperature: float = setting(0.7, "Temperature of refinements.", source=f"{PAPER}, code", ge=0, le=5)
    check_final: bool = setting(True, "Drop critiques whose final verdict is not the grader's.")
    stream_window: int = setting(64, "Problems in work at once; others wait until one is done.", ge=1)

    def workload(self, num_train: int, num_test: int) -> Workload:
        """What a run does at most: samples, branches, annotations, refinements."""
        flawed = self.num_wrong + self.rg2_samples + self.rg3_samples
        made = self.num_samples + self.rg2_samples + 2 * self.rg3_samples
        return Workload(num_train * (made + flawed * (1 + self.num_refinements) + self.num_right), 0, 0, 1)


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        InputError: the annotator or the file of mistakes is not usable.
        NothingToLearn: no critique was kept.
    """
    if config.min_right > config.num_refinements:
        raise InputError("no critique could be kept", seen=f"min_right = {config.min_right}",
                         expected=f"at most num_refinements = {config.num_refinements}", advice="lower it")  # fmt: skip
    problems = bench.train if config.dev_size else bench.train + bench.held_out
    made = collect(config, bench, problems)
    samples = [sample for one in made for sample in one.samples]
    card = card_of(made, problems)
    rows = rows_of(samples)
    write_dataset(bench.run.path / "dataset", rows, card, config.model_dump(mode="json"))
    report = ReportBuilder(NAME, config, bench)
    report.add(IterationReport(0))
    whole = {
        **report.finish(), "critique_data": card, "remarks": [in_one_line(card, len(rows))],
        "next_steps": [("train a critic on them", f"tutelage run critic model={config.model} data={config.data} "
                        "critiques={folder}")],
    }  # fmt: skip
    bench.run.write_report(whole)
    if not rows:
        raise NothingToLearn(
            "no critique was kept", seen=str(card["fates"]), expected="at least one",
            advice="lower min_right, take a better annotator, or give it problems that the actor sometimes solves",
        )  # fmt: skip
    return whole


def collect(config: Config, bench: Bench, problems: list[Problem]) -> list[Made]:
    """All problems' critique data, recorded; resumable."""
    seats, annotator = seated(config, bench, problems)
    by_world = bench.prompter.form == "primer" and all("story" in problem.metadata for problem in problems)
    kinds = [kind for kind in usable_mistakes(config) if kind.primer is not None or not by_world]
    writer = "" if by_world else ACTOR if ANNOTATOR not in seats or config.mistake_writer == "actor" else ANNOTATOR
    rules = rules_of(config, seats[ACTOR].params, writer)
    asked = [[problem.id, bench.prompter.render(problem).ids, problem.answer] for problem in problems]
    lineage = [[name, seat.made_of()] for name, seat in seats.items()]
    stage = digest(["critique-data", config.seed, dataclasses.asdict(rules), config.annotator, config.annotation_tries,
                    [dataclasses.asdict(kind) for kind in kinds], lineage, asked])  # fmt: skip
    players = {name: seat.player(name) for name, seat in seats.items()}
    judge = GradingOnTheWay(bench, {problem.id: problem for problem in problems})
    flows = [
        (problem.id, CritiqueFlow(Table(problem, players, stage, config.seed), rules, annotator, config.annotator,
                                  kinds, judge).run())
        for problem in problems
    ]  # fmt: skip
    made = run_flows(
        bench, NAME, stage, flows, {name: (seat.bench, seat.weights) for name, seat in seats.items()},
        max_active=config.stream_window,
    )  # fmt: skip
    judge.flush()
    for one in made.values():
        bench.run.append_many("completions", one.wholes)
        bench.run.append_many("critiques", one.critiques)
        bench.run.append_many("critique_samples", one.samples)
    return list(made.values())


def seated(
    config: Config, bench: Bench, problems: list[Problem]
) -> tuple[dict[str, Seat], WorldAnnotator | ModelAnnotator]:
    """Actor and annotator; the world needs no seat."""
    actor = Seat.at(bench, SamplingParams(config.temperature, max_new_tokens=config.max_new_tokens))
    is_primer = bench.prompter.form == "primer"
    world = world_annotator(config.annotator, problems, config.seed, is_primer=is_primer)
    if world is not None:
        return {ACTOR: actor}, world
    guest = bench if config.annotator == config.model else bench.invite(config.annotator)
    params = SamplingParams(config.annotation_temperature, max_new_tokens=config.annotation_tokens)
    annotator = ModelAnnotator(config.annotation_tries, {kind.name: kind for kind in usable_mistakes(config)})
    return {ACTOR: actor, ANNOTATOR: Seat.at(guest, params, label=config.annotator)}, annotator


def usable_mistakes(config: Config) -> tuple[Mistake, ...]:
    """The kinds of mistakes that the user, or the package, names."""
    return read_mistakes(None if config.mistakes is None else Path(config.mistakes).expanduser())


def rules_of(config: Config, actor: SamplingParams, writer: str) -> CritiqueRules:
    """The settings as the flow takes them."""
    return CritiqueRules(
        hot=actor, num_hot=config.num_samples,
        heat=HeatSettings(config.rg2_temperature, config.rg2_rise, max(config.rg2_limit, config.rg2_temperature)),
        num_raised=config.rg2_samples, num_mistakes=config.rg3_samples, finish=actor,
        refine=dataclasses.replace(actor, temperature=config.refine_temperature),
        num_refinements=config.num_refinements, min_right=config.min_right, num_wrong=config.num_wrong,
        num_right=config.num_right, check_final=config.check_final, writer=writer,
    )  # fmt: skip


def in_one_line(card: dict[str, Any], kept: int) -> str:
    """What the run made, for people."""
    by_way = ", ".join(f"{way} {count}" for way, count in card["kept"]["way"].items())
    return f"{kept} critiques kept of {card['annotator']['read']} that could be read ({by_way}); see dataset/README.md"
