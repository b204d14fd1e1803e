"""One problem's critique data as one flow: flawed and right solutions, their critiques, and whether these help.

    1. sample: RG1 from scratch; RG2 and RG3 from a right path
    2. annotate each wrong solution, and as many right ones
    3. keep the critique of a wrong solution iff at least k of N refinements that use it are right

Each problem goes through the three on its own, so annotation begins while other problems are still being sampled.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tutelage.evaluation.critic_flows import Judgement, refinements
from tutelage.evaluation.critic_prompts import quoted, shown_question
from tutelage.evaluation.plays import ACTOR, Table
from tutelage.problems.mistakes import Mistake
from tutelage.recipes.critique_flaws import (
    HeatSettings,
    Judge,
    Path,
    first_difference,
    from_scratch,
    mistake_by_model,
    mistake_by_world,
    raised_from,
    right_path,
    with_mistake,
    wrong_one,
)
from tutelage.recipes.critique_records import CritiqueSample, Fate, Specimen
from tutelage.records import Completion, Critique, SamplingParams, Verdict, record_id, seed_of
from tutelage.sampling.flows import Flow, together


class Annotator(Protocol):
    """Writes critiques."""

    def annotate(self, table: Table, specimen: Specimen) -> Generator[Any, Any, Judgement]:
        """The critique of a solution, as a flow."""
        ...


@dataclass(frozen=True)
class CritiqueRules:
    """How much is made of each problem, and what is kept.

    Args:
        hot: how RG1 samples; the number of them, of RG2 and of RG3 branches.
        heat: the temperature along RG2 branches.
        finish: how the actor writes on after an inserted mistake.
        refine: how refinements are drawn; how many, and how many of them must be right.
        num_wrong, num_right: most RG1 solutions of each kind that are annotated.
        check_final: drop critiques whose final verdict is not the grader's.
        writer: who writes RG3's step on other than the built-in problems: a player, or "" for the world.
    """

    hot: SamplingParams
    num_hot: int
    heat: HeatSettings
    num_raised: int
    num_mistakes: int
    finish: SamplingParams
    refine: SamplingParams
    num_refinements: int
    min_right: int
    num_wrong: int
    num_right: int
    check_final: bool
    writer: str


@dataclass
class Made:
    """What came of a problem.

    Args:
        samples: one for each annotated solution.
        critiques: those that could be read.
        tried, wrong: by way, solutions made for it, and those of them that were wrong as they should be.
        wholes: solutions that were put together from pieces, which no sampler recorded.
        verdicts: on all solutions and refinements.
    """

    samples: list[CritiqueSample] = field(default_factory=list)
    critiques: list[Critique] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    wholes: list[Completion] = field(default_factory=list)
    pass_rate: float | None = None

    def count(self, way: str, *, is_wrong: bool) -> None:
        """Count a solution that was made."""
        self.tried[way] = self.tried.get(way, 0) + 1
        self.wrong[way] = self.wrong.get(way, 0) + is_wrong


def make_critiques(
    table: Table, rules: CritiqueRules, annotator: Annotator, name: str, mistakes: Sequence[Mistake], judge: Judge
) -> Flow[Made]:
    """The critique data of a problem.

    Args:
        annotator, name: who annotates, and what records call it.
        mistakes: the kinds that RG3 chooses from.
        judge: grades a completion.
    """
    made, rng = Made(), random.Random(seed_of(table.seed, "critiques", table.problem.id))
    roots = yield from from_scratch(table, num=rules.num_hot, params=rules.hot)
    specimens = _sorted_out(roots, rules, judge, made)
    path = right_path(table, roots, judge, rng)
    if path is not None:
        steps = list(range(path.num_steps))
        raised = [_raise(table, path, rng.choice(steps), rules, judge, made, i) for i in range(rules.num_raised)]
        erring = [
            _err(table, path, rng.choice(steps), rules, _choose(mistakes, rng), random.Random(rng.getrandbits(48)),
                 judge, made, i)
            for i in range(rules.num_mistakes)
        ]  # fmt: skip
        found = yield from together(raised + erring)
        specimens += _without_repeats(specimens, [one for one in found if one is not None])
    done = yield from together([_annotated(table, one, rules, annotator, name, judge, made) for one in specimens])
    made.samples += done
    return made


def _sorted_out(roots: Sequence[Completion], rules: CritiqueRules, judge: Judge, made: Made) -> list[Specimen]:
    """RG1's wrong solutions and the right ones, each text once, up to their numbers."""
    found: dict[str, list[Specimen]] = {"RG1": [], "right": []}
    usable = right = 0
    for root in roots:
        verdict = judge(root)
        usable, right = usable + verdict.is_usable, right + verdict.is_correct
        made.count("RG1", is_wrong=verdict.outcome == "incorrect")
        if verdict.is_correct:
            found["right"].append(Specimen(root, verdict, "right"))
        elif verdict.outcome == "incorrect":
            found["RG1"].append(Specimen(root, verdict, "RG1"))
    made.pass_rate = right / usable if usable else None
    wrong = _without_repeats([], found["RG1"])[: rules.num_wrong]
    return wrong + _without_repeats([], found["right"])[: rules.num_right]


