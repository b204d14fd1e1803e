"""Tokens per second of our local sampler against transformers' `generate` and its continuous batching.

Workload: 8 samples of each prompt (40 to 80 random tokens), each with a length of its own, drawn evenly from 20 to 300
tokens; 64 and 512 requests in the order in which they are made. Lengths cannot be known beforehand, so nobody may sort
by them. End tokens are made impossible for all, and every sampler is told each request's length: ours and continuous
batching as its `max_new_tokens`, `generate` by a stopping criterion a row, so that finished rows idle as they do when
they meet an end token. Useful tokens only are counted. fp32, temperature 1, one thread, one process; CPU seconds, ours
and a peer's setting in turn. A fresh session of ours is opened each time, and its opening counts.

Peers run at several settings each; `generate-...` and `continuous-...` are against the setting that came out best for
that peer, `best-...` against the better of the two. Ours returns the log-prob of every token; the peers run without.

Checked for each model, on the tokens just drawn: each token's place in the exact cumulative distribution of a plain
forward is uniform (chi-square over 50 bins, all positions and first tokens), for ours and for `generate`; our log-probs
are the plain forward's to 1e-4.

    python benchmarks/sampling.py --json        # 8 to 9 minutes of CPU time
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported

import torch  # noqa: E402
from paired import in_turn, line  # noqa: E402
from scipy import stats  # noqa: E402
from tokenless import NoTokenizer  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    ContinuousBatchingConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.utils import logging as hf_logging  # noqa: E402

from tutelage.primer import model_path  # noqa: E402
from tutelage.records import Completion, SamplingParams  # noqa: E402
from tutelage.sampling.local import LocalSampler  # noqa: E402
from tutelage.sampling.session import SampleRequest  # noqa: E402

SHORTEST, LONGEST = 20, 300
SAMPLES = 8
CHECKED = 64
"""Completions whose every token is checked."""


def random3m() -> Any:
    """A random Llama of 4.0 million parameters, 3.5 of them not in the input embedding."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048, hidden_size=256, intermediate_size=704, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=1, eos_token_id=None, pad_token_id=0,
        attn_implementation="sdpa",
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def primer() -> Any:
    """The built-in model, without an end token."""
    model: Any = AutoModelForCausalLM.from_pretrained(model_path(), dtype=torch.float32).eval()
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    return model


MODELS: dict[str, Callable[[], Any]] = {"random3m": random3m, "primer": primer}


@dataclass(frozen=True)
class Plan:
    """What is tried at a number of requests.

    Args:
        rounds: paired runs of each setting.
        ours: `max_batch` of ours.
        generate: batch sizes of `generate`.
        continuous: `(max_requests_per_batch, max_batch_tokens, page_size)` of continuous batching.
    """

    rounds: int
    ours: int
    generate: tuple[int, ...]
    continuous: tuple[tuple[int, int, int], ...]


BATCH_256 = ("primer",)
"""Models for which `generate` is also tried at 256 rows: for `random3m` a scan had it at 0.6 of its rate at 128."""
PLANS = {
    64: Plan(2, 64, (16, 32, 64), ((16, 256, 32), (64, 256, 32))),
    512: Plan(1, 256, (64, 128), ((16, 256, 32),)),
}
THOROUGH = {
    64: Plan(2, 64, (8, 16, 32, 64), tuple((r, t, 32) for r in (4, 8, 16, 32, 64) for t in (64, 256, 1024))),
    512: Plan(1, 256, (32, 64, 128, 256, 512), tuple((r, t, 32) for r in (8, 16, 64, 256) for t in (256, 1024))),
}


class RowLengths(StoppingCriteria):
    """Ends each row at its own length.

    Args:
        ends: `(B,)` length of prompt, padding and completion together.
    """

    def __init__(self, ends: torch.Tensor) -> None:
        self.ends = ends

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """`(B,)`, true where a row is done."""
        return self.ends <= input_ids.shape[1]


