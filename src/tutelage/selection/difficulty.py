"""How hard a problem is for a policy: groups of its independent samples, and five bins of pass rate.

Bin 0 holds the hardest problems (pass rate below 0.2), bin 4 the easiest (0.8 and above), as in arXiv 2411.16579.
"""

from __future__ import annotations

from collections.abc import Iterable

from tutelage.records import Completion, Group, Policy, Role
from tutelage.selection.grouping import Verdicts, by_completion

NUM_BINS = 5
ROOT_ROLES: frozenset[Role] = frozenset(("answer", "program"))
"""Roles of whole solutions; chunks, refinements and the like are never counted into a pass rate."""


def make_groups(completions: Iterable[Completion], verdicts: Verdicts, *, round: int = 0) -> list[Group]:
    """One group for each problem and policy, of independent root samples only.

    A completion that branches off another (`branch_position`) or whose role is not a whole solution is left out:
    branches of one tree are not independent. One that was joined of its pieces, as where programs ran in between, is
    a sample like any other. Groups come in the order in which their problems first appear.

    Args:
        verdicts: by completion id, or just all of them; samples without a usable one do not count into the rate.
        round: which round of practice.
    """
    known = by_completion(verdicts)
    samples: dict[tuple[str, Policy], dict[str, Completion]] = {}
    for completion in completions:
        if completion.branch_position is None and completion.role in ROOT_ROLES:
            samples.setdefault((completion.problem_id, completion.policy), {})[completion.id] = completion
    groups = []
    for (problem_id, policy), found in samples.items():
        ordered = sorted(found.values(), key=lambda c: (c.index, c.id))
        usable = [v for c in ordered if (v := known.get(c.id)) is not None and v.is_usable]
        groups.append(
            Group(
                problem_id=problem_id,
                policy=policy,
                round=round,
                completion_ids=tuple(c.id for c in ordered),
                num_correct=sum(v.is_correct for v in usable),
                num_usable=len(usable),
            )
        )
    return groups


def difficulty_bin(group: Group) -> int | None:
    """The group's bin: floor(5 x pass rate), 4 for a pass rate of 1; None where nothing was usable.

    Whole numbers throughout, so that a pass rate of exactly 0.6 is in bin 3.
    """
    if not group.num_usable:
        return None
    return min(NUM_BINS - 1, NUM_BINS * group.num_correct // group.num_usable)


def difficulty_histogram(groups: Iterable[Group]) -> list[int]:
    """How many groups are in each bin, hardest first; those without a usable verdict are left out."""
    counts = [0] * NUM_BINS
    for group in groups:
        number = difficulty_bin(group)
        if number is not None:
            counts[number] += 1
    return counts


def with_pass_rate(groups: Iterable[Group], above: float, *, up_to: float) -> list[str]:
    """Ids of problems with `above` < pass rate <= `up_to`.

    `with_pass_rate(groups, 0.0, up_to=0.5)` are the hard problems that the policy can solve at all.
    """
    return [g.problem_id for g in groups if g.pass_rate is not None and above < g.pass_rate <= up_to]
