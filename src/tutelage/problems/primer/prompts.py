"""The prompt formats of the built-in model: each takes texts and returns the text that a completion continues.

A prompt ends with one role marker and a line break; the completion follows directly and ends with `<eos>`. The markers
are single tokens. Nothing here knows the right answer.
"""

from __future__ import annotations

from tutelage.records import Choices, Problem

MARKERS = ("solve:", "program:", "mixed:", "complete:", "correct:", "critique:", "refine:", "write:")


def question_text(problem: Problem) -> str:
    """The question as it stands in a prompt, options appended where it has them."""
    return with_choices(problem.question, problem.choices) if problem.choices else problem.question


def with_choices(question: str, choices: Choices) -> str:
    """`question (A) 19 (B) 5 ...`."""
    options = [f"({label}) {text}" for label, text in zip(choices.labels, choices.texts, strict=True)]
    return " ".join([question, *options])


def cot_prompt(question: str) -> str:
    """Ask for steps and the answer line."""
    return f"{question}\nsolve:\n"


def pot_prompt(question: str) -> str:
    """Ask for a Python program that prints the answer."""
    return f"{question}\nprogram:\n"


def mixed_prompt(question: str) -> str:
    """Ask for a plan, a program block, and, once its output block is filled in, the answer line."""
    return f"{question}\nmixed:\n"


def _with_solution(question: str, solution: str) -> str:
    return cot_prompt(question) + solution.rstrip("\n") + ("\n" if solution.strip() else "")


def complete_prompt(question: str, solution: str) -> str:
    """Ask whether a (partial) solution is complete; the completion is `yes` or `no`."""
    return f"{_with_solution(question, solution)}complete:\n"


def correct_prompt(question: str, solution: str) -> str:
    """Ask whether a (partial) solution is right as far as it goes; the completion is `yes` or `no`."""
    return f"{_with_solution(question, solution)}correct:\n"


def critique_prompt(question: str, solution: str) -> str:
    """Ask for a verdict on every step and on the whole."""
    return f"{_with_solution(question, solution)}critique:\n"


def judge_prompt(question: str, solution: str, reference: str | None = None) -> str:
    """Ask a judge for its analysis and a score; `reference` is the right answer, where it may know it.

    The built-in model was schooled to write the analysis after `critique:`; the score it learns from examples.
    """
    known = "" if reference is None else f"solution: {reference}\n"
    return f"{_with_solution(question, solution)}{known}verdict:\ncritique:\n"


def refine_prompt(question: str, solution: str, critique: str) -> str:
    """Ask for a new solution that takes the critique into account."""
    return critique_prompt(question, solution) + critique.rstrip("\n") + "\nrefine:\n"


def write_prompt(keywords: str) -> str:
    """Ask for a new question; `keywords` is like `gain low, share mid` (see `story.keywords`)."""
    return f"{keywords}\nwrite:\n"
