"""Flows: routing, failures, limits; splicing and child requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tutelage.errors import SamplerFailed
from tutelage.records import Completion, Policy, SamplingParams
from tutelage.sampling.completing import Drawn, completion_of
from tutelage.sampling.flows import FlowFailed, child_request, drive, sample_all, splice, together
from tutelage.sampling.session import SampleRequest


class Backwards:
    """A session that answers the last request first, with its seed as the only token."""

    def __init__(self, drop: str = "") -> None:
        self.waiting: list[SampleRequest] = []
        self.most, self.drop = 0, drop

    def submit(self, request: SampleRequest) -> None:
        self.waiting.append(request)
        self.most = max(self.most, len(self.waiting))

    def completions(self) -> Iterator[Completion]:
        while self.waiting:
            request = self.waiting.pop()
            if request.id != self.drop:
                yield completion_of(
                    request, Drawn([request.seed], [-1.0], "t", "stop"), model="m", tokenizer_digest="d"
                )


def ask(name: str, seed: int) -> SampleRequest:
    return SampleRequest(name, "p", (1,), SamplingParams(), seed)


def counting(name: str, steps: int) -> Generator[Any, Any, int]:
    total = 0
    for step in range(steps):
        total += (yield ask(f"{name}.{step}", step)).token_ids[0]
    return total


def test_thousands_of_flows_get_their_own_completions() -> None:
    results = dict(drive(((n, counting(f"f{n}", n % 7)) for n in range(3000)), Backwards()))
    assert results == {n: sum(range(n % 7)) for n in range(3000)}


def test_flows_without_keys_are_numbered_and_tuples_come_back_in_order() -> None:
    def pair(base: int) -> Generator[Any, Any, list[int]]:
        answers = yield tuple(ask(f"{base}.{i}", base + i) for i in range(3))
        empty = yield ()
        assert empty == ()
        return [a.token_ids[0] for a in answers]

    assert dict(drive([pair(10), pair(20)], Backwards())) == {0: [10, 11, 12], 1: [20, 21, 22]}


def test_flows_together_ask_in_turns_and_give_their_results_in_order() -> None:
    def pair(base: int) -> Generator[Any, Any, int]:
        answers = yield (ask(f"{base}.a", base), ask(f"{base}.b", base))
        return sum(a.token_ids[0] for a in answers)

    session = Backwards()
    flows = [counting("x", 3), counting("none", 0), pair(5), counting("y", 1)]
    assert dict(drive([together(flows)], session)) == {0: (0 + 1 + 2, 0, 10, 0)}
    assert session.most == 4, "the first turn: one of x, two of the pair, one of y"
    assert dict(drive([together([])], Backwards())) == {0: ()}

    def broken() -> Generator[Any, Any, None]:
        yield ask("z", 1)
        raise ValueError("no")

    ((_, failed),) = drive([together([counting("x", 3), broken()])], Backwards())
    assert isinstance(failed, FlowFailed) and isinstance(failed.error, ValueError)


def test_no_more_flows_are_begun_than_allowed() -> None:
    session, begun = Backwards(), []

    def flows() -> Iterator[Any]:
        for n in range(20):
            begun.append(n)
            yield counting(f"f{n}", 3)

    results = drive(flows(), session, max_active=4)
    next(results)
    assert len(begun) <= 5
    assert len(list(results)) == 19 and session.most <= 4


def test_a_flow_that_raises_is_its_own_failure() -> None:
    def bad() -> Generator[Any, Any, None]:
        yield ask("bad.0", 1)
        raise ZeroDivisionError("no")

    def wrong() -> Generator[Any, Any, None]:
        yield "text"

    def twice() -> Generator[Any, Any, None]:
        yield ask("x", 1), ask("x", 2)

    results = dict(
        drive({"bad": bad(), "good": counting("g", 4), "wrong": wrong(), "twice": twice()}.items(), Backwards())
    )
    assert results["good"] == 6
    assert isinstance(results["bad"], FlowFailed) and isinstance(results["bad"].error, ZeroDivisionError)
    assert results["bad"].num_requests == 1
    assert isinstance(results["wrong"].error, TypeError) and isinstance(results["twice"].error, ValueError)


def test_a_dropped_request_is_not_waited_for_without_end() -> None:
    with pytest.raises(SamplerFailed, match="unanswered"):
        list(drive([counting("a", 2)], Backwards(drop="a.1")))
    with pytest.raises(SamplerFailed, match="unanswered"):
        sample_all(Backwards(drop="a"), [ask("a", 1), ask("b", 2)])


def test_closing_the_driver_closes_the_flows() -> None:
    closed = []

    def watched(n: int) -> Generator[Any, Any, None]:
        try:
            yield ask(f"{n}.0", n)
            yield ask(f"{n}.1", n)
        finally:
            closed.append(n)

    def quick() -> Generator[Any, Any, None]:
        yield ask("q", 9)

    results = drive([watched(0), watched(1), quick()], Backwards())
    next(results)
    results.close()
    assert sorted(closed) == [0, 1]


def test_sample_all_keeps_the_order_of_the_requests() -> None:
    seen: list[str] = []
    found = sample_all(Backwards(), [ask("a", 1), ask("b", 2)], on_completion=lambda c: seen.append(c.id))
    assert [c.id for c in found] == ["a", "b"] and seen == ["b", "a"]


def completion(**fields: Any) -> Completion:
    base = Completion("c", "p", "answer", Policy("m", "a", 2), "d", (1, 2), (3, 4), "ab", ((0, 2, "model"),),
                      (-0.5, -0.25), "pause", SamplingParams(), 7, stage="s")  # fmt: skip
    return dataclasses.replace(base, **fields)


def test_splicing_masks_what_was_inserted() -> None:
    first = completion()
    rest = completion(id="r", prompt_ids=(1, 2, 3, 4, 9, 9, 9), token_ids=(5,), text="c", segments=((0, 1, "model"),),
                      token_logprobs=(-2.0,), finish_reason="stop")  # fmt: skip
    whole = splice(first, (9, 9, 9), "tool", rest, inserted_text="###")
    assert whole.token_ids == (3, 4, 9, 9, 9, 5) and whole.text == "ab###c" and whole.id == "c"
    assert whole.segments == ((0, 2, "model"), (2, 5, "tool"), (5, 6, "model"))
    assert whole.loss_mask() == (1, 1, 0, 0, 0, 1)
    assert whole.token_logprobs == (-0.5, -0.25, 0, 0, 0, -2.0) and whole.logprob == -2.75
    assert (whole.finish_reason, whole.prompt_ids) == ("stop", (1, 2))
    again = splice(whole, (), "forced", completion(prompt_ids=(1, 2, 3, 4, 9, 9, 9, 5)))
    assert again.segments == ((0, 2, "model"), (2, 5, "tool"), (5, 8, "model"))


def test_splicing_refuses_what_does_not_belong_together() -> None:
    with pytest.raises(ValueError, match="does not continue"):
        splice(completion(), (9,), "tool", completion(prompt_ids=(1, 2, 3, 4, 8)))
    with pytest.raises(ValueError, match="was written by"):
        splice(completion(), (), "tool", completion(prompt_ids=(1, 2, 3, 4), policy=Policy("m", "a", 3)))


def test_a_child_continues_its_parent_and_differs_from_its_siblings() -> None:
    child = child_request(completion(), branch_position=1, inserted_ids=(8,))
    assert child.prompt_ids == (1, 2, 3, 8) and (child.parent_id, child.branch_position) == ("c", 1)
    assert (child.adapter, child.version, child.continues, child.stage) == ("a", 2, "c", "s")
    sibling = child_request(completion(), branch_position=1, index=1)
    assert sibling.id != child.id and sibling.seed != child.seed
    critique = child_request(completion(), role="critique", prompt_ids=(6, 6))
    assert critique.prompt_ids == (6, 6) and critique.continues is None and critique.branch_position is None
    assert critique.id != child_request(completion()).id
    assert child_request(completion(), branch_position=1, inserted_ids=(8,)) == child
    critics = [child_request(completion(), role="critique", policy=Policy("m", name), prompt_ids=(6,)) for name in "xy"]
    assert critics[0].id != critics[1].id and critics[0].seed != critics[1].seed
