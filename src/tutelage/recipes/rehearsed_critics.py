"""What `sampler=scripted` says in a critic's, an annotator's or a judge's seat: the right form, and no meaning."""

from __future__ import annotations

from tutelage.evaluation.critic_prompts import critique_form, rating_form
from tutelage.records import CritiqueStep, seed_of
from tutelage.sampling.session import SampleRequest
from tutelage.text.critiques import CritiqueText, solution_steps, write_critique
from tutelage.text.prompts import Prompter
from tutelage.text.ratings import Rating, write_rating

ROLES = ("critique", "annotation", "judge")


def rehearsed_critique(request: SampleRequest, prompter: Prompter) -> str:
    """A critique, or a rating, of `metadata["solution"]` whose verdict is right; a step with a mistake where asked.

    An answer counts as right if the last line holds the reference answer. Of a wrong solution, a step drawn by its text
    is called wrong, or the one that is named.
    """
    facts = request.metadata
    if "step" in facts:
        return f"{facts['step']} or so"
    solution = str(facts.get("solution", ""))
    steps = solution_steps(solution) or ("nothing",)
    last = solution.strip().rpartition("\n")[2]
    is_right = str(facts.get("answer", "")) in last.replace("$", " ").replace(".", " ").split()
    if request.role == "judge":
        score = (9 if is_right else 2) + seed_of("mark", solution) % 2
        return write_rating(Rating(f"It has {len(steps)} steps.", score), rating_form(prompter))
    wrong = None if is_right else seed_of("rehearsal", solution) % len(steps)
    if facts.get("first_error") in steps:
        wrong = steps.index(str(facts["first_error"]))
    form = critique_form(prompter)
    texts = [f"+{number}" for number in range(len(steps))] if form == "primer" else steps
    judged = tuple(
        CritiqueStep(text, number != wrong, "" if number != wrong else "do it again")
        for number, text in enumerate(texts)
    )
    return write_critique(CritiqueText(judged, is_right, ""), form)
