"""Reward models: the reward is the head at the last token, whatever the layout; training, saving, scoring, refusals."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tutelage.errors import ConfigError, DataError, ModelError, NothingToLearn
from tutelage.learning import heads, losses
from tutelage.learning.reward import RewardLearner, RewardScorer
from tutelage.learning.session import LearnerSession
from tutelage.learning.sft import SFTLearner
from tutelage.records import Completion, Policy, SamplingParams
from tutelage.text.prompts import tokenizer_digest


def completion_of(prompt, tokens, digest: str) -> Completion:
    return Completion(
        f"c{hash((prompt, tokens))}", "p", "answer", Policy("m"), digest, tuple(prompt), tuple(tokens), "",
        ((0, len(tokens), "model"),), (0.0,) * len(tokens), "stop", SamplingParams(), 0,
    )  # fmt: skip


def trained(folder: Path, settings, pairs, **options) -> RewardLearner:
    learner = RewardLearner.open(folder, settings(learning_rate=1e-2, epochs=6.0, **options), seed=3)
    learner.fit(pairs)
    return learner


def plain_reward(model, ids) -> float:
    with torch.no_grad():
        return float(model(torch.tensor([ids])).logits[0, 0])


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3"])
@pytest.mark.parametrize("rank", [0, 4])
def test_a_saved_model_loads_with_transformers_and_says_the_same(
    kind, rank, tiny_model_dir, settings, make_pairs, tmp_path: Path
) -> None:
    pairs = make_pairs(8, seed=5)
    learner = trained(tiny_model_dir(kind), settings, pairs, lora_rank=rank, max_steps=3)
    assert isinstance(learner, LearnerSession) and learner.updates == 3
    learner.save(tmp_path / "rm")
    scorer = RewardScorer.open(tmp_path / "rm", token_budget=120)
    completions = [completion_of(p.prompt_ids, p.chosen_ids, scorer.tokenizer_digest) for p in pairs]
    values = [score.value for score in scorer.score(completions)]
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
    assert plain.config.num_labels == 1 and not (tmp_path / "rm" / "adapter_config.json").exists()
    expected = [plain_reward(plain, [*p.prompt_ids, *p.chosen_ids]) for p in pairs]
    assert values == pytest.approx(expected, abs=1e-5) and max(values) - min(values) > 1e-3
    live = learner.policy.score([heads_rows(p) for p in pairs])
    assert [row[0] for row in live] == pytest.approx(expected, abs=1e-5)
    padded = torch.zeros(2, 60, dtype=torch.long)
    for i, pair in enumerate(pairs[:2]):
        ids = [*pair.prompt_ids, *pair.chosen_ids]
        padded[i, : len(ids)] = torch.tensor(ids)
    with torch.no_grad():
        batch = plain(padded).logits[:, 0].tolist()
    assert batch == pytest.approx(expected[:2], abs=1e-5), "transformers finds the rows' ends by the padding token"


def heads_rows(pair):
    from tutelage.learning.reward import reward_rows

    return reward_rows(pair)


@pytest.mark.parametrize("budget", [10**6, 60])
def test_the_loss_is_that_of_the_plain_model(budget, llama: Path, settings, make_pairs, tmp_path: Path) -> None:
    pairs = make_pairs(6, seed=1)
    pairs[2] = dataclasses.replace(pairs[2], weight=2.0)
    trained(llama, settings, make_pairs(8, seed=2)).save(tmp_path / "rm")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm")
    rewards = torch.stack([
        torch.cat([plain(torch.tensor([[*p.prompt_ids, *side]])).logits[0] for side in (p.chosen_ids, p.rejected_ids)])
        for p in pairs
    ])  # fmt: skip
    weights = torch.tensor([p.weight for p in pairs])
    loss = (weights * losses.bradley_terry(rewards[:, 0], rewards[:, 1], margin=0.3)).sum() / 6
    loss.backward()
    learner = RewardLearner.open(tmp_path / "rm", settings(token_budget=budget, max_grad_norm=0), margin=0.3)
    learner.policy.optimizer.update = lambda rate: 0.0
    metrics = learner.step(pairs)
    assert metrics.loss == pytest.approx(loss.item(), rel=1e-4)
    assert metrics.margin == pytest.approx(float((rewards[:, 0] - rewards[:, 1]).mean()), abs=1e-5)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(learner.policy.parameters[name].grad, parameter.grad, atol=2e-5, rtol=1e-3)


def test_a_fresh_head_says_zero_and_learns_to_rank(llama: Path, settings, make_pairs) -> None:
    pairs = make_pairs(8, seed=4)
    learner = RewardLearner.open(llama, settings(learning_rate=1e-2, epochs=20.0, batch_size=8))
    result = learner.fit(pairs)
    assert result.metrics[0].loss == pytest.approx(losses.LN2, abs=1e-6) and result.metrics[0].margin == 0.0
    assert result.metrics[-1].accuracy == 1.0 and result.metrics[-1].loss < 0.1


def test_a_resumed_fit_ends_with_the_same_bits(llama: Path, settings, make_pairs, tmp_path: Path) -> None:
    pairs = make_pairs(10, seed=2)
    training = settings(learning_rate=1e-2, epochs=4.0, checkpoint_every=3, batch_size=5, lora_rank=2, lora_dropout=0.1)

    def run(folder: Path, kill: int | None = None):
        learner = RewardLearner.open(llama, training, seed=4)

        def on_step(metrics):
            if metrics.step == kill:
                raise KeyboardInterrupt

        return learner, learner.fit(pairs, folder, on_step=on_step)

    whole, _ = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", kill=5)
    resumed, result = run(tmp_path / "b")
    assert result.steps == 8
    for name, parameter in whole.policy.parameters.items():
        assert torch.equal(parameter, resumed.policy.parameters[name]), name


def test_an_adapter_of_the_language_model_is_merged_first(llama: Path, settings, make_examples, tmp_path: Path) -> None:
    learner = SFTLearner.open(llama, settings(lora_rank=2, learning_rate=1e-1))
    learner.fit(make_examples(4))
    learner.save(tmp_path / "adapter")
    merged = learner.model.merge_and_unload()
    policy = heads.open_head(llama, settings(), adapter=tmp_path / "adapter")
    for name, parameter in policy.model.model.named_parameters():
        assert torch.equal(parameter, dict(merged.model.named_parameters())[name]), name


def test_scores_of_equal_texts_are_equal_and_in_order(llama: Path, settings, make_pairs, tmp_path: Path) -> None:
    pairs = make_pairs(5, seed=8)
    trained(llama, settings, pairs).save(tmp_path / "rm")
    scorer = RewardScorer.open(tmp_path / "rm", name="mine")
    completions = [completion_of(p.prompt_ids, ids, scorer.tokenizer_digest) for p in pairs for ids in (p.chosen_ids,)]
    scores = scorer.score([*completions, *completions[::-1]])
    assert [s.completion_id for s in scores[:5]] == [c.id for c in completions]
    assert [s.value for s in scores[:5]] == [s.value for s in scores[5:]][::-1]
    assert {s.by for s in scores} == {"mine"} and {s.kind for s in scores} == {"reward_model"}


def test_bad_input_is_told(llama: Path, settings, make_pairs, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ModelError, match="not a reward model"):
        RewardScorer.open(llama)
    with pytest.raises(ConfigError, match="margin"):
        RewardLearner.open(llama, settings(), margin=-1.0)
    learner = trained(llama, settings, make_pairs(4))
    with pytest.raises(NothingToLearn, match="no pair"):
        RewardLearner.open(llama, settings(max_length=2)).fit(make_pairs(2))
    with pytest.raises(ConfigError, match="probe"):
        learner.fit(make_pairs(2), probe=make_pairs(2))
    learner.save(tmp_path / "rm")
    scorer = RewardScorer.open(tmp_path / "rm")
    with pytest.raises(DataError, match="different tokenizers"):
        scorer.score([completion_of((5,), (6,), "another")])
    with pytest.raises(DataError, match="empty prompt or completion"):
        scorer.score([completion_of((5,), (), tokenizer_digest(scorer.policy.tokenizer))])
    with pytest.raises(ModelError, match="not a language model"):
        SFTLearner.open(tmp_path / "rm", settings())
    monkeypatch.setattr(heads, "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES", {})
    with pytest.raises(ModelError, match="no model with a scalar head"):
        RewardLearner.open(llama, settings())


def test_padding_is_a_token_that_ends_no_completion() -> None:
    class Tokenizer:
        eos_token_id, pad_token_id, unk_token_id, bos_token_id = 2, 2, None, 1

    assert heads.padding_token(Tokenizer()) == 1
    Tokenizer.pad_token_id = 0
    assert heads.padding_token(Tokenizer()) == 0
