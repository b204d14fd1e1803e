"""Trace 3: critique and refinement. A wrong solution of two steps, a critique that finds the second wrong, a right one.

Samples of the problem: root 0 right, root 1 wrong. Only root 1 is criticised; its refinement is right. The refinement
is an example for the plain prompt, and it counts in no pass rate.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from tutelage.records import (
    Completion,
    Critique,
    CritiqueStep,
    Example,
    Group,
    Policy,
    SamplingParams,
    Verdict,
    record_id,
    seed_of,
)
from tutelage.sampling.flows import FlowFailed, child_request, drive
from tutelage.sampling.session import SampleRequest

ACTOR, CRITIC = Policy("m", "actor", 1), Policy("m", "critic", 2)
PROMPT = "2+3*4?"
RIGHT, WRONG = "3*4=12\n2+12=14", "3*4=12\n2+12=15"
REFINED = "3*4=12\n2+12=14!"
CRITIQUE = "3*4=12|Correct|twelve\n2+12=15|Wrong|it is 14\nWrong"
GREEDY = SamplingParams(temperature=0.0)


def script(request: SampleRequest) -> str:
    if request.role == "critique":
        return CRITIQUE
    return REFINED if request.role == "refinement" else (RIGHT, WRONG)[request.index]


def ids(text: str) -> tuple[int, ...]:
    return tuple(map(ord, text))


def judge(completion: Completion) -> Verdict:
    is_right = completion.text.rstrip("!").endswith("=14")
    return Verdict(completion.id, completion.problem_id, "correct" if is_right else "incorrect", float(is_right))


def parse(completion: Completion, solution: Completion) -> Critique:
    *lines, final = completion.text.split("\n")
    parts = [line.split("|") for line in lines]
    steps = tuple(CritiqueStep(text, label == "Correct", why) for text, label, why in parts)
    return Critique(record_id("c", "p", completion.id), solution.id, steps, final == "Correct", completion.id)


@dataclass
class Attempt:
    """A solution and what came of it."""

    root: Completion
    critique: Critique | None = None
    refinement: Completion | None = None


def solve(index: int) -> Generator[Any, Any, Attempt]:
    """Solve; where that is wrong, have it criticised and refine it."""
    root = yield SampleRequest(
        record_id("s", "p", None, index),
        "p",
        ids(PROMPT),
        SamplingParams(),
        seed_of("p", index),
        adapter=ACTOR.adapter,
        version=ACTOR.version,
        stage="s",
        index=index,
    )
    if judge(root).is_correct:
        return Attempt(root)
    said = yield child_request(
        root, role="critique", policy=CRITIC, params=GREEDY, prompt_ids=ids(f"{PROMPT}\n{root.text}\n?")
    )
    critique = parse(said, root)
    refinement = yield child_request(said, role="refinement", policy=ACTOR,
                                     prompt_ids=ids(f"{PROMPT}\n{root.text}\n{said.text}\n!"))  # fmt: skip
    return Attempt(root, critique, refinement)


def walk(session: Any) -> list[Attempt]:
    return [result for _, result in sorted(drive([solve(0), solve(1)], session))]


def test_only_the_wrong_solution_is_criticised(scripted: Callable[..., Any]) -> None:
    first, second = walk(scripted(script))
    assert judge(first.root).is_correct and first.critique is None and first.refinement is None
    assert second.critique is not None and second.refinement is not None
    assert judge(second.refinement).is_correct


def test_the_critique_is_read_step_by_step(scripted: Callable[..., Any]) -> None:
    critique = walk(scripted(script))[1].critique
    assert critique is not None
    assert critique.first_error == 1 and not critique.final_is_correct
    assert critique.steps == (CritiqueStep("3*4=12", True, "twelve"), CritiqueStep("2+12=15", False, "it is 14"))
    assert Critique.from_json(critique.to_json()) == critique


def test_everything_leads_back_to_the_root(scripted: Callable[..., Any]) -> None:
    attempt = walk(scripted(script))[1]
    assert attempt.critique is not None and attempt.refinement is not None
    assert attempt.critique.completion_id == attempt.root.id
    assert attempt.refinement.parent_id == attempt.critique.source_id
    assert (attempt.root.policy, attempt.refinement.policy) == (ACTOR, ACTOR)
    assert attempt.refinement.branch_position is None
    assert attempt.refinement.prompt_ids != attempt.root.prompt_ids


def test_a_refinement_teaches_the_plain_prompt_and_counts_in_no_pass_rate(scripted: Callable[..., Any]) -> None:
    attempts = walk(scripted(script))
    roots = [a.root for a in attempts]
    verdicts = [judge(root) for root in roots]
    group = Group("p", ACTOR, 1, tuple(r.id for r in roots), sum(v.is_correct for v in verdicts),
                  sum(v.is_usable for v in verdicts))  # fmt: skip
    assert group.pass_rate == 0.5
    refined = attempts[1].refinement
    assert refined is not None and refined.id not in group.completion_ids
    example = Example(record_id("e", "p", refined.id), "p", attempts[1].root.prompt_ids, refined.token_ids,
                      tuple(map(float, refined.loss_mask())), "refinement", refined.id)  # fmt: skip
    assert example.prompt_ids == ids(PROMPT) and example.target_ids == (*ids(REFINED), 0)
    assert example.weights == (1.0,) * (len(REFINED) + 1)


def test_a_critique_that_cannot_be_read_loses_its_own_flow_only(scripted: Callable[..., Any]) -> None:
    results = walk(scripted(lambda r: "gibberish\n?" if r.role == "critique" else script(r)))
    assert isinstance(results[0], Attempt) and isinstance(results[1], FlowFailed)
    assert isinstance(results[1].error, ValueError)
