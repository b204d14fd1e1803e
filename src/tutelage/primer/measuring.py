"""The card of the built-in model: what it can do on each split, measured the same way at every build.

Greedy accuracy, accuracy of samples at temperature 1, pass@8 and the five pass-rate bins, and how its steps compare
with the textbooks it was schooled on. Not an evaluation of methods (that is `tutelage.evaluation`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tutelage.evaluation.metrics import pass_at_k
from tutelage.problems.primer import Annotation, annotate_problem, cot_prompt, primer_problems, question_text
from tutelage.records import Group, Policy, Problem, SamplingParams, seed_of
from tutelage.sampling.flows import sample_all
from tutelage.sampling.local import LocalSampler
from tutelage.sampling.session import SampleRequest
from tutelage.selection.difficulty import difficulty_histogram

MAX_NEW_TOKENS = 72


@dataclass(frozen=True)
class Drawing:
    """How completions are drawn: greedy when `num_samples` is 0, else that many at temperature 1 each."""

    num_samples: int = 0
    max_new_tokens: int = MAX_NEW_TOKENS
    seed: int = 0


def complete(model: Any, tokenizer: Any, prompts: list[str], drawing: Drawing) -> list[list[str]]:
    """Completions of each prompt, as texts without `<eos>`.

    Args:
        model: a causal language model in evaluation mode.
        tokenizer: its tokenizer.
        prompts: N texts.
        drawing: how many and how.

    Returns:
        N lists of `max(1, num_samples)` texts.
    """
    copies = max(1, drawing.num_samples)
    params = SamplingParams(temperature=float(drawing.num_samples > 0), max_new_tokens=drawing.max_new_tokens)
    requests = []
    for number, prompt in enumerate(prompts):
        ids = tuple(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        for index in range(copies):
            seed = seed_of("card", drawing.seed, number, index)
            requests.append(SampleRequest(f"{number}.{index}", str(number), ids, params, seed, index=index))
    drawn = {c.id: c.text for c in sample_all(LocalSampler(model, tokenizer), requests)}
    return [[drawn[f"{number}.{index}"] for index in range(copies)] for number in range(len(prompts))]


def measure_split(model: Any, tokenizer: Any, split: str, num_problems: int, num_samples: int = 16) -> dict[str, Any]:
    """The card of one split: accuracies and shares, 0 to 1.

    `slips` is the share of steps that are wrong in a way no textbook taught; `rate_error` the mean over steps of the
    distance between a cell's share of wrong steps and its textbook rate (sampling noise included).
    """
    problems = primer_problems(split, num_problems)
    prompts = [cot_prompt(question_text(problem)) for problem in problems]
    greedy = complete(model, tokenizer, prompts, Drawing())
    samples = complete(model, tokenizer, prompts, Drawing(num_samples))
    is_right = [annotate_problem(p, texts[0]).final_is_correct for p, texts in zip(problems, greedy, strict=True)]
    notes = [[annotate_problem(p, text) for text in texts] for p, texts in zip(problems, samples, strict=True)]
    counts = [sum(note.final_is_correct for note in row) for row in notes]
    primer = Policy("primer")
    groups = [Group(p.id, primer, 0, (), c, num_samples) for p, c in zip(problems, counts, strict=True)]
    slips, rate_error = _step_figures(problems, notes)
    return {
        "split": split,
        "num_problems": num_problems,
        "num_samples": num_samples,
        "greedy": round(sum(is_right) / num_problems, 4),
        "sample": round(sum(counts) / (num_problems * num_samples), 4),
        "pass@8": round(sum(pass_at_k(num_samples, c, 8) for c in counts) / num_problems, 4),
        "bins": [round(count / num_problems, 4) for count in difficulty_histogram(groups)],
        "slips": round(slips, 4),
        "rate_error": round(rate_error, 4),
    }


def _step_figures(problems: list[Problem], notes: list[list[Annotation]]) -> tuple[float, float]:
    seen: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    rates: dict[str, float] = {}
    num_slips = 0
    for problem, row in zip(problems, notes, strict=True):
        truths = problem.metadata["steps"]
        for note in row:
            for truth, step in zip(truths, note.steps, strict=False):
                rates[truth["cell"]] = truth["rate"]
                seen[truth["cell"]] += 1
                wrong[truth["cell"]] += not step.is_correct
                num_slips += step.kind not in ("none", "operation") and truth["kind"] != "slip"
    total = sum(seen.values())
    distance = sum(abs(wrong[cell] - seen[cell] * rates[cell]) for cell in seen)
    return num_slips / total, distance / total
