"""Chunked log-probs against the model's own logits: values, gradients, memory, architectures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

from tutelage.learning import log_probs
from tutelage.learning.batches import Row, pair_rows
from tutelage.learning.layout import longest_first, make_pass, with_rows
from tutelage.learning.log_probs import Head, LogProbScorer, chunked_logprobs, sequence_logprobs

SIZE = {
    "vocab_size": 103,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}


def special(kind: str) -> torch.nn.Module:
    torch.manual_seed(5)
    if kind == "gemma2":
        return Gemma2ForCausalLM(Gemma2Config(**SIZE, head_dim=8, final_logit_softcapping=0.5)).eval()
    if kind == "cohere":
        return CohereForCausalLM(CohereConfig(**SIZE, logit_scale=0.25)).eval()
    if kind == "granite":
        return GraniteForCausalLM(GraniteConfig(**SIZE, logits_scaling=4.0)).eval()
    return GPT2LMHeadModel(GPT2Config(vocab_size=103, n_embd=32, n_layer=2, n_head=4, n_positions=128)).eval()


def slow_logprobs(model: torch.nn.Module, row: Row) -> torch.Tensor:
    """One row at a time, no padding, all logits: the obvious way."""
    logits = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
    return torch.stack([logits[t - 1, row.ids[t]] for t in range(row.start, len(row.ids))])


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3", "gemma2", "cohere", "granite", "gpt2"])
def test_log_probs_and_gradients_equal_the_models_own(kind: str, tiny_model_dir: Callable[..., Path], make_pairs):
    known = kind in ("llama", "qwen2", "phi3")
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir(kind)) if known else special(kind)
    rows = [row for pair in make_pairs(4, seed=2) for row in pair_rows(pair)]
    scorer = LogProbScorer(model, max_logits=5 * 103)  # chunks of five positions
    assert scorer.is_chunked
    sums = scorer.sums(make_pass([[row] for row in rows]))
    slow = torch.stack([(slow_logprobs(model, row) * torch.tensor(row.weights)).sum() for row in rows])
    assert torch.allclose(sums, slow, atol=2e-4), (sums - slow).abs().max()
    mix = torch.linspace(-1, 1, len(rows))
    names = [name for name, _ in model.named_parameters()]
    ours = torch.autograd.grad((sums * mix).sum(), list(model.parameters()))
    theirs = torch.autograd.grad((slow * mix).sum(), list(model.parameters()))
    for name, a, b in zip(names, ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-4, rtol=1e-4), name


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3", "cohere", "granite", "gpt2"])
def test_rows_that_share_their_beginning_on_a_line_equal_rows_apart(kind: str, tiny_model_dir, make_pairs):
    known = kind in ("llama", "qwen2", "phi3")
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir(kind)) if known else special(kind)
    scorer = LogProbScorer(model)
    assert scorer.can_share_beginnings
    rows = [row for pair in make_pairs(5, seed=9) for row in pair_rows(pair)]
    for row in rows[:10:2]:  # branches in mid-completion, and one that ends where another goes on
        cut = row.start + max(1, len(row.weights) // 2)
        rows.append(Row((*row.ids[:cut], 11, 12), row.start, (1.0,) * (cut + 2 - row.start)))
        rows.append(Row(row.ids[:cut], row.start, (1.0,) * (cut - row.start)))
    line = longest_first(with_rows((), rows)[0])
    assert len(line) == len(rows)
    together = scorer.sums(make_pass([line]))
    apart = scorer.sums(make_pass([(row,) for row in line]))
    assert torch.allclose(together, apart, atol=1e-4)
    mix = torch.linspace(-1, 1, len(rows))
    for a, b in zip(
        torch.autograd.grad((together * mix).sum(), list(model.parameters())),
        torch.autograd.grad((apart * mix).sum(), list(model.parameters())),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-4, rtol=1e-4)


def test_beginnings_are_not_shared_where_states_flow_on_or_windows_slide(tiny_model_dir, llama: Path):
    torch.manual_seed(6)
    mamba = MambaForCausalLM(MambaConfig(vocab_size=103, hidden_size=16, num_hidden_layers=1, state_size=4)).eval()
    mamba.config._attn_implementation = "sdpa"  # even if it claimed to take masks
    assert not LogProbScorer(mamba).can_share_beginnings
    assert not LogProbScorer(special("gemma2")).can_share_beginnings
    eager = AutoModelForCausalLM.from_pretrained(llama, attn_implementation="eager")
    assert not LogProbScorer(eager).can_share_beginnings  # eager takes a bool mask and is silently wrong


def test_gradcheck_of_the_chunked_function():
    torch.manual_seed(0)
    linear = torch.nn.Linear(3, 7, bias=True)
    states = torch.randn(5, 3)
    targets = torch.tensor([0, 6, 3, 3, 1])

    def ours(scale: float, softcap: float | None, max_logits: int) -> list[torch.Tensor]:
        h = states.clone().requires_grad_()
        out = chunked_logprobs(h, targets, head=Head(linear, scale, softcap), max_logits=max_logits)
        return [out, *torch.autograd.grad((out * torch.arange(5)).sum(), [h, linear.weight, linear.bias])]

    def plain(scale: float, softcap: float | None) -> list[torch.Tensor]:
        h = states.clone().requires_grad_()
        logits = linear(h) * scale
        logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
        out = logits.log_softmax(-1)[range(5), targets]
        return [out, *torch.autograd.grad((out * torch.arange(5)).sum(), [h, linear.weight, linear.bias])]

    for scale, softcap in ((1.0, None), (0.5, None), (0.5, 0.3)):
        for max_logits in (14, 35):  # in chunks of two, and all at once: then the probabilities are kept
            for a, b in zip(ours(scale, softcap, max_logits), plain(scale, softcap), strict=True):
                assert torch.allclose(a, b, atol=1e-6)


def test_logits_of_the_whole_vocabulary_are_never_held(monkeypatch: pytest.MonkeyPatch, llama: Path, make_pairs):
    seen = []
    original = log_probs._Shape.logits

    def watch(self, states, matrix, bias):
        logits, slope = original(self, states, matrix, bias)
        seen.append(logits.numel())
        return logits, slope

    monkeypatch.setattr(log_probs._Shape, "logits", watch)
    model = AutoModelForCausalLM.from_pretrained(llama)
    rows = [row for pair in make_pairs(6, seed=3) for row in pair_rows(pair)]
    batch = make_pass([[row] for row in rows])
    LogProbScorer(model, max_logits=1000).sums(batch).sum().backward()
    assert max(seen) <= 1000 and sum(seen) >= 2 * len(batch.targets) * 103


def test_an_unknown_head_falls_back_to_the_models_logits(llama: Path, make_pairs):
    model = AutoModelForCausalLM.from_pretrained(llama)
    original = model.forward

    def with_offset(*args, **kwargs):  # an architecture that does more to its logits than we know
        output = original(*args, **kwargs)
        output.logits = output.logits + torch.arange(output.logits.shape[-1])
        return output

    model.forward = with_offset
    scorer = LogProbScorer(model)
    assert not scorer.is_chunked
    row = pair_rows(make_pairs(1)[0])[1]
    slow = slow_logprobs(model, row).sum()
    assert scorer.sums(make_pass([[row]])).item() == pytest.approx(slow.item(), abs=1e-3)


def test_bfloat16_autocast_is_close_and_reaches_all_weights(llama: Path, make_pairs):
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    rows = [row for pair in make_pairs(3) for row in pair_rows(pair)]
    batch = make_pass([[row] for row in rows])
    exact = LogProbScorer(model).sums(batch).detach()
    rounded = LogProbScorer(model, compute_dtype=torch.bfloat16).sums(batch)
    assert rounded.dtype == torch.float32 and torch.allclose(exact, rounded, rtol=0.01, atol=0.3)
    rounded.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
    found = model.lm_head.weight.grad.clone()
    model.zero_grad()
    LogProbScorer(model, compute_dtype=torch.bfloat16, max_logits=3 * 103).sums(batch).sum().backward()
    assert (model.lm_head.weight.grad - found).norm() < 0.02 * found.norm()  # summed chunk by chunk


def test_several_passes_are_scored_as_one_after_the_other(llama: Path, make_pairs):
    scorer = LogProbScorer(AutoModelForCausalLM.from_pretrained(llama))
    passes = [make_pass([(row,) for row in pair_rows(pair)]) for pair in make_pairs(3, seed=7)]
    apart = [scorer.sums(batch) for batch in passes]
    assert torch.allclose(scorer.sums(*passes), torch.cat(apart), atol=1e-5)
    tokens = [scorer.token_logprobs(batch) for batch in passes]
    assert torch.allclose(scorer.token_logprobs(*passes), torch.cat(tokens), atol=1e-5)


def test_sequence_logprobs_come_back_in_order_whatever_the_budget(llama: Path, make_pairs):
    model = AutoModelForCausalLM.from_pretrained(llama).train()
    pairs = make_pairs(7, seed=4)
    prompts = [pair.prompt_ids for pair in pairs]
    targets = [() if i == 3 else pair.rejected_ids for i, pair in enumerate(pairs)]
    wide = sequence_logprobs(model, prompts, targets)
    narrow = sequence_logprobs(model, prompts, targets, token_budget=20)
    assert model.training
    model.eval()
    for prompt, target, a, b in zip(prompts, targets, wide, narrow, strict=True):
        assert len(a) == len(target) == len(b)
        if target:
            slow = slow_logprobs(model, Row((*prompt, *target), len(prompt), (1.0,) * len(target))).tolist()
            assert a == pytest.approx(slow, abs=1e-4) and b == pytest.approx(slow, abs=1e-4)
    with pytest.raises(ValueError, match="prompt"):
        sequence_logprobs(model, [()], [(1,)])
