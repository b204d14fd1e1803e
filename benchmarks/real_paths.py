"""The 360 pipeline's stages on real models' text, by way of `replay`: reward model, judge, diverse paths, hard pairs.

The answers of 20 published models to GSM8K questions, and 8 samples of one model to MATH problems, go through the
recipes themselves; only the sampling is replayed. Two rows a source:

    real-paths-NAME   `diverse-rft`, each model a sampler: distinct paths a question, sampler shares, overlap
    real-chain-NAME   all answers to a question taken for samples of one model; questions halved by a hash
        reward_model  `reward-model` learns on one half; AUC within and across problems on the other. Beside it: two
                      scores that know nothing of mathematics (how often the writer is right on the first half; short
                      answers first), and the score of the source's own reward model where it is published (MATH)
        judge         `judge`, its teacher the published label: teacher and student on held-out answers
        filters       what `diverse-rft` lets through on the second half: reward model, then judge (published labels)
        pairs         `hard-dpo` on the second half: hard questions and types of pairs, by the grader and by the judge;
                      best against worst, by the reward model
    What has to learn is a tiny random model (`real_material.py`): it shows that the stages run, checkpoint and reload
    on such text, not what they would be worth. Its settings were chosen once; only the judge's steps were raised, after
    a first try on MATH in which none of its texts could be read.

The data lie outside the repository (`real_outputs.py` says which). Only figures are printed. No peer, so no `ratio`.
`python benchmarks/real_paths.py --json > benchmarks/results/real_paths.jsonl`, about twelve minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from paired import machine
from real_material import SOURCES, Scene, set_scene
from real_outputs import DATA
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tutelage.cli.backends import open_bench
from tutelage.evaluation.statistics import bootstrap_mean
from tutelage.recipes import diverse_rft, hard_dpo, judge, learn, reward_model
from tutelage.recipes.bench import Bench
from tutelage.recipes.path_drawing import draw
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.reward_card import card_of
from tutelage.records import Completion, Verdict

BOUNDED = 8
CHAINED = ("gsm8k-20-models", "math-8-samples")
SHARED: dict[str, Any] = dict(eval_limit=None, device="cpu", dtype="float32", batch_size=16)
LEARNT: dict[str, Any] = dict(eval_samples=0, max_steps=3, learning_rate=1e-3, epochs=10.0)
REWARD: dict[str, Any] = dict(learning_rate=1e-3, epochs=1.0, pairs_per_problem=4, max_length=2048)
JUDGE: dict[str, Any] = dict(
    learning_rate=3e-3, max_steps=100, epochs=100.0, data_limit=100, rated_per_problem=4, judge_tokens=32,
    max_length=2048,
)  # fmt: skip
JUDGED = 20
"""Held-out questions whose answers the student judges."""


@contextmanager
def bench_for(config: Any, recipe: str, folder: Path) -> Iterator[Bench]:
    """A bench on a run in `folder`."""
    with open_bench(config, recipe=recipe, folder=folder, progress=SilentProgress()) as bench:
        yield bench


def path_row(scene: Scene) -> dict[str, Any]:
    """`diverse-rft` with each model a sampler: draw, filter, choose, learn; its card and what it leaves unsaid."""
    config = diverse_rft.Config(
        model=scene.model, data=scene.data("all"), eval_data=scene.data("few"), num_samples=scene.samples, gold=False,
        samplers=[f"replay:{path}" for path in scene.models.values()], sampler=scene.pooled, **SHARED, **LEARNT,
    )  # fmt: skip
    folder = scene.folder / "paths"
    with bench_for(config, diverse_rft.NAME, folder) as bench:
        drawn = draw(config, bench, config.writers, bench.train)
        found, left_out = diverse_rft.passing(config, bench, drawn)
        kept = diverse_rft.choose(config, found)
        examples, again = diverse_rft.learnt_from(config, bench, drawn, kept)
        weights, figures = learn.from_examples(config, bench, bench.base, examples)
        card = diverse_rft.card_of(config, drawn, found, kept)
        bounded = diverse_rft.choose(config.model_copy(update={"max_paths": BOUNDED}), found)
        questions = [problem.id for problem in bench.train]
    reload(weights.model)
    kinds = Counter(kind_of(path.key) for by in found.values() for paths in by.values() for path in paths)
    distinct = [float(len(kept.get(name, ()))) for name in questions]
    interval = bootstrap_mean(distinct, seed=0)
    curve = card["distinct_by_samples"].get("union") or next(iter(card["distinct_by_samples"].values()))
    return {
        "questions": len(questions), "samples_a_question": scene.samples * len(scene.models),
        "answers": sum(len(one.completions) for one in drawn), "right": sum(len(one.right) for one in drawn),
        "right_behind_false_equation": left_out["wrong_equations"], "known_by": dict(kinds),
        "distinct_a_question": {"mean": round(statistics.fmean(distinct), 3), "low": round(interval.low, 3),
                                "high": round(interval.high, 3), "median": statistics.median(distinct)},
        "bounded_a_question": round(sum(map(len, bounded.values())) / len(questions), 3),
        "distinct_by_samples": curve["points"],
        "fit": None if curve["fit"] is None else {key: round(value, 4) for key, value in curve["fit"].items()},
        "shares": {key: card[key] for key in ("samplers", "distinct", "kept", "shared_share", "overlap")},
        "learnt": {"examples": len(examples), "tokenized_again": again, "steps": figures.steps,
                   "dropped": figures.dropped},
    }  # fmt: skip


def kind_of(key: str) -> str:
    """What a path is known by."""
    return key.split(":")[0] if key.startswith(("text:", "program:")) else "equations"


def reload(folder: str) -> None:
    """Load a checkpoint that a stage left, as any user would."""
    AutoModelForCausalLM.from_pretrained(folder)


def chain_row(scene: Scene) -> dict[str, Any]:
    """Reward model, judge, filters and pairs, each stage on what the one before left in its run folder."""
    settings: dict[str, Any] = dict(model=scene.model, sampler=scene.pooled)
    answers = scene.material.num_samples
    rewarded = rewards(scene, settings, answers)
    judged = judging(scene, settings, answers)
    reward = str(scene.folder / "reward")
    chained: dict[str, Any] = dict(
        settings, data=scene.data("held"), eval_data=scene.data("few"), num_samples=answers, judge=scene.labels,
        max_new_tokens=1024, **SHARED, **LEARNT,
    )  # fmt: skip
    config = diverse_rft.Config(**chained, reward_model=reward, reward_top=max(1, answers // 2), gold=False)
    with bench_for(config, diverse_rft.NAME, scene.folder / "chain") as bench:
        drawn = draw(config, bench, config.writers, bench.train)
        found, left_out = diverse_rft.passing(config, bench, drawn)
        kept = diverse_rft.choose(config, found)
        paired = pairs(hard_dpo.Config(**chained, diversity_samples=0), bench, reward)
    (passed,) = left_out["filters"].values()
    filters = {"questions": len(bench.train), "reward_top": config.reward_top, "passed": passed,
               "kept_paths": sum(map(len, kept.values()))}  # fmt: skip
    return {"questions": len(scene.material.problems), "answers_a_question": answers, "reward_model": rewarded,
            "judge": judged, "filters": filters, "pairs": paired}  # fmt: skip


def rewards(scene: Scene, settings: dict[str, Any], answers: int) -> dict[str, Any]:
    """`reward-model` on one half, its card on the other, and the cards of scores that are no model's."""
    config = reward_model.Config(
        **settings, data=scene.data("learnt"), eval_data=scene.data("held"), num_samples=answers, eval_samples=answers,
        eval_sample_limit=None, **SHARED, **REWARD,
    )  # fmt: skip
    with bench_for(config, reward_model.NAME, scene.folder / "reward") as bench:
        report = reward_model.run(config, bench)
        completions = list(bench.run.read("completions", Completion))
        verdicts = {verdict.completion_id: verdict for verdict in bench.run.read("verdicts", Verdict)}
        held = {problem.id for problem in bench.test}
    AutoModelForSequenceClassification.from_pretrained(scene.folder / "reward" / "checkpoints" / "it1")
    tested = [c for c in completions if c.problem_id in held and verdicts[c.id].is_usable and c.token_ids]
    known = {"shortness": {c.id: -float(len(c.text)) for c in tested}}
    if len(scene.models) > 1:
        known["writer"] = writers_accuracy(scene, completions, verdicts, held)
    cards = {"model": report["reward_model"]}
    for name, scores in known.items():
        cards[name] = card_of(bench.test, tested, verdicts, scores, keep_top=config.keep_top, seed=config.seed)
    if scores := published_rewards(scene, completions):
        usable = [c for c in completions if verdicts[c.id].is_usable and c.token_ids]
        both = [*bench.train, *bench.test]
        cards["published"] = card_of(both, usable, verdicts, scores, keep_top=config.keep_top, seed=config.seed)
    first = report["iterations"][0]
    return {"pairs": first["pairs"], "steps": first["steps"], "dropped": first["dropped"],
            "cards": {name: brief(card) for name, card in cards.items()}}  # fmt: skip


