"""Continuing from any node: the same bits whatever is kept, and no position computed twice under one version."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from tutelage.records import Completion, Policy, SamplingParams
from tutelage.sampling.cache import FillPlan, Run, WritePlan
from tutelage.sampling.flows import Flow, child_request, drive
from tutelage.sampling.forward import CachedForward, check_forward
from tutelage.sampling.local import LocalSampler
from tutelage.sampling.session import SampleRequest, ScoreRequest

SIZE = {"vocab_size": 103, "hidden_size": 128, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 1024,
        "attn_implementation": "sdpa"}  # fmt: skip
BITS_KEPT = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)


def model_of(kind: str = "Llama", **changes: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**(SIZE | changes))
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
    return model


def with_adapters(model: Any, *names: str) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], lora_dropout=0.1)
    wrapped = get_peft_model(model, config, adapter_name=names[0])
    for name in names[1:]:
        wrapped.add_adapter(name, config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    return wrapped.eval()


def prompt(number: int, length: int) -> tuple[int, ...]:
    """Random tokens; the first tells numbers below 90 apart, so that they share nothing."""
    rng = random.Random(number)
    return (8 + number % 90, *(rng.randrange(8, 100) for _ in range(length - 1)))


def tree(name: str, root: SampleRequest, stop: Policy | None = None, chunks: int = 5) -> Flow[list[Completion]]:
    """A chain of chunks, each judged if there is a judge; then two branches from within each chunk, carried on."""
    rng, written = random.Random(name), []
    last = yield root
    written.append(last)
    for number in range(chunks):
        if stop is not None:
            asked = (*last.prompt_ids, *last.token_ids, 9, 10)
            written.append((yield child_request(last, role="stop", policy=stop, prompt_ids=asked, index=number)))
        last = yield child_request(last)
        written.append(last)
    chain = [c for c in written if c.role == "chunk"]
    for node in chain:
        cut = rng.randrange(len(node.token_ids) + 1)
        forks = tuple(child_request(node, branch_position=cut, index=i) for i in (1, 2))
        written += yield forks
        written.append((yield child_request(written[-1])))
    return written


def roots(count: int, *, adapter: str = "", tokens: int = 7, length: int = 70) -> list[SampleRequest]:
    params = SamplingParams(max_new_tokens=tokens)
    return [
        SampleRequest(f"p{n}", f"p{n}", prompt(n, length + n), params, seed=n, role="chunk", adapter=adapter)
        for n in range(count)
    ]


def grown(session: LocalSampler, flows: list[Flow[list[Completion]]]) -> list[Completion]:
    return [completion for _, written in drive(flows, session) for completion in written]


def endless(session: LocalSampler) -> LocalSampler:
    session._end_ids = frozenset()
    return session


def request_of(completion: Completion, continues: str | None = None) -> SampleRequest:
    c = completion
    return SampleRequest(c.id, c.problem_id, c.prompt_ids, c.params, c.seed, role=c.role, adapter=c.policy.adapter,
                         continues=continues)  # fmt: skip


def assert_same(first: Completion, second: Completion) -> None:
    assert first.token_ids == second.token_ids
    if BITS_KEPT:
        assert first.token_logprobs == second.token_logprobs
    else:
        assert first.token_logprobs == pytest.approx(second.token_logprobs, abs=1e-5)


def prefixes(texts: Iterator[tuple[int, ...]]) -> set[tuple[int, ...]]:
    return {text[:end] for text in texts for end in range(1, len(text) + 1)}


def to_prefill(written: list[Completion]) -> int:
    """Positions that no decode step computes: those before prompts' last tokens, but for what was drawn and fed."""
    needed = prefixes(c.prompt_ids[:-1] for c in written)
    decoded = {(*c.prompt_ids, *c.token_ids[:n]) for c in written for n in range(len(c.token_ids))}
    return len(needed - decoded)


CASES = [
    ("Llama", {}),
    ("Llama", {"num_key_value_heads": 2}),
    ("Llama", {"hidden_size": 192, "num_attention_heads": 6, "num_key_value_heads": 2, "attention_bias": True}),
    ("Qwen2", {"num_key_value_heads": 2}),
]


