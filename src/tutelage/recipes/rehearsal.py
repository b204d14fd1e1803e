"""The built-in script of `sampler=scripted`: answers now right, now wrong, so that every stage runs on a real model.

A rehearsal costs no sampling and shows whether data, prompts, grading, pairing, training and checkpoints fit
together before real hours are spent. It says nothing about the model.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence

from tutelage.recipes.rehearsed_critics import ROLES, rehearsed_critique
from tutelage.records import Problem, seed_of
from tutelage.sampling.session import SampleRequest
from tutelage.text.prompts import Prompter

REHEARSED_ITEMS = 4


def rehearsal_script(
    problems: Mapping[str, Problem], prompter: Prompter
) -> Callable[[SampleRequest], Sequence[int] | str]:
    """A function from a request to the tokens of its answer.

    A coin tossed by the problem and the sample's number decides: the gold solution, or a solution of another problem
    with a different answer. A chunk goes on with the one that was begun, or with the other where it is to deviate;
    whoever is asked whether to stop says yes to a whole solution.
    """
    ordered = sorted(problems.values(), key=lambda p: p.id)

    def fitting(shown: Problem, room: int) -> Sequence[int]:
        whole = prompter.target_ids(shown)  # the bare answer, rather than a solution cut short
        return whole if len(whole) <= room else prompter.target_ids(dataclasses.replace(shown, solution=None))

    def answer(request: SampleRequest) -> Sequence[int] | str:
        if request.role == "problem":
            return written_list(request, ordered)
        if request.role in ROLES:
            return rehearsed_critique(request, prompter)
        problem = problems.get(request.problem_id) or made_up(request)
        toss = seed_of("rehearsal", problem.id, 0 if request.role in ("chunk", "stop") else request.index)
        shown = [problem, _another(problem, ordered, toss)][:: 1 if toss % 2 == 0 else -1]
        if request.role == "stop":
            ends = [draft for p in shown for draft in (p, dataclasses.replace(p, solution=None))]
            solutions = map(prompter.target_text, ends)
            word = "Yes" if request.metadata["solution"].strip() in map(str.strip, solutions) else "No"
            return word.lower() if prompter.form == "primer" else word
        if request.role != "chunk":
            return fitting(shown[0], request.params.max_new_tokens)
        written = request.metadata["written"]
        drafts = [fitting(p, written + request.metadata["room"]) for p in shown]
        state = request.prompt_ids[len(request.prompt_ids) - written :]
        begun = next((i for i, draft in enumerate(drafts) if tuple(draft[:written]) == state), 0)
        return drafts[(begun + request.index) % 2][written:]

    return answer


def written_list(request: SampleRequest, seeds: Sequence[Problem]) -> str:
    """Questions where some are asked for: the words of seeds in disorder, so that none is like another."""
    rng = random.Random(request.seed)
    count = REHEARSED_ITEMS if request.metadata.get("is_list") else 1
    texts = []
    for _ in range(count):
        words = [word for seed in rng.choices(seeds, k=2) for word in seed.question.split()]
        rng.shuffle(words)
        texts.append("What is " + " ".join(words[:40]))
    if count == 1:
        return texts[0]
    first = "" if request.metadata.get("is_begun") else "1. "
    return first + "".join(f"{'' if number == 1 else f'{number}. '}{text}\n" for number, text in enumerate(texts, 1))


def made_up(request: SampleRequest) -> Problem:
    """A problem that the run's data do not hold, since the run wrote it: two answers in three agree."""
    answer = seed_of("rehearsal", request.problem_id) % 100 + (request.index % 3 == 2)
    return Problem(request.problem_id, str(request.metadata.get("question", "")), str(answer))


def _another(problem: Problem, ordered: list[Problem], toss: int) -> Problem:
    """A problem whose answer differs, or the same problem with a made-up answer where all are equal."""
    for step in range(len(ordered)):
        other = ordered[(toss + step) % len(ordered)]
        if other.answer != problem.answer:
            return other
    return Problem(problem.id, problem.question, "0" if problem.answer != "0" else "1", problem.answer_kind)
