"""Prompts, worked solutions and graders by style: `cot`, `pot`, `mixed` (see `text/programs.py`).

A problem's program is `metadata["program"]`, its mixed solution `metadata["mixed"]` (with the output in its block);
the built-in world has both, converters make them from worked solutions (`problems/conversion.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tutelage.grading.programs import ProgramGrader
from tutelage.problems.primer import mixed_prompt, pot_prompt, question_text
from tutelage.recipes.bench import Bench
from tutelage.records import Example, Problem, digest, record_id
from tutelage.text.programs import Asked, Part, Style, fenced, parts_of
from tutelage.text.prompts import STYLE_INSTRUCTIONS, Prompter

_PRIMER = {"pot": pot_prompt, "mixed": mixed_prompt}


def styled(bench: Bench, style: Asked) -> Bench:
    """The bench with prompts that ask for a style, and programs graded by what they give."""
    if style == "cot":
        return bench
    grader = bench.grader if isinstance(bench.grader, ProgramGrader) else ProgramGrader(bench.grader)
    return replace(bench, prompter=styled_prompter(bench.prompter, style), grader=grader)


def styled_prompter(prompter: Prompter, style: Asked) -> Prompter:
    """A prompter that asks for a style; worked examples that have no solution in it are left out."""
    if style == "cot" or style == "any":
        return prompter
    if prompter.form == "primer":
        ask = _PRIMER[style]
        return replace(prompter, question_template=lambda problem: ask(question_text(problem)))
    shots = []
    for shot in prompter.shots:
        text = "".join(part.text for part in worked_parts(shot, style, prompter))
        if text:
            shots.append(replace(shot, solution=text.removesuffix(prompter.closing(shot)).strip()))
    return replace(prompter, instruction=STYLE_INSTRUCTIONS[style], shots=tuple(shots))


def worked_parts(problem: Problem, style: Style, prompter: Prompter) -> tuple[Part, ...]:
    """A problem's worked solution in a style as pieces, its outputs apart; none where it has none.

    Args:
        prompter: knows the form of the answer line, and that of the built-in model's programs.
    """
    if style == "cot":
        return (Part(prompter.target_text(problem), "model"),) if problem.solution else ()
    program, mixed = problem.metadata.get("program"), problem.metadata.get("mixed")
    if style == "pot":
        if not program:
            return ()
        return (Part(program if prompter.form == "primer" else fenced(program), "model"),)
    if not mixed:
        return ()
    if prompter.form == "primer":
        return parts_of(mixed)
    return parts_of(mixed.rstrip("\n") + "\n" + prompter.closing(problem))


def styled_examples(bench: Bench, problems: Iterable[Problem], styles: Iterable[Style]) -> list[Example]:
    """Worked solutions of all styles as supervised examples: problem by problem, outputs masked.

    A problem without a solution in a style has no example of it.
    """
    wanted = [(style, styled_prompter(bench.prompter, style)) for style in styles]
    made = []
    for problem in problems:
        for style, prompter in wanted:
            parts = worked_parts(problem, style, prompter)
            if parts:
                made.append(example_of(problem, style, parts, prompter))
    return made


def example_of(problem: Problem, style: Style, parts: tuple[Part, ...], prompter: Prompter) -> Example:
    """One worked solution as an example: the model's pieces in the loss, with the token that ends a turn."""
    prompt = prompter.render(problem).ids
    ids: list[int] = []
    weights: list[float] = []
    for number, part in enumerate(parts):
        space = " " if number == 0 and prompter.form == "plain" and style != "cot" else ""
        tokens = prompter.tokenizer(space + part.text, add_special_tokens=False)["input_ids"]
        ids += tokens
        weights += [1.0 if part.kind == "model" else 0.0] * len(tokens)
    target = (*ids, prompter.stop_token_ids[0])
    stage = digest(["styled", style, prompt, target])
    return Example(
        record_id(stage, problem.id), problem.id, prompt, target, (*weights, 1.0), style, f"gold:{problem.id}"
    )