def brief(card: Mapping[str, Any]) -> dict[str, Any]:
    """A reward card without its smaller k; the best of all samples by score, beside the vote of as many."""
    names = ("problems", "problems_with_both", "solutions", "pairs")
    last = card["best_of"][-1]
    return {
        **{name: card[name] for name in names}, "auc_within": short(card["pair_accuracy"]),
        "auc_across": short(card["auc_across"]), "best_of": short(last["best_of"]), "k": last["k"],
        "maj": round(last["maj"], 4),
    }  # fmt: skip


def short(interval: Mapping[str, float] | None) -> dict[str, float] | None:
    """A value and its interval in four digits."""
    return None if interval is None else {key: round(value, 4) for key, value in interval.items()}


def writers_accuracy(
    scene: Scene, completions: Sequence[Completion], verdicts: Mapping[str, Verdict], held: set[str]
) -> dict[str, float]:
    """For each held-out answer, how often its writer is right on the other half."""
    writer = {c.id: str(scene.material.rows[c.problem_id][c.index]["model"]) for c in completions}
    right: dict[str, list[bool]] = {}
    for completion in completions:
        if completion.problem_id not in held:
            right.setdefault(writer[completion.id], []).append(verdicts[completion.id].is_correct)
    return {c.id: statistics.fmean(right[writer[c.id]]) for c in completions if c.problem_id in held}


