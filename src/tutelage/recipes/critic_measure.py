"""Measuring a critic: an actor's answers are judged and refined, and what was said is held against the truth.

The actor's answers are drawn once, whoever judges them, so critics are compared on the same answers. How hard a problem
is, is measured on other samples of the same actor. The truth about steps is the world's on the built-in problems, and
people's on labelled solutions; elsewhere only final answers have one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.evaluation.critic_flows import RETOKENIZED, Judgement, Round, criticise, critique_and_refine
from tutelage.evaluation.critic_metrics import (
    CriticCase,
    Place,
    by_level,
    first_error_figures,
    help_figures,
    verdict_figures,
    with_levels,
)
from tutelage.evaluation.plays import ACTOR, CRITIC, Table
from tutelage.problems.labelled_solutions import LabelledSolution
from tutelage.problems.primer import annotate_problem
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.flow_stage import run_flows
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import Completion, Critique, Policy, Problem, SamplingParams, Verdict, digest, record_id
from tutelage.sampling.completing import tokenize
from tutelage.selection.difficulty import NUM_BINS, difficulty_bin, make_groups
from tutelage.text.critiques import place_of_first_error, solution_steps
from tutelage.text.prompts import Prompter


@dataclass(frozen=True)
class Measured:
    """What a critic made of answers: the cases, and how often a text crossed to another tokenizer."""

    cases: list[CriticCase]
    retokenized: int


@dataclass(frozen=True)
class Answers:
    """The actor's answers that critics are measured on, their verdicts by id, and the problems' levels."""

    completions: list[Completion]
    verdicts: Mapping[str, Verdict]
    levels: dict[str, int]


def draw_answers(actor: Seat, problems: Sequence[Problem], *, num: int, level_samples: int, seed: int) -> Answers:
    """Answers to be judged, and each problem's level by the pass rate over other samples.

    Args:
        actor: who answers; its parameters say how.
        num: answers of each problem.
        level_samples: samples that a level rests on; 0 measures no levels.
    """
    bench, weights = actor.bench, actor.weights
    plan = stages.SamplingPlan("critic-answers", actor.params, num, seed)
    completions = stages.sample(bench, weights, problems, plan)
    verdicts = stages.grade(bench, problems, completions, name="critic-answers-grade")
    levels: dict[str, int] = {}
    if level_samples:
        drawn = stages.sample(
            bench, weights, problems, stages.SamplingPlan("critic-levels", actor.params, level_samples, seed)
        )
        judged = stages.grade(bench, problems, drawn, name="critic-levels-grade")
        bins = {group.problem_id: difficulty_bin(group) for group in make_groups(drawn, judged)}
        levels = {name: number for name, number in bins.items() if number is not None}
    return Answers(completions, verdicts, levels)


def measure_critic(
    actor: Seat, critic: Seat, problems: Sequence[Problem], answers: Answers, *, name: str, seed: int, tries: int = 1
) -> Measured:
    """Every answer criticised and refined once, whatever the critic says, and what came of it.

    Args:
        actor: who wrote the answers, and refines them (greedily).
        critic: who is measured.
        name: of the stage, e.g. "it1-critic".
    """
    bench = actor.bench
    by_id = {problem.id: problem for problem in problems}
    greedy = dataclasses.replace(actor, params=dataclasses.replace(actor.params, temperature=0.0))
    usable = [c for c in answers.completions if c.finish_reason != "error" and answers.verdicts[c.id].is_usable]
    seats = {ACTOR: greedy, CRITIC: critic}
    stage = digest(["critic-measure", seed, tries, _made_of(seats), [c.id for c in usable]])
    players = {seat: who.player(seat) for seat, who in seats.items()}
    flows = [
        (c.id, critique_and_refine(Table(by_id[c.problem_id], players, stage, seed), c, tries=tries)) for c in usable
    ]
    rounds: dict[Any, Round] = run_flows(bench, name, stage, flows, _asked(seats))
    refined = [step.refinement for step in rounds.values() if step.refinement is not None]
    verdicts = stages.grade(bench, problems, refined, name=f"{name}-grade")
    _record(bench, [step.judgement for step in rounds.values() if step.judgement is not None])
    cases = [_case(by_id[c.problem_id], c, answers.verdicts[c.id], rounds[c.id], verdicts) for c in usable]
    return Measured(with_levels(cases, answers.levels), _crossings(rounds.values()))


def measure_on_labelled(
    critic: Seat, solutions: Sequence[LabelledSolution], *, name: str, seed: int, tries: int = 1
) -> Measured:
    """The critic's verdicts on solutions that people labelled; nothing is refined."""
    bench = critic.bench
    stage = digest(["critic-labelled", seed, tries, critic.made_of(), [[s.problem.id, s.text] for s in solutions]])
    player = critic.player(CRITIC)
    completions = {s.problem.id: given_solution(s, player.prompter, stage) for s in solutions}
    bench.run.append_many("completions", completions.values())
    flows = [
        (s.problem.id, criticise(Table(s.problem, {CRITIC: player}, stage, seed), completions[s.problem.id],
                                 tries=tries))
        for s in solutions
    ]  # fmt: skip
    said: dict[Any, Judgement] = run_flows(bench, name, stage, flows, _asked({CRITIC: critic}))
    _record(bench, said.values())
    cases = [
        CriticCase(
            s.problem.id, s.answer_is_right, said[s.problem.id].is_right, s.first_error,
            _said_error(said[s.problem.id], s.steps),
        )
        for s in solutions
    ]  # fmt: skip
    return Measured(cases, 0)