@pytest.mark.skipif(not BITS_KEPT, reason="older kernels change the last bits with the batch")
@pytest.mark.parametrize("kind, changes", CASES)
def test_a_fill_computes_the_bits_of_decode_steps(kind: str, changes: dict[str, Any]) -> None:
    forward = CachedForward(model_of(kind, **changes))
    check_forward(forward)
    assert forward.fills_exactly
    length = 240
    ids = torch.tensor(prompt(1, length))
    span = forward.key_span(length, new_tokens=1)
    filled, stepped = (forward.new_cache(8, 512) for _ in range(2))
    with forward.evaluating():
        for token in range(length):
            place = torch.full((8, 1), token)
            logits = forward.logits(ids[token].expand(8, 1), stepped, WritePlan(place, span))
        position, rng = 0, random.Random(3)
        while position < length:
            # Each fill goes on where the last ended, in pieces of 1 to 70 tokens, in a slot of its own.
            stop = min(position + rng.randint(1, 70), length)
            slot, padding = rng.randrange(8), -(stop - position) % 8
            filled.load(slot, stepped.written(0, 0, position) if position else [], position)
            places = [*range(position, stop), *[stop - 1] * padding]
            run = Run(slot, 0, len(places), forward.key_span(stop, new_tokens=1))
            plan = FillPlan(torch.full((len(places),), slot), torch.tensor(places)[:, None], [run])
            states = forward.fill(ids[places], filled, plan, with_states=True)
            pairs = zip(filled.written(slot, 0, stop), stepped.written(0, 0, stop), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs), (position, stop)
            position = stop
        assert states is not None
        assert torch.equal(forward.logits_of(states[stop - 1 - places[0]].expand(8, -1)), logits)


@pytest.mark.parametrize("kind", ["llama", "narrow", "phi3"])
@pytest.mark.parametrize("is_tight", [False, True])
def test_tokens_of_a_tree_do_not_hang_on_what_is_kept(kind: str, is_tight: bool, load: Any) -> None:
    if kind == "phi3":
        model, tokenizer = load("phi3")
    else:
        model, tokenizer = model_of(**({"num_attention_heads": 8} if kind == "narrow" else {})), load("llama")[1]
    model = with_adapters(model, "answer", "stop") if kind == "llama" else model
    adapter, stop = ("answer", Policy("m", "stop", 0)) if kind == "llama" else ("", None)
    bytes_kept = 1 << 17 if is_tight else None
    session = LocalSampler(model, tokenizer, max_batch=16, max_kept_bytes=bytes_kept)
    assert session.keeps_drawn is (kind == "llama" and BITS_KEPT)
    written = grown(session, [tree(r.id, r, stop) for r in roots(3, adapter=adapter)])
    forgotten = session._lanes[adapter].kept.num_forgotten
    assert forgotten > 0 if is_tight else forgotten == 0
    for completion in random.Random(5).sample(written, 6):
        alone = LocalSampler(model, tokenizer, max_batch=1)
        [again] = _answered(alone, [request_of(completion)])
        assert_same(completion, again)


def _answered(session: LocalSampler, requests: list[SampleRequest]) -> list[Completion]:
    for request in requests:
        session.submit(request)
    return list(session.completions())


@pytest.mark.skipif(not BITS_KEPT, reason="keys of completions are kept where kernels keep bits")
def test_no_position_is_computed_twice(load: Any) -> None:
    session = endless(LocalSampler(model_of(), load("llama")[1], max_batch=32))
    written = grown(session, [tree(r.id, r) for r in roots(5)])
    counts = session.token_counts[""]
    assert counts.prefilled == to_prefill(written)
    assert counts.decoded == sum(len(c.token_ids) for c in written)
    assert counts.asked == sum(len(c.prompt_ids) - 1 for c in written)
    # Only the questions and the last drawn tokens that several children begin with are left to prefill.
    assert counts.prefilled < 5 * 75 + len(written) and counts.reused > 10 * counts.prefilled


@pytest.mark.skipif(not BITS_KEPT, reason="keys of completions are kept where kernels keep bits")
def test_stop_prompts_share_with_each_other_and_never_with_answer(load: Any) -> None:
    model = with_adapters(model_of(), "answer", "stop")
    session = endless(LocalSampler(model, load("llama")[1], max_batch=32))
    written = grown(session, [tree(r.id, r, Policy("m", "stop", 0)) for r in roots(4, adapter="answer")])
    asked = [c for c in written if c.role == "stop"]
    chunks = [c for c in written if c.role == "chunk"]
    assert len(asked) == 4 * 5
    counts = session.token_counts
    # A question is prefilled once for each adapter; of the second and later Stop prompts only what differs.
    assert counts["stop"].prefilled == len(prefixes(c.prompt_ids[:-1] for c in asked))
    assert counts["answer"].prefilled == to_prefill(chunks)
    assert session._lanes["answer"].kept is not session._lanes["stop"].kept


