"""Right samples as supervised examples: STaR, rejection tuning, and `SFT on chosen` of arXiv 2404.19733."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from tutelage.records import Completion, Example, PreferencePair, Problem, record_id, seed_of
from tutelage.selection.grouping import Verdicts, gather, without_repeats


def chosen_examples(
    problems: Iterable[Problem],
    completions: Iterable[Completion],
    verdicts: Verdicts,
    *,
    stage: str,
    dedupe: bool = True,
    limit: int | None = None,
    seed: int = 0,
) -> list[Example]:
    """The correct completions of each problem as examples, in canonical order.

    Args:
        stage: the stage digest, for ids.
        dedupe: keep the first of completions with the same text.
        limit: most examples of one problem, >= 1; a random subset. None keeps all.
        seed: chooses that subset.
    """
    examples = []
    for entry in gather(problems, completions, verdicts):
        right = [j for j in entry.judged if j.is_correct]
        if dedupe:
            right = without_repeats(right)
        if limit is not None and len(right) > limit:
            rng = random.Random(seed_of("examples", seed, entry.problem.id))
            right = [right[i] for i in sorted(rng.sample(range(len(right)), limit))]
        examples += [
            Example(
                id=record_id(stage, entry.problem.id, j.completion.id),
                problem_id=entry.problem.id,
                prompt_ids=j.completion.prompt_ids,
                target_ids=j.completion.token_ids,
                weights=tuple(float(m) for m in j.completion.loss_mask()),
                origin="self",
                source_id=j.completion.id,
            )
            for j in right
        ]
    return examples


def gold_examples(
    prompts: Mapping[str, tuple[int, ...]], targets: Mapping[str, tuple[int, ...]], *, stage: str
) -> list[Example]:
    """Worked solutions as examples.

    Args:
        prompts: prompt ids by problem id; their order is kept.
        targets: token ids of the solutions, end token included, by problem id; problems without one are left out.
        stage: the stage digest, for ids.
    """
    return [
        Example(
            id=record_id(stage, problem_id),
            problem_id=problem_id,
            prompt_ids=prompt,
            target_ids=targets[problem_id],
            weights=(1.0,) * len(targets[problem_id]),
            origin="gold",
            source_id=f"gold:{problem_id}",
        )
        for problem_id, prompt in prompts.items()
        if problem_id in targets
    ]


def examples_of_pairs(pairs: Iterable[PreferencePair], *, stage: str) -> list[Example]:
    """The chosen side of each pair as an example: what the paper compares Iterative RPO with.

    Each chosen completion makes one example, however many pairs it won.

    Source: arXiv 2404.19733 §4, "SFT on chosen sequences" (as many as there are pairs, there).
    """
    examples: dict[str, Example] = {}
    for pair in pairs:
        examples.setdefault(
            pair.chosen_id,
            Example(
                id=record_id(stage, pair.problem_id, pair.chosen_id),
                problem_id=pair.problem_id,
                prompt_ids=pair.prompt_ids,
                target_ids=pair.chosen_ids,
                weights=tuple(float(m) for m in pair.chosen_mask),
                origin="gold" if pair.chosen_id.startswith("gold:") else "self",
                source_id=pair.chosen_id,
            ),
        )
    return list(examples.values())