def _without_repeats(have: Sequence[Specimen], more: Sequence[Specimen]) -> list[Specimen]:
    texts = {one.solution.text.strip() for one in have}
    kept = []
    for one in more:
        if one.solution.text.strip() not in texts:
            texts.add(one.solution.text.strip())
            kept.append(one)
    return kept


def _choose(mistakes: Sequence[Mistake], rng: random.Random) -> Mistake:
    return rng.choices(list(mistakes), [mistake.weight for mistake in mistakes])[0]


def _raise(
    table: Table, path: Path, step: int, rules: CritiqueRules, judge: Judge, made: Made, index: int
) -> Generator[Any, Any, Specimen | None]:
    """RG2 at one step."""
    solution = yield from raised_from(table, path, step, rules.heat, index=index)
    at = first_difference(path, solution, step) if solution is not None else None
    return _kept_whole(solution, wrong_one(solution, judge, way="RG2", location=at), "RG2", made)


def _err(
    table: Table, path: Path, step: int, rules: CritiqueRules, mistake: Mistake, rng: random.Random, judge: Judge,
    made: Made, index: int,
) -> Generator[Any, Any, Specimen | None]:  # fmt: skip
    """RG3 at one step; None where no such mistake could be made there."""
    if rules.writer:
        line = yield from mistake_by_model(table, path, step, mistake, rules.writer,
                                           table.players[rules.writer].params, index=index)  # fmt: skip
    else:
        line = mistake_by_world(table, path, step, mistake, rng)
    solution = None
    if line is not None:
        solution = yield from with_mistake(table, path, step, line, rules.finish, index=index)
    specimen = wrong_one(solution, judge, way="RG3", location=step, mistake=mistake.name)
    return _kept_whole(solution, specimen, "RG3", made)


def _kept_whole(solution: Completion | None, specimen: Specimen | None, way: str, made: Made) -> Specimen | None:
    made.count(way, is_wrong=specimen is not None)
    if solution is not None:
        made.wholes.append(solution)
    return specimen


def _annotated(
    table: Table, specimen: Specimen, rules: CritiqueRules, annotator: Annotator, name: str, judge: Judge, made: Made
) -> Generator[Any, Any, CritiqueSample]:
    """Stages 2 and 3 for one solution."""
    judgement = yield from annotator.annotate(table, specimen)
    graded: list[Verdict] = []
    if judgement.critique is not None:
        made.critiques.append(judgement.critique)
        contradicts = rules.check_final and judgement.is_right != specimen.verdict.is_correct
        if specimen.way != "right" and not contradicts and rules.min_right:
            tries = yield from refinements(table, judgement, num=rules.num_refinements, params=rules.refine)
            graded = [verdict for verdict in map(judge, tries) if verdict.is_usable]
    return _sample(table, specimen, judgement, graded, rules, name)


def _fate(specimen: Specimen, judgement: Judgement, num_right: int, rules: CritiqueRules) -> Fate:
    if judgement.critique is None:
        return "unreadable"
    if rules.check_final and judgement.is_right != specimen.verdict.is_correct:
        return "contradicts"
    return "kept" if specimen.way == "right" or num_right >= rules.min_right else "unhelpful"


def _sample(
    table: Table, specimen: Specimen, judgement: Judgement, graded: Sequence[Verdict], rules: CritiqueRules, name: str
) -> CritiqueSample:
    solution, critique = specimen.solution, judgement.critique
    num_right = sum(verdict.is_correct for verdict in graded)
    return CritiqueSample(
        id=record_id(table.stage, table.problem.id, f"{solution.id}/sample"), problem_id=table.problem.id,
        question=shown_question(table.players[ACTOR].prompter, table.problem),
        answer=table.problem.answer, solution=quoted(table.players[ACTOR].prompter, solution.text),
        completion_id=solution.id,
        source_id=judgement.said[-1].id if judgement.said else "", way=specimen.way, location=specimen.location,
        mistake=specimen.mistake, critique=judgement.text.strip(), form=judgement.form,
        first_error=None if critique is None else critique.first_error, annotator=name,
        attempts=len(judgement.said), unreadable=judgement.unreadable, num_refined=len(graded), num_right=num_right,
        fate=_fate(specimen, judgement, num_right, rules),
    )  # fmt: skip
