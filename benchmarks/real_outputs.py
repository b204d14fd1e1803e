"""Every stage but sampling on real models' text: replay, grade, vote, pair, and compare with the published labels.

The completions of published model outputs go through the recipe itself (`iterative_rpo.practise` with a
`ReplaySampler`), so that what is measured is what a run does: replayed, graded and stored, then pass@k and maj@k, the
paper's pairs, and agreement with the labels that the outputs came with. For GSM8K and ARC the answers of several
models to one question are its samples; for MATH they are eight samples of one model.

The data lie outside the repository: a folder with `gsm8k/test.jsonl`, `math/test.jsonl`, `arc_challenge/test.jsonl`
and the outputs named in `SOURCES`. Only figures are printed, one JSON object a source; `--disagreements FILE` writes
the rows themselves on which grader and label differ, for reading; keep that file out of the repository.

Nothing here has a peer, so there is no `ratio`. Seconds are CPU seconds. All sources take about 40 seconds of
one core. `python benchmarks/real_outputs.py --json > benchmarks/results/real_outputs.jsonl`
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from paired import machine
from published_labels import Labelled, agreement, explain
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tutelage.evaluation.comparisons import compare
from tutelage.evaluation.metrics import Vote, answer_key, expected_majority
from tutelage.evaluation.statistics import bootstrap_mean, wilson
from tutelage.evaluation.strategies import Strategy, score_strategy
from tutelage.grading import ExactGrader, load_grader, tally
from tutelage.grading.choices import choice_of
from tutelage.problems import load_problems
from tutelage.problems.files import read_rows
from tutelage.recipes import iterative_rpo
from tutelage.recipes.bench import Bench, TimeSpent, Weights
from tutelage.recipes.iterative_rpo import Practice
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Policy, PreferencePair, Problem, Verdict
from tutelage.sampling.replay import ReplaySampler
from tutelage.selection.pairs import make_pairs
from tutelage.store.run import Run
from tutelage.text.prompts import Prompter, task_of

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
KS = (1, 2, 4, 8)
VOTE_DRAWS = 500
VOCABULARY = 4096


@dataclass(frozen=True)
class Source:
    """Published outputs, the problems that they answer, and the paper's K for that task."""

    name: str
    files: tuple[str, ...]
    problems: str
    pairs: int


_OUTPUTS = "model_outputs/"
_GSM8K, _MATH, _ARC = "gsm8k/test.jsonl", "math/test.jsonl", "arc_challenge/test.jsonl"
_LLMS, _SMALL = _OUTPUTS + "gsm8k_test_llms.jsonl.gz", _OUTPUTS + "gsm8k_test_small.jsonl.gz"
SOURCES = (
    Source("gsm8k-openai", ("example_model_solutions/gsm8k_test.jsonl",), _GSM8K, 10),
    Source("gsm8k-llms", (_LLMS,), _GSM8K, 10),
    Source("gsm8k-small", (_SMALL,), _GSM8K, 10),
    Source("gsm8k-20models", (_LLMS, _SMALL), _GSM8K, 10),
    Source("math-8samples", (_OUTPUTS + "math_8samples.jsonl",), _MATH, 15),
    Source("arc-small", (_OUTPUTS + "arc_test_small.jsonl",), _ARC, 20),
)


@dataclass(frozen=True)
class Material:
    """The problems of a source and their recorded rows, in the order of their samples.

    `left_out` counts rows whose gold is not that of the problem they name: two questions under one id.
    """

    problems: list[Problem]
    rows: dict[str, list[Mapping[str, Any]]]
    left_out: int

    @property
    def num_samples(self) -> int:
        """Samples that every problem has."""
        return min(len(rows) for rows in self.rows.values())


