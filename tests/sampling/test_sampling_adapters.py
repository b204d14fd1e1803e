"""Adapters and publishing: requests name weights and versions, and get those or an error."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from tutelage.errors import InputError, ModelError
from tutelage.records import Policy
from tutelage.sampling.local import LocalSampler
from tutelage.sampling.session import ScoreRequest


def wrapped(model: Any, names: tuple[str, ...], seed: int = 0) -> Any:
    """A peft model with random adapters of these names."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    peft = get_peft_model(copy.deepcopy(model), config, adapter_name=names[0])
    for name in names[1:]:
        peft.add_adapter(name, config)
    generator = torch.Generator().manual_seed(seed)
    for key, parameter in peft.named_parameters():
        if "lora_" in key:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return peft.eval()


def plain_logprobs(model: Any, completion: Any) -> list[float]:
    ids = torch.tensor([completion.prompt_ids + completion.token_ids])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(input_ids=ids).logits[0, :-1], -1)
    start = len(completion.prompt_ids) - 1
    return logprobs[start:].gather(1, ids[0, start + 1 :, None])[:, 0].tolist()


def test_each_request_gets_the_adapter_it_names(load: Any, helpers: Any) -> None:
    model, tokenizer = load("llama")
    peft = wrapped(model, ("answer", "stop"))
    peft.train()
    session = LocalSampler(peft, tokenizer, policy=Policy("m", "answer"))
    session._weights.versions["stop"] = 0
    flags = {n: p.requires_grad for n, p in peft.named_parameters()}
    requests = [
        helpers.ask(f"p.{i}", (9, 10, 11 + i % 5), seed=i, index=i, max_new_tokens=12, adapter=name)
        for i, name in enumerate(("answer", "stop", "") * 8)
    ]
    found = helpers.answers(session, requests)
    assert {n: p.requires_grad for n, p in peft.named_parameters()} == flags
    assert peft.active_adapters == ["answer"] and peft.training
    peft.eval()
    for request in requests:
        completion = found[request.id]
        assert completion.policy.adapter == request.adapter
        if request.adapter:
            peft.set_adapter(request.adapter)
            expected = plain_logprobs(peft, completion)
        else:
            with peft.disable_adapter():
                expected = plain_logprobs(peft, completion)
        assert completion.token_logprobs == pytest.approx(expected, abs=1e-4)


def test_an_adapter_is_loaded_published_and_replaced(
    load: Any, helpers: Any, tmp_path: Path, tiny_model_dir: Any
) -> None:
    model, tokenizer = load("llama")
    for version in (1, 2):
        wrapped(model, ("answer",), seed=version).save_pretrained(tmp_path / str(version))
    first, second = tmp_path / "1" / "answer", tmp_path / "2"
    session = LocalSampler.open(tiny_model_dir("llama"), tokenizer=tokenizer, adapter=first, device="cpu",
                                policy=Policy("m", "answer", 1))  # fmt: skip
    assert session.policy == Policy("m", "answer", 1)

    def one(name: str, version: int, adapter: str = "answer") -> Any:
        request = helpers.ask(name, (9, 10), seed=3, max_new_tokens=8, adapter=adapter, version=version)
        return helpers.answers(session, [request])[name]

    old = one("a.0", 1)
    assert old.token_logprobs == pytest.approx(plain_logprobs(wrapped(model, ("answer",), seed=1), old), abs=1e-4)
    session.submit(helpers.ask("a.1", (9, 10), seed=3, max_new_tokens=8, adapter="answer", version=1))
    session.publish("answer", 2, second)
    [drained] = session.completions()
    assert drained.token_ids == old.token_ids
    assert one("a.2", 1).finish_reason == "error"
    new = one("a.3", 2)
    assert new.token_logprobs == pytest.approx(plain_logprobs(wrapped(model, ("answer",), seed=2), new), abs=1e-4)
    base = one("a.4", 0, adapter="")
    assert base.token_logprobs == pytest.approx(plain_logprobs(model, base), abs=1e-4)


def test_requests_made_before_publishing_are_answered_by_the_old_weights(
    load: Any, helpers: Any, tmp_path: Path
) -> None:
    model, tokenizer = copy.deepcopy(load("llama")[0]), load("llama")[1]
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.lm_head.weight.mul_(3.0)
    other.save_pretrained(tmp_path)
    session = LocalSampler(model, tokenizer)
    session.submit(helpers.ask("p.0", (9, 10), seed=1, max_new_tokens=6))
    session.publish("", 1, tmp_path)
    session.submit(helpers.ask("p.1", (9, 10), seed=1, max_new_tokens=6, version=1))
    old, new = list(session.completions())
    assert (old.policy.version, new.policy.version) == (0, 1)
    assert new.token_logprobs == pytest.approx(plain_logprobs(other, new), abs=1e-4)
    assert old.token_logprobs == pytest.approx(plain_logprobs(load("llama")[0], old), abs=1e-4)
    [scored] = session.score([ScoreRequest(new.prompt_ids, new.token_ids, version=1)])
    assert scored == pytest.approx(new.token_logprobs, abs=1e-4)


def test_weights_changed_in_place_are_adopted(load: Any, helpers: Any) -> None:
    model, tokenizer = copy.deepcopy(load("llama")[0]), load("llama")[1]
    session = LocalSampler(model, tokenizer)
    prompt = tuple(range(10, 40))
    helpers.answers(session, [helpers.ask("p.0", prompt, max_new_tokens=3)])
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.mul_(5.0)
    session.adopt("", 1)
    found = helpers.answers(session, [helpers.ask("p.1", prompt, max_new_tokens=8, version=1)])["p.1"]
    assert found.token_logprobs == pytest.approx(plain_logprobs(model, found), abs=1e-4)
    with pytest.raises(InputError, match="no such adapter"):
        session.adopt("nobody", 1)


def test_weights_of_another_model_are_refused(load: Any, tmp_path: Path, tiny_model_dir: Any) -> None:
    session = LocalSampler(copy.deepcopy(load("llama")[0]), load("llama")[1])
    with pytest.raises(ModelError, match="another model"):
        session.publish("", 1, tiny_model_dir("phi3"))
    with pytest.raises(ModelError, match="no LoRA adapter"):
        session.publish("answer", 1, tmp_path)