def workload(count: int, vocabulary: int) -> list[SampleRequest]:
    """The requests; the same for all samplers."""
    rng = random.Random(count)
    requests = []
    for problem in range(count // SAMPLES):
        prompt = tuple(rng.randrange(8, vocabulary) for _ in range(rng.randint(40, 80)))
        for index in range(SAMPLES):
            params = SamplingParams(max_new_tokens=rng.randint(SHORTEST, LONGEST))
            requests.append(
                SampleRequest(f"{problem}.{index}", str(problem), prompt, params, rng.getrandbits(60), index=index)
            )
    return requests


def run_ours(model: Any, requests: Sequence[SampleRequest], max_batch: int) -> list[Completion]:
    """All completions by our local sampler."""
    session = LocalSampler(model, NoTokenizer(), max_batch=max_batch)
    for request in requests:
        session.submit(request)
    found = list(session.completions())
    assert sum(len(c.token_ids) for c in found) == tokens_of(requests)
    return found


def run_generate(model: Any, requests: Sequence[SampleRequest], size: int) -> dict[str, list[int]]:
    """New tokens by request id, in batches of `size` left-padded rows."""
    found: dict[str, list[int]] = {}
    for start in range(0, len(requests), size):
        rows = requests[start : start + size]
        width = max(len(r.prompt_ids) for r in rows)
        padding = [width - len(r.prompt_ids) for r in rows]
        ids = torch.tensor([[0] * pad + list(r.prompt_ids) for pad, r in zip(padding, rows, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding])
        lengths = [r.params.max_new_tokens for r in rows]
        config = GenerationConfig(
            do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=max(lengths), pad_token_id=0
        )
        ends = StoppingCriteriaList([RowLengths(width + torch.tensor(lengths))])
        written = model.generate(ids, attention_mask=mask, generation_config=config, stopping_criteria=ends)
        for row, request, length in zip(written, rows, lengths, strict=True):
            found[request.id] = row[width : width + length].tolist()
            assert len(found[request.id]) == length
    return found


def run_continuous(model: Any, requests: Sequence[SampleRequest], setting: tuple[int, int, int]) -> None:
    """All completions by transformers' continuous batching, with a pool of pages for all rows at their longest."""
    most, tokens, page = setting
    generation = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=LONGEST, pad_token_id=0, eos_token_id=-1
    )
    config = ContinuousBatchingConfig(
        num_blocks=-(-400 // page) * min(most, len(requests)) + 16, page_size=page, max_batch_tokens=tokens,
        max_requests_per_batch=most,
    )  # fmt: skip
    waiting = {r.id: r.params.max_new_tokens for r in requests}
    with model.continuous_batching_context_manager(
        generation_config=generation, continuous_batching_config=config, block=True, timeout=5
    ) as manager:
        for request in requests:
            length = request.params.max_new_tokens
            manager.add_request(list(request.prompt_ids), request_id=request.id, max_new_tokens=length)
        while waiting:
            result = manager.get_result(timeout=1)
            if result is not None and result.is_finished():
                assert len(result.generated_tokens) == waiting.pop(result.request_id)
            elif result is None and not manager.is_running():
                raise RuntimeError(f"continuous batching stopped with {len(waiting)} requests left")


def tokens_of(requests: Sequence[SampleRequest]) -> int:
    """New tokens that the requests ask for."""
    return sum(r.params.max_new_tokens for r in requests)


@torch.no_grad()
def places(model: Any, written: Sequence[tuple[Sequence[int], Sequence[int]]]) -> tuple[list[float], list[list[float]]]:
    """Where tokens lie in the model's cumulative distribution, and their log-probs.

    Args:
        model: gives the exact distribution by a plain forward in double precision of its logits.
        written: prompt and new tokens of each completion.

    Returns:
        Uniform numbers in [0, 1) if the tokens follow the distribution (drawn within each token's own interval), row
        after row; and the log-probs of each row.
    """
    rng = torch.Generator().manual_seed(1)
    found: list[float] = []
    logprobs: list[list[float]] = []
    for prompt, new in written:
        logits = model(input_ids=torch.tensor([[*prompt, *new]])).logits[0, len(prompt) - 1 : -1].double()
        exact, chosen = torch.log_softmax(logits, -1), torch.tensor(new)[:, None]
        upper = exact.exp().cumsum(-1).gather(1, chosen)[:, 0]
        own = exact.gather(1, chosen)[:, 0]
        found += (upper - own.exp() * torch.rand(len(new), generator=rng, dtype=torch.float64)).tolist()
        logprobs.append(own.tolist())
    return found, logprobs


def p_value(numbers: Sequence[float]) -> float:
    """Of a chi-square test that the numbers are uniform."""
    counts = torch.histc(torch.tensor(numbers, dtype=torch.float64), 50, 0.0, 1.0)
    return round(float(stats.chisquare(counts.numpy()).pvalue), 4)


def check(model: Any, requests: Sequence[SampleRequest], max_batch: int) -> dict[str, Any]:
    """The same distribution, checked: the fields that say so."""
    drawn = run_ours(model, requests, max_batch)
    some = sorted(drawn, key=lambda c: c.id)[:CHECKED]
    numbers, exact = places(model, [(c.prompt_ids, c.token_ids) for c in some])
    pairs = [(a, b) for c, row in zip(some, exact, strict=True) for a, b in zip(c.token_logprobs, row, strict=True)]
    distance = max(abs(a - b) for a, b in pairs)
    assert distance < 1e-4, f"log-probs are off by {distance}"
    first, _ = places(model, [(c.prompt_ids, c.token_ids[:1]) for c in drawn])
    peers = run_generate(model, requests[:CHECKED], CHECKED)
    theirs, _ = places(model, [(r.prompt_ids, peers[r.id]) for r in requests[:CHECKED]])
    values = {"ours": p_value(numbers), "ours_first_tokens": p_value(first), "generate": p_value(theirs)}
    assert min(values["ours"], values["ours_first_tokens"]) > 1e-4, f"another distribution: {values}"
    return {
        "p_values": values,
        "tokens_checked": len(numbers),
        "first_tokens_checked": len(first),
        "largest_logprob_difference": float(f"{distance:.2g}"),
    }


def compare(name: str, model: Any, count: int, plan: Plan) -> None:
    """Print the rows of one model and number of requests."""
    paged = MODELS[name]()  # of its own: continuous batching leaves a model with another attention
    requests = workload(count, model.config.vocab_size)
    tokens = tokens_of(requests)
    peers = {
        "generate": {f"batch {size}": partial(run_generate, model, requests, size) for size in plan.generate},
        "continuous": {
            f"{most} requests, {at_once} tokens, pages of {page}": partial(
                run_continuous, paged, requests, (most, at_once, page)
            )
            for most, at_once, page in plan.continuous
        },
    }
    ours = partial(run_ours, model, requests, plan.ours)
    checked = check(model, requests, plan.ours)
    rows: dict[str, tuple[list[float], dict[str, Any], dict[str, Any]]] = {}
    for peer, settings in peers.items():
        times = {setting: in_turn(ours, run, rounds=plan.rounds, warmup=0) for setting, run in settings.items()}
        best = min(times, key=lambda setting: statistics.median(times[setting][1]))
        mine, theirs = times[best]
        rates = {setting: round(tokens / statistics.median(seconds)) for setting, (_, seconds) in times.items()}
        rows[peer] = (
            [b / a for a, b in zip(mine, theirs, strict=True)],
            {"tokens_per_second": round(tokens / statistics.median(mine)), "max_batch": plan.ours, "logprobs": True},
            {"tokens_per_second": rates[best], "setting": best, "logprobs": False, "settings": rates},
        )
    better = max(rows, key=lambda peer: rows[peer][2]["tokens_per_second"])
    workload_name = f"ragged{SHORTEST}-{LONGEST}-{count}-{name}"
    for peer, (ratios, mine_row, their_row) in [*rows.items(), ("best", rows[better])]:
        more = {"better_peer": better, **checked} if peer == "best" else {}
        print(line(f"{peer}-{workload_name}", ratios, ours=mine_row, peer=their_row, tokens=tokens, **more), flush=True)


def main() -> None:
    """Run all workloads, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--requests", type=int, nargs="+", default=list(PLANS), choices=list(PLANS))
    parser.add_argument("--thorough", action="store_true", help="more settings of the peers (an hour)")
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    for name in options.models:
        model = MODELS[name]()
        for count in options.requests:
            plan = (THOROUGH if options.thorough else PLANS)[count]
            if name in BATCH_256 and count >= 256 and not options.thorough:
                plan = replace(plan, generate=(*plan.generate, 256))
            compare(name, model, count, plan)


if __name__ == "__main__":
    main()