def test_new_weights_never_meet_old_keys(load: Any) -> None:
    model = with_adapters(model_of(), "answer", "stop")
    session = endless(LocalSampler(model, load("llama")[1]))
    [root, other] = roots(2, adapter="answer")
    [first] = _answered(session, [root])
    [judged] = _answered(session, [replace(other, adapter="stop", id="s")])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B.answer" in name:
                parameter.add_(0.3)
    session.adopt("answer", 1)
    assert len(session._lanes["answer"].kept) == 0 and len(session._lanes["stop"].kept) == 1
    follow = replace(child_request(first), version=1)
    [kept] = _answered(session, [follow])
    fresh = LocalSampler(model, load("llama")[1])
    fresh.adopt("answer", 1)
    [exact] = _answered(endless(fresh), [follow])
    assert_same(kept, exact)
    assert judged.policy.adapter == "stop"


@pytest.mark.skipif(not BITS_KEPT, reason="keys of completions are kept where kernels keep bits")
def test_released_completions_are_freed(load: Any) -> None:
    session = endless(LocalSampler(model_of(), load("llama")[1]))
    [root] = roots(1)
    [first] = _answered(session, [root])
    kept = session._lanes[""].kept
    [long] = _answered(session, [replace(child_request(first), params=SamplingParams(max_new_tokens=100))])
    [fork] = _answered(session, [child_request(first, branch_position=3, index=1)])
    full = kept.num_bytes
    assert len(kept) == 2
    session.release(first.id)  # others go on from it: nothing to free
    assert (len(kept), kept.num_bytes) == (2, full)
    session.release(fork.id)
    assert len(kept) == 1 and kept.num_bytes < full
    session.release(long.id)
    assert kept.longest((*long.prompt_ids, *long.token_ids))[1] == len(long.prompt_ids) - 1
    before = session.token_counts[""].prefilled
    _answered(session, [child_request(first, index=2)])  # its prompt is still there
    assert session.token_counts[""].prefilled == before
    session.release("unknown")


def test_scores_of_short_options_are_a_plain_forwards(load: Any) -> None:
    model = with_adapters(model_of(), "answer", "stop")
    session = LocalSampler(model, load("llama")[1])
    requests = [
        ScoreRequest(prompt(n // 3, 40), prompt(50 + n, 1 + n % 3), "stop" if n % 2 else "answer") for n in range(90)
    ]
    scored = session.score(requests)
    for request, found in list(zip(requests, scored, strict=True))[::7]:
        model.set_adapter(request.adapter)
        ids = torch.tensor([request.prompt_ids + request.token_ids])
        with torch.no_grad():
            exact = torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
        start = len(request.prompt_ids) - 1
        expected = [float(exact[start + i, token]) for i, token in enumerate(request.token_ids)]
        assert found == pytest.approx(expected, abs=1e-4)
    if BITS_KEPT:
        assert session.token_counts["stop"].prefilled == 30 * 39
        assert [session.score([r])[0] for r in requests[:9]] == scored[:9]


def test_an_adapter_is_used_without_being_switched_on(load: Any) -> None:
    model = with_adapters(model_of(), "answer", "stop")
    model.set_adapter("stop")
    model.train()
    flags = [p.requires_grad for p in model.parameters()]
    session = LocalSampler(model, load("llama")[1])
    [root] = roots(1, adapter="answer")
    [drawn] = _answered(session, [root])
    assert model.active_adapters == ["stop"] and model.training
    assert [p.requires_grad for p in model.parameters()] == flags
    model.eval()
    model.set_adapter("answer")
    with torch.no_grad():
        ids = torch.tensor([drawn.prompt_ids + drawn.token_ids])
        exact = torch.log_softmax(model(input_ids=ids).logits[0], -1)
    start = len(drawn.prompt_ids) - 1
    for i, token in enumerate(drawn.token_ids):
        assert drawn.token_logprobs[i] == pytest.approx(float(exact[start + i, token]), abs=1e-4)


def test_an_adapter_with_few_rows_gets_its_turn(load: Any) -> None:
    model = with_adapters(model_of(), "answer", "stop")
    session = endless(LocalSampler(model, load("llama")[1], max_batch=4))
    many = [
        replace(r, params=SamplingParams(max_new_tokens=1), id=f"m{r.id}")
        for r in roots(120, adapter="answer", length=4)
    ]
    one = replace(roots(1, adapter="stop")[0], params=SamplingParams(max_new_tokens=1), id="one")
    order = [c.id for c in _answered(session, [*many, one])]
    assert len(order) == 121 and 40 < order.index("one") < 100
