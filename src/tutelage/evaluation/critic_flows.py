"""What actor and critic do together, as flows: criticise, refine, both, again and again; alone, or as strategies.

    criticise           a critic judges a solution; a text that cannot be read is asked for again, then counted
    refinements         the actor writes new solutions from a solution and its critique
    critique_and_refine the two in a row, behind a gate: all solutions, those judged wrong, or those that are wrong
    chain               the same `rounds` times, each round on the last answer (sequential refinement)

They ask through a `Table`, so evaluation and recipes drive the same code. A refinement reads the critic's own words.
A critique that no one could read refines nothing behind the gate `judged`; under `all`, as in the published code, the
actor gets the text whatever it says. Where critic and actor have different tokenizers, a text that crosses is
tokenized again by its reader, which the note of what the reader then writes says.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from tutelage.evaluation.critic_prompts import critique_form, critique_prompt, quoted, refine_prompt
from tutelage.evaluation.plays import ACTOR, CRITIC, Chain, Play, StrategyFlow, Table
from tutelage.evaluation.strategy_names import Strategy
from tutelage.records import Completion, Critique, Role, SamplingParams
from tutelage.sampling.flows import Flow, together
from tutelage.sampling.session import SampleRequest
from tutelage.text.critiques import CritiqueForm, CritiqueText, read_critique, write_critique
from tutelage.text.prompts import Prompt

Gate = Literal["all", "judged", "oracle"]
"""Which solutions are refined: all (the paper's test mode), those judged wrong by the critic, those that are wrong."""
RETOKENIZED = "text tokenized again"
"""What the note of a completion says whose prompt holds a text that another tokenizer's model wrote."""


@dataclass(frozen=True)
class Judgement:
    """What came of asking for a critique of a solution.

    Args:
        solution: what was judged.
        text: the critique as written, without the end token; of several attempts the last.
        form: its form.
        said: every attempt, in order; empty where no model was asked (an exact annotator).
        critique: the critique as read; None where no attempt could be.
        unreadable: why each attempt that could not be read could not.
    """

    solution: Completion
    text: str
    form: CritiqueForm
    said: tuple[Completion, ...] = ()
    critique: Critique | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool | None:
        """The verdict on the final answer; None where there is none that could be read."""
        return None if self.critique is None else self.critique.final_is_correct

    def text_for(self, form: CritiqueForm) -> str:
        """The critique in the form that its reader knows; as it stands where it could not be read."""
        if self.critique is None or form == self.form:
            return self.text.strip()
        return write_critique(self.critique, form)


@dataclass(frozen=True)
class Round:
    """One critique of an answer and what was made of it.

    No refinement where the gate was closed, and no judgement either where the oracle knew that none was needed.
    """

    judgement: Judgement | None
    refinement: Completion | None


def ask_about(
    table: Table, player: str, solution: Completion, request: SampleRequest, *others: Completion
) -> SampleRequest:
    """The request with a note where its prompt holds texts of models with another tokenizer."""
    reader = table.players[player].prompter.tokenizer_digest
    writers = {c.policy.model for c in (solution, *others) if c.tokenizer_digest != reader}
    return replace(request, note=f"{RETOKENIZED} from {', '.join(sorted(writers))}") if writers else request


def criticise(
    table: Table, solution: Completion, *, player: str = CRITIC, tries: int = 1
) -> Generator[Any, Any, Judgement]:
    """A critic's judgement of a solution.

    Args:
        player: who judges.
        tries: how often it is asked until its text can be read; at least 1. Tries after a greedy one are drawn at
            temperature 1, or the same text would come again.
    """
    prompt = critique_prompt(table.players[player].prompter, table.problem, solution.text)
    return (yield from judged_by(table, solution, prompt, player=player, role="critique", tries=tries))


def judged_by(
    table: Table, solution: Completion, prompt: Prompt, *, player: str, role: Role, tries: int, **facts: object
) -> Generator[Any, Any, Judgement]:
    """What a player says of a solution when it is asked with `prompt`: the first text that can be read."""
    form = critique_form(table.players[player].prompter)
    heard = yield from asked_until_read(
        table, solution, prompt, partial(read_critique, form=form), player=player, role=role, tries=tries, **facts
    )
    critique = None
    if isinstance(heard.read, CritiqueText):
        last = heard.said[-1]
        critique = heard.read.about(solution, source_id=last.id, stage=table.stage, note=last.note)
    return Judgement(solution, heard.text, form, heard.said, critique, heard.reasons)


@dataclass(frozen=True)
class Heard:
    """What a player said until it could be read.

    Args:
        text: the last attempt, without the end token and without special tokens.
        said: every attempt, in order.
        read: what the last one was read as; None where no attempt could be.
        reasons: why each attempt that could not be read could not.
    """

    text: str
    said: tuple[Completion, ...]
    read: Any
    reasons: tuple[str, ...]


def asked_until_read(
    table: Table,
    solution: Completion,
    prompt: Prompt,
    read: Callable[[str], Any],
    *,
    player: str,
    role: Role,
    tries: int,
    **facts: object,
) -> Generator[Any, Any, Heard]:
    """Ask a player about a solution until its text can be read, at most `tries` times.

    Args:
        prompt: what it is asked with.
        read: from a text to what it says, or to something with a `reason` why it cannot be read.
        role: what it is to write.
        facts: what a script may want to know besides question, answer and solution.
    """
    seat = table.players[player]
    shown = quoted(seat.prompter, solution.text)
    said: list[Completion] = []
    reasons: list[str] = []
    text, found = "", None
    while found is None and len(said) < tries:
        request = table.ask(
            player, prompt, role=role, parent=solution, index=len(said), params=again(seat.params, len(said)),
            facts={"solution": shown, **facts},
        )  # fmt: skip
        said.append((yield ask_about(table, player, solution, request)))
        text = quoted(seat.prompter, said[-1].text).strip()
        found = read(text) if said[-1].finish_reason != "error" else None
        if found is None or hasattr(found, "reason"):
            reasons.append("the request failed" if found is None else found.reason)
            found = None
    return Heard(text, tuple(said), found, tuple(reasons))


def again(params: SamplingParams, attempt: int) -> SamplingParams:
    """Parameters of the `attempt`-th try, from 0: a greedy text would come again, so later tries are drawn."""
    return params if attempt == 0 or params.temperature > 0 else replace(params, temperature=1.0)


def refinements(
    table: Table, judgement: Judgement, *, num: int = 1, params: SamplingParams | None = None, player: str = ACTOR
) -> Generator[Any, Any, tuple[Completion, ...]]:
    """New solutions that the actor writes after a critique of a solution.

    Args:
        num: how many, at least 1.
        params: how they are drawn; None takes the actor's.
    """
    seat, solution = table.players[player], judgement.solution
    text = judgement.text_for(critique_form(seat.prompter))
    prompt = refine_prompt(seat.prompter, table.problem, solution.text, text)
    parent = judgement.said[-1] if judgement.said else solution
    requests = tuple(
        ask_about(
            table, player, solution,
            table.ask(player, prompt, role="refinement", parent=parent, index=index, params=params,
                      facts={"solution": solution.text, "critique": text}),
            *judgement.said[-1:],
        )
        for index in range(num)
    )  # fmt: skip
    written: tuple[Completion, ...] = yield requests
    return written


def critique_and_refine(
    table: Table, solution: Completion, *, gate: Gate = "all", critic: str = CRITIC, tries: int = 1
) -> Generator[Any, Any, Round]:
    """One critique of a solution and, where the gate is open, one refinement."""
    if gate == "oracle" and not _is_known_wrong(table, solution):
        return Round(None, None)
    judgement = yield from criticise(table, solution, player=critic, tries=tries)
    if not judgement.text.strip() or (gate == "judged" and judgement.is_right is not False):
        return Round(judgement, None)
    (refinement,) = yield from refinements(table, judgement)
    return Round(judgement, refinement if refinement.finish_reason != "error" else None)


def _is_known_wrong(table: Table, solution: Completion) -> bool:
    verdict = table.verdicts.get(solution.id)
    return verdict is not None and verdict.is_usable and not verdict.is_correct


def chain(
    table: Table, solution: Completion, *, rounds: int, gate: Gate = "all", critic: str = CRITIC, tries: int = 1
) -> Generator[Any, Any, tuple[Round, ...]]:
    """Sequential refinement: `rounds` times criticise the last answer and refine it, unless the gate closes."""
    done: list[Round] = []
    for _ in range(rounds):
        step = yield from critique_and_refine(table, solution, gate=gate, critic=critic, tries=tries)
        done.append(step)
        if step.refinement is None:
            break
        solution = step.refinement
    return tuple(done)


def _play_chains(table: Table, *, rounds: int, gate: Gate) -> Generator[Any, Any, Play]:
    """Every shared answer refined up to `rounds` times; what failed in sampling is left as it is."""
    usable = [start for start in table.starts if start.finish_reason != "error"]
    walked = yield from together([chain(table, start, rounds=rounds, gate=gate) for start in usable])
    steps = {start.id: done for start, done in zip(usable, walked, strict=True)}
    chains = tuple(_chain_of(start, steps.get(start.id, ())) for start in table.starts)
    judgements = [step.judgement for done in walked for step in done if step.judgement is not None]
    used = [(ACTOR, answer) for one in chains for answer in one.answers]
    used += [(CRITIC, said) for judgement in judgements for said in judgement.said]
    return Play(table.problem.id, chains, tuple(used), _figures(judgements))


def _chain_of(start: Completion, steps: tuple[Round, ...]) -> Chain:
    refined = [step.refinement for step in steps if step.refinement is not None]
    judged = tuple(None if step.judgement is None else step.judgement.is_right for step in steps)
    return Chain((start, *refined), judged)


def _figures(judgements: Sequence[Judgement]) -> dict[str, float]:
    """Shares of the critiques that could not be read, and that found the answer right."""
    count = max(1, len(judgements))
    return {
        "unreadable": sum(j.critique is None for j in judgements) / count,
        "judged_right": sum(j.is_right is True for j in judgements) / count,
    }


def refine(table: Table, strategy: Strategy, *, gate: Gate = "all") -> Flow[Play]:
    """`refine`, `refine-judged`, `refine-oracle`, `self-refine`, `critic-maj@k`: each shared answer, refined once."""
    return _play_chains(table, rounds=1, gate=gate)


def sequential(table: Table, strategy: Strategy) -> Flow[Play]:
    """`sequential@k` and `grid@KxS`: each shared answer refined again and again."""
    return _play_chains(table, rounds=strategy.steps if strategy.kind == "grid" else strategy.k, gate="all")


def critic_filter(table: Table, strategy: Strategy) -> Flow[Play]:
    """`critic-filter@k`: each shared answer is judged; those that pass vote, or all where none does."""
    usable = [start for start in table.starts if start.finish_reason != "error"]
    judgements = yield from together([criticise(table, start) for start in usable])
    said = {judgement.solution.id: judgement.is_right for judgement in judgements}
    chains = tuple(Chain((start,), (said.get(start.id),)) for start in table.starts)
    used = [(ACTOR, start) for start in table.starts]
    used += [(CRITIC, attempt) for judgement in judgements for attempt in judgement.said]
    figures = _figures(judgements) | {"fell_back": float(not any(one.is_passed for one in chains))}
    return Play(table.problem.id, chains, tuple(used), figures)


CRITIC_STRATEGIES: dict[str, StrategyFlow] = {
    "refine": refine,
    "refine-judged": partial(refine, gate="judged"),
    "refine-oracle": partial(refine, gate="oracle"),
    "self-refine": refine,
    "critic-maj": refine,
    "critic-filter": critic_filter,
    "sequential": sequential,
    "grid": sequential,
}
"""How the strategies that need a critic are played, by the kind in `strategy_names.KINDS`."""