def load(source: Source, data: Path) -> Material:
    """Read a source's problems and rows."""
    task = source.problems.split("/")[0].removesuffix("_challenge")
    known = {problem.id: problem for problem in load_problems(f"{task}:{data / source.problems}")}
    rows: dict[str, list[Mapping[str, Any]]] = {}
    left_out = 0
    for file in source.files:
        for row in read_rows(data / file):
            name = row.data["question_id"]
            if row.data["gold"] != known[name].answer:
                left_out += 1
                continue
            found = rows.setdefault(name, [])
            found.append({**row.data, "sample": len(found)})
    return Material([known[name] for name in rows], rows, left_out)


def make_tokenizer(problems: Iterable[Problem]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer learnt from the questions: it loses nothing, and no model is needed for it."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator((problem.question for problem in problems), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>")


def practise(source: Source, material: Material, folder: Path) -> tuple[Practice, Bench, iterative_rpo.Config]:
    """Steps 1 to 3 of the recipe on recorded completions, in a run folder of its own."""
    config = iterative_rpo.Config(
        model="recorded", data=source.problems, sampler="replay:recorded", num_samples=material.num_samples,
        temperature=0.8, pairs_per_problem=source.pairs, max_pairs=None,
    )  # fmt: skip
    tokenizer = make_tokenizer(material.problems)
    prompter = Prompter.create(tokenizer, form="plain", task=task_of(material.problems))
    weights = Weights(Policy("recorded"), "recorded", None, "recorded")
    recorded = [row for rows in material.rows.values() for row in rows]

    def session(weights: Weights) -> Any:
        return closing(ReplaySampler(recorded, tokenizer, weights.policy))

    with closing(Run.create(folder, recipe=iterative_rpo.NAME, config=config.model_dump(), seed=0)) as run:
        bench = Bench(
            run, material.problems, [], [], [], prompter, load_grader(config.grader), weights, session,
            lambda model, weights: session(weights), SilentProgress(), spent=TimeSpent(clock=time.process_time),
        )  # fmt: skip
        return iterative_rpo.practise(config, bench, weights, 1), bench, config


