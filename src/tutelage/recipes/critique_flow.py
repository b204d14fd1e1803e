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
from tutelage.records import Completion, Critique, SamplingParams, record_id, seed_of
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
    """

    samples: list[CritiqueSample] = field(default_factory=list)
    critiques: list[Critique] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    wholes: list[Completion] = field(default_factory=list)

    def count(self, way: str, *, is_wrong: bool) -> None:
        """Count a solution that was made."""
        self.tried[way] = self.tried.get(way, 0) + 1
        self.wrong[way] = self.wrong.get(way, 0) + is_wrong


@dataclass
class CritiqueFlow:
    """The flow of one problem.

    Args:
        table: the problem and the players.
        rules: how much is made, and what is kept.
        annotator, name: who annotates, and what records call it.
        mistakes: the kinds that RG3 chooses from.
        judge: grades a completion.
    """

    table: Table
    rules: CritiqueRules
    annotator: Annotator
    name: str
    mistakes: Sequence[Mistake]
    judge: Judge
    made: Made = field(default_factory=Made)

    def run(self) -> Flow[Made]:
        """The critique data of the problem."""
        table, rules = self.table, self.rules
        rng = random.Random(seed_of(table.seed, "critiques", table.problem.id))
        roots = yield from from_scratch(table, num=rules.num_hot, params=rules.hot)
        specimens = self._sorted_out(roots)
        path = right_path(table, roots, self.judge, rng)
        if path is not None:
            found = yield from together([*self._raised(path, rng), *self._erring(path, rng)])
            specimens += _without_repeats(specimens, [one for one in found if one is not None])
        self.made.samples += yield from together([self._annotated(one) for one in specimens])
        return self.made

    def _sorted_out(self, roots: Sequence[Completion]) -> list[Specimen]:
        """RG1's wrong solutions and the right ones, each text once, up to their numbers."""
        wrong: list[Specimen] = []
        right: list[Specimen] = []
        for root in roots:
            verdict = self.judge(root)
            self.made.count("RG1", is_wrong=verdict.outcome == "incorrect")
            if verdict.is_correct:
                right.append(Specimen(root, verdict, "right"))
            elif verdict.outcome == "incorrect":
                wrong.append(Specimen(root, verdict, "RG1"))
        kept = _without_repeats([], wrong)[: self.rules.num_wrong]
        return kept + _without_repeats([], right)[: self.rules.num_right]

    def _raised(self, path: Path, rng: random.Random) -> list[Flow[Specimen | None]]:
        """RG2 at random steps."""
        steps = [rng.randrange(path.num_steps) for _ in range(self.rules.num_raised)]
        return [self._raise(path, step, index) for index, step in enumerate(steps)]

    def _erring(self, path: Path, rng: random.Random) -> list[Flow[Specimen | None]]:
        """RG3 at random steps, with kinds drawn by their weights."""
        flows = []
        for index in range(self.rules.num_mistakes):
            step = rng.randrange(path.num_steps)
            mistake = rng.choices(list(self.mistakes), [kind.weight for kind in self.mistakes])[0]
            flows.append(self._err(path, step, mistake, random.Random(rng.getrandbits(48)), index))
        return flows

    def _raise(self, path: Path, step: int, index: int) -> Generator[Any, Any, Specimen | None]:
        """RG2 at one step."""
        solution = yield from raised_from(self.table, path, step, self.rules.heat, index=index)
        at = first_difference(path, solution, step) if solution is not None else None
        return self._kept_whole(solution, wrong_one(solution, self.judge, way="RG2", location=at), "RG2")

    def _err(
        self, path: Path, step: int, mistake: Mistake, rng: random.Random, index: int
    ) -> Generator[Any, Any, Specimen | None]:
        """RG3 at one step; None where no such mistake could be made there."""
        table, writer = self.table, self.rules.writer
        if writer:
            params = table.players[writer].params
            line = yield from mistake_by_model(table, path, step, mistake, writer, params, index=index)
        else:
            line = mistake_by_world(table, path, step, mistake, rng)
        solution = None
        if line is not None:
            solution = yield from with_mistake(table, path, step, line, self.rules.finish, index=index)
        specimen = wrong_one(solution, self.judge, way="RG3", location=step, mistake=mistake.name)
        return self._kept_whole(solution, specimen, "RG3")

    def _kept_whole(self, solution: Completion | None, specimen: Specimen | None, way: str) -> Specimen | None:
        self.made.count(way, is_wrong=specimen is not None)
        if solution is not None:
            self.made.wholes.append(solution)
        return specimen

    def _annotated(self, specimen: Specimen) -> Generator[Any, Any, CritiqueSample]:
        """Stages 2 and 3 for one solution."""
        rules = self.rules
        judgement = yield from self.annotator.annotate(self.table, specimen)
        tries: tuple[Completion, ...] = ()
        if judgement.critique is not None:
            self.made.critiques.append(judgement.critique)
            contradicts = rules.check_final and judgement.is_right != specimen.verdict.is_correct
            if specimen.way != "right" and not contradicts and rules.min_right:
                tries = yield from refinements(self.table, judgement, num=rules.num_refinements, params=rules.refine)
        return self._sample(specimen, judgement, tries)

    def _fate(self, specimen: Specimen, judgement: Judgement, num_right: int) -> Fate:
        if judgement.critique is None:
            return "unreadable"
        if self.rules.check_final and judgement.is_right != specimen.verdict.is_correct:
            return "contradicts"
        return "kept" if specimen.way == "right" or num_right >= self.rules.min_right else "unhelpful"

    def _sample(self, specimen: Specimen, judgement: Judgement, tries: Sequence[Completion]) -> CritiqueSample:
        solution, critique, problem = specimen.solution, judgement.critique, self.table.problem
        graded = [one for one in tries if self.judge(one).is_usable]
        right = [one for one in graded if self.judge(one).is_correct]
        refined = next((one.text for one in right if one.finish_reason == "stop"), "")
        num_right, prompter = len(right), self.table.players[ACTOR].prompter
        return CritiqueSample(
            id=record_id(self.table.stage, problem.id, f"{solution.id}/sample"), problem_id=problem.id,
            question=shown_question(prompter, problem), answer=problem.answer, solution=quoted(prompter, solution.text),
            completion_id=solution.id, source_id=judgement.said[-1].id if judgement.said else "", way=specimen.way,
            location=specimen.location, mistake=specimen.mistake, critique=judgement.text.strip(), form=judgement.form,
            first_error=None if critique is None else critique.first_error, annotator=self.name,
            attempts=len(judgement.said), unreadable=judgement.unreadable, num_refined=len(graded),
            num_right=num_right, fate=self._fate(specimen, judgement, num_right), refined=quoted(prompter, refined),
        )  # fmt: skip


def _without_repeats(have: Sequence[Specimen], more: Sequence[Specimen]) -> list[Specimen]:
    texts = {one.solution.text.strip() for one in have}
    kept = []
    for one in more:
        if one.solution.text.strip() not in texts:
            texts.add(one.solution.text.strip())
            kept.append(one)
    return kept
