"""Where a majority is wrong, problem by problem, with and without a critic; and what a fair opponent of a critic is.

A vote's margin is the share of votes for the right answer minus that for the most frequent wrong one: below 0 the
majority is wrong, however many samples are drawn. A critic helps a vote where it moves margins over 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.evaluation.comparisons import compare
from tutelage.evaluation.metrics import Vote, majority_vote
from tutelage.evaluation.strategy_names import Strategy


@dataclass(frozen=True)
class Tally:
    """The votes of one problem.

    Args:
        right: share of all votes cast for the right answer, in [0, 1]; answers that count as right are one.
        wrong: share for the most frequent wrong answer.
        cast: votes cast; an answer that could not be read casts none.
        majority_is_right: what `majority_vote` says, ties and all; None where the winner could not be graded.
    """

    right: float
    wrong: float
    cast: int
    majority_is_right: bool | None

    @property
    def margin(self) -> float:
        """Share right minus share of the most frequent wrong answer, in [-1, 1]."""
        return self.right - self.wrong


def tally(votes: Sequence[Vote]) -> Tally:
    """The votes of a problem counted; an answer whose truth is unknown counts as neither right nor wrong."""
    cast = [vote for vote in votes if vote.key is not None]
    wrong = Counter(vote.key for vote in cast if vote.is_correct is False)
    right = sum(vote.is_correct is True for vote in cast)
    outcome = majority_vote(votes)
    count = max(1, len(cast))
    return Tally(
        right / count, max(wrong.values(), default=0) / count, len(cast), None if outcome is None else outcome == 1.0
    )


def picture(plain: Mapping[str, Tally], critic: Mapping[str, Tally]) -> dict[str, object]:
    """The picture as a report holds it: a row a problem, sorted by the margin without a critic, and the four counts.

    Args:
        plain: tallies of the samples as they are, by problem.
        critic: tallies of what they were refined to.
    """
    both = sorted(plain.keys() & critic.keys(), key=lambda name: (plain[name].margin, name))
    names = {(True, True): "both_right", (True, False): "spoilt", (False, True): "repaired", (False, False): "neither"}
    ends = [(plain[n].majority_is_right, critic[n].majority_is_right) for n in both]
    counts = Counter(names[first, second] for first, second in ends if first is not None and second is not None)
    rows = [
        {
            "problem_id": name,
            **{f"{who}_{what}": round(getattr(of[name], what), 4)
               for who, of in (("plain", plain), ("critic", critic)) for what in ("right", "wrong", "margin")},
        }
        for name in both
    ]  # fmt: skip
    return {"majority": {name: counts[name] for name in names.values()}, "problems": rows}


def num_asked(strategy: Strategy) -> int:
    """Completions that a strategy asks for of each problem, whoever writes them: K triples are 3K."""
    if strategy.kind == "critic-maj":
        return 3 * strategy.k
    if strategy.kind == "critic-filter":
        return 2 * strategy.k
    if strategy.kind == "grid":
        return strategy.k * (1 + 2 * strategy.steps)
    if strategy.kind == "sequential":
        return 1 + 2 * strategy.k
    return strategy.k


def equal_cost(
    results: Mapping[Strategy, Mapping[str, float]], tokens: Mapping[Strategy, float], *, seed: int
) -> list[dict[str, object]]:
    """Each strategy with a critic against the plain vote over as many completions, paired by problem.

    Args:
        results: value by problem of each strategy measured; opponents that were not measured are left out.
        tokens: tokens written a problem, by strategy.
        seed: of intervals.

    Returns:
        Rows `{strategy, against, difference, low, high, p_value, n, tokens, tokens_against}`; a positive difference is
        in the critic's favour.

    Source: arXiv 2411.16579, critique-refine triples against majority voting over three times the samples.
    """
    rows: list[dict[str, object]] = []
    for strategy, values in results.items():
        opponent = Strategy("maj", num_asked(strategy))
        if "critic" not in strategy.what.needs or opponent not in results:
            continue
        if len(values.keys() & results[opponent].keys()) < 2:
            continue
        test = compare(results[opponent], values, seed=seed)
        rows.append(
            {
                "strategy": strategy.name, "against": opponent.name, "difference": test.difference, "low": test.low,
                "high": test.high, "p_value": test.p_value, "n": test.n, "tokens": round(tokens[strategy], 1),
                "tokens_against": round(tokens[opponent], 1),
            }
        )  # fmt: skip
    return rows
