"""What a critic, an annotator, a judge, and an actor who is to refine or to err are asked, in all prompt forms.

The requests are those of AutoMathCritique (arXiv 2411.16579) in our own words: the critic goes through the lines of a
solution as steps and gives each a verdict and an explanation, then one to the final answer; the actor gets that
critique as a second turn and writes a new solution. Chat models get turns, models without a chat template blocks of
text, the built-in model the markers that it was schooled with (it was not schooled to use a reference answer).

A judge reads role, request, question, reference answer and solution, as in arXiv 2404.02893 section 3 and the 360 talk
(2024), and writes its analysis before its score.

Solutions and critiques are model text: what a tokenizer would read as one of its special tokens is taken out of them
before they are put into a prompt.
"""

from __future__ import annotations

import re
from typing import Any

from tutelage.problems.primer import critique_prompt as primer_critique_prompt
from tutelage.problems.primer import judge_prompt as primer_judge_prompt
from tutelage.problems.primer import question_text
from tutelage.problems.primer import refine_prompt as primer_refine_prompt
from tutelage.records import Problem
from tutelage.text.critiques import CritiqueForm
from tutelage.text.prompts import Prompt, Prompter
from tutelage.text.ratings import BANDS, RatingForm

FORMAT = """For every step write three lines:
Step sentence: the step, copied
Correctness of the step: Correct or Wrong
Explanation: why, in one or two sentences
After the last step write two lines:
Correctness of the final answer: Correct or Wrong
Explanation: why, in one or two sentences"""
CRITIC_REQUEST = f"""Check the solution of the problem below. Each of its lines is one step.

{FORMAT}"""
ANNOTATOR_REQUEST = f"""Check the solution of the problem below. Each of its lines is one step. You are told the
reference answer and what is known of the solution; use both to judge, but do not mention that you were told.

{FORMAT}"""
REFINE_REQUEST = (
    "Below is a step-by-step critique of your solution. Take it into account and write a new, complete solution of the "
    "problem: reason step by step, and give the final answer in the same form as before."
)
MISTAKE_REQUEST = (
    "You help to test teachers. Below are a problem, the first steps of a right solution, and its next step. Write the "
    "next step again so that it contains one mistake of the kind named, and reads as if nothing were wrong. Write that "
    "one line and nothing else."
)
JUDGE_REQUEST = """You grade the work of students of mathematics. Below are a problem{reference} and a solution by
a student. First write, in a few sentences, what a right solution needs and where this one meets it or fails. Then give
a score:
{bands}
Close with one line of this form, the score a whole number, and write nothing after it:
Rating: [[score]]"""


def critique_form(prompter: Prompter) -> CritiqueForm:
    """The form in which a model with this prompter writes critiques."""
    return "primer" if prompter.form == "primer" else "labelled"


def critique_prompt(prompter: Prompter, problem: Problem, solution: str) -> Prompt:
    """Ask a critic for a verdict on every step of a solution, and on the whole."""
    if prompter.form == "primer":
        return prompter.render_text(
            primer_critique_prompt(shown_question(prompter, problem), quoted(prompter, solution))
        )
    return _request(prompter, CRITIC_REQUEST, _shown(prompter, problem, solution), "Critique:")


def refine_prompt(prompter: Prompter, problem: Problem, solution: str, critique: str) -> Prompt:
    """Ask an actor for a new solution that takes a critique of its solution into account."""
    solution, critique = quoted(prompter, solution), quoted(prompter, critique)
    if prompter.form == "primer":
        return prompter.render_text(primer_refine_prompt(shown_question(prompter, problem), solution, critique))
    turn = f"{REFINE_REQUEST}\n\n{critique.strip()}"
    if prompter.form == "plain":
        return prompter.render_text(f"{prompter.render(problem).text} {solution.strip()}\n\n{turn}\n\nNew solution:")
    messages = [{"role": "user", "content": prompter.asked(problem)}]
    messages += [{"role": "assistant", "content": solution.strip()}, {"role": "user", "content": turn}]
    return prompter.render_messages([*_system(prompter), *messages])


