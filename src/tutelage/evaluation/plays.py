"""Strategies that are played: flows between an actor and others, begun from shared answers, one problem at a time.

A flow of a strategy is a generator `flow(table, strategy)` that asks the players at the table and returns a `Play`.
It knows neither who the players are nor how they are sampled: `Table.ask` makes its requests, whoever drives it (see
`recipes/strategy_stage.py`) answers them. Requests are named by what they ask of whom, so strategies of one evaluation
that ask the same (the critique of the greedy answer, say) share one answer, and cost is still counted for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tutelage.evaluation.strategy_names import Strategy
from tutelage.records import Completion, Policy, Problem, Role, SamplingParams, Verdict, record_id, seed_of
from tutelage.sampling.flows import Flow, child_request
from tutelage.sampling.session import SampleRequest
from tutelage.text.prompts import Prompt, Prompter

ACTOR, CRITIC, REWARD_MODEL, SANDBOX, STOP = "actor", "critic", "reward_model", "sandbox", "stop"
"""Names of players. The actor is the model that is measured."""


@dataclass(frozen=True)
class Player:
    """Someone that a flow may ask.

    Args:
        name: in requests, and in the account of costs.
        policy: whose words these are.
        prompter: makes its prompts; knows its tokenizer and what ends its texts.
        params: how its replies are drawn, end tokens included.
    """

    name: str
    policy: Policy
    prompter: Prompter
    params: SamplingParams


@dataclass(frozen=True)
class Table:
    """All that a flow may use for one problem.

    Args:
        problem: the problem.
        players: by name; the actor always, others as the strategy needs them. Under `self-refine` the critic is the
            actor's own model in the critic's seat.
        stage: the stage digest, which every request carries.
        seed: of the evaluation.
        starts: the shared answers that the strategy begins from, in order: the greedy one, or `num_samples` samples.
        verdicts: on these, by completion id; for `refine-oracle` and nobody else.
    """

    problem: Problem
    players: Mapping[str, Player]
    stage: str
    seed: int
    starts: tuple[Completion, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    def ask(
        self,
        player: str,
        prompt: Prompt,
        *,
        role: Role,
        parent: Completion | None = None,
        index: int = 0,
        facts: Mapping[str, object] | None = None,
        params: SamplingParams | None = None,
    ) -> SampleRequest:
        """A request to a player; yield it, or a tuple of several.

        Args:
            player: who is asked.
            prompt: what it reads.
            role: what it is to write.
            parent: the completion that it judges, refines or answers; None for a first answer.
            index: which of several equal requests about one parent.
            facts: what a script may want to know besides question and answer, e.g. `solution`, `critique`.
            params: None takes the player's.
        """
        seat = self.players[player]
        drawn = params or seat.params
        if parent is not None:
            request = child_request(
                replace(parent, stage=self.stage), role=role, policy=seat.policy, params=drawn, prompt_ids=prompt.ids,
                index=index, player=player,
            )  # fmt: skip
        else:
            writer = f"{player}/{role}/{seat.policy.adapter}:{seat.policy.version}"
            request = SampleRequest(
                id=record_id(self.stage, self.problem.id, writer, index), problem_id=self.problem.id,
                prompt_ids=prompt.ids, params=drawn, seed=seed_of(self.seed, writer, self.problem.id, index),
                role=role, adapter=seat.policy.adapter, version=seat.policy.version, stage=self.stage, index=index,
                player=player,
            )  # fmt: skip
        metadata = {"question": self.problem.question, "answer": self.problem.answer, **(facts or {})}
        return replace(request, messages=prompt.messages, prompt_text=prompt.text, metadata=metadata)


@dataclass(frozen=True)
class Chain:
    """An answer and what became of it, one after the other.

    Args:
        answers: the first answer, then each that replaced it; at least one. Each is graded.
        judged: what the critic said of each answer: right, wrong, or None where it was not asked or not understood.
    """

    answers: tuple[Completion, ...]
    judged: tuple[bool | None, ...] = ()

    @property
    def last(self) -> Completion:
        """The final answer."""
        return self.answers[-1]

    @property
    def is_passed(self) -> bool | None:
        """What the critic said of the final answer; None where it said nothing that could be read."""
        return self.judged[len(self.answers) - 1] if len(self.judged) >= len(self.answers) else None


@dataclass(frozen=True)
class Play:
    """What a flow made of a problem.

    Args:
        problem_id: the problem.
        chains: answers to be scored: one chain, or K parallel ones in the order of the starts.
        used: every completion that this took, with the player who wrote it; starts included. The cost.
        figures: numbers that are to be averaged over problems, by name; e.g. `fell_back` 0 or 1.
    """

    problem_id: str
    chains: tuple[Chain, ...]
    used: tuple[tuple[str, Completion], ...]
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def answers(self) -> tuple[Completion, ...]:
        """Every answer in its chains, each once."""
        return tuple({c.id: c for chain in self.chains for c in chain.answers}.values())


StrategyFlow = Callable[[Table, Strategy], Flow[Play]]
"""How a strategy is played; raises only where something is broken, never on what a model wrote."""


@dataclass(frozen=True)
class Cost:
    """Tokens that a player read and wrote; prompts are counted each time that they are read."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)

    def times(self, factor: float) -> Cost:
        """A share, or a multiple, in whole tokens."""
        return Cost(round(self.prompt_tokens * factor), round(self.completion_tokens * factor))


def cost_of(used: tuple[tuple[str, Completion], ...]) -> dict[str, Cost]:
    """Tokens by player; a completion that is named twice counts once, one that nobody wrote counts as read."""
    costs: dict[str, Cost] = {}
    seen: set[tuple[str, str]] = set()
    for player, completion in used:
        if (player, completion.id) in seen:
            continue
        seen.add((player, completion.id))
        made = Cost(len(completion.prompt_ids), sum(completion.loss_mask()))
        costs[player] = costs.get(player, Cost()) + made
    return costs
