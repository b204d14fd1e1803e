"""The built-in script of `sampler=scripted`: answers now right, now wrong, so that every stage runs on a real model.

A rehearsal costs no sampling and shows whether data, prompts, grading, pairing, training and checkpoints fit
together before real hours are spent. It says nothing about the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from tutelage.records import Problem, seed_of
from tutelage.sampling.session import SampleRequest
from tutelage.text.prompts import Prompter


def rehearsal_script(problems: Mapping[str, Problem], prompter: Prompter) -> Callable[[SampleRequest], list[int]]:
    """A function from a request to the tokens of its answer.

    A coin tossed by the problem and the sample's number decides: the gold solution, or a solution of another problem
    with a different answer.
    """
    ordered = sorted(problems.values(), key=lambda p: p.id)

    def answer(request: SampleRequest) -> list[int]:
        problem = problems[request.problem_id]
        toss = seed_of("rehearsal", problem.id, request.index)
        shown = problem if toss % 2 == 0 else _another(problem, ordered, toss)
        whole = prompter.target_ids(shown)
        if len(whole) > request.params.max_new_tokens:  # the bare answer, rather than a solution cut short
            whole = prompter.target_ids(dataclasses.replace(shown, solution=None))
        return list(whole)

    return answer


def _another(problem: Problem, ordered: list[Problem], toss: int) -> Problem:
    """A problem whose answer differs, or the same problem with a made-up answer where all are equal."""
    for step in range(len(ordered)):
        other = ordered[(toss + step) % len(ordered)]
        if other.answer != problem.answer:
            return other
    return Problem(problem.id, problem.question, "0" if problem.answer != "0" else "1", problem.answer_kind)
