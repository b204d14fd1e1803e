"""Bad model folders get a clear answer; saved policies load as they are; adapters continue."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tutelage.errors import ConfigError, ModelError, StorageFull
from tutelage.learning import export
from tutelage.learning.preference import PairBatch, PreferenceLearner
from tutelage.learning.sft import SFTLearner
from tutelage.models import loading


def copy_without(source: Path, target: Path, *names: str) -> Path:
    shutil.copytree(source, target)
    for pattern in names:
        for file in target.glob(pattern):
            file.unlink()
    return target


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["tokenizer*"], "no tokenizer"),
        (["config.json"], "holds no model"),
        (["*.safetensors"], "no weights"),
    ],
)
def test_incomplete_folders(missing, message, llama: Path, settings, tmp_path: Path):
    folder = copy_without(llama, tmp_path / "m", *missing)
    with pytest.raises(ModelError, match=message) as caught:
        PreferenceLearner.open(folder, settings())
    assert caught.value.exit_code == 2 and str(folder) in str(caught.value)


def test_other_bad_models(llama: Path, settings, tmp_path: Path):
    with pytest.raises(ModelError, match="does not exist"):
        SFTLearner.open(tmp_path / "nowhere", settings())
    with pytest.raises(ModelError, match="not a folder"):
        SFTLearner.open(llama / "config.json", settings())
    with pytest.raises(ModelError, match="device cannot be used"):
        SFTLearner.open(llama, settings(), device="quantum")
    with pytest.raises(ModelError, match="number format"):
        SFTLearner.open(llama, settings(), dtype="int3")
    broken = copy_without(llama, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot be loaded"):
        SFTLearner.open(broken, settings())
    partial = copy_without(llama, tmp_path / "partial")
    tensors = load_file(partial / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights(.|\n)*model\.norm\.weight"):
        SFTLearner.open(partial, settings())
    encoder = copy_without(llama, tmp_path / "encoder", "config.json")
    (encoder / "config.json").write_text(json.dumps({"model_type": "t5", "vocab_size": 103}))
    with pytest.raises(ModelError, match="not a causal language model"):
        SFTLearner.open(encoder, settings())


def test_adapter_mistakes(llama: Path, settings, tmp_path: Path):
    learner = SFTLearner.open(llama, settings(lora_rank=4))
    learner.save(tmp_path / "adapter")
    with pytest.raises(ModelError, match="holds an adapter, not a model"):
        SFTLearner.open(tmp_path / "adapter", settings())
    with pytest.raises(ConfigError, match="has rank 4"):
        SFTLearner.open(llama, settings(lora_rank=8), adapter=tmp_path / "adapter")
    with pytest.raises(ConfigError, match="lora_rank=0, but the adapter"):
        SFTLearner.open(llama, settings(), adapter=tmp_path / "adapter")
    with pytest.raises(ModelError, match="holds no adapter"):
        SFTLearner.open(llama, settings(lora_rank=4), adapter=llama)
    with pytest.raises(ConfigError, match="lora_targets"):
        SFTLearner.open(llama, settings(lora_rank=4, lora_targets="nothing_here"))
    with pytest.raises(ModelError, match="all weights are trained"):
        PreferenceLearner.open(llama, settings()).reference_logprobs([], under="base")


def test_nothing_to_train_is_refused(llama: Path, settings):
    from tutelage.learning.policy import TrainablePolicy

    model = AutoModelForCausalLM.from_pretrained(llama).requires_grad_(False)
    with pytest.raises(ModelError, match="no trainable parameter"):
        TrainablePolicy(model, None, settings(), seed=0)


def test_a_trained_model_loads_with_transformers(llama: Path, settings, make_examples, tmp_path: Path):
    learner = SFTLearner.open(llama, settings())
    learner.step(make_examples(4))
    learner.save(tmp_path / "m1")
    learner.step(make_examples(4, seed=1))
    learner.save(tmp_path / "m1")  # replaces the first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m1"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m1")
    for name, parameter in learner.model.named_parameters():
        assert torch.equal(parameter, dict(model.named_parameters())[name]), name
    assert AutoTokenizer.from_pretrained(tmp_path / "m1")("2 + 3").input_ids == learner.tokenizer("2 + 3").input_ids
    assert model.config.use_cache is not False
    SFTLearner.open(tmp_path / "m1", settings())


def test_an_adapter_loads_with_peft_and_goes_on_as_m_t(llama: Path, settings, make_pairs, tmp_path: Path):
    pairs = make_pairs(4)
    first = PreferenceLearner.open(llama, settings(lora_rank=4, learning_rate=1e-2))
    reference = first.reference_logprobs(pairs)
    for _ in range(3):
        first.step(PairBatch(pairs, reference))
    first.save(tmp_path / "adapter")
    ids = torch.tensor([pairs[0].prompt_ids])
    expected = first.model.eval()(ids).logits
    with_peft = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), tmp_path / "adapter")
    assert torch.allclose(with_peft(ids).logits, expected, atol=1e-6)
    assert torch.allclose(AutoModelForCausalLM.from_pretrained(tmp_path / "adapter")(ids).logits, expected, atol=1e-6)
    second = PreferenceLearner.open(llama, settings(lora_rank=4), adapter=tmp_path / "adapter")
    start = second.reference_logprobs(pairs)
    assert (torch.tensor(start) - torch.tensor(reference)).abs().max() > 0.1  # M_t is not the base
    assert second.fit(pairs, start).metrics[0].first_step_gap < 1e-4
    assert torch.allclose(
        torch.tensor(second.reference_logprobs(pairs, under="base")), torch.tensor(reference), atol=1e-4
    )


def test_fresh_adapters_are_seeded_and_leave_the_callers_generator_alone(llama: Path, settings):
    def matrices(seed: int) -> list[torch.Tensor]:
        policy = SFTLearner.open(llama, settings(lora_rank=4), seed=seed).policy
        assert all("lora_" in name for name in policy.parameters)
        return [p.detach() for name, p in policy.parameters.items() if "lora_A" in name]

    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, same, other = matrices(1), matrices(1), matrices(2)
    assert all(map(torch.equal, one, same)) and not any(map(torch.equal, one, other))
    model_free = SFTLearner.open(llama, settings(lora_rank=4, lora_targets="q_proj, v_proj"))
    assert {name.split(".")[-4] for name in model_free.policy.parameters} <= {"self_attn", "q_proj", "v_proj"}
    torch.set_rng_state(state)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path):
    with pytest.raises(StorageFull, match="disk is full"), export.atomic_folder(tmp_path / "x") as folder:
        (folder / "part").write_text("half")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_safetensors_is_told_as_one(tmp_path: Path):
    message = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(StorageFull, match="disk is full"), export.atomic_folder(tmp_path / "x"):
        raise SafetensorError(message)
    with pytest.raises(SafetensorError), export.atomic_folder(tmp_path / "x"):
        raise SafetensorError("Error while serializing: I/O error: Is a directory (os error 21)")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_write_keeps_the_old_folder(tmp_path: Path):
    with export.atomic_folder(tmp_path / "x") as folder:
        (folder / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), export.atomic_folder(tmp_path / "x") as folder:
        (folder / "a").write_text("new")
        raise ZeroDivisionError
    assert (tmp_path / "x" / "a").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_context_and_vocabulary(llama: Path):
    model = AutoModelForCausalLM.from_pretrained(llama)
    assert loading.context_length(model) == 4096
    assert loading.vocabulary_size(model) == model.config.vocab_size
