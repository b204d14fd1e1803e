"""Supervised training: formula, weights, invariances, resume."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from tutelage.errors import ConfigError, DataError, NothingToLearn
from tutelage.learning.log_probs import sequence_logprobs
from tutelage.learning.session import LearnerSession
from tutelage.learning.sft import SFTLearner
from tutelage.records import Example


@pytest.mark.parametrize("average", ["sequence", "token"])
@pytest.mark.parametrize("budget", [10**6, 40])
def test_loss_is_the_weighted_mean_written_out(average, budget, llama: Path, settings, make_examples):
    examples = make_examples(6, seed=1)
    examples[1] = dataclasses.replace(examples[1], weights=(2.5,) * len(examples[1].weights))
    learner = SFTLearner.open(llama, settings(token_budget=budget), nll_average=average)
    assert isinstance(learner, LearnerSession)
    values = sequence_logprobs(learner.model, [e.prompt_ids for e in examples], [e.target_ids for e in examples])
    totals = [sum(w * v for w, v in zip(e.weights, row, strict=True)) for e, row in zip(examples, values, strict=True)]
    counts = [sum(1 for w in e.weights if w) for e in examples]
    expected = {
        "sequence": -sum(t / n for t, n in zip(totals, counts, strict=True)) / 6,
        "token": -sum(totals) / sum(counts),
    }[average]
    metrics = learner.step(examples)
    assert metrics.loss == pytest.approx(expected, rel=1e-5)
    assert metrics.chosen_logprob == pytest.approx(sum(totals) / 6, rel=1e-5)
    assert metrics.preference_loss is None


def test_masked_tokens_are_read_but_not_learnt(llama: Path, settings):
    """The gradient is the same whatever the masked tail holds, and another when a masked middle changes."""

    def gradients(target: tuple[int, ...], weights: tuple[float, ...]) -> torch.Tensor:
        learner = SFTLearner.open(llama, settings(max_grad_norm=0))
        learner.policy.optimizer.update = lambda rate: 0.0
        learner.step([Example("e", "p", (10, 11), target, weights, "test")])
        return learner.model.lm_head.weight.grad.clone()

    base = gradients((20, 21, 22, 23), (1.0, 0.0, 1.0, 0.0))
    assert torch.equal(base, gradients((20, 21, 22, 50), (1.0, 0.0, 1.0, 0.0)))
    assert not torch.equal(base, gradients((20, 60, 22, 23), (1.0, 0.0, 1.0, 0.0)))


def test_training_learns_and_resumes_with_the_same_bits(llama: Path, settings, make_examples, tmp_path: Path):
    examples = make_examples(10, seed=2)
    training = settings(learning_rate=1e-2, epochs=6.0, checkpoint_every=3, batch_size=5, schedule="linear")

    def run(folder: Path, kill: int | None = None):
        learner = SFTLearner.open(llama, training, seed=4)

        def on_step(metrics):
            if metrics.step == kill:
                raise KeyboardInterrupt

        return learner, learner.fit(examples, folder, on_step=on_step)

    whole, result = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", kill=8)
    resumed, again = run(tmp_path / "b")
    assert result.metrics[-1].loss < 0.8 * result.metrics[0].loss
    assert [m.loss for m in again.metrics] == [m.loss for m in result.metrics]
    for name, parameter in whole.policy.parameters.items():
        assert torch.equal(parameter, resumed.policy.parameters[name]), name


def test_probe_pairs_are_measured_under_supervised_training(llama: Path, settings, make_examples, make_pairs):
    learner = SFTLearner.open(llama, settings(learning_rate=1e-2, epochs=5.0))
    pairs = make_pairs(4)
    result = learner.fit(make_examples(4), probe=pairs)
    assert [p.step for p in result.probe] == [0, 1, 2, 3, 4, 5]
    assert result.probe[0].margin == 0.0
    assert result.probe[-1].chosen_logprob > result.probe[0].chosen_logprob + 1


def test_drops_are_counted_and_bad_input_is_refused(llama: Path, settings, make_examples):
    examples = make_examples(4)
    long = Example("long", "p", (9,) * 50, (8,) * 50, (1.0,) * 50, "test")
    learner = SFTLearner.open(llama, settings(max_length=99))
    result = learner.fit([*examples, long])
    assert result.dropped.ids == ("long",) and result.dropped.too_long == result.dropped.total == 1
    with pytest.raises(NothingToLearn, match="1 too long"):
        learner.fit([long])
    with pytest.raises(DataError, match="cannot be trained on"):
        learner.step([])
    with pytest.raises(DataError, match="does not have"):
        learner.fit([dataclasses.replace(examples[0], prompt_ids=(5000,))])
    with pytest.raises(ConfigError, match="nll_average"):
        SFTLearner.open(llama, settings(), nll_average="mean")
