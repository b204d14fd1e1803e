"""The local backend: tokens that depend on request and seed only, one prefill a prompt, endings, errors, log-probs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tutelage.errors import ModelError, SamplerFailed
from tutelage.records import Policy
from tutelage.sampling.local import LocalSampler
from tutelage.sampling.session import SamplerSession, ScoreRequest

KINDS = ("llama", "qwen2", "phi3")


KERNELS_KEEP_BITS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)
"""Older kernels may round the last bits of a log-prob otherwise when the batch differs; the tokens are the same."""


def assert_same(first: Any, second: Any) -> None:
    """Two samples of one request: the same tokens; the same log-probs, to the bit where the kernels keep it."""
    assert first.token_ids == second.token_ids
    assert (first.finish_reason, first.text) == (second.finish_reason, second.text)
    if KERNELS_KEEP_BITS:
        assert first.token_logprobs == second.token_logprobs
    else:
        assert first.token_logprobs == pytest.approx(second.token_logprobs, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_depends_on_its_request_and_seed_only(kind: str, load: Any, helpers: Any) -> None:
    model, tokenizer = load(kind)
    requests = helpers.random_requests(70, seed=1, longest=90)
    together = helpers.answers(LocalSampler(model, tokenizer, max_batch=64), requests)
    reverse = helpers.answers(LocalSampler(model, tokenizer, max_batch=11), requests[::-1])
    assert together.keys() == reverse.keys()
    for name in together:
        assert_same(together[name], reverse[name])
    session = LocalSampler(model, tokenizer, max_batch=3)
    for request in requests[:3]:
        assert_same(helpers.answers(session, [request])[request.id], together[request.id])
    few = helpers.answers(LocalSampler(model, tokenizer, max_batch=64), requests[5:10])
    for name, completion in few.items():
        assert_same(completion, together[name])


@pytest.mark.parametrize("hidden, heads, key_heads", [(64, 4, 4), (64, 8, 1), (128, 4, 4), (128, 4, 2), (128, 4, 1)])
def test_bits_hold_past_the_length_at_which_kernels_split_their_keys(
    hidden: int, heads: int, key_heads: int, helpers: Any, load: Any
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=103, hidden_size=hidden, intermediate_size=96, num_hidden_layers=2,
                         num_attention_heads=heads, num_key_value_heads=key_heads,
                         max_position_embeddings=2048)  # fmt: skip
    config._attn_implementation = "sdpa"
    model, tokenizer = LlamaForCausalLM(config).eval(), load("llama")[1]
    lengths = (15, 185, 191, 200, 260, 505, 700)
    requests = [
        helpers.ask(f"{n}.0", tuple((i * 7 + n) % 90 + 8 for i in range(n)), seed=n, max_new_tokens=20) for n in lengths
    ]
    together = helpers.answers(LocalSampler(model, tokenizer), requests)
    for request in requests:
        alone = helpers.answers(LocalSampler(model, tokenizer, max_batch=1), [request])
        assert_same(alone[request.id], together[request.id])


def test_bits_hold_where_rows_look_at_keys_in_groups(helpers: Any, load: Any, monkeypatch: Any) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from tutelage.sampling.decode import DecodeBatch

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=103, hidden_size=128, intermediate_size=96, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
                         attn_implementation="sdpa")  # fmt: skip
    model, tokenizer = LlamaForCausalLM(config).eval(), load("llama")[1]
    groups, moves = [], []
    settle, move = DecodeBatch._settle, DecodeBatch._move

    def watched_settle(batch: Any) -> None:
        settle(batch)
        groups.append(len(batch._groups))

    def watched_move(batch: Any, chosen: Any) -> None:
        moves.append(len(chosen))
        move(batch, chosen)

    monkeypatch.setattr(DecodeBatch, "_settle", watched_settle)
    monkeypatch.setattr(DecodeBatch, "_move", watched_move)
    requests = [
        helpers.ask(f"{n}.0", tuple((i * 7 + n) % 90 + 8 for i in range(1 + n * 67 % 560)), seed=n,
                    max_new_tokens=3 + n * 29 % 60)
        for n in range(48)
    ]  # fmt: skip
    together = helpers.answers(LocalSampler(model, tokenizer, max_batch=32), requests)
    assert max(groups) > 2 and max(moves) > 4
    for request in requests[::5]:
        alone = helpers.answers(LocalSampler(model, tokenizer, max_batch=1), [request])
        assert_same(alone[request.id], together[request.id])


def test_taking_over_a_kept_prefix_changes_no_bit(load: Any, helpers: Any) -> None:
    model, tokenizer = load("qwen2")
    session = LocalSampler(model, tokenizer)
    base = tuple(8 + i * 5 % 90 for i in range(75))
    first = helpers.answers(session, [helpers.ask("a.0", base, seed=1, max_new_tokens=12)])["a.0"]
    longer = helpers.ask("a.1", base + first.token_ids, seed=2, max_new_tokens=30, continues="a.0")
    hit = helpers.answers(session, [longer])["a.1"]
    assert not session.keeps_drawn  # its heads are narrow: whole blocks of prompts only
    assert session.token_counts[""].reused == 64
    assert_same(hit, helpers.answers(LocalSampler(model, tokenizer), [longer])["a.1"])


def test_a_prompt_is_prefilled_once_for_all_its_samples(load: Any, helpers: Any) -> None:
    model, tokenizer = load("llama")
    session = LocalSampler(model, tokenizer, max_batch=16)
    helpers.answers(session, helpers.random_requests(96, seed=4, per_prompt=8))
    store = session._lanes[""].prompts
    assert store.num_prompts == 12
    assert store.num_forwards <= 12


def test_finished_rows_are_replaced_from_the_queue(load: Any, helpers: Any) -> None:
    model, tokenizer = load("llama")
    session = LocalSampler(model, tokenizer, max_batch=8)
    session._end_ids = frozenset()
    requests = [
        helpers.ask(f"p.{i}", (10, 11, 12), seed=i, index=i, max_new_tokens=5 if i % 8 else 40) for i in range(64)
    ]
    found = helpers.answers(session, requests)
    assert all(len(found[r.id].token_ids) == r.params.max_new_tokens for r in requests)
    tokens = sum(r.params.max_new_tokens for r in requests)
    assert session._lanes[""].batch.clock <= tokens / 8 * 1.5


@pytest.mark.parametrize("kind", KINDS)
def test_logprobs_are_those_of_a_plain_forward(kind: str, load: Any, helpers: Any) -> None:
    model, tokenizer = load(kind)
    session = LocalSampler(model, tokenizer)
    requests = [
        dataclasses.replace(r, params=dataclasses.replace(r.params, temperature=0.7, top_k=20))
        for r in helpers.random_requests(12, seed=9)
    ]
    found = helpers.answers(session, requests)
    for completion in found.values():
        ids = torch.tensor([completion.prompt_ids + completion.token_ids])
        with torch.no_grad():
            logprobs = torch.log_softmax(model(input_ids=ids).logits[0, :-1].double(), -1)
        start = len(completion.prompt_ids) - 1
        expected = logprobs[start:].gather(1, ids[0, start + 1 :, None])[:, 0]
        assert torch.allclose(torch.tensor(completion.token_logprobs).double(), expected, atol=1e-4)
    scored = session.score([ScoreRequest(c.prompt_ids, c.token_ids) for c in found.values()])
    for completion, logprobs in zip(found.values(), scored, strict=True):
        assert logprobs == pytest.approx(completion.token_logprobs, abs=1e-4)


def test_first_tokens_follow_the_models_distribution(load: Any, helpers: Any) -> None:
    from scipy import stats

    model, tokenizer = load("qwen2")
    prompt = (20, 30, 40)
    requests = [helpers.ask(f"p.{i}", prompt, seed=i * 7919, index=i, max_new_tokens=1) for i in range(4000)]
    found = helpers.answers(LocalSampler(model, tokenizer, max_batch=256), requests)
    seen = torch.bincount(torch.tensor([c.token_ids[0] for c in found.values()]), minlength=model.config.vocab_size)
    with torch.no_grad():
        expected = torch.softmax(model(input_ids=torch.tensor([prompt])).logits[0, -1].double(), -1) * len(requests)
    assert stats.chisquare(seen.numpy(), (expected * seen.sum() / expected.sum()).numpy()).pvalue > 1e-3


def test_greedy_is_what_generate_gives(load: Any, helpers: Any) -> None:
    model, tokenizer = load("llama")
    prompt = tuple(range(20, 60))
    found = helpers.answers(
        LocalSampler(model, tokenizer), [helpers.ask("p.0", prompt, temperature=0, max_new_tokens=30)]
    )
    reference = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 40), do_sample=False, max_new_tokens=30
    )
    assert list(found["p.0"].token_ids) == reference[0, 40:].tolist()


def test_endings(load: Any, helpers: Any) -> None:
    model, tokenizer = load("llama")
    session = LocalSampler(model, tokenizer, context=64)
    session._end_ids = frozenset()  # whatever the random model writes, nothing but the context ends it
    prompt = tuple(range(20, 50))

    def sampled(name: str, **fields: Any) -> Any:
        request = helpers.ask(name, prompt, seed=5, max_new_tokens=500, **fields)
        return helpers.answers(session, [request])[name]

    free = sampled("f.0")
    assert free.finish_reason == "length" and len(free.token_ids) == 64 - 30
    assert free.text == tokenizer.decode(free.token_ids) and free.segments == ((0, 34, "model"),)
    stop = tokenizer.decode(free.token_ids[3:5])
    count = next(n for n in range(1, 35) if stop in tokenizer.decode(free.token_ids[:n]))
    cut = sampled("f.1", stop=(stop,))
    assert (cut.finish_reason, cut.token_ids) == ("stop", free.token_ids[:count])
    assert cut.text == tokenizer.decode(free.token_ids[:count])
    paused = sampled("f.2", pause=(stop,))
    assert (paused.finish_reason, paused.token_ids) == ("pause", cut.token_ids)
    ended = sampled("f.3", stop_token_ids=(free.token_ids[4],))
    count = free.token_ids.index(free.token_ids[4]) + 1
    assert (ended.finish_reason, ended.token_ids) == ("stop", free.token_ids[:count])
    assert ended.text == tokenizer.decode(free.token_ids[: count - 1])


def test_the_end_token_is_kept_in_the_ids_and_not_in_the_text(load: Any, helpers: Any) -> None:
    model, tokenizer = load("llama")
    requests = [helpers.ask(f"p.{i}", (9, 10), seed=i, index=i, max_new_tokens=300) for i in range(40)]
    found = [c for c in helpers.answers(LocalSampler(model, tokenizer), requests).values() if c.finish_reason == "stop"]
    assert found
    for completion in found:
        assert completion.token_ids[-1] == tokenizer.eos_token_id
        assert tokenizer.eos_token_id not in completion.token_ids[:-1]
        assert completion.text == tokenizer.decode(completion.token_ids[:-1])


def test_provenance_is_copied(load: Any, helpers: Any) -> None:
    model, tokenizer = load("llama")
    session = LocalSampler(model, tokenizer, policy=Policy("m", "", 3))
    request = helpers.ask("p.0", (9, 10), max_new_tokens=2, version=3, role="chunk", parent_id="x", branch_position=4,
                          stage="s", index=7, seed=11)  # fmt: skip
    found = helpers.answers(session, [request])["p.0"]
    assert (found.policy, found.role, found.parent_id, found.branch_position) == (Policy("m", "", 3), "chunk", "x", 4)
    assert (found.stage, found.index, found.seed, found.params) == ("s", 7, 11, request.params)
    assert found.tokenizer_digest == session.tokenizer_digest and found.prompt_ids == (9, 10)
    assert isinstance(session, SamplerSession)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"prompt_ids": ()}, "empty"),
        ({"prompt_ids": (8,) * 64}, "64 tokens"),
        ({"prompt_ids": (8, 5000)}, "vocabulary"),
        ({"adapter": "stop"}, "not been published"),
        ({"version": 2}, "not in use"),
    ],
)
def test_what_cannot_be_served_comes_back_as_an_error(
    change: dict[str, Any], reason: str, load: Any, helpers: Any
) -> None:
    model, tokenizer = load("llama")
    session = LocalSampler(model, tokenizer, context=64)
    bad = dataclasses.replace(helpers.ask("bad.0", (9, 10), max_new_tokens=4), **change)
    found = helpers.answers(session, [helpers.ask("good.0", (9, 10), max_new_tokens=4), bad])
    assert found["bad.0"].finish_reason == "error" and reason in found["bad.0"].note
    assert found["bad.0"].token_ids == () and found["good.0"].finish_reason != "error"


def test_requests_submitted_while_iterating_are_served(load: Any, helpers: Any) -> None:
    session = LocalSampler(*load("llama"), max_batch=4)
    for i in range(6):
        session.submit(helpers.ask(f"p.{i}", (9, 10 + i), seed=i, max_new_tokens=5))
    seen = []
    for completion in session.completions():
        seen.append(completion.id)
        if len(seen) <= 6:
            session.submit(helpers.ask(f"q.{len(seen)}", (9, 10), seed=len(seen), max_new_tokens=3))
    assert len(seen) == len(set(seen)) == 12


def test_an_interrupted_iteration_can_go_on(load: Any, helpers: Any) -> None:
    session = LocalSampler(*load("llama"), max_batch=8)
    requests = helpers.random_requests(30, seed=3)
    for request in requests:
        session.submit(request)
    first = []
    for completion in session.completions():
        first.append(completion)
        if len(first) == 7:
            break
    rest = list(session.completions())
    assert sorted(c.id for c in first + rest) == sorted(r.id for r in requests)


def test_an_interrupt_within_a_step_closes_the_session(load: Any, helpers: Any, monkeypatch: Any) -> None:
    session = LocalSampler(*load("llama"), max_batch=8)
    for request in helpers.random_requests(20, seed=3):
        session.submit(request)
    completions = session.completions()
    first = next(completions)
    assert first.finish_reason in ("stop", "length")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session._forward, "logits", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(completions)
    assert list(session.completions()) == []
    with pytest.raises(SamplerFailed, match="closed"):
        session.submit(helpers.ask("p.0", (9,)))


def test_running_out_of_memory_says_what_to_do(load: Any, helpers: Any, monkeypatch: Any) -> None:
    session = LocalSampler(*load("llama"))

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(session._forward, "logits", full)
    session.submit(helpers.ask("p.0", (9, 10)))
    with pytest.raises(SamplerFailed, match="max_batch"):
        list(session.completions())


def test_a_closed_session_takes_nothing(load: Any, helpers: Any) -> None:
    session = LocalSampler(*load("llama"))
    session.submit(helpers.ask("p.0", (9,)))
    session.close()
    assert list(session.completions()) == []
    with pytest.raises(SamplerFailed):
        session.submit(helpers.ask("p.1", (9,)))


def test_weights_that_are_not_finite_are_an_error_not_a_score(load: Any, helpers: Any) -> None:
    import copy

    model, tokenizer = copy.deepcopy(load("llama")[0]), load("llama")[1]
    session = LocalSampler(model, tokenizer)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    found = helpers.answers(session, [helpers.ask("p.0", (9, 10), max_new_tokens=3)])["p.0"]
    assert found.finish_reason == "error" and "not finite" in found.note


def test_a_learners_model_keeps_its_mode(load: Any, helpers: Any) -> None:
    model, tokenizer = load("llama")
    model.train()
    try:
        helpers.answers(LocalSampler(model, tokenizer), [helpers.ask("p.0", (9, 10), max_new_tokens=3)])
        assert model.training and model.config._attn_implementation == "sdpa"
    finally:
        model.eval()


def test_opening_a_folder(tiny_model_dir: Any, helpers: Any, load: Any, tmp_path: Path) -> None:
    session = LocalSampler.open(tiny_model_dir("llama"), device="cpu")
    request = helpers.ask("p.0", (9, 10, 11), seed=4, max_new_tokens=10)
    from_memory = LocalSampler(*load("llama"))
    assert_same(helpers.answers(session, [request])["p.0"], helpers.answers(from_memory, [request])["p.0"])
    with pytest.raises(ModelError):
        LocalSampler.open(tmp_path, device="cpu")


def test_a_sliding_window_is_kept(load: Any, helpers: Any) -> None:
    from transformers import MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    size = {"vocab_size": 103, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 12,
            "attn_implementation": "sdpa"}  # fmt: skip
    models = [
        MistralForCausalLM(MistralConfig(**size)),
        Qwen2ForCausalLM(Qwen2Config(**size, use_sliding_window=True, max_window_layers=2)),
    ]
    for model in models:
        session = LocalSampler(model.eval(), load("llama")[1])
        found = helpers.answers(session, [helpers.ask("p.0", tuple(range(10, 50)), seed=1, max_new_tokens=20)])["p.0"]
        [scored] = session.score([ScoreRequest(found.prompt_ids, found.token_ids)])
        assert scored == pytest.approx(found.token_logprobs, abs=1e-4)


def test_an_architecture_without_a_plain_cache_is_refused(load: Any) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=103, hidden_size=16, num_hidden_layers=1, state_size=4))
    with pytest.raises(ModelError, match=r"architecture|does not work"):
        LocalSampler(model, load("llama")[1])
