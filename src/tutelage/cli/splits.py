"""Which problems a run practises on, decides on and is measured on, from what its config names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tutelage.errors import DataError, InputError
from tutelage.problems import check_overlap, load_problems
from tutelage.problems.inspection import letters
from tutelage.problems.seeds import load_seeds
from tutelage.records import Problem, seed_of

DEV_SHARE, DEV_MOST = 0.1, 500
"""Problems held out of the training data where the user named neither evaluation data nor a number."""


@dataclass(frozen=True)
class Splits:
    """The problems of a run by what they are for."""

    train: list[Problem]
    dev: list[Problem]
    held_out: list[Problem]
    test: list[Problem]
    shots: list[Problem]


def load_splits(config: Any) -> Splits:
    """The problems of a run; those held out for decisions are chosen by a hash of their ids and the seed."""
    if getattr(config, "takes_seeds", False):  # a recipe that writes problems: nothing is practised or measured
        return Splits(load_seeds(config.data, limit=config.data_limit), [], [], [], [])
    train = load_problems(config.data, limit=config.data_limit)
    test = load_problems(config.eval_data) if config.eval_data else None
    dev = load_problems(config.dev_data) if config.dev_data else None
    shots, train = _take_shots(config, train)
    held_out: list[Problem] = []
    decides = getattr(config, "stop_gain", None) is not None or getattr(config, "choose_step_every", None) is not None
    if dev is None and (config.dev_size or decides or test is None):
        size = config.dev_size or min(DEV_MOST, max(1, int(len(train) * DEV_SHARE)))
        held_out, train = _hold_out(train, size, config.seed)
        dev = held_out
    if not train:
        raise InputError(
            "no problem is left to train on", seen=f"{len(held_out)} held out, {len(shots)} used as worked examples",
            expected="more problems than are held out", advice="lower dev_size or num_shots, or give eval_data",
        )  # fmt: skip
    dev = dev or []
    check_ids([*shots, *train, *held_out, *dev, *(test or [])])
    return Splits(train, dev, held_out, test if test is not None else dev, shots)


def _take_shots(config: Any, train: list[Problem]) -> tuple[list[Problem], list[Problem]]:
    """Worked examples for the prompt, and the training problems without them."""
    if not config.num_shots:
        return [], train
    if config.shots:
        return worked_examples(load_problems(config.shots), config.num_shots), train
    shots = worked_examples(train, config.num_shots)
    taken = {p.id for p in shots}
    return shots, [p for p in train if p.id not in taken]


def worked_examples(pool: list[Problem], count: int) -> list[Problem]:
    """The first `count` problems with a solution.

    Raises:
        InputError: there are fewer.
    """
    solved = [problem for problem in pool if problem.solution][:count]
    if len(solved) < count:
        raise InputError(
            "too few worked examples for the prompt",
            seen=f"{len(solved)} problems with a solution",
            expected=f"num_shots = {count}",
            advice="lower num_shots or name other examples with shots=",
        )
    return solved


def leaks(splits: Splits) -> str:
    """What to tell of evaluation questions that are practised on too; "" where there are none."""
    count = len(check_overlap([*splits.train, *splits.shots], [*splits.test]))
    if not count:
        return ""
    return (
        f"{count} of {len(splits.test)} evaluation questions are among the training problems too: "
        "the accuracies below are not those of unseen problems (tutelage data check names them)"
    )


def check_ids(problems: Iterable[Problem]) -> None:
    """Refuse data sets in which one id names two questions.

    Raises:
        DataError: names the id and both questions.
    """
    known: dict[str, Problem] = {}
    for problem in problems:
        other = known.setdefault(problem.id, problem)
        if other.question != problem.question:
            raise DataError(
                f"two problems of different data sets have the id {problem.id!r}",
                seen=f"{other.question[:80]!r} and {problem.question[:80]!r}",
                expected="one id for one question; rows without an id are named by their file",
                advice="give the rows ids, or rename one of the files",
            )


def _hold_out(problems: list[Problem], size: int, seed: int) -> tuple[list[Problem], list[Problem]]:
    if size < 1 or size >= len(problems):
        raise InputError(
            "problems cannot be held out for evaluation",
            seen=f"{size} of {len(problems)}",
            expected="at least 1 and fewer than there are",
            advice="name evaluation data with eval_data=, or set dev_size",
        )
    # By question, not by id: a question that stands in the data twice is held out or trained on, never both.
    questions = sorted({letters(p.question) for p in problems}, key=lambda text: seed_of(seed, "held out", text))
    chosen = set(questions[:size])
    held_out = [p for p in problems if letters(p.question) in chosen]
    return held_out, [p for p in problems if letters(p.question) not in chosen]


def only_new(splits: Splits) -> list[Problem]:
    """Evaluation problems that are not among the training or held-out ones."""
    have = {p.id for p in (*splits.train, *splits.held_out)}
    out = {p.id: p for p in (*splits.dev, *splits.test) if p.id not in have}
    return list(out.values())
