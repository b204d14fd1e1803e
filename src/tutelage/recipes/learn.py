"""The learn stage: from pairs or examples and weights M_t to weights M_{t+1}, resumable at every step."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tutelage.learning.preference import PreferenceLearner
from tutelage.learning.session import FitResult, StepMetrics
from tutelage.learning.sft import SFTLearner
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.report import IterationReport
from tutelage.recipes.weighing import DynamicLoss, with_program_weights
from tutelage.records import Example, PreferencePair, SamplingParams, digest, seed_of

PROBE_PAIRS, PROBE_POINTS = 32, 8
"""Pairs whose log-probs are followed through the training (a fixed random subset), and how often."""

LEARNING_KEYS = (
    "learning_rate", "batch_size", "max_steps", "epochs", "warmup_steps", "schedule", "weight_decay", "max_grad_norm",
    "lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "token_budget", "max_length", "dtype", "seed", "loss",
    "beta", "alpha", "nll_average", "choose_step_every",
)  # fmt: skip

DYNAMIC_KEYS = (
    "dynamic_loss", "hard_gamma", "program_weight", "hardness_samples", "hardness_temperature", "hardness_every",
)  # fmt: skip


def stage_digest(config: Any, weights: Weights, iteration: int, data: Sequence[Any]) -> str:
    """The digest of a learn stage: settings that change weights, where it starts from, and what it learns."""
    keys = LEARNING_KEYS + (DYNAMIC_KEYS if getattr(config, "dynamic_loss", False) else ())
    settings = {key: getattr(config, key) for key in keys if hasattr(config, key)}
    return digest(["learn", iteration, settings, weights.lineage, [item.id for item in data]])


def from_pairs(
    config: Any,
    bench: Bench,
    weights: Weights,
    pairs: Sequence[PreferencePair],
    *,
    iteration: int,
    label: str | None = None,
) -> tuple[Weights, IterationReport]:
    """M_{t+1} from M_t and this iteration's pairs, saved as `checkpoints/it<iteration>`, or under `label`."""
    label = label or f"it{iteration}"
    name, stage = f"{label}-learn", stage_digest(config, weights, iteration, pairs)
    folder = bench.run.checkpoint_path(label)
    with bench.run.stage(name, stage) as journal, bench.spent.on("learning"):
        if not journal.is_finished:
            chooses = getattr(config, "choose_step_every", None)  # a setting of recipes that can
            best = _choose_step(config, bench, weights, pairs, iteration) if chooses else None
            learner = _open(config, weights, iteration)
            probe = _probe(pairs, config.seed)
            result = _fit(config, bench, learner, pairs, name, max_steps=best, probe=probe)
            learner.save(folder)
            journal.result.update(summary(result, len(pairs)), chosen_step=best)
    bench.run.remove_scratch(name)
    bench.run.remove_scratch(f"it{iteration}-choose")
    if config.keep_checkpoints == "last" and weights.policy.version:
        shutil.rmtree(bench.run.checkpoint_path(f"it{iteration - 1}"), ignore_errors=True)
    figures = IterationReport(iteration, pairs=len(pairs), **journal.result)
    return weights.learnt(folder, stage, is_adapter=config.lora_rank > 0), figures


def from_examples(
    config: Any,
    bench: Bench,
    weights: Weights,
    examples: Sequence[Example],
    *,
    iteration: int = 1,
    label: str | None = None,
) -> tuple[Weights, IterationReport]:
    """Weights fine-tuned on `examples`, saved as `checkpoints/it<iteration>`, or under `label`.

    With `dynamic_loss` (`weighing.DynamicLossSettings`) hard problems and programs weigh more.
    """
    label = label or f"it{iteration}"
    name, stage = f"{label}-learn", stage_digest(config, weights, iteration, examples)
    folder = bench.run.checkpoint_path(label)
    with bench.run.stage(name, stage) as journal, bench.spent.on("learning"):
        if not journal.is_finished:
            learner = SFTLearner.open(
                weights.model, config, adapter=weights.adapter, seed=seed_of(config.seed, "learn", iteration),
                nll_average=config.nll_average, device=config.device, dtype=config.dtype,
            )  # fmt: skip
            on_step = show_steps(config, bench, name, len(examples), None)
            dynamic = None
            if getattr(config, "dynamic_loss", False):
                examples = with_program_weights(examples, bench, config.program_weight)
                dynamic = DynamicLoss(config, bench, weights, examples, label)
            result = learner.fit(
                examples, bench.run.scratch_path(name), on_step=on_step,
                weighing=dynamic.weighing(learner) if dynamic else None,
            )  # fmt: skip
            learner.save(folder)
            journal.result.update(summary(result, len(examples)))
            if dynamic:
                journal.result.update(details=dynamic.report())
    bench.run.remove_scratch(name)
    return weights.learnt(folder, stage, is_adapter=config.lora_rank > 0), IterationReport(iteration, **journal.result)


def _open(config: Any, weights: Weights, iteration: int) -> PreferenceLearner:
    return PreferenceLearner.open(
        weights.model, config, loss=config.loss, beta=config.beta, alpha=config.alpha, nll_average=config.nll_average,
        seed=seed_of(config.seed, "learn", iteration), adapter=weights.adapter, device=config.device,
        dtype=config.dtype,
    )  # fmt: skip


def _probe(pairs: Sequence[PreferencePair], seed: int) -> list[PreferencePair]:
    chosen = random.Random(seed_of(seed, "probe")).sample(range(len(pairs)), min(PROBE_PAIRS, len(pairs)))
    return [pairs[i] for i in sorted(chosen)]


