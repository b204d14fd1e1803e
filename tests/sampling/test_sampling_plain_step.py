"""The decode step of common layouts: the model's own numbers, live weights and adapters, and left alone elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tutelage.sampling.cache import SlotCache, WritePlan
from tutelage.sampling.forward import CachedForward, check_forward
from tutelage.sampling.grouping import RowSpan
from tutelage.sampling.local import LocalSampler
from tutelage.sampling.session import ScoreRequest

SIZE = {"vocab_size": 103, "hidden_size": 128, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "attn_implementation": "sdpa"}  # fmt: skip


def model_of(kind: str, **changes: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**(SIZE | changes))
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter += 0.3 * torch.randn_like(parameter)
            else:
                parameter *= 4
    return model


def checked(model: Any) -> CachedForward:
    forward = CachedForward(model)
    check_forward(forward)
    return forward


def ragged_logits(forward: CachedForward, lengths: list[int]) -> torch.Tensor:
    """Logits of one decode step of rows that hold `lengths` - 1 positions, in two groups."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(103, (len(lengths), max(lengths)), generator=generator)
    cache = SlotCache(len(lengths), 64)
    positions = torch.arange(max(lengths)).expand(len(lengths), -1)
    last = torch.tensor(lengths)[:, None] - 1
    half = len(lengths) // 2
    spans = tuple(RowSpan(a, b, -(-max(lengths[a:b]) // 16) * 16) for a, b in ((0, half), (half, len(lengths))))
    with forward.evaluating():
        forward.hidden(ids, cache, WritePlan(positions, 64))
        logits = forward.logits(ids.gather(1, last), cache, WritePlan(last, 64, spans))
        for row, length in enumerate(lengths):
            exact = forward.model(input_ids=ids[row : row + 1, :length]).logits[0, -1]
            assert torch.allclose(logits[row], exact, atol=1e-4)
    return logits


@pytest.mark.parametrize(
    "kind, changes",
    [
        ("Llama", {}),
        ("Llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu"}),
        ("Llama", {"num_key_value_heads": 4, "head_dim": 64}),
        ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}}),
        ("Qwen2", {}),
        ("Mistral", {"sliding_window": None}),
    ],
)
def test_logits_are_the_models_own(kind: str, changes: dict[str, Any]) -> None:
    forward = checked(model_of(kind, **changes))
    assert forward.steps_plainly
    plain = ragged_logits(forward, [40, 37, 33, 50, 9, 1, 20, 16])
    forward.steps_plainly = False
    assert torch.allclose(plain, ragged_logits(forward, [40, 37, 33, 50, 9, 1, 20, 16]), atol=1e-5)


@pytest.mark.parametrize(
    "kind, changes",
    [
        ("Qwen3", {"head_dim": 32}),
        ("Mistral", {"sliding_window": 8}),
        ("Llama", {"num_key_value_heads": 1}),  # four queries share keys: the library's attention keeps the bits
        ("Llama", {"num_attention_heads": 8}),  # narrow heads
        ("Llama", {"attn_implementation": "eager"}),
    ],
)
def test_other_layouts_keep_their_own_forward(kind: str, changes: dict[str, Any]) -> None:
    forward = checked(model_of(kind, **changes))
    assert not forward.steps_plainly
    ragged_logits(forward, [30, 7, 12, 16, 9, 1, 20, 16])


def test_a_model_that_was_changed_by_its_owner_keeps_its_own_forward() -> None:
    hooked = model_of("Llama")
    forward = checked(hooked)
    assert forward.steps_plainly
    handle = hooked.model.layers[0].self_attn.register_forward_hook(lambda *_: None)
    with forward.evaluating():
        assert not forward.steps_plainly
    handle.remove()

    class OwnNorm(nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return states * 2

    replaced = model_of("Llama")
    replaced.model.layers[0].input_layernorm = OwnNorm()
    forward = checked(replaced)
    ragged_logits(forward, [30, 7, 12, 16, 9, 1, 20, 16])
    hidden_factor = model_of("Llama")
    hidden_factor.model.layers[0].self_attn.scaling = 3.0  # the first layer's, which the step does not take
    forward = checked(hidden_factor)
    assert not forward.steps_plainly
    ragged_logits(forward, [30, 7, 12, 16, 9, 1, 20, 16])


def test_weights_changed_in_place_and_adapters_count(load: Any, helpers: Any) -> None:
    from peft import LoraConfig, get_peft_model

    tokenizer = load("llama")[1]
    model = model_of("Llama")
    wrapped = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    session = LocalSampler(wrapped, tokenizer)
    assert session._forward.steps_plainly
    for version in range(2):
        request = helpers.ask("p.0", (9, 10, 11), seed=version, max_new_tokens=30, version=version)
        found = helpers.answers(session, [request])["p.0"]
        [scored] = session.score([ScoreRequest(found.prompt_ids, found.token_ids, version=version)])
        assert scored == pytest.approx(found.token_logprobs, abs=1e-4)
        with torch.no_grad():
            wrapped.get_base_model().model.layers[1].mlp.up_proj.weight.mul_(-1)
            wrapped.get_base_model().model.norm.weight.add_(0.2)
        session.adopt("", version + 1)
