"""Tokens per second of growing trees of rollouts, beside the same sampler without anything kept.

Workload `60x10`: a prompt of 60 random tokens, a chain of 10 chunks of 10 tokens, and at each of its nodes one other
chunk that is carried on to the same length: 65 completions a tree, each of which continues another. Several trees grow
side by side, as plain requests with `continues`. End tokens are made impossible. `flow-...` is the same with two LoRA
adapters of rank 8 and a second model that is asked after every chunk: a prompt of its own, made of the question, the
text so far and four more tokens, and two tokens of reply.

Peers, all in this process, CPU seconds, fp32, one thread, at most 256 rows at once, in turn with ours:
    reprefill-...   our sampler where every node prefills all before it, by the faster of two kernels (the library's own
                    attention; ours, which computes the bits of decode steps), found by a run of each
    generate-...    transformers' `generate`, every level of the trees one left-padded batch: for reference
Tokens per second are drawn tokens; `computed` are positions that the model was run over. `limit` is the ratio of
positions, i.e. of the times if every position cost the same; decoding one costs several times as much as prefilling
one, so the reachable ratio lies below. `equal` says whether ours and the peer drew the same tokens (same seeds): with
our own kernel they do.

    python benchmarks/tree_rollouts.py --json             # about six minutes of CPU time
    python benchmarks/tree_rollouts.py --only 60x10-primer
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported

import torch  # noqa: E402
from paired import in_turn, line  # noqa: E402
from tokenless import NoTokenizer  # noqa: E402
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM  # noqa: E402
from transformers.utils import logging as hf_logging  # noqa: E402

from tutelage.primer import model_path  # noqa: E402
from tutelage.records import Completion, Policy, SamplingParams  # noqa: E402
from tutelage.sampling.flows import Flow, child_request, drive  # noqa: E402
from tutelage.sampling.lane import TokenCounts  # noqa: E402
from tutelage.sampling.local import LocalSampler  # noqa: E402
from tutelage.sampling.prefill import Opening, Prefiller  # noqa: E402
from tutelage.sampling.session import SampleRequest  # noqa: E402

ROWS = 256
"""Most rows decoded at once, on both sides."""
STOP = Policy("model", "stop", 0)
REPLY = SamplingParams(max_new_tokens=2)


@dataclass(frozen=True)
class Shape:
    """A workload.

    Args:
        model: of `MODELS`.
        prompt: tokens of each prompt.
        tokens: of each chunk.
        chunks: of a whole answer.
        trees: grown side by side.
        rounds: counted runs.
        is_flow: with a second adapter that is asked after every chunk.
        beside_generate: also beside transformers' `generate`.
    """

    model: str
    prompt: int
    tokens: int
    chunks: int
    trees: int
    rounds: int = 3
    is_flow: bool = False
    beside_generate: bool = False

    @property
    def name(self) -> str:
        """Prompt and chunk length, and the model."""
        chunks = "" if self.chunks == 10 else f"x{self.chunks}"
        return f"{'flow-' * self.is_flow}{self.prompt}x{self.tokens}{chunks}-{self.model}"


def primer() -> Any:
    """The built-in model, without an end token."""
    model: Any = AutoModelForCausalLM.from_pretrained(model_path(), dtype=torch.float32).eval()
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    return model


def random25m() -> Any:
    """A random Llama of 25 million parameters and 16,384 tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16_384, hidden_size=384, intermediate_size=1024, num_hidden_layers=7, num_attention_heads=6,
        num_key_value_heads=6, max_position_embeddings=2048, bos_token_id=1, eos_token_id=None, pad_token_id=0,
        attn_implementation="sdpa",
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


MODELS: dict[str, Callable[[], Any]] = {"primer": primer, "random25m": random25m}
SHAPES = (
    Shape("primer", 60, 10, 10, 32, rounds=3, beside_generate=True),
    Shape("random25m", 60, 10, 10, 8, rounds=2),
    Shape("primer", 60, 10, 10, 16, is_flow=True),
    Shape("primer", 200, 10, 10, 16),
    Shape("primer", 60, 30, 10, 16),
    Shape("primer", 60, 160, 6, 8),
    Shape("random25m", 200, 10, 10, 4, rounds=1),
    Shape("random25m", 60, 30, 10, 4, rounds=1),
)


