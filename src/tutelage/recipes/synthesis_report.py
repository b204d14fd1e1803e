"""What `synthesize` tells: counts by fate, field and mode, the data file with its card, the run's report."""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tutelage.problems import save_problems
from tutelage.problems.conversion import NotConverted
from tutelage.problems.loading import SYNTHESIZED
from tutelage.problems.primer.reading import is_sound, read_story
from tutelage.recipes.bench import Bench
from tutelage.recipes.synthesis_primer import truth_of
from tutelage.recipes.synthesis_records import FATES, KEPT, Candidate
from tutelage.recipes.synthesis_solutions import with_programs
from tutelage.records import Problem
from tutelage.text.answers import infer_kind

CARD_FILE = "synthesized.md"


def fates(candidates: Sequence[Candidate]) -> dict[str, int]:
    """How many questions of each fate, in the order of the filters."""
    counts = Counter(candidate.fate for candidate in candidates)
    return {fate: counts[fate] for fate in FATES}


def dropped(candidates: Sequence[Candidate]) -> dict[str, int]:
    """How many questions were dropped, by reason."""
    return {fate: count for fate, count in fates(candidates).items() if fate != KEPT}


def problem_of(candidate: Candidate) -> Problem:
    """A kept question as a problem, with its worked solution, and programs where they can be made of that.

    Its metadata say where it came from and how sure its answer is.
    """
    story = read_story(candidate.question)
    metadata: dict[str, Any] = {
        "agreement": candidate.agreement, "num_solutions": candidate.num_solutions, "mode": candidate.mode,
        "keywords": list(candidate.keywords), "round": candidate.round, "source_id": candidate.source_id,
        **({"solution_id": candidate.solution_id} if candidate.solution_id else {}),
    }  # fmt: skip
    if story is not None and is_sound(story):
        metadata["story"] = story.to_json()
    problem = Problem(
        id=candidate.problem_id, question=candidate.question, answer=candidate.answer,
        answer_kind=infer_kind(candidate.answer), solution=candidate.solution or None, subject=candidate.field,
        source="synthesize", metadata=metadata,
    )  # fmt: skip
    try:
        return with_programs(problem)
    except NotConverted:  # it keeps its prose; `solution_figures` counts why
        return problem


def figures(candidates: Sequence[Candidate], seeds: Sequence[Problem], *, is_primer: bool) -> dict[str, Any]:
    """Everything that was counted; on primer also what is true of it."""
    kept = [candidate for candidate in candidates if candidate.fate == KEPT]
    agreements = [candidate.agreement or 0.0 for candidate in kept]
    out: dict[str, Any] = {
        "seeds": len(seeds),
        "questions": len(candidates),
        "kept": len(kept),
        "dropped": dropped(candidates),
        "by_mode": {mode: _row(candidates, "mode", mode) for mode in sorted({c.mode for c in candidates})},
        "by_field": {field: _row(candidates, "field", field) for field in sorted({c.field for c in candidates})},
        "agreement": round(statistics.fmean(agreements), 4) if agreements else None,
        "words": round(statistics.fmean(len(c.question.split()) for c in kept), 1) if kept else None,
    }
    return out | ({"primer": truth_of(candidates, seeds)} if is_primer else {})


def _row(candidates: Sequence[Candidate], name: str, value: str) -> dict[str, int]:
    group = [candidate for candidate in candidates if getattr(candidate, name) == value]
    return {"questions": len(group), "kept": sum(candidate.fate == KEPT for candidate in group)}


def remarks(counts: dict[str, Any], where: str) -> list[str]:
    """The counts as sentences."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts["dropped"].items() if count)
    lines = [
        f"{counts['kept']} of {counts['questions']} questions kept; dropped: {reasons or 'none'}",
        _solutions_in_words(counts["solutions"]),
        f"use them with data={shlex.quote(where)}",
    ]
    truth = counts.get("primer")
    if truth:
        new = truth["new_sequences"]["all"]["kept"]
        lines.insert(
            1,
            f"of the questions {_percent(truth['stories'])} are problems of the built-in world; of the kept ones "
            f"{_percent(truth['right_labels'])} have the true answer and {_percent(new)} a sequence of operations "
            "that no seed has",
        )
    return lines


def _solutions_in_words(counts: dict[str, Any]) -> str:
    reasons = ", ".join(f"{count} for: {reason}" for reason, count in counts["not_converted"].items())
    return (
        f"{counts['with_solution']} come with a worked solution, {counts['with_programs']} of these with programs made "
        f"from it{f' (not made, {reasons})' if reasons else ''}"
    )


def _percent(share: dict[str, Any]) -> str:
    return "none" if share["share"] is None else f"{100 * share['share']:.0f} %"


def write_data(bench: Bench, problems: Sequence[Problem], counts: dict[str, Any], config: Any) -> None:
    """The problems as a file that `data=jsonl:` reads, and a card beside it."""
    save_problems(problems, bench.run.path / SYNTHESIZED)
    (bench.run.path / CARD_FILE).write_text(card(counts, config), encoding="utf-8")


def card(counts: dict[str, Any], config: Any) -> str:
    """What somebody who gets the data file must know of it."""
    lines = [
        "# Synthetic problems", "",
        f"{counts['kept']} problems, written by `{config.model}` (seed {config.seed}) from {counts['seeds']} seed "
        f"problems of `{config.data}` by `tutelage run synthesize`.", "",
        f"**The answers are not known to be right.** Each is what most of {config.solve_samples} solutions sampled "
        f"from `{config.solver or config.model}` answer, where at least {config.min_agreement:.0%} agree; "
        f"`metadata.agreement` holds that share (mean {counts['agreement']}).", "",
        f"{_solutions_in_words(counts['solutions'])}. A solution is the first sampled one with that answer: its "
        "steps are not known to be right either.", "",
        f"Test questions were looked for in: {', '.join(f'`{name}`' for name in config.against) or 'nothing'}.", "",
        "| dropped for | questions |", "| --- | ---: |",
        *(f"| {reason} | {count} |" for reason, count in counts["dropped"].items() if count), "",
        "| field | written | kept |", "| --- | ---: | ---: |",
        *(f"| {field} | {row['questions']} | {row['kept']} |" for field, row in counts["by_field"].items()), "",
        f"A question counts as a duplicate above ROUGE-L F {config.rouge_l} or Jaccard {config.jaccard} of word "
        f"{config.ngram}-grams against seeds and earlier questions.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