def figures(source: Source, material: Material, folder: Path, told: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything that is measured of a source; rows with a disagreement are added to `told`."""
    seconds = grading_seconds(material)
    practice, bench, config = practise(source, material, folder)
    labelled = label(material, practice)
    told += [as_row(source, row) for row in labelled if row.differs]
    n, has_gold = len(labelled), any(problem.solution for problem in material.problems)
    with_gold = make_pairs(
        material.problems, practice.completions, practice.verdicts, replace(config.pairing(), gold="always"),
        iteration=1, gold_ids=bench.prompter.target_ids,
    )  # fmt: skip
    models = {c.id: row.model for c, row in zip(practice.completions, labelled, strict=True)}
    lengths = lengths_of({c.id: c.text for c in practice.completions}, models)
    lengths |= lengths_of({f"gold:{p.id}": bench.prompter.target_text(p) for p in material.problems}, {})
    sizes = sorted({*(k for k in KS if k <= material.num_samples), material.num_samples})
    return {
        "name": f"real-{source.name}",
        "rows": n,
        "problems": len(material.problems),
        "samples": material.num_samples,
        "left_out": material.left_out,
        "grader": f"{bench.grader.name} {bench.grader.version}",
        "grading": {"seconds": round(seconds, 3), "rows_per_second": round(n / seconds)},
        "stages_seconds": bench.spent.report(),
        "outcomes": tally(practice.verdicts.values()),
        "models": by_model(labelled),
        "pass": {k: passing(k, material, practice) for k in sizes},
        "maj": majorities(sizes, labelled),
        "pairs": pair_figures(practice.pairing.pairs, practice.pairing.counts, lengths),
        "pairs_with_gold": pair_figures(with_gold.pairs, with_gold.counts, lengths) if has_gold else None,
        "labels": agreement(labelled),
        "machine": machine(),
    }


def grading_seconds(material: Material) -> float:
    """CPU seconds of grading every text once, nothing stored."""
    grader = ExactGrader()
    pairs = [(p, str(row["completion"])) for p in material.problems for row in material.rows[p.id]]
    began = time.process_time()
    for problem, text in pairs:
        grader.grade_text(problem, text)
    return time.process_time() - began


def label(material: Material, practice: Practice) -> list[Labelled]:
    """Every completion's verdict beside its published label."""
    problems = {p.id: p for p in material.problems}
    found = []
    for completion in practice.completions:
        row = material.rows[completion.problem_id][completion.index]
        verdict = practice.verdicts[completion.id]
        problem = problems[completion.problem_id]
        found.append(
            Labelled(problem, completion.text, verdict, row["correct"], row.get("prediction"), model=row["model"])
        )
    return found


def as_row(source: Source, row: Labelled) -> dict[str, Any]:
    """A disagreement for a reader, questions and texts included."""
    return {
        "source": source.name, "class": explain(row), "model": row.model, "problem_id": row.problem.id,
        "gold": row.problem.answer, "ours": row.verdict.answer, "outcome": row.verdict.outcome,
        "method": row.verdict.method, "decided_by": row.verdict.decided_by, "label": row.label,
        "prediction": row.prediction, "completion": row.text,
    }  # fmt: skip


def by_model(labelled: Sequence[Labelled]) -> dict[str, dict[str, Any]]:
    """Accuracy of each model over its usable verdicts, and by its labels over the same rows."""
    groups: dict[str, dict[str, list[Labelled]]] = {}
    for row in labelled:
        if row.verdict.is_usable:
            groups.setdefault(row.model, {}).setdefault(row.problem.id, []).append(row)
    found = {}
    for model, problems in groups.items():
        ours = [sum(row.verdict.is_correct for row in rows) / len(rows) for rows in problems.values()]
        theirs = [sum(row.label for row in rows) / len(rows) for rows in problems.values()]
        found[model] = mean(ours) | {"by_label": round(sum(theirs) / len(theirs), 4)}
    return found


def mean(values: Sequence[float], *, digits: int = 4) -> dict[str, Any]:
    """A mean over problems with its interval: Wilson where every value is 0 or 1, else a bootstrap over problems."""
    if not values:
        return {"value": None, "n": 0}
    is_binary = all(value in (0.0, 1.0) for value in values)
    low, high = wilson(sum(values), len(values)) if is_binary else bootstrap_mean(values, seed=0)
    value = sum(values) / len(values)
    return {"value": round(value, digits), "low": round(low, digits), "high": round(high, digits), "n": len(values)}


def passing(k: int, material: Material, practice: Practice) -> dict[str, Any]:
    """Unbiased pass@k."""
    result = score_strategy(Strategy("pass", k), material.problems, practice.completions, practice.verdicts)
    return mean(list(result.per_problem.values())) | {"excluded": len(result.excluded)}


def majorities(sizes: Sequence[int], labelled: Sequence[Labelled]) -> dict[str, Any]:
    """Expected maj@k over subsets of the samples; of all samples, against the best single model too."""
    votes: dict[str, list[Vote]] = {}
    for row in labelled:
        votes.setdefault(row.problem.id, []).append(vote_of(row.problem, row.verdict))
    found: dict[str, Any] = {}
    values: dict[str, float] = {}
    for k in sizes:
        drawn = {name: expected_majority(cast, k, num_draws=VOTE_DRAWS) for name, cast in votes.items()}
        values = {name: value for name, value in drawn.items() if value is not None}
        found[str(k)] = mean(list(values.values())) | {"excluded": len(drawn) - len(values)}
    single = singles(labelled)
    if len(single) > 1:
        best = max(single, key=lambda model: sum(single[model].values()) / len(single[model]))
        found["against_best"] = {"best": best} | compared(single[best], values)
    return found


def vote_of(problem: Problem, verdict: Verdict) -> Vote:
    """What a sample votes for: an option's letter where there are options, else its number or text."""
    if not verdict.answer:
        return Vote(None, verdict.is_correct)
    letters = choice_of(verdict.answer, problem.choices) if problem.choices is not None else None
    return Vote(letters or answer_key(verdict.answer), verdict.is_correct if verdict.is_usable else None)


def singles(labelled: Sequence[Labelled]) -> dict[str, dict[str, float]]:
    """Model -> problem -> whether its answer is right, usable verdicts only."""
    found: dict[str, dict[str, float]] = {}
    for row in labelled:
        if row.verdict.is_usable:
            found.setdefault(row.model, {})[row.problem.id] = float(row.verdict.is_correct)
    return found


def compared(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, Any]:
    """A paired comparison, the figures that are shown."""
    result = compare(first, second)
    kept = ("difference", "low", "high", "p_value", "n")
    return {name: round(value, 6) for name, value in result.to_json().items() if name in kept}


def lengths_of(texts: Mapping[str, str], models: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Characters and words of texts by id; where models are known, `relative` to its model's mean characters too.

    Several models write the samples of one problem, weak and strong ones at different length: `relative` takes out
    who wrote a text.
    """
    written: dict[str, list[int]] = {}
    for name, model in models.items():
        written.setdefault(model, []).append(len(texts[name]))
    means = {model: sum(sizes) / len(sizes) for model, sizes in written.items()}
    found = {}
    for name, text in texts.items():
        found[name] = {"characters": float(len(text)), "words": float(len(text.split()))}
        if name in models:
            found[name]["relative"] = len(text) / means[models[name]]
    return found


def pair_figures(
    pairs: Sequence[PreferencePair], counts: Mapping[str, int], lengths: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """What became of the problems, repeats, and how long the two sides are."""
    sides: dict[str, list[tuple[Mapping[str, float], Mapping[str, float]]]] = {}
    for pair in pairs:
        sides.setdefault(pair.problem_id, []).append((lengths[pair.chosen_id], lengths[pair.rejected_id]))
    units = [unit for unit in ("characters", "words", "relative") if all(unit in lengths[p.chosen_id] for p in pairs)]
    longer = [sum(b["characters"] > a["characters"] for a, b in both) / len(both) for both in sides.values()]
    return {
        **{name: count for name, count in counts.items() if count},
        "repeated": len(pairs) - len({(pair.chosen_id, pair.rejected_id) for pair in pairs}),
        **{unit: length_figures(unit, list(sides.values())) for unit in units},
        "rejected_is_longer": mean(longer),
    }


def length_figures(
    unit: str, sides: Sequence[Sequence[tuple[Mapping[str, float], Mapping[str, float]]]]
) -> dict[str, Any]:
    """Mean lengths and their difference, rejected less chosen; each problem counts once."""
    digits = 4 if unit == "relative" else 1
    chosen = [sum(a[unit] for a, _ in both) / len(both) for both in sides]
    rejected = [sum(b[unit] for _, b in both) / len(both) for both in sides]
    return {
        "chosen": mean(chosen, digits=digits)["value"],
        "rejected": mean(rejected, digits=digits)["value"],
        "difference": mean([b - a for a, b in zip(chosen, rejected, strict=True)], digits=digits),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="every stage but sampling on real models' outputs")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data; default: beside the checkout")
    parser.add_argument("--only", nargs="+", choices=[source.name for source in SOURCES])
    parser.add_argument("--disagreements", type=Path, help="write the rows on which grader and label differ")
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    options = parser.parse_args()
    chosen = [source for source in SOURCES if options.only is None or source.name in options.only]
    missing = [name for source in chosen for name in (*source.files, source.problems)]
    missing = sorted({name for name in missing if not (options.data / name).is_file()})
    if missing:
        parser.error(f"{options.data} lacks {', '.join(missing)}; name the folder that holds them with --data")
    told: list[dict[str, Any]] = []
    for source in chosen:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(figures(source, load(source, options.data), Path(folder) / "run", told)), flush=True)
    if options.disagreements is not None:
        options.disagreements.write_text("".join(json.dumps(row) + "\n" for row in told), encoding="utf-8")


if __name__ == "__main__":
    main()
