"""Strategies as stages of a run: shared answers are drawn and graded once, flows are played on top, all is recorded.

    results = run_strategies(bench, bench.base, problems, [parse_strategy("maj@8"), parse_strategy("critic-maj@4")],
                             Team(critic=Seat.at(bench.invite(name), params)), plan)

Who plays is the caller's: a critic, a reward model, or the seats of a flow of its own (`Team.games`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tutelage.errors import InputError, RunFailed
from tutelage.evaluation.critic_flows import CRITIC_STRATEGIES
from tutelage.evaluation.plays import ACTOR, CRITIC, Play, Player, StrategyFlow, Table
from tutelage.evaluation.results import EvaluationResult
from tutelage.evaluation.strategies import StrategyResult, score_plays, score_strategy
from tutelage.evaluation.strategy_names import NEEDS, Strategy
from tutelage.grading.programs import ProgramGrader
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.flow_stage import run_flows
from tutelage.records import Completion, Problem, SamplingParams, Score, Verdict, digest, record_id
from tutelage.sampling.session import SamplerSession

Scorer = Callable[[Sequence[Completion]], Sequence[float]]
"""The reward of each completion, in order; comparable within one problem."""


@dataclass(frozen=True)
class Seat:
    """A model in a player's seat.

    Args:
        bench: its prompts and ways to open a sampler on it.
        weights: its weights.
        params: how its replies are drawn; what ends a text is added from its prompts.
        label: what else tells it from others with equal weights, e.g. the server that has it.
    """

    bench: Bench
    weights: Weights
    params: SamplingParams
    label: str = ""

    @classmethod
    def at(cls, bench: Bench, params: SamplingParams, *, label: str = "") -> Seat:
        """The model that a bench starts from."""
        return cls(bench, bench.base, params, label)

    def player(self, name: str) -> Player:
        """As flows see it."""
        prompter = self.bench.prompter
        params = replace(self.params, stop_token_ids=prompter.stop_token_ids, stop=prompter.stop_texts)
        return Player(name, self.weights.policy, prompter, params)

    def made_of(self) -> list[Any]:
        """What of it decides what is asked and answered."""
        return [self.weights.lineage, self.label, self.params.to_json()]


@dataclass(frozen=True)
class Game:
    """How strategies of a kind are played, where it is not in `CRITIC_STRATEGIES`.

    Args:
        flow: plays one problem.
        seats: who sits at the table besides the actor.
        made_of: settings that decide what is asked; JSON-able.
        around: puts a session around the one that answers, e.g. one that runs programs.
        has_programs: whether answers may be programs, which are graded by what they give.
    """

    flow: StrategyFlow
    seats: Mapping[str, Seat] = field(default_factory=dict)
    made_of: Any = None
    around: Callable[[SamplerSession], SamplerSession] | None = None
    has_programs: bool = False


@dataclass(frozen=True)
class Team:
    """Who takes part besides the actor.

    Args:
        critic: for strategies that need one.
        self_critic: how the actor draws its replies when it is its own critic; None as it draws answers.
        reward: scores completions, for strategies that need a reward model.
        reward_name: which; kept with its scores.
        games: by kind of strategy, those that bring seats or settings of their own.
        draw: draws shared answers where these are not plain samples, e.g. programs.
    """

    critic: Seat | None = None
    self_critic: SamplingParams | None = None
    reward: Scorer | None = None
    reward_name: str = ""
    games: Mapping[str, Game] = field(default_factory=dict)
    draw: Callable[[Sequence[Problem], stages.SamplingPlan], list[Completion]] | None = None

    def check(self, strategy: Strategy) -> None:
        """Refuse a strategy that needs somebody who is not there.

        Raises:
            InputError: says who.
        """
        have = {"critic": self.critic is not None, "reward_model": self.reward is not None}
        for need in strategy.what.needs:
            if not have.get(need, strategy.kind in self.games):
                raise InputError(
                    f"the strategy {strategy.name} cannot be run", seen=f"no {need.replace('_', ' ')}",
                    expected=NEEDS[need], advice="name it, or choose other strategies",
                )  # fmt: skip


@dataclass(frozen=True)
class Measuring:
    """How strategies are run.

    Args:
        params: how samples are drawn; greedy answers are drawn alike at temperature 0.
        seed: everything random derives from it.
        name: of the weights, in results.
        data: name of the data, in results.
        prefix: of the stage names, "" or e.g. "it1-".
    """

    params: SamplingParams
    seed: int
    name: str
    data: str
    prefix: str = ""


@dataclass(frozen=True)
class Answers:
    """Shared answers: completions in canonical order, their verdicts and rewards by id."""

    completions: list[Completion]
    verdicts: dict[str, Verdict]
    rewards: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """A strategy's result and what it was scored from.

    Args:
        result: the figures.
        answers: the shared answers of its group; empty where it begins from nothing.
        plays: by problem, where it was played.
        verdicts: on the answers, or on those in the plays.
    """

    result: StrategyResult
    answers: Answers
    plays: tuple[Play, ...]
    verdicts: dict[str, Verdict]


def run_strategies(
    bench: Bench,
    weights: Weights,
    problems: Sequence[Problem],
    strategies: Sequence[Strategy],
    team: Team,
    how: Measuring,
    *,
    on_result: Callable[[Measured], None] | None = None,
) -> list[Measured]:
    """The results of all strategies in their order, recorded by problem.

    Args:
        bench, weights: the actor.
        problems: what is answered.
        strategies: which.
        team: who else takes part.
        on_result: called with each as it comes.

    Raises:
        InputError: a strategy needs somebody who is not there; nothing has been drawn then.
        RunFailed: sampling or grading failed on all problems.
    """
    for strategy in strategies:
        team.check(strategy)
    shared = {"nothing": Answers([], {}, {})}
    done = []
    for strategy in strategies:
        if strategy.what.begins not in shared:
            shared[strategy.what.begins] = _shared(
                bench, weights, problems, strategies, team, how, strategy.what.begins
            )
        answers = shared[strategy.what.begins]
        if strategy.is_flow:
            measured = play(bench, weights, problems, strategy, team, how, answers)
        else:
            measured = Measured(_picked(strategy, problems, answers, how), answers, (), answers.verdicts)
        record(bench, measured.result, how)
        done.append(measured)
        if on_result is not None:
            on_result(measured)
    return done


def _picked(strategy: Strategy, problems: Sequence[Problem], answers: Answers, how: Measuring) -> StrategyResult:
    return _scored(
        lambda: score_strategy(
            strategy, problems, answers.completions, answers.verdicts, scores=answers.rewards, seed=how.seed
        )
    )


def _shared(
    bench: Bench, weights: Weights, problems: Sequence[Problem], strategies: Iterable[Strategy], team: Team,
    how: Measuring, begins: str,
) -> Answers:  # fmt: skip
    """The greedy answers, or the samples, that strategies begin from."""
    which = [s for s in strategies if s.what.begins == begins]
    is_greedy = begins == "greedy"
    params = replace(how.params, temperature=0.0, top_p=1.0) if is_greedy else how.params
    count = max(s.num_samples for s in which)
    label = how.prefix + ("greedy" if is_greedy else f"{count}-samples")
    plan = stages.SamplingPlan(label, params, count, how.seed)
    completions = team.draw(problems, plan) if team.draw else stages.sample(bench, weights, problems, plan)
    verdicts = stages.grade(bench, problems, completions, name=f"{label}-grade")
    rewards = {}
    if any("reward_model" in s.what.needs for s in which) and team.reward is not None:
        rewards = reward(bench, completions, team.reward, team.reward_name, name=f"{label}-reward")
    return Answers(completions, verdicts, rewards)


def reward(bench: Bench, completions: Sequence[Completion], scorer: Scorer, by: str, *, name: str) -> dict[str, float]:
    """The reward of each completion by id, recorded as `scores`; failed samples are not asked about.

    Args:
        scorer: gives a number for each completion.
        by: name of the reward model.
        name: of the stage.
    """
    wanted = {c.id for c in completions}
    have = {s.completion_id: s.value for s in bench.run.read("scores", Score)
            if s.completion_id in wanted and (s.kind, s.by) == ("reward_model", by)}  # fmt: skip
    todo = [c for c in completions if c.id not in have and c.finish_reason != "error"]
    with bench.run.stage(name, digest(["reward", by, sorted({c.stage for c in completions})])), bench.spent.on("other"):
        values = scorer(todo) if todo else []
        made = [Score(c.id, "reward_model", float(value), by) for c, value in zip(todo, values, strict=True)]
        bench.run.append_many("scores", made)
    return have | {score.completion_id: score.value for score in made}


def play(
    bench: Bench, weights: Weights, problems: Sequence[Problem], strategy: Strategy, team: Team, how: Measuring,
    answers: Answers,
) -> Measured:  # fmt: skip
    """The result of a strategy that is played.

    Args:
        answers: the shared answers; the first `strategy.num_samples` of each problem are its starts.
    """
    game = _game(team, strategy)
    is_greedy = strategy.what.begins != "samples"
    params = replace(how.params, temperature=0.0, top_p=1.0) if is_greedy else how.params
    actor = Seat(bench, weights, params)
    seats = {ACTOR: actor, **_guests(team, game, strategy, actor)}
    stage = _stage_digest(bench, problems, game, seats, how, answers)
    flows = [(t.problem.id, game.flow(t, strategy)) for t in _tables(strategy, problems, seats, stage, how, answers)]
    label = f"{how.prefix}{strategy.name}"
    plays: dict[Any, Play] = run_flows(
        bench, label, stage, flows, {name: (seat.bench, seat.weights) for name, seat in seats.items()},
        around=game.around,
    )  # fmt: skip
    finals = [answer for made in plays.values() for answer in made.answers]
    # Answers that a flow put together (chunks joined, a program with its output) are no sampler's record yet.
    recorded = bench.run.ids("completions")
    bench.run.append_many("completions", [answer for answer in finals if answer.id not in recorded])
    judging = replace(bench, grader=ProgramGrader(bench.grader)) if game.has_programs else bench
    verdicts = stages.grade(judging, problems, finals, name=f"{label}-grade")
    result = _scored(lambda: score_plays(strategy, problems, plays.values(), verdicts, seed=how.seed))
    return Measured(result, answers, tuple(plays.values()), verdicts)


def _game(team: Team, strategy: Strategy) -> Game:
    return team.games.get(strategy.kind) or Game(CRITIC_STRATEGIES[strategy.kind])


def _guests(team: Team, game: Game, strategy: Strategy, actor: Seat) -> dict[str, Seat]:
    if strategy.kind == "self-refine":
        return {CRITIC: replace(actor, params=team.self_critic or actor.params)}
    critic = {CRITIC: team.critic} if "critic" in strategy.what.needs and team.critic is not None else {}
    return {**critic, **game.seats}


def _tables(
    strategy: Strategy, problems: Sequence[Problem], seats: Mapping[str, Seat], stage: str, how: Measuring,
    answers: Answers,
) -> Iterator[Table]:  # fmt: skip
    """A table for each problem that has the starts it needs; those whose samples failed are left out and counted."""
    players, bench_of_actor = {}, seats[ACTOR].bench
    for name, seat in seats.items():
        # Who sits in two seats is asked in one, so that a model is loaded once.
        is_actor = seat.bench.open_sampler == bench_of_actor.open_sampler and seat.weights == seats[ACTOR].weights
        players[name] = seat.player(ACTOR if is_actor else name)
    starts: dict[str, list[Completion]] = {}
    for completion in answers.completions:
        if completion.finish_reason != "error":
            starts.setdefault(completion.problem_id, []).append(completion)
    for problem in problems:
        own = tuple(starts.get(problem.id, ())[: strategy.num_samples])
        if len(own) == strategy.num_samples:
            yield Table(problem, players, stage, how.seed, own, answers.verdicts)


def _stage_digest(
    bench: Bench, problems: Sequence[Problem], game: Game, seats: Mapping[str, Seat], how: Measuring, answers: Answers
) -> str:
    """What strategies have in common that may share what they ask: the same table, begun from the same answers.

    The number of shared samples does not count: a start is named by its own id.
    """
    asked = [[problem.id, bench.prompter.render(problem).ids] for problem in problems]
    origin = sorted({c.stage for c in answers.completions})
    players = [[name, seat.made_of()] for name, seat in sorted(seats.items())]
    return digest(["play", how.seed, players, game.made_of, origin, asked])


def record(bench: Bench, result: StrategyResult, how: Measuring) -> None:
    """Keep a result by problem, and its `vote`, `pass` and `start` figures as strategies of their own."""
    name = result.strategy.name
    rows = {name: result.per_problem, **{f"{name}:{key}": figure.per_problem for key, figure in result.extras.items()}}
    for spelt, values in rows.items():
        stage = digest([how.prefix, how.name, how.data, spelt, sorted(i for ids in result.used.values() for i in ids)])
        bench.run.append_many(
            "evaluations",
            [
                EvaluationResult(
                    record_id(stage, problem), how.name, spelt, how.data, problem, value,
                    result.used.get(problem, ()), _costs(result, problem),
                )
                for problem, value in values.items()
            ],
        )  # fmt: skip


def _costs(result: StrategyResult, problem: str) -> dict[str, list[int]]:
    costs = result.costs.get(problem, {})
    return {player: [cost.prompt_tokens, cost.completion_tokens] for player, cost in costs.items()}


def _scored(score: Callable[[], StrategyResult]) -> StrategyResult:
    try:
        return score()
    except InputError as error:  # the user's words were right: what failed is our sampling or grading of all problems
        raise RunFailed(error.what, seen=error.seen, expected=error.expected, advice=error.advice) from error