def given_solution(solution: LabelledSolution, prompter: Prompter, stage: str) -> Completion:
    """A solution that was written elsewhere, as a completion of which no token is a model's here."""
    ids = tuple(tokenize(prompter.tokenizer, solution.text, is_ended=True))
    problem = solution.problem
    return Completion(
        record_id(stage, problem.id, "given"), problem.id, "answer", Policy("elsewhere"),
        prompter.tokenizer_digest, (), ids, solution.text, ((0, len(ids), "forced"),), (0.0,) * len(ids),
        "stop", SamplingParams(), 0, stage=digest([stage, "given"]), note="written elsewhere",
    )  # fmt: skip


def figures(measured: Measured, *, seed: int, with_help: bool = True) -> dict[str, Any]:
    """A critic's figures as the report shows them, over all cases and by level."""
    cases = measured.cases
    out = _figures(cases, seed, with_help)
    out["retokenized"] = measured.retokenized
    out["levels"] = [
        {"level": level, "n": len(own), **(_figures(own, seed, with_help) if own else {})}
        for level, own in enumerate(by_level(cases, NUM_BINS), start=1)
    ] if any(case.level is not None for case in cases) else []  # fmt: skip
    return out


def _figures(cases: Sequence[CriticCase], seed: int, with_help: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"verdicts": _rounded(verdict_figures(cases, seed=seed))}
    if any(case.first_error != "unknown" for case in cases):
        out["first_error"] = _rounded(first_error_figures(cases, seed=seed))
    if with_help:
        out["help"] = _rounded(help_figures(cases, seed=seed))
    return out


def _rounded(figure: Any) -> dict[str, Any]:
    values = dataclasses.asdict(figure)
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}


def _case(
    problem: Problem, answer: Completion, verdict: Verdict, step: Round, verdicts: Mapping[str, Verdict]
) -> CriticCase:
    judgement = step.judgement
    refined = verdicts.get(step.refinement.id) if step.refinement is not None else None
    truth: Place = "unknown"
    if "story" in problem.metadata:
        truth = annotate_problem(problem, answer.text).first_error
    return CriticCase(
        problem.id, verdict.is_correct, None if judgement is None else judgement.is_right, truth,
        "unplaced" if judgement is None else _said_error(judgement, solution_steps(answer.text)),
        refined.is_correct if refined is not None and refined.is_usable else None,
    )  # fmt: skip


def _said_error(judgement: Judgement, steps: Sequence[str]) -> Place:
    """Which step a critique calls wrong first; the built-in form numbers steps, so they need no looking for."""
    if judgement.critique is None:
        return "unplaced"
    if judgement.form == "primer":
        return judgement.critique.first_error
    return place_of_first_error(judgement.critique, steps)


def _record(bench: Bench, judgements: Iterable[Judgement]) -> None:
    critiques: list[Critique] = [j.critique for j in judgements if j.critique is not None]
    bench.run.append_many("critiques", critiques)


def _crossings(rounds: Iterable[Round]) -> int:
    said = [one for step in rounds if step.judgement is not None for one in step.judgement.said]
    written = [step.refinement for step in rounds if step.refinement is not None]
    return sum(RETOKENIZED in one.note for one in [*said, *written])


def _made_of(seats: Mapping[str, Seat]) -> list[Any]:
    return [[name, seat.made_of()] for name, seat in seats.items()]


def _asked(seats: Mapping[str, Seat]) -> dict[str, tuple[Bench, Weights]]:
    return {name: (seat.bench, seat.weights) for name, seat in seats.items()}
