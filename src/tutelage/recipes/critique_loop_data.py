"""What a round of critique-in-the-loop learns from: D_0, right solutions, right refinements; pairs; critiques.

Tokens in, tokens out: a refinement is learnt as it was sampled, after the plain prompt of its problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tutelage.errors import NothingToLearn
from tutelage.evaluation.critic_prompts import critique_form, refine_prompt, target_ids
from tutelage.problems.critique_files import CritiqueRow, read_critiques
from tutelage.recipes.bench import Bench
from tutelage.recipes.critic import critique_path
from tutelage.recipes.critique_practice import Practice, Practised, Repair
from tutelage.records import Completion, Example, PreferencePair, Problem, digest, record_id
from tutelage.selection import examples as selection
from tutelage.text.critiques import write_critique
from tutelage.text.prompts import Prompter


@dataclass(frozen=True)
class Harvest:
    """What a round gave.

    Args:
        examples: solutions to learn, and, where asked for, how to refine.
        pairs: the first kept refinement over the solution that it came from.
        critic_examples: critiques that found the error and led to a right refinement, for the critic.
    """

    examples: list[Example]
    pairs: list[PreferencePair]
    critic_examples: list[Example]


def start_examples(bench: Bench, *, limit: int | None, refinements: str | None) -> list[Example]:
    """D_0: worked solutions of the training problems, and refinements after critiques from a file.

    Args:
        limit: worked solutions of so many problems; None takes all that have one.
        refinements: a run of critique-data, or a file of critiques with refined solutions.

    Raises:
        NothingToLearn: the file holds no refined solution.
    """
    solved = [problem for problem in bench.train if problem.solution][:limit]
    prompts = {problem.id: bench.prompter.render(problem).ids for problem in solved}
    targets = {problem.id: bench.prompter.target_ids(problem) for problem in solved}
    stage = digest(["start", list(prompts.items()), list(targets.items())])
    made = selection.gold_examples(prompts, targets, stage=stage)
    return made + (refinement_examples(bench.prompter, refinements) if refinements else [])


def refinement_examples(prompter: Prompter, name: str) -> list[Example]:
    """Refined solutions of a file as examples of refining: after question, solution and critique."""
    rows, _ = read_critiques(critique_path(name))
    refined = [row for row in rows if row.refined.strip()]
    if not refined:
        raise NothingToLearn(
            "the critique data hold no refined solution", seen=f"{name}: {len(rows)} critiques",
            expected="rows with a solution that was written after the critique",
            advice="make them with critique-data, or leave start_refinements out",
        )  # fmt: skip
    stage = digest(["start-refinements", [[row.id, row.refined] for row in refined]])
    return [_refining(prompter, row, stage) for row in refined]


def _refining(prompter: Prompter, row: CritiqueRow, stage: str) -> Example:
    text = write_critique(row.critique, critique_form(prompter))
    prompt = refine_prompt(prompter, Problem(row.id, row.question, row.answer), row.solution, text)
    target = target_ids(prompter, row.refined)
    return Example(record_id(stage, row.id), row.id, prompt.ids, target, (1.0,) * len(target), "refining", row.id)


def harvest(practice: Practice, *, round: int, max_solutions: int | None, learn_refining: bool) -> Harvest:
    """What to learn from a round.

    Args:
        max_solutions: most solutions kept of a problem, originals before refinements; None keeps all. Equal texts
            are kept once.
        learn_refining: whether refinements are also learnt after solution and critique.
    """
    roots = [root.id for one in practice.problems for root in one.roots]
    stage = digest(["harvest", round, max_solutions, learn_refining, roots])
    crop = Harvest([], [], [])
    for one in practice.problems:
        plain = one.roots[0].prompt_ids
        for completion, origin in list(_solutions(one))[:max_solutions]:
            crop.examples.append(_example(stage, completion, plain, origin))
        for repair in one.repairs:
            if learn_refining:
                crop.examples.extend(_example(stage, kept, kept.prompt_ids, "refining") for kept in repair.kept)
            if repair.kept:
                crop.pairs.append(_pair(stage, repair, round))
            if repair.right and repair.judgement.said and repair.judgement.is_right is False:
                said = repair.judgement.said[-1]
                crop.critic_examples.append(_example(stage, said, said.prompt_ids, "critique"))
    return crop


def _solutions(one: Practised) -> Iterator[tuple[Completion, str]]:
    """Right solutions, then kept refinements, each text once."""
    seen: set[str] = set()
    found = [(root, "self") for root in one.right]
    found += [(kept, "refinement") for repair in one.repairs for kept in repair.kept]
    for completion, origin in found:
        text = "".join(completion.text.split())
        if text not in seen:
            seen.add(text)
            yield completion, origin


def _example(stage: str, completion: Completion, prompt_ids: tuple[int, ...], origin: str) -> Example:
    weights = tuple(float(m) for m in completion.loss_mask())
    return Example(
        record_id(stage, completion.problem_id, f"{completion.id}/{origin}"), completion.problem_id, prompt_ids,
        completion.token_ids, weights, origin, completion.id,
    )  # fmt: skip


def _pair(stage: str, repair: Repair, round: int) -> PreferencePair:
    chosen, rejected = repair.kept[0], repair.root
    return PreferencePair(
        id=record_id(stage, rejected.problem_id, f"{rejected.id}/pair"), problem_id=rejected.problem_id,
        prompt_ids=rejected.prompt_ids, chosen_ids=chosen.token_ids, rejected_ids=rejected.token_ids,
        chosen_mask=chosen.loss_mask(), rejected_mask=rejected.loss_mask(), chosen_id=chosen.id,
        rejected_id=rejected.id, rule="refinement-over-original", iteration=round,
    )  # fmt: skip
