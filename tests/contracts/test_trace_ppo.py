"""Trace 4: a PPO trajectory. Five tokens, of which the middle one is a program's output.

    token          a       b       T(tool)  c       END
    old log-prob  -0.5    -1.0     0        -0.2    -0.1
    reference     -0.7    -0.8     -3.0     -0.2    -0.4
    KL             0.2    -0.2     -         0.0     0.3      (old - reference, model-written tokens only)
    reward        -0.02    0.02    -         0.0     0.97     (-0.1 KL, and 1 for the right answer on the last)
    value          0.5     0.6     -         0.7     0.8

With gamma 1 and lambda 0.5, from the end: delta = r + v' - v, advantage = delta + 0.5 advantage':
    END 0.97 - 0.8 = 0.17;  c 0.8 - 0.7 = 0.1 -> 0.185;  b 0.02 + 0.7 - 0.6 = 0.12 -> 0.2125;
    a -0.02 + 0.6 - 0.5 = 0.08 -> 0.18625
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tutelage.records import Completion, Policy, SamplingParams, Trajectory
from tutelage.sampling.flows import child_request, sample_all, splice
from tutelage.sampling.session import SampleRequest, ScoreRequest

POLICY = Policy("m", "actor", 3)
OLD = (-0.5, -1.0, 0.0, -0.2, -0.1)
REFERENCE = (-0.7, -0.8, -3.0, -0.2, -0.4)
VALUES = (0.5, 0.6, 0.7, 0.8)


def sampled(scripted: Callable[..., Any]) -> Completion:
    """The completion, from a session: two tokens, a tool's output, two tokens; log-probs as in the table."""
    session = scripted(lambda r: "c" if r.parent_id else "ab")
    root = SampleRequest("t", "p", (9,), SamplingParams(pause=("b",)), 1, adapter="actor", version=3)
    [first] = sample_all(session, [root])
    [rest] = sample_all(session, [child_request(first, inserted_ids=(ord("T"),))])
    whole = splice(first, (ord("T"),), "tool", rest, inserted_text="T")
    return replace(whole, token_logprobs=OLD)


def written(values: Sequence[float], completion: Completion) -> tuple[float, ...]:
    """The values of model-written tokens."""
    return tuple(v for v, m in zip(values, completion.loss_mask(), strict=True) if m)


def trajectory_of(completion: Completion, reference: Sequence[float], score: float) -> Trajectory:
    """By the definitions in the head of this file."""
    old, ref = written(completion.token_logprobs, completion), written(reference, completion)
    rewards = [-0.1 * (o - r) for o, r in zip(old, ref, strict=True)]
    rewards[-1] += score
    advantages, following, carried = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(VALUES), strict=True):
        carried = reward + following - value + 0.5 * carried
        advantages.append(carried)
        following = value
    return Trajectory(completion.id, old, VALUES, tuple(rewards), tuple(reversed(advantages)), completion.policy)


def test_a_trajectory_has_one_entry_per_model_written_token(scripted: Callable[..., Any]) -> None:
    completion = sampled(scripted)
    assert completion.text == "abTc" and completion.loss_mask() == (1, 1, 0, 1, 1)
    trajectory = trajectory_of(completion, REFERENCE, 1.0)
    count = sum(completion.loss_mask())
    lengths = {len(getattr(trajectory, n)) for n in ("old_logprobs", "values", "rewards", "advantages")}
    assert lengths == {count} == {4}
    assert trajectory.old_logprobs == (-0.5, -1.0, -0.2, -0.1)
    assert sum(trajectory.old_logprobs) == pytest.approx(completion.logprob)


def test_rewards_and_advantages_are_those_of_the_table(scripted: Callable[..., Any]) -> None:
    trajectory = trajectory_of(sampled(scripted), REFERENCE, 1.0)
    assert trajectory.rewards == pytest.approx((-0.02, 0.02, 0.0, 0.97))
    assert trajectory.advantages == pytest.approx((0.18625, 0.2125, 0.185, 0.17))
    assert Trajectory.from_json(trajectory.to_json()) == trajectory


def test_the_tools_tokens_change_nothing(scripted: Callable[..., Any]) -> None:
    completion = sampled(scripted)
    other = (*REFERENCE[:2], -50.0, *REFERENCE[3:])
    assert trajectory_of(completion, other, 1.0) == trajectory_of(completion, REFERENCE, 1.0)


def test_a_trajectory_names_the_weights_that_sampled_it(scripted: Callable[..., Any]) -> None:
    completion = sampled(scripted)
    assert trajectory_of(completion, REFERENCE, 0.0).policy == completion.policy == POLICY


def test_scores_align_with_the_completions_tokens(scripted: Callable[..., Any]) -> None:
    completion = sampled(scripted)
    session = scripted(lambda _: "x")
    [scores] = session.score([ScoreRequest(completion.prompt_ids, completion.token_ids, "actor", 3)])
    assert len(scores) == len(completion.token_ids)
    assert len(written(scores, completion)) == sum(completion.loss_mask())
