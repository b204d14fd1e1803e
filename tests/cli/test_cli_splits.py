"""Which problems a run trains on and is measured on: nothing is on both sides unnoticed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tutelage.cli.seats import Limits, check_prompts
from tutelage.cli.splits import Splits, check_ids, leaks, load_splits
from tutelage.errors import DataError, InputError, ModelError
from tutelage.problems import save_problems
from tutelage.records import Problem


def settings(**changes: Any) -> SimpleNamespace:
    known = dict(data="", data_limit=None, eval_data=None, dev_data=None, num_shots=0, shots=None, dev_size=0, seed=0)
    return SimpleNamespace(**{**known, **changes})


def problems(count: int, copies: int = 1) -> list[Problem]:
    return [Problem(f"p{i}-{c}", f"what is {i} + 1?", str(i + 1)) for i in range(count) for c in range(copies)]


def test_a_repeated_question_is_held_out_or_trained_on_never_both(tmp_path) -> None:
    path = save_problems(problems(20, copies=2), tmp_path / "twice.jsonl")
    splits = load_splits(settings(data=f"jsonl:{path}", dev_size=5))
    held, trained = ({p.question for p in side} for side in (splits.held_out, splits.train))
    assert len(held) == 5 and len(splits.held_out) == 10 and not held & trained
    assert splits.test is splits.dev and leaks(splits) == ""


def test_evaluation_questions_that_are_trained_on_are_told(tmp_path) -> None:
    path = save_problems(problems(6), tmp_path / "data.jsonl")
    splits = load_splits(settings(data=f"jsonl:{path}", eval_data=f"jsonl:{path}"))
    assert leaks(splits).startswith("6 of 6 evaluation questions")


def test_few_problems_can_still_be_held_out_from(tmp_path) -> None:
    path = save_problems(problems(4), tmp_path / "few.jsonl")
    splits = load_splits(settings(data=f"jsonl:{path}"))
    assert len(splits.held_out) == 1 and len(splits.train) == 3
    with pytest.raises(InputError, match="held out"):
        load_splits(settings(data=f"jsonl:{path}", dev_size=4))


def test_one_id_names_one_question() -> None:
    check_ids([Problem("a", "q?", "1"), Problem("a", "q?", "1")])
    with pytest.raises(DataError, match="'a'"):
        check_ids([Problem("a", "q?", "1"), Problem("a", "other?", "1")])


class Words:
    """Renders a prompt with one token a word, numbered by length."""

    stop_token_ids = (0,)

    def render(self, problem: Problem) -> SimpleNamespace:
        return SimpleNamespace(ids=tuple(len(word) for word in problem.question.split()))


def test_prompts_must_fit_context_max_length_and_vocabulary() -> None:
    asked: Any = Words()
    one = [Problem("p", "five words are in here", "1")]
    check_prompts(asked, one, Limits(6, 10), None)
    with pytest.raises(InputError, match="5 tokens in problem p"):
        check_prompts(asked, one, Limits(5, 10), None)
    with pytest.raises(InputError, match="fewer than 4"):
        check_prompts(asked, one, Limits(None, None), 4)
    with pytest.raises(ModelError, match="token id 5"):
        check_prompts(asked, one, Limits(100, 5), None)


def test_splits_without_an_evaluation_set_do_not_leak() -> None:
    assert leaks(Splits(problems(3), [], [], [], [])) == ""