def _fit(
    config: Any,
    bench: Bench,
    learner: PreferenceLearner,
    pairs: Sequence[PreferencePair],
    name: str,
    *,
    max_steps: int | None,
    **options: Any,
) -> FitResult:
    """Reference log-probs under M_t, then the training itself."""
    bench.progress.stage(stages.in_words(f"{name}: reference"), None)
    reference = learner.reference_logprobs(pairs)
    on_step = show_steps(config, bench, name, len(pairs), max_steps)
    options.setdefault("eval_every", max(1, num_steps(config, len(pairs), max_steps) // PROBE_POINTS))
    return learner.fit(pairs, reference, bench.run.scratch_path(name), max_steps=max_steps, on_step=on_step, **options)


def num_steps(config: Any, count: int, max_steps: int | None) -> int:
    """About how many optimizer steps a training on `count` items takes."""
    return max(1, min(-(-int(config.epochs * count) // config.batch_size), max_steps or config.max_steps))


def show_steps(
    config: Any, bench: Bench, name: str, count: int, max_steps: int | None
) -> Callable[[StepMetrics], None]:
    """A callback that shows and journals each optimizer step."""
    bench.progress.stage(stages.in_words(name), num_steps(config, count, max_steps))

    def on_step(metrics: StepMetrics) -> None:
        bench.progress.advance()
        bench.progress.status(loss=f"{metrics.loss:.3f}")
        bench.run.metrics("train", dataclasses.asdict(metrics), stage=name, step=metrics.step)
        bench.track(tracked(metrics, name))

    return on_step


TRACKED = {
    "loss": "loss", "nll": "nll_loss", "chosen_logprob": "logps/chosen", "rejected_logprob": "logps/rejected",
    "margin": "rewards/margins", "accuracy": "rewards/accuracies", "grad_norm": "grad_norm",
    "learning_rate": "learning_rate", "value_loss": "value_loss",
    "clip_fraction": "clip_fraction", "step_kl": "step_kl",
}  # fmt: skip
"""Our metric names and those that users of other trainers know; margins are in nats, not multiplied by beta."""


def tracked(metrics: StepMetrics, stage: str) -> dict[str, float]:
    """A step's figures under the names that trackers show, one prefix per stage."""
    values = {shown: getattr(metrics, name) for name, shown in TRACKED.items()}
    return {f"{stage}/{shown}": value for shown, value in values.items() if value is not None}


def _left_out(result: FitResult, count: int) -> list[str]:
    """What to say of items that were not learnt from."""
    dropped = result.dropped
    if not dropped.total:
        return []
    return [f"{dropped.total} of {count} were left out of training: {dropped.too_long} longer than max_length or the "
            f"context, {dropped.no_loss_tokens} without a token to learn"]  # fmt: skip


def summary(result: FitResult, count: int) -> dict[str, Any]:
    """What the journal keeps of a training; the fields of `IterationReport` by name."""
    curve = [dataclasses.asdict(point) for point in result.probe]
    out: dict[str, Any] = {
        "steps": result.steps,
        "dropped": result.dropped.total,
        "alarms": [*_left_out(result, count), *(alarm.message for alarm in result.alarms)],
        "curve": curve,
        "packing": _packing(result.metrics),
    }
    if curve:
        for side in ("chosen", "rejected"):
            out[f"{side}_logprob_before"] = curve[0][f"{side}_logprob"]
            out[f"{side}_logprob"] = curve[-1][f"{side}_logprob"]
    return out


def _packing(metrics: Sequence[StepMetrics]) -> dict[str, int]:
    """How many steps were packed which way, the tokens that their rows held, and those that were computed."""
    counts = Counter(step.packing for step in metrics if step.packing)
    return {
        **counts,
        "tokens": sum(step.num_tokens for step in metrics),
        "computed": sum(step.num_padded for step in metrics),
    }


def _choose_step(config: Any, bench: Bench, weights: Weights, pairs: Sequence[PreferencePair], iteration: int) -> int:
    """The number of steps that was best on the dev problems when trained without their pairs (paper §4)."""
    held_out = {problem.id for problem in bench.held_out}
    visible = [pair for pair in pairs if pair.problem_id not in held_out]
    learner = _open(config, weights, iteration)
    greedy = SamplingParams(temperature=0.0, max_new_tokens=config.max_new_tokens)
    accuracy: dict[int, float] = {}

    def on_eval(step: int) -> None:
        name = f"{weights.policy.model} (iteration {iteration}, step {step})"
        policy = dataclasses.replace(weights.policy, model=name)
        lineage = digest([weights.lineage, "choose", iteration, step, [pair.id for pair in visible]])
        between = dataclasses.replace(weights, policy=policy, lineage=lineage)
        inside = dataclasses.replace(bench, open_sampler=lambda now: bench.sampler_of(learner.model, now))
        result = stages.evaluate(
            inside, between, bench.dev, "greedy", name=f"it{iteration}-step{step}", data="dev", params=greedy,
            seed=config.seed,
        )  # fmt: skip
        accuracy[step] = result.value
        bench.progress.stage(stages.in_words(f"it{iteration}-choose"), num_steps(config, len(visible), None))
        bench.progress.advance(step)
        bench.run.metrics("choose_step", {"accuracy": result.value}, iteration=iteration, step=step)

    name = f"it{iteration}-choose"
    _fit(config, bench, learner, visible, name, max_steps=None, eval_every=config.choose_step_every, on_eval=on_eval)
    for row in bench.run.read_metrics("choose_step"):
        if row["where"]["iteration"] == iteration:
            accuracy.setdefault(row["where"]["step"], row["values"]["accuracy"])
    best = max(accuracy, key=lambda step: (accuracy[step], -step))
    bench.progress.note(f"iteration {iteration}: step {best} is best on dev ({accuracy[best]:.1%}); training again")
    return best
