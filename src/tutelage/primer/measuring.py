"""The card of the built-in model: what it can do on each split, measured the same way at every build.

Greedy accuracy, accuracy of samples at temperature 1, pass@8 and the five pass-rate bins, and how its steps compare
with the textbooks it was schooled on. Not an evaluation of methods (that is `tutelage.evaluation`).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from tutelage.problems.primer import Annotation, annotate_problem, cot_prompt, primer_problems, question_text
from tutelage.records import Problem

NUM_BINS = 5
MAX_NEW_TOKENS = 72


@dataclass(frozen=True)
class Drawing:
    """How completions are drawn: greedy when `num_samples` is 0, else that many at temperature 1 each."""

    num_samples: int = 0
    max_new_tokens: int = MAX_NEW_TOKENS
    batch_size: int = 64
    seed: int = 0


def complete(model: Any, tokenizer: Any, prompts: list[str], drawing: Drawing) -> list[list[str]]:
    """Completions of each prompt, as texts without `<eos>`; prompts of like length share a batch.

    Args:
        model: a causal language model in evaluation mode.
        tokenizer: its tokenizer, padding on the left.
        prompts: N texts.
        drawing: how many and how.

    Returns:
        N lists of `max(1, num_samples)` texts.
    """
    torch.manual_seed(drawing.seed)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    found: list[list[str]] = [[] for _ in prompts]
    copies = max(1, drawing.num_samples)
    # top_k=0 switches off the library's default cut to 50 tokens
    mode = {"do_sample": True, "temperature": 1.0, "top_k": 0} if drawing.num_samples else {"do_sample": False}
    for first in range(0, len(order), drawing.batch_size):
        rows = order[first : first + drawing.batch_size]
        batch = tokenizer([prompts[i] for i in rows], return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.no_grad():
            ids = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                num_return_sequences=copies,
                max_new_tokens=drawing.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                **mode,
            )
        texts = tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        for position, index in enumerate(rows):
            found[index] = texts[position * copies : (position + 1) * copies]
    return found


def pass_at(k: int, num_correct: int, num_samples: int) -> float:
    """Probability that at least one of k samples, drawn without replacement, is correct.

    Source: arXiv 2107.03374, Eq. 1.
    """
    if num_samples - num_correct < k:
        return 1.0
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def pass_rate_bins(rates: list[float]) -> list[float]:
    """Shares of problems whose pass rate lies in [0, .2), [.2, .4), ... [.8, 1]."""
    counts = Counter(min(NUM_BINS - 1, int(rate * NUM_BINS + 1e-9)) for rate in rates)
    return [round(counts[index] / len(rates), 4) for index in range(NUM_BINS)]


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
    slips, rate_error = _step_figures(problems, notes)
    return {
        "split": split,
        "num_problems": num_problems,
        "num_samples": num_samples,
        "greedy": round(sum(is_right) / num_problems, 4),
        "sample": round(sum(counts) / (num_problems * num_samples), 4),
        "pass@8": round(sum(pass_at(8, c, num_samples) for c in counts) / num_problems, 4),
        "bins": pass_rate_bins([c / num_samples for c in counts]),
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
