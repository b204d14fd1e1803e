"""How a train of thought comes about, as a flow of one problem: actor and critic go on until no error is left.

    1. the critic judges a solution step by step
    2. no step wrong: the thought is complete; its answer is checked
    3. else keep what stands before the first wrong step, note that step with its feedback, and have the actor, who is
       shown the critique, write on from there; go to 1

Source: arXiv 2411.16579, self-talk-via-critique. The actor's new solution is begun for it with the steps that were
right; only where the critic changes its mind about one of these does a thought go back behind it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tutelage.evaluation.critic_flows import Judgement, ask_about, criticise
from tutelage.evaluation.critic_prompts import critique_form, quoted, refine_prompt
from tutelage.evaluation.plays import ACTOR, Table
from tutelage.recipes.critique_flaws import Judge, from_scratch
from tutelage.records import Completion, SamplingParams, record_id
from tutelage.sampling.flows import Flow, together
from tutelage.text.critiques import judged_steps, place_of_first_error, solution_steps
from tutelage.text.prompts import Prompt
from tutelage.text.self_talk import Thought

End = Literal["right", "wrong answer", "unreadable critique", "error not found", "rounds used up", "sampling failed"]


@dataclass(frozen=True)
class ThinkingRules:
    """How thoughts are made.

    Args:
        draw, num_samples: first solutions of a problem.
        num_wrong, num_right: most of them that are gone through, texts once each.
        extend: how the actor writes on.
        rounds: most times that it does.
        tries: how often the critic is asked until its text can be read.
    """

    draw: SamplingParams
    num_samples: int
    num_wrong: int
    num_right: int
    extend: SamplingParams
    rounds: int
    tries: int


@dataclass(frozen=True)
class Train:
    """A train of thought.

    Args:
        root: the first solution.
        thoughts: steps with feedback, in the order in which they were thought.
        last: the solution as it is in the end.
        end: `right` where it may be learnt from; else why not.
        said: the critiques that it rests on.
        wholes: solutions put together on the way.
    """

    root: Completion
    thoughts: tuple[Thought, ...]
    last: Completion
    end: End
    said: tuple[Completion, ...]
    wholes: tuple[Completion, ...]

    @property
    def num_errors(self) -> int:
        """Errors that were found and taken back."""
        return sum(not thought.is_right for thought in self.thoughts)


def think_about(table: Table, rules: ThinkingRules, judge: Judge) -> Flow[tuple[Train, ...]]:
    """The trains of thought of a problem, from some wrong and some right first solutions.

    Args:
        judge: grades a completion.
    """
    roots = yield from from_scratch(table, num=rules.num_samples, params=rules.draw)
    trains = yield from together([think(table, root, rules, judge) for root in picked(roots, rules, judge)])
    return trains


def picked(roots: Sequence[Completion], rules: ThinkingRules, judge: Judge) -> list[Completion]:
    """The first solutions to go through: whole ones with a step in them, each text once."""
    room = {True: rules.num_right, False: rules.num_wrong}
    seen: set[str] = set()
    found = []
    for root in roots:
        text = "".join(root.text.split())
        if root.finish_reason != "stop" or text in seen or not judged_steps(root.text):
            continue
        verdict = judge(root)
        if verdict.is_usable and room[verdict.is_correct]:
            seen.add(text)
            room[verdict.is_correct] -= 1
            found.append(root)
    return found


def think(table: Table, root: Completion, rules: ThinkingRules, judge: Judge) -> Generator[Any, Any, Train]:
    """One train of thought from a first solution."""
    solution, thoughts, done = root, list[Thought](), 0
    said: list[Completion] = []
    wholes: list[Completion] = []

    def ended(end: End) -> Train:
        return Train(root, tuple(thoughts), solution, end, tuple(said), tuple(wholes))

    for turn in range(rules.rounds + 1):
        judgement = yield from criticise(table, solution, tries=rules.tries)
        said += judgement.said
        if judgement.critique is None:
            return ended("unreadable critique")
        steps = solution_steps(solution.text)
        at = place_of_first_error(judgement.critique, steps)
        if at == "unplaced" or (at is None and judgement.is_right is False):
            return ended("error not found")
        upto = len(steps) if at is None else at
        thoughts += thoughts_on(steps, judgement, done, upto)
        done = upto
        if at is None:
            return ended("right" if judge(solution).is_correct else "wrong answer")
        if turn == rules.rounds:
            return ended("rounds used up")
        thoughts.append(error_at(steps, judgement, at))
        extended = yield from extend(table, judgement, at, rules.extend)
        if extended is None:
            return ended("sampling failed")
        solution = extended
        wholes.append(solution)
    raise AssertionError("the last round returns")


def thoughts_on(steps: Sequence[str], judgement: Judgement, first: int, last: int) -> list[Thought]:
    """The right steps from `first` up to `last` with what the critic said of each; of those it left out, nothing."""
    assert judgement.critique is not None
    said = judgement.critique.steps
    found = []
    for place in range(first, last):
        own = said[place] if place < len(said) and said[place].is_correct else None
        found.append(Thought(steps[place], place, True, own.text if own else "", own.explanation if own else ""))
    return found


def error_at(steps: Sequence[str], judgement: Judgement, at: int) -> Thought:
    """The wrong step with what the critic said of it, wherever in its critique that stands."""
    assert judgement.critique is not None and judgement.critique.first_error is not None
    own = judgement.critique.steps[judgement.critique.first_error]
    return Thought(steps[at], at, False, own.text, own.explanation)


def extend(
    table: Table, judgement: Judgement, at: int, params: SamplingParams
) -> Generator[Any, Any, Completion | None]:
    """The solution written on from a wrong step by the actor, who is shown the critique; None where that failed."""
    seat, solution = table.players[ACTOR], judgement.solution
    kept = quoted(seat.prompter, solution.text[: judged_steps(solution.text)[at].start])
    kept_ids = tuple(seat.prompter.tokenizer(kept, add_special_tokens=False)["input_ids"]) if kept else ()
    shown = refine_prompt(seat.prompter, table.problem, solution.text, judgement.text_for(critique_form(seat.prompter)))
    # Begun for the actor: chat messages cannot say so, so a server is given the text.
    begun = Prompt(shown.ids + kept_ids, shown.text + kept)
    parent = judgement.said[-1] if judgement.said else solution
    request = table.ask(
        ACTOR, begun, role="refinement", parent=parent, params=params,
        facts={"solution": solution.text, "critique": judgement.text, "kept": kept, "written": len(kept_ids)},
    )  # fmt: skip
    rest: Completion = yield ask_about(table, ACTOR, solution, request, *judgement.said[-1:])
    if rest.finish_reason != "stop":
        return None
    shift = len(kept_ids)
    written = tuple((a + shift, b + shift, kind) for a, b, kind in rest.segments)
    return replace(
        rest, id=record_id(table.stage, table.problem.id, f"{rest.id}/whole"), prompt_ids=shown.ids,
        token_ids=kept_ids + rest.token_ids, text=kept + rest.text, parent_id=rest.id,
        token_logprobs=(0.0,) * shift + rest.token_logprobs,
        segments=(((0, shift, "forced"), *written) if shift else written),
    )  # fmt: skip
