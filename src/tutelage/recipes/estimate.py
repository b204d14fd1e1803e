"""What a run will cost, from a measured warm-up: tokens, seconds, peak memory. Writes nothing.

The warm-up draws one batch of short completions and takes one optimizer step; everything else is arithmetic. The
figures are an upper estimate: they take every training problem as usable, and every completion that the warm-up did
not see end as `max_new_tokens` long.
"""

from __future__ import annotations

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from tutelage.config.settings import TrainingSettings
from tutelage.learning.objectives import Loss
from tutelage.learning.preference import PreferenceLearner
from tutelage.recipes.bench import Weights
from tutelage.records import Completion, PreferencePair, Problem, SamplingParams, seed_of
from tutelage.sampling.session import SampleRequest, SamplerSession
from tutelage.text.prompts import Prompter

WARM_UP_TOKENS = 48


@dataclass(frozen=True)
class Workload:
    """How much a run does, as far as its settings say: an upper estimate.

    `completions` counts whole answers; `steps` are optimizer steps on `batch_size` pairs or examples each; `loss` is
    the one whose step costs about as much, where the recipe's own is none of those of pairs and examples.
    """

    completions: int
    pairs: int
    steps: int
    batch_size: int
    loss: Loss | None = None


@dataclass(frozen=True)
class Estimate:
    """The cost of a whole run.

    Tokens and steps are totals over all iterations; seconds are at the speeds measured in the warm-up; the peak is
    this process's resident memory in bytes, or the GPU's allocated memory where there is one.
    """

    completions: int
    sampled_tokens: int
    sampling_seconds: float
    pairs: int
    optimizer_steps: int
    learning_seconds: float
    total_seconds: float
    peak_memory_bytes: int
    tokens_per_second: float
    seconds_per_step: float
    tokens_per_completion: float

    def to_json(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def estimate(
    config: Any,
    *,
    train: Sequence[Problem],
    test: Sequence[Problem],
    prompter: Prompter,
    base: Weights,
    open_sampler: Callable[[Weights], AbstractContextManager[SamplerSession]],
) -> Estimate:
    """The cost of running `config` (of any recipe) on these problems.

    Raises:
        InputError: the model cannot be loaded or trained.
    """
    drawn, seconds = _warm_up_sampling(config, train, prompter, base, open_sampler)
    length = _length(drawn, config.max_new_tokens)
    speed = sum(len(c.token_ids) for c in drawn) / max(seconds, 1e-9)
    workload = config.workload if hasattr(config, "workload") else partial(of_iterations, config)
    work: Workload = workload(len(train), len(test))
    per_step = _warm_up_learning(config, base, drawn, int(length), work) if work.steps else 0.0
    sampling, learning = work.completions * length / speed, work.steps * per_step
    return Estimate(
        work.completions, round(work.completions * length), sampling, work.pairs, work.steps, learning,
        sampling + learning, _peak_memory(), speed, per_step, length,
    )  # fmt: skip


def of_iterations(config: Any, num_train: int, num_test: int) -> Workload:
    """The work of a recipe that samples and trains in iterations, measured before and after each."""
    iterations = getattr(config, "iterations", 1)
    completions = iterations * num_train * getattr(config, "num_samples", 0)
    completions += (iterations + 1) * evaluated(config, num_test)
    pairs = min(num_train * getattr(config, "pairs_per_problem", 1), getattr(config, "max_pairs", None) or math.inf)
    steps = max(1, min(config.max_steps, math.ceil(config.epochs * pairs / config.batch_size)))
    return Workload(completions, int(pairs) * iterations, steps * iterations, config.batch_size)


def evaluated(config: Any, count: int) -> int:
    """Completions of one measurement on `count` problems."""
    greedy = min(config.eval_limit or count, count)
    return greedy + config.eval_samples * min(config.eval_sample_limit or greedy, greedy)


def _warm_up_sampling(
    config: Any,
    train: Sequence[Problem],
    prompter: Prompter,
    base: Weights,
    open_sampler: Callable[[Weights], AbstractContextManager[SamplerSession]],
) -> tuple[list[Completion], float]:
    """One batch of short completions, and the seconds it took without loading the model."""
    params = SamplingParams(
        temperature=1.0, max_new_tokens=min(WARM_UP_TOKENS, config.max_new_tokens),
        stop_token_ids=prompter.stop_token_ids,
    )  # fmt: skip
    with open_sampler(base) as session:
        began = time.perf_counter()
        for index in range(config.max_batch):
            problem = train[index % len(train)]
            prompt = prompter.render(problem)
            session.submit(
                SampleRequest(
                    f"warm-up-{index}", problem.id, prompt.ids, params, seed_of("warm-up", index), index=index,
                    prompt_text=prompt.text, messages=prompt.messages, adapter=base.policy.adapter,
                )
            )  # fmt: skip
        drawn = list(session.completions())
        return drawn, time.perf_counter() - began


def _length(drawn: Sequence[Completion], most: int) -> float:
    """Mean tokens of a completion; those cut by the warm-up count as long as they may become."""
    return statistics.fmean(most if c.finish_reason == "length" else max(1, len(c.token_ids)) for c in drawn)


def _warm_up_learning(config: Any, base: Weights, drawn: Sequence[Completion], length: int, work: Workload) -> float:
    """Seconds of one optimizer step on pairs of about the expected length."""
    batch_size = work.batch_size
    pairs = [_dummy_pair(c, i, length) for i, c in enumerate(drawn)]
    pairs = (pairs * math.ceil(2 * batch_size / len(pairs)))[: 2 * batch_size]
    pairs = [replace(pair, id=f"warm-up-{i}") for i, pair in enumerate(pairs)]
    shared = {name: getattr(config, name) for name in TrainingSettings.model_fields if hasattr(config, name)}
    settings = TrainingSettings(**{**shared, "batch_size": batch_size})
    loss: Loss = work.loss or getattr(config, "loss", None) or "sft"
    learner = PreferenceLearner.open(
        base.model, settings, loss=loss, beta=getattr(config, "beta", 0.1), alpha=getattr(config, "alpha", 1.0),
        nll_average=getattr(config, "nll_average", "sequence"), seed=0, adapter=base.adapter, device=config.device,
        dtype=config.dtype,
    )  # fmt: skip
    reference = learner.reference_logprobs(pairs)
    seconds: list[float] = []
    learner.fit(pairs, reference, None, max_steps=2, on_step=lambda metrics: seconds.append(metrics.seconds))
    return min(seconds) if seconds else 0.0


def _dummy_pair(completion: Completion, index: int, length: int) -> PreferencePair:
    tokens = (completion.token_ids or (0,)) * math.ceil(length / max(1, len(completion.token_ids)))
    tokens, mask = tokens[:length], (1,) * length
    return PreferencePair(
        f"warm-up-{index}", completion.problem_id, completion.prompt_ids, tokens, tokens[::-1], mask, mask, "", "",
        "warm-up",
    )  # fmt: skip


def _peak_memory() -> int:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
