"""The dynamic loss: its formula, its mean of 1, and what it does to a fit."""

from __future__ import annotations

import pytest
import torch

from tutelage.config.settings import TrainingSettings
from tutelage.learning.dynamic_loss import example_weight, mean_one, program_weights
from tutelage.learning.losses import nll_coefficients
from tutelage.learning.sft import SFTLearner, Weighing
from tutelage.records import Example


@pytest.mark.parametrize(
    "rate, gamma, expected", [(0.0, 1.0, 2.0), (0.4, 1.0, 1.6), (0.49, 2.0, 2.02), (0.5, 5.0, 1.0), (1.0, 5.0, 1.0)]
)
def test_hard_problems_weigh_more_by_hand(rate: float, gamma: float, expected: float) -> None:
    assert example_weight(rate, gamma) == pytest.approx(expected)
    assert example_weight(None, gamma) == 1.0


def test_only_tokens_of_programs_are_raised_and_masked_ones_stay_masked() -> None:
    pieces = ["plan", ":\n", "```py", "thon\n", "a=1", "\n```", "\ndone"]
    text = "".join(pieces)
    span = (text.index("```"), text.index("```", 8) + 3)
    assert program_weights([1, 1, 1, 0, 1, 1, 1], pieces, [span], 3.0) == (1, 1, 3, 0, 3, 3, 1)
    assert program_weights([1, 1], ["a", "b"], [], 3.0) == (1, 1)


@pytest.mark.parametrize("average", ["sequence", "token"])
def test_weights_have_mean_one_under_either_average(average) -> None:
    lengths = torch.tensor([4.0, 10.0, 2.0])
    plain = nll_coefficients(lengths, average)
    assert torch.allclose(mean_one(plain, torch.ones(3), lengths), plain)
    assert torch.allclose(mean_one(plain, torch.full((3,), 7.0), 3 * lengths), plain / 3), "one weight for all is none"
    weighted = mean_one(plain, torch.tensor([2.0, 1.0, 1.0]), lengths)
    assert float((weighted * lengths).sum()) == pytest.approx(1)
    assert float(weighted[0] / weighted[1]) == pytest.approx(2 * float(plain[0] / plain[1]))


def test_a_batch_by_hand() -> None:
    # two sequences of 2 and 4 tokens, NLL a token 1 and 3, weights 3 and 1: (3 * 1 + 1 * 3) / (3 + 1) = 1.5
    coefficients = mean_one(nll_coefficients(torch.tensor([2.0, 4.0]), "sequence"), torch.tensor([3.0, 1.0]),
                            torch.tensor([2.0, 4.0]))  # fmt: skip
    assert float((coefficients * torch.tensor([2.0, 12.0])).sum()) == pytest.approx(1.5)


def _examples(count: int) -> list[Example]:
    return [Example(f"e{i}", f"p{i}", (1, 9 + i), (10 + i, 11, 12 + i, 2), (1.0,) * 4, "gold") for i in range(count)]


def _learner(folder, **changes) -> SFTLearner:
    chosen = {"learning_rate": 1e-3, "batch_size": 2, "epochs": 2.0, "checkpoint_every": 1, **changes}
    settings = TrainingSettings(**chosen)
    return SFTLearner.open(folder, settings, seed=3, device="cpu", dtype="float32")


def _weighing(weights, calls: list, items: list) -> Weighing:
    return Weighing(lambda epoch: (calls.append(epoch), weights[min(epoch, len(weights) - 1)])[1],
                    lambda step, batch, nll: items.append((step, tuple(batch), nll)), "test")  # fmt: skip


def test_equal_weights_train_as_no_weights_do(tiny_model_dir) -> None:
    examples = _examples(6)
    plain = _learner(tiny_model_dir("llama")).fit(examples)
    calls, items = [], []
    weighed = _learner(tiny_model_dir("llama")).fit(examples, weighing=_weighing([[5.0] * 6], calls, items))
    assert [m.loss for m in weighed.metrics] == pytest.approx([m.loss for m in plain.metrics], rel=1e-5)
    assert calls == [0, 1], "weights are asked for once an epoch"
    assert sorted(i for _, batch, _ in items[:3] for i in batch) == list(range(6))
    for metrics, (step, _, nll) in zip(weighed.metrics, items, strict=True):
        assert step == metrics.step and metrics.loss == pytest.approx(sum(nll) / len(nll), rel=1e-5)


def test_the_loss_is_the_weighted_mean_and_a_weight_of_zero_leaves_an_example_out(tiny_model_dir) -> None:
    items: list = []
    weights = [4.0, 1.0, 1.0, 0.0]
    result = _learner(tiny_model_dir("qwen2"), epochs=1.0).fit(_examples(4), weighing=_weighing([weights], [], items))
    for metrics, (_, batch, nll) in zip(result.metrics, items, strict=True):
        w = [weights[i] for i in batch]
        assert metrics.loss == pytest.approx(sum(a * b for a, b in zip(w, nll, strict=True)) / sum(w), rel=1e-5)


def test_a_fit_goes_on_with_the_weights_of_its_epoch(tiny_model_dir, tmp_path) -> None:
    weights = [[1.0, 1.0, 3.0, 1.0], [1.0, 5.0, 1.0, 1.0]]
    whole = _learner(tiny_model_dir("llama"))
    whole.fit(_examples(4), weighing=_weighing(weights, [], []))
    part = _learner(tiny_model_dir("llama"))
    with pytest.raises(KeyboardInterrupt):
        part.fit(_examples(4), tmp_path / "fit", weighing=_weighing(weights, [], []), on_step=_stop_at(4))
    calls: list = []
    again = _learner(tiny_model_dir("llama"))
    again.fit(_examples(4), tmp_path / "fit", weighing=_weighing(weights, calls, []))
    assert calls == [1]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def _stop_at(step: int):
    def on_step(metrics) -> None:
        if metrics.step == step:
            raise KeyboardInterrupt

    return on_step