def published_rewards(scene: Scene, completions: Sequence[Completion]) -> dict[str, float]:
    """The source's own reward model's scores, where its rows have them."""
    rows = {c.id: scene.material.rows[c.problem_id][c.index] for c in completions}
    return {key: float(row["reward"][0]) for key, row in rows.items() if row.get("reward")}


def judging(scene: Scene, settings: dict[str, Any], answers: int) -> dict[str, Any]:
    """`judge`: ratings of one half by the published labels, a student that learns them, both on held-out answers."""
    config = judge.Config(
        **settings, data=scene.data("learnt"), eval_data=scene.data("held"), annotator=scene.labels,
        students=[f"local:{scene.model}"], num_samples=answers, num_answers=answers, **{**SHARED, "eval_limit": JUDGED},
        **JUDGE,
    )  # fmt: skip
    with bench_for(config, judge.NAME, scene.folder / "judge") as bench:
        report = judge.run(config, bench)
    reload(str(scene.folder / "judge" / "checkpoints" / "it1"))
    card = report["judge"]
    sides = {"teacher": card["teacher"], "student": card["students"][0]["after"]}
    shown = ("verdicts", "pearson", "auc_within", "auc_across", "histogram")
    return {"data": card["data"], "answers": card["answers"],
            **{name: {key: side[key] for key in shown} for name, side in sides.items()}}  # fmt: skip


def pairs(config: hard_dpo.Config, bench: Bench, reward: str) -> dict[str, Any]:
    """`hard-dpo` on what `diverse-rft` drew, graded, scored: pairs by each rule, a few steps on those of hard ones."""
    rules: dict[str, dict[str, Any]] = {
        "hard": {}, "hard_judged": {"hardness": "judge"}, "best_worst": {"pairs": "best-vs-worst", "judge": None},
        "best_worst_rewarded": {"pairs": "best-vs-worst", "reward_model": reward},
    }  # fmt: skip
    (drawn,) = draw(config, bench, [""], bench.train)
    found = {}
    for name, changes in rules.items():
        pairing = hard_dpo.make_pairs(config.model_copy(update=changes), bench, drawn)
        found[name] = {"counts": pairing.counts}
        if name == "hard" and pairing.pairs:
            weights, figures = learn.from_pairs(config, bench, bench.base, pairing.pairs, iteration=1)
            reload(weights.model)
            found[name] |= {"steps": figures.steps, "dropped": figures.dropped}
    return found


def in_words(row: dict[str, Any]) -> str:
    """The figures of a row as a paragraph."""
    ours = row["ours"]
    if "shares" not in ours:
        cards = ours["reward_model"]["cards"]
        aucs = {name: [card[key] and card[key]["value"] for key in ("auc_within", "auc_across")]
                for name, card in cards.items()}  # fmt: skip
        counts = {name: rule["counts"] for name, rule in ours["pairs"].items()}
        return f"{row['name']}: AUC within and across problems {aucs}; filters {ours['filters']}; pairs {counts}"
    shares = ours["shares"]
    lines = [
        f"{row['name']}: {ours['questions']} questions, {ours['right']} of {ours['answers']} answers right, "
        f"{ours['right_behind_false_equation']} of these behind an equation that does not hold; "
        f"{ours['distinct_a_question']['mean']} distinct paths a question, {shares['shared_share']:.1%} of them shared"
    ]
    for one in sorted(shares["samplers"], key=lambda s: -s["distinct"]):
        lines.append(f"  {one['sampler'][:60]:60} right {one['correct']:5} distinct {one['distinct']:5} "
                     f"exclusive {one['exclusive_share']:.1%} kept {one['kept_share']:.1%}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Print one or two lines a source."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data")
    parser.add_argument("--json", action="store_true", help="a JSON object a row")
    parser.add_argument("--only", choices=list(SOURCES), help="one source")
    parser.add_argument("--part", choices=["paths", "chain"], help="one of the two rows")
    chosen = parser.parse_args()
    for name in [chosen.only] if chosen.only else SOURCES:
        for part, figures in (("paths", path_row), ("chain", chain_row)):
            if chosen.part not in (None, part) or (part == "chain" and name not in CHAINED):
                continue
            started = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                ours = figures(set_scene(SOURCES[name], chosen.data, Path(folder)))
            ours["cpu_seconds"] = round(time.process_time() - started, 1)
            row = {"name": f"real-{part}-{name}", "ours": ours, "machine": machine()}
            print(json.dumps(row) if chosen.json else in_words(row), flush=True)


if __name__ == "__main__":
    main()
