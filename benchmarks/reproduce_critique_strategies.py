"""The cells of the critics study that only answer: strategies at test time, votes, sizes, levels of difficulty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reproduce_critique_lab import Row, critic_at, levels_of, opened, row
from reproduce_critique_plan import PICTURE, SPLITS, Scale, measuring, model_of, shared, sizes_there

from tutelage.evaluation.strategy_names import parse_strategy
from tutelage.recipes import critique_loop
from tutelage.recipes.bench import Bench
from tutelage.recipes.strategy_stage import Measured, Measuring, Seat, Team, run_strategies
from tutelage.recipes.vote_report import vote_report
from tutelage.records import SamplingParams

# Strategies at test time --------------------------------------------------------------------------------------------


@contextmanager
def answered(scale: Scale, seed: int, names: Sequence[str], count: int) -> Iterator[tuple[Bench, list[Measured]]]:
    """The base actor under strategies with the trained critic on so many problems; and the bench they ran on."""
    config = critique_loop.Config(**shared(scale, seed, iterations=0, **measuring(scale, count)))
    with opened(config, "eval") as bench:
        params = SamplingParams(0.0, max_new_tokens=config.critic_tokens)
        seat = Seat.at(bench.invite(str(critic_at(scale, seed))), params, label="exact")
        how = Measuring(SamplingParams(0.7, max_new_tokens=config.max_new_tokens), seed, "base", scale.split)
        wanted = [parse_strategy(name) for name in names]
        yield bench, run_strategies(bench, bench.base, bench.test, wanted, Team(critic=seat), how)


def strategies(scale: Scale, seed: int) -> list[Row]:
    """The base actor under test-time strategies, with the trained critic, each at several K."""
    names = ["greedy", "refine", "refine-judged", "refine-oracle", "self-refine"]
    most = max(scale.ks)
    counts = sorted({*scale.ks, *(3 * k for k in scale.ks)})
    names += [f"{kind}@{k}" for kind in ("maj", "pass") for k in counts]
    names += [f"critic-filter@{most}", *(f"critic-maj@{k}" for k in scale.ks)]
    names += [f"sequential@{k}" for k in scale.ks] + [f"grid@{most // 2}x2"]
    with answered(scale, seed, names, scale.num_votes) as (bench, found):
        rows = []
        for one in found:
            result = one.result
            cost = sum(cost.completion_tokens for cost in result.cost().values()) / len(bench.test)
            rows.append(row(result.strategy.name, result.per_problem, bench.test, tokens=round(cost, 1)))
            rows += [row(f"{result.strategy.name}:{key}", figure.per_problem, bench.test)
                     for key, figure in result.extras.items() if key in ("vote", "pass")]  # fmt: skip
        return rows


def votes(scale: Scale, seed: int) -> list[Row]:
    """Many samples of a few problems, as they are and refined: the margin of each problem's vote."""
    count, num_samples = PICTURE[scale.split]
    with answered(scale, seed, [f"critic-maj@{num_samples}"], count) as (bench, found):
        told = vote_report(found, bench.test, seed=seed)["votes"]
    return [{"stage": "votes", "votes": told, "figures": {}}]


# Sizes --------------------------------------------------------------------------------------------------------------


def sizes(scale: Scale, seed: int) -> list[Row]:
    """Actors and critics of each size there is, every one with every other, on an easy and a hard split."""
    rows = []
    for actor in sizes_there():
        for split, ending in SPLITS.items() if scale.split == "test" else [("easy", "")]:
            config = critique_loop.Config(**shared(
                scale, seed, model=model_of(actor), iterations=0, **measuring(scale, scale.num_sizes, ending),
            ))  # fmt: skip
            with opened(config, "eval") as bench:
                params = SamplingParams(0.0, max_new_tokens=config.critic_tokens)
                for size in sizes_there():
                    seat = Seat.at(bench.invite(str(critic_at(scale, seed, size=size))), params, label=size)
                    how = Measuring(SamplingParams(0.7, max_new_tokens=64), seed, size, split, prefix=f"{size}-")
                    names = ["greedy", "refine"] if size == sizes_there()[0] else ["refine"]
                    found = run_strategies(bench, bench.base, bench.test, [parse_strategy(n) for n in names],
                                           Team(critic=seat), how)  # fmt: skip
                    for one in found:
                        last = "alone" if one.result.strategy.name == "greedy" else size
                        rows.append(row(f"{split}: {actor}+{last}", one.result.per_problem, bench.test))
    return rows


def difficulty(scale: Scale, seed: int) -> list[Row]:
    """The level of each test problem for the base actor, as a string of 0 (hardest) to 4."""
    config = critique_loop.Config(**shared(scale, seed, iterations=0, **measuring(scale, scale.num_greedy)))
    with opened(config, "eval") as bench:
        levels = levels_of(bench, bench.test, scale.levels, seed)
        return [{"stage": "levels", "levels": "".join(str(levels.get(p.id, "-")) for p in bench.test), "figures": {}}]
