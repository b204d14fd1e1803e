"""One round of practice on one problem, as a flow: sample, criticise what failed, refine it, keep what is right.

    1. the actor writes n solutions; the right ones are kept
    2. the critic judges each wrong one, the actor refines it r times with that critique
    3. of the right refinements of a critique that pass the shortcut barrier the first few are kept

Extra samples are spent on what failed only: that is what makes the data's long tail grow (arXiv 2411.16579). Without a
critic the flow ends after 1, which is vanilla self-improvement.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from tutelage.evaluation.critic_flows import Judgement, criticise, refinements
from tutelage.evaluation.plays import ACTOR, CRITIC, Cost, Table, cost_of
from tutelage.recipes.critique_flaws import Judge, from_scratch
from tutelage.records import Completion, SamplingParams, Verdict
from tutelage.sampling.flows import Flow, together
from tutelage.selection.shortcuts import passes_shortcut_barrier


@dataclass(frozen=True)
class PracticeRules:
    """How much is drawn of each problem, and what is kept.

    Args:
        draw, num_samples: how solutions are drawn, and how many.
        refine, num_refinements: how refinements are drawn, and how many of each wrong solution; 0: no critic.
        max_kept: right refinements kept of one critique.
        has_barrier: whether refinements must pass the shortcut barrier.
        tries: how often the critic is asked until its text can be read.
    """

    draw: SamplingParams
    num_samples: int
    refine: SamplingParams
    num_refinements: int
    max_kept: int
    has_barrier: bool
    tries: int


@dataclass(frozen=True)
class Repair:
    """A wrong solution, its critique, and what the actor made of it.

    Args:
        tries: the refinements.
        right: those that are right and whole.
        kept: those of `right` that go into the data.
        barred: how many right ones were shortcuts.
    """

    root: Completion
    judgement: Judgement
    tries: tuple[Completion, ...]
    right: tuple[Completion, ...]
    kept: tuple[Completion, ...]
    barred: int


@dataclass(frozen=True)
class Practised:
    """What came of a problem in a round: its solutions, those of them that are right, and the repairs of wrong ones."""

    problem_id: str
    roots: tuple[Completion, ...]
    right: tuple[Completion, ...]
    repairs: tuple[Repair, ...]

    def costs(self) -> dict[str, Cost]:
        """Tokens read and written, by player."""
        used = [(ACTOR, root) for root in self.roots]
        for repair in self.repairs:
            used += [(CRITIC, said) for said in repair.judgement.said] + [(ACTOR, one) for one in repair.tries]
        return cost_of(tuple(used))


@dataclass(frozen=True)
class Practice:
    """A round: what came of each problem, and the verdicts on all that was written, by completion id."""

    problems: tuple[Practised, ...]
    verdicts: Mapping[str, Verdict]


def practise(table: Table, rules: PracticeRules, judge: Judge) -> Flow[Practised]:
    """One problem's round.

    Args:
        judge: grades a completion.
    """
    roots = yield from from_scratch(table, num=rules.num_samples, params=rules.draw)
    right = tuple(root for root in roots if _is_right(root, judge))
    failed = [root for root in roots if _is_wrong(root, judge)] if rules.num_refinements else []
    repairs = yield from together([repair(table, root, rules, judge) for root in failed])
    return Practised(table.problem.id, roots, right, repairs)


def repair(table: Table, root: Completion, rules: PracticeRules, judge: Judge) -> Generator[Any, Any, Repair]:
    """A wrong solution criticised once and refined `num_refinements` times, whatever the critic's verdict is."""
    judgement = yield from criticise(table, root, tries=rules.tries)
    tries: tuple[Completion, ...] = ()
    if judgement.text.strip():
        tries = yield from refinements(table, judgement, num=rules.num_refinements, params=rules.refine)
    right = tuple(one for one in tries if _is_right(one, judge))
    passed = [one for one in right if not rules.has_barrier
              or passes_shortcut_barrier(one.text, root.text, table.problem.solution)]  # fmt: skip
    return Repair(root, judgement, tries, right, tuple(passed[: rules.max_kept]), len(right) - len(passed))


def _is_right(completion: Completion, judge: Judge) -> bool:
    """Whether it is right and whole: a text that was cut short would teach not to end."""
    return completion.finish_reason == "stop" and judge(completion).is_correct


def _is_wrong(completion: Completion, judge: Judge) -> bool:
    """Whether it failed by the model's doing and there is something to criticise."""
    if completion.finish_reason == "error" or not completion.text.strip():
        return False
    verdict = judge(completion)
    return verdict.is_usable and not verdict.is_correct