def annotation_prompt(
    prompter: Prompter, problem: Problem, solution: str, *, first_error: str | None = None, mistake: str | None = None
) -> Prompt:
    """Ask an annotator for a critique, with the reference answer and what is known of the error.

    Args:
        first_error: the first wrong step, copied; None where it is not known, or where the solution is right.
        mistake: what kind of mistake it is, in words.
    """
    if prompter.form == "primer":
        return critique_prompt(prompter, problem, solution)
    known = [f"Reference answer: {problem.answer}"]
    if first_error is not None:
        known.append(f"First wrong step: {quoted(prompter, first_error).strip()}")
    if mistake is not None:
        known.append(f"Kind of mistake: {mistake}")
    shown = "\n".join([_shown(prompter, problem, solution), "", *known])
    return _request(prompter, ANNOTATOR_REQUEST, shown, "Critique:")


def rating_form(prompter: Prompter) -> RatingForm:
    """The form in which a model with this prompter writes ratings."""
    return "primer" if prompter.form == "primer" else "labelled"


def judge_prompt(prompter: Prompter, problem: Problem, solution: str, *, reference: bool = True) -> Prompt:
    """Ask a judge for its analysis of a solution and a score from 1 to 10.

    Args:
        reference: whether it is shown the reference answer.
    """
    if prompter.form == "primer":
        shown, known = quoted(prompter, solution), problem.answer if reference else None
        return prompter.render_text(primer_judge_prompt(shown_question(prompter, problem), shown, known))
    bands = "\n".join(f"{low}-{high}: {meaning}" for low, high, meaning in BANDS)
    request = JUDGE_REQUEST.format(reference=", its reference answer" if reference else "", bands=bands)
    known = f"\n\nReference answer: {problem.answer}" if reference else ""
    question = f"Problem: {shown_question(prompter, problem)}{known}"
    return _request(prompter, request, f"{question}\n\nSolution:\n{quoted(prompter, solution).strip()}", "Analysis:")


def mistake_prompt(prompter: Prompter, problem: Problem, before: str, step: str, mistake: str) -> Prompt:
    """Ask for a step with a mistake in it.

    Args:
        before: the steps before it; may be empty.
        step: the right step.
        mistake: the kind of mistake, in words.
    """
    parts = [f"Problem: {shown_question(prompter, problem)}"]
    if before.strip():
        parts.append(f"First steps:\n{quoted(prompter, before).strip()}")
    parts += [f"Next step: {quoted(prompter, step).strip()}", f"Kind of mistake: {mistake}"]
    return _request(prompter, MISTAKE_REQUEST, "\n\n".join(parts), "Step with the mistake:")


def target_ids(prompter: Prompter, critique: str) -> tuple[int, ...]:
    """Ids of a critique, or a judge's text, as it should be written after its prompt, end token included."""
    ids = prompter.tokenizer(quoted(prompter, critique), add_special_tokens=False)["input_ids"]
    return (*ids, prompter.stop_token_ids[0])


def quoted(prompter: Prompter, text: str) -> str:
    """Model text without what its next reader's tokenizer takes for special tokens, such as the end of a turn."""
    specials = _specials(prompter.tokenizer)
    clean = text.encode("utf-8", errors="replace").decode("utf-8")
    if not any(special in clean for special in specials):
        return clean
    pattern = re.compile("|".join(re.escape(special) for special in specials))
    while (shorter := pattern.sub("", clean)) != clean:  # what is left may join to another one
        clean = shorter
    return clean


def _specials(tokenizer: Any) -> list[str]:
    known = {str(token) for token in getattr(tokenizer, "all_special_tokens", ())}
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    known |= {str(token) for token in added if getattr(token, "special", False)}
    return sorted((token for token in known if token.strip()), key=lambda token: (-len(token), token))


def _system(prompter: Prompter) -> list[dict[str, str]]:
    return [{"role": "system", "content": prompter.system_prompt}] if prompter.system_prompt else []


def _request(prompter: Prompter, request: str, shown: str, lead: str) -> Prompt:
    if prompter.form == "plain":
        return prompter.render_text(f"{request}\n\n{shown}\n\n{lead}\n")
    return prompter.render_messages([*_system(prompter), {"role": "user", "content": f"{request}\n\n{shown}"}])


def shown_question(prompter: Prompter, problem: Problem) -> str:
    """The question as critics are shown it, options included; as a problem's question it is shown the same again."""
    return question_text(problem) if prompter.form == "primer" else prompter.question_text(problem)


def _shown(prompter: Prompter, problem: Problem, solution: str) -> str:
    return f"Problem: {shown_question(prompter, problem)}\n\nSolution:\n{quoted(prompter, solution).strip()}"
