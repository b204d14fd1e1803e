"""Trains of thought rewritten by a model in one voice, and checked again: a text whose answer is not right is dropped.

The request is ours; the paper's (arXiv 2411.16579) is not published.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from tutelage.errors import InputError
from tutelage.evaluation.critic_prompts import quoted, shown_question
from tutelage.evaluation.plays import Table
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench
from tutelage.recipes.flow_stage import run_flows
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import Completion, Problem, digest
from tutelage.text.prompts import Prompt, Prompter

SMOOTHER = "smoother"
REQUEST = (
    "Below are a problem and the notes of somebody who solves it: steps, remarks on them, and steps that are done "
    "again. Write them as what one person says to themselves while solving it. Keep every calculation, every mistake "
    "and how it was found and mended, in the same order; add no new ones. Close with the final answer in the same form."
)


def smoothing_prompt(prompter: Prompter, problem: Problem, draft: str) -> Prompt:
    """Ask for a train of thought in one voice.

    Raises:
        InputError: the built-in model is asked, which was not schooled to.
    """
    if prompter.form == "primer":
        raise InputError("the built-in model cannot smooth trains of thought", seen="smoother=primer",
                         expected="another model", advice="leave smoother out: a template writes them")  # fmt: skip
    shown = f"Problem: {shown_question(prompter, problem)}\n\nNotes:\n{quoted(prompter, draft).strip()}"
    if prompter.form == "plain":
        return prompter.render_text(f"{REQUEST}\n\n{shown}\n\nWhat they say:\n")
    return prompter.render_messages([{"role": "user", "content": f"{REQUEST}\n\n{shown}"}])


def smoothed_texts(
    bench: Bench, smoother: Seat, drafts: Sequence[tuple[Completion, str]], *, seed: int, player: str
) -> list[str | None]:
    """The rewritten texts in order; None where one was cut short, failed, or gives another answer.

    Args:
        drafts: the first solution that each came from, and its text.
    """
    problems = {problem.id: problem for problem in bench.train}
    stage = digest(["smooth", seed, smoother.made_of(), [[root.id, draft] for root, draft in drafts]])
    seat = smoother.player(player)

    def rewrite(root: Completion, draft: str) -> Generator[Any, Any, Completion]:
        table = Table(problems[root.problem_id], {player: seat}, stage, seed)
        prompt = smoothing_prompt(seat.prompter, table.problem, draft)
        said: Completion = yield table.ask(player, prompt, role="self_talk", parent=root, facts={"draft": draft})
        return said

    flows = [(root.id, rewrite(root, draft)) for root, draft in drafts]
    said = run_flows(bench, "smooth", stage, flows, {player: (smoother.bench, smoother.weights)})
    written = list(said.values())
    verdicts = stages.grade(bench, bench.train, written, name="smooth-grade")
    return [one.text if one.finish_reason == "stop" and verdicts[one.id].is_correct else None for one in written]
