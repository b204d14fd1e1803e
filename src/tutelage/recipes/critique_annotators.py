"""Who writes the critiques that a critic learns from: stage 2 of AutoMathCritique (arXiv 2411.16579).

A model is told the reference answer and what is known of the error. In the built-in world an annotator may be the
truth itself (`exact`), or the truth with a share of wrong verdicts (`noisy:0.2`), which shows what the quality of
annotation is worth.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from tutelage.errors import InputError
from tutelage.evaluation.critic_flows import Judgement, judged_by
from tutelage.evaluation.critic_prompts import annotation_prompt
from tutelage.evaluation.plays import Table
from tutelage.problems.mistakes import Mistake
from tutelage.problems.primer import Annotation, annotate_problem, critique_of, mistaken, story_of
from tutelage.recipes.critique_records import Specimen
from tutelage.records import Problem, seed_of
from tutelage.text.critiques import CritiqueText, Unreadable, judged_steps, read_critique

ANNOTATOR = "annotator"


@dataclass(frozen=True)
class WorldAnnotator:
    """The truth about primer solutions, with a share of wrong verdicts.

    Args:
        noise: chance, 0 to 1, that a step's verdict is wrong.
        seed: which they are.
    """

    noise: float
    seed: int

    def truth(self, problem: Problem, text: str) -> Annotation:
        """What this annotator holds for the truth about a solution."""
        annotation = annotate_problem(problem, text)
        if self.noise:
            rng = random.Random(seed_of(self.seed, "noise", problem.id, text))
            annotation = mistaken(story_of(problem), annotation, self.noise, rng)
        return annotation

    def annotate(self, table: Table, specimen: Specimen) -> Generator[Any, Any, Judgement]:
        """The critique of a solution, at no cost."""
        story, solution = story_of(table.problem), specimen.solution
        annotation = self.truth(table.problem, solution.text)
        text = critique_of(story, annotation)
        read = read_critique(text, "primer")
        reasons = (read.reason,) if isinstance(read, Unreadable) else ()
        critique = read.about(solution, stage=table.stage) if isinstance(read, CritiqueText) else None
        yield from ()  # a flow that asks nothing
        return Judgement(solution, text, "primer", (), critique, reasons)


@dataclass(frozen=True)
class ModelAnnotator:
    """A model in the seat `annotator`.

    Args:
        tries: how often it is asked until its text can be read.
        mistakes: the kinds of mistakes by name, for their descriptions.
    """

    tries: int
    mistakes: dict[str, Mistake]

    def annotate(self, table: Table, specimen: Specimen) -> Generator[Any, Any, Judgement]:
        """The critique of a solution; of several attempts the first that can be read."""
        seat, solution = table.players[ANNOTATOR], specimen.solution
        steps = judged_steps(solution.text)
        at = specimen.location
        first = steps[at].content if at is not None and at < len(steps) else None
        kind = self.mistakes[specimen.mistake].description if specimen.mistake else None
        prompt = annotation_prompt(seat.prompter, table.problem, solution.text, first_error=first, mistake=kind)
        return judged_by(
            table, solution, prompt, player=ANNOTATOR, role="annotation", tries=self.tries, first_error=first
        )


def world_annotator(name: str, problems: list[Problem], seed: int, *, is_primer: bool = True) -> WorldAnnotator | None:
    """The annotator that `exact` or `noisy:P` names; None where `name` is a model.

    Args:
        is_primer: whether the actor writes as the built-in model does: the truth can judge no other solutions.

    Raises:
        InputError: P is no number from 0 to 1, or problems or actor are not the built-in world's.
    """
    kind, _, share = name.partition(":")
    if kind not in ("exact", "noisy"):
        return None
    try:
        noise = float(share) if kind == "noisy" else 0.0
    except ValueError:
        noise = -1.0
    if not 0 <= noise <= 1 or (kind == "exact" and share):
        raise InputError("the annotator is not named rightly", seen=name, expected="exact, or noisy:P with P in 0 .. 1",
                         advice="e.g. annotator=noisy:0.2")  # fmt: skip
    strange = next((p for p in problems if "story" not in p.metadata), None)
    if strange is not None:
        raise InputError(
            f"the annotator {kind} knows the truth about the built-in problems only", seen=f"problem {strange.id}",
            expected="data=primer:...", advice="name a model as annotator: a folder, a hub name, or server:URL",
        )  # fmt: skip
    if not is_primer:
        raise InputError(
            f"the annotator {kind} reads solutions in the built-in model's form only", seen="an actor of another kind",
            expected="model=primer, or a model fine-tuned from it",
            advice="name a model as annotator: a folder, a hub name, or server:URL",
        )  # fmt: skip
    return WorldAnnotator(noise, seed)