def with_adapters(model: Any) -> Any:
    """Two LoRA adapters on a model, of which neither is nothing."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
    wrapped = get_peft_model(model, config, adapter_name="answer")
    wrapped.add_adapter("stop", config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return wrapped.eval()


def roots(shape: Shape, vocabulary: int) -> list[SampleRequest]:
    """The first request of each tree."""
    rng = random.Random(0)
    params = SamplingParams(max_new_tokens=shape.tokens)
    return [
        SampleRequest(
            f"t{n}", f"t{n}", tuple(rng.randrange(8, vocabulary) for _ in range(shape.prompt)), params,
            rng.getrandbits(60), role="chunk", adapter="answer" if shape.is_flow else "",
        )
        for n in range(shape.trees)
    ]  # fmt: skip


def carried_on(request: SampleRequest, shape: Shape, chunks: int) -> Flow[list[Completion]]:
    """Chunks from a request on, each judged by the second model if there is one."""
    question = request.prompt_ids[: shape.prompt]
    written: list[Completion] = []
    while chunks:
        last = yield request
        written.append(last)
        chunks -= 1
        if shape.is_flow and chunks:
            text = (last.prompt_ids + last.token_ids)[shape.prompt :]
            asked = (8, *question, 9, *text, 10, 11)
            yield child_request(last, role="stop", policy=STOP, params=REPLY, prompt_ids=asked)
        request = child_request(last)
    return written


def grow(session: Any, shape: Shape, vocabulary: int) -> list[Completion]:
    """All completions of Answer: the chains of all trees together, then all their branches together."""
    flows = [carried_on(root, shape, shape.chunks) for root in roots(shape, vocabulary)]
    chains = [chain for _, chain in drive(flows, session)]
    branches = []
    for chain in chains:
        for place, node in enumerate(chain):
            other = node if place == 0 else chain[place - 1]
            kept = 0 if place == 0 else None
            request = child_request(other, branch_position=kept, index=1)
            branches.append(carried_on(request, shape, shape.chunks - place))
    found = [c for chain in chains for c in chain] + [c for _, branch in drive(branches, session) for c in branch]
    assert all(len(c.token_ids) == shape.tokens for c in found)
    return found


class Reprefilling(Prefiller):
    """Prefills every prompt from its beginning, once for all its samples."""

    def __init__(self, other: Prefiller) -> None:
        super().__init__(other.forward, other.kept, to_the_position=True)
        self._done: set[tuple[int, ...]] = set()

    def is_ready(self, ids: tuple[int, ...]) -> bool:
        """Whether this very prompt was prefilled."""
        return ids in self._done

    def ensure(self, wanted: Iterable[tuple[int, ...]]) -> None:
        """Prefill what is new."""
        new = [ids for ids in dict.fromkeys(wanted) if ids not in self._done]
        self._done.update(new)
        self.compute(Opening(ids[:-1], 0, None) for ids in new)


Grown = tuple[list[Completion], list[TokenCounts]]


def ours(model: Any, shape: Shape) -> Grown:
    """Trees by our sampler."""
    session = LocalSampler(model, NoTokenizer(), max_batch=ROWS)
    return grow(session, shape, session._forward.config.vocab_size), list(session.token_counts.values())


def reprefilled(model: Any, shape: Shape, *, by_library: bool) -> Grown:
    """Trees by our sampler where nothing is taken over."""
    session = LocalSampler(model, NoTokenizer(), max_batch=ROWS, keep_drawn=False)
    if by_library:
        session._forward.fills_exactly = False
    for adapter in ("answer", "stop") if shape.is_flow else ("",):
        lane = session._lane(adapter)
        lane.prompts = Reprefilling(lane.prompts)
    return grow(session, shape, session._forward.config.vocab_size), list(session.token_counts.values())


class GenerateSession:
    """Answers requests by `generate`: all that wait, in batches of left-padded rows."""

    def __init__(self, model: Any, size: int) -> None:
        self.model, self.size = model, size
        self._waiting: list[SampleRequest] = []

    def submit(self, request: SampleRequest) -> None:
        """Queue a request."""
        self._waiting.append(request)

    def completions(self) -> Any:
        """Completions until none waits."""
        while self._waiting:
            rows, self._waiting = self._waiting[: self.size], self._waiting[self.size :]
            width = max(len(r.prompt_ids) for r in rows)
            padding = [width - len(r.prompt_ids) for r in rows]
            ids = torch.tensor([[0] * pad + list(r.prompt_ids) for pad, r in zip(padding, rows, strict=True)])
            mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding])
            config = GenerationConfig(
                do_sample=True, temperature=1.0, top_k=0, top_p=1.0, pad_token_id=0,
                max_new_tokens=rows[0].params.max_new_tokens,
            )  # fmt: skip
            drawn = self.model.generate(ids, attention_mask=mask, generation_config=config)[:, width:].tolist()
            for request, tokens in zip(rows, drawn, strict=True):
                yield Completion(
                    request.id, request.problem_id, request.role, Policy("model"), "", request.prompt_ids,
                    tuple(tokens), "", (), (), "length", request.params, request.seed,
                )  # fmt: skip


def computed(counts: Sequence[TokenCounts]) -> int:
    """Positions that the model was run over."""
    return sum(c.prefilled + c.decoded for c in counts)


def measure(shape: Shape) -> None:
    """Print the lines of one shape."""
    model = MODELS[shape.model]()
    vocabulary = model.config.vocab_size
    model = with_adapters(model) if shape.is_flow else model
    found, counts = ours(model, shape)
    tokens = sum(c.decoded for c in counts)
    peers = {name: partial(reprefilled, model, shape, by_library=name == "library") for name in ("library", "own")}
    tried = {}
    for kernel, peer in peers.items():
        began = time.process_time()
        again, peer_counts = peer()
        tried[kernel] = time.process_time() - began
    equal = {c.id: c.token_ids for c in found} == {c.id: c.token_ids for c in again}
    best = min(tried, key=tried.__getitem__)
    mine, theirs = in_turn(partial(ours, model, shape), peers[best], rounds=shape.rounds, warmup=0)
    rate = {side: round(tokens / statistics.median(t)) for side, t in (("ours", mine), ("peer", theirs))}
    kept = {"prefilled": sum(c.prefilled for c in counts), "reused": sum(c.reused for c in counts)}
    print(
        line(
            f"reprefill-{shape.name}",
            [b / a for a, b in zip(mine, theirs, strict=True)],
            ours={"tokens_per_second": rate["ours"], "computed": computed(counts), **kept},
            peer={
                "tokens_per_second": rate["peer"], "computed": computed(peer_counts), "prefill": best,
                "seconds_tried": {kernel: round(seconds, 1) for kernel, seconds in tried.items()},
            },
            limit=round(computed(peer_counts) / computed(counts), 2),
            tokens=tokens, trees=shape.trees, equal=equal,
        ),
        flush=True,
    )  # fmt: skip
    if shape.beside_generate:
        sizes = {size: partial(grow_by_generate, model, size, shape, vocabulary) for size in (32, 64)}
        runs = {size: in_turn(partial(ours, model, shape), run, rounds=1, warmup=0) for size, run in sizes.items()}
        best_size = min(runs, key=lambda size: runs[size][1][0])
        mine, theirs = runs[best_size]
        print(
            line(
                f"generate-{shape.name}",
                [b / a for a, b in zip(mine, theirs, strict=True)],
                ours={"tokens_per_second": round(tokens / mine[0])},
                peer={"tokens_per_second": round(tokens / theirs[0]), "batch": best_size},
                tokens=tokens, trees=shape.trees,
            ),
            flush=True,
        )  # fmt: skip


def grow_by_generate(model: Any, size: int, shape: Shape, vocabulary: int) -> None:
    """The trees by `generate`."""
    grow(GenerateSession(model, size), shape, vocabulary)


def main() -> None:
    """Run the workloads, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of workloads, e.g. 60x10-primer")
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    words = parser.parse_args()
    torch.set_num_threads(1)
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    for shape in SHAPES:
        if not words.only or shape.name in words.only:
            measure(shape)


if __name__ == "__main__":
    main()
