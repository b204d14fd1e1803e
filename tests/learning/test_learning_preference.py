"""Preference training: the step equals the formulas, splitting changes nothing, the papers' signs come out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tutelage.errors import ConfigError, DataError, NothingToLearn, RunError, RunFailed
from tutelage.learning import losses
from tutelage.learning.batches import pair_rows
from tutelage.learning.preference import PairBatch, PreferenceLearner
from tutelage.learning.session import LearnerSession
from tutelage.learning.sft import SFTLearner
from tutelage.records import Example


def weights_of(learner) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in learner.policy.parameters.items()}


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def batch_of(learner: PreferenceLearner, pairs) -> PairBatch:
    return PairBatch(pairs, learner.reference_logprobs(pairs))


def nudged(reference):
    """Reference log-probs that the policy differs from, so that no margin is zero."""
    return [(c + 0.5 * i - 1.0, r - 0.3 * i + 1.0) for i, (c, r) in enumerate(reference)]


@pytest.mark.parametrize("average", ["sequence", "token"])
@pytest.mark.parametrize("loss", ["dpo_nll", "dpo", "ipo", "sft"])
def test_a_step_minimises_the_formula(loss, average, llama: Path, settings, make_pairs):
    """Gradients of one step against the formulas written out over the model's own logits, pair by pair."""
    pairs = [dataclasses.replace(p, weight=0.5 + 0.25 * i) for i, p in enumerate(make_pairs(5, seed=1))]
    options = {"loss": loss, "beta": 0.2, "alpha": 0.7, "nll_average": average}
    learner = PreferenceLearner.open(llama, settings(token_budget=60, max_grad_norm=0), **options)
    reference = nudged(learner.reference_logprobs(pairs))

    def sums(row):
        logits = learner.model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
        return sum(w * logits[row.start + t - 1, row.ids[row.start + t]] for t, w in enumerate(row.weights))

    rows = [pair_rows(pair) for pair in pairs]
    scored = [sum(chosen.num_scored for chosen, _ in rows), len(rows)]
    expected = torch.zeros(())
    for pair, (chosen, rejected), (ref_chosen, ref_rejected) in zip(pairs, rows, reference, strict=True):
        s_w, s_l = sums(chosen), sums(rejected)
        divisor = scored[0] if average == "token" else chosen.num_scored * scored[1]
        nll = -pair.weight * s_w / divisor
        if loss == "ipo":
            h = (s_w - ref_chosen) / chosen.num_scored - (s_l - ref_rejected) / rejected.num_scored
            preference = pair.weight * (h - 1 / (2 * 0.2)) ** 2 / 5
        else:
            preference = pair.weight * torch.log1p(torch.exp(-0.2 * (s_w - ref_chosen - s_l + ref_rejected))) / 5
        expected = expected + {"dpo_nll": preference + 0.7 * nll, "sft": nll}.get(loss, preference)
    gradients = torch.autograd.grad(expected, list(learner.policy.parameters.values()))
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    metrics = learner.step(PairBatch(pairs, reference))
    assert metrics.loss == pytest.approx(expected.item(), rel=1e-5)
    assert metrics.grad_norm == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("average", ["sequence", "token"])
def test_splitting_padding_and_order_change_neither_loss_nor_gradients(average, llama: Path, settings, make_pairs):
    pairs = make_pairs(8, seed=5)
    seen = []
    for budget, order in ((10**6, 1), (300, 1), (80, 1), (1, 1), (10**6, -1)):
        learner = PreferenceLearner.open(llama, settings(token_budget=budget, max_grad_norm=0), nll_average=average)
        learner.policy.optimizer.update = lambda rate: 0.0  # keep the gradients, and the weights
        given = pairs[::order]
        metrics = learner.step(PairBatch(given, nudged(learner.reference_logprobs(pairs))[::order]))
        gradients = {name: p.grad.clone() for name, p in learner.policy.parameters.items()}
        seen.append((metrics, gradients))
    scale = max(float(g.abs().max()) for g in seen[0][1].values())
    for metrics, gradients in seen[1:]:
        for field in ("loss", "nll", "preference_loss", "chosen_logprob", "rejected_logprob", "margin", "accuracy"):
            assert getattr(metrics, field) == pytest.approx(getattr(seen[0][0], field), rel=1e-5, abs=1e-5), field
        assert largest_difference(gradients, seen[0][1]) < 1e-5 * max(1.0, scale)


def test_equal_rows_are_computed_once_with_the_gradients_of_all(llama: Path, settings, make_pair, make_pairs):
    one, two = make_pairs(2, seed=8)
    again = [
        make_pair("a", one.prompt_ids, one.chosen_ids, (*one.rejected_ids[:1], 11, 12)),  # the same winner
        make_pair("b", one.prompt_ids, (*one.chosen_ids[:1], 13, 14), one.rejected_ids),  # the same loser
    ]
    pairs = [make_pair(p.id, p.prompt_ids, p.chosen_ids, p.rejected_ids) for p in (one, two)]
    pairs = [*pairs, *again, dataclasses.replace(pairs[0], id="c")]
    seen = []
    for budget in (10**6, 1):  # all in one group, and each pair in a group of its own
        learner = PreferenceLearner.open(llama, settings(token_budget=budget, max_grad_norm=0))
        learner.policy.optimizer.update = lambda rate: 0.0  # keep the gradients, and the weights
        metrics = learner.step(PairBatch(pairs, nudged(learner.reference_logprobs(pairs))))
        seen.append((metrics, {name: p.grad.clone() for name, p in learner.policy.parameters.items()}))
    (together, gradients), (apart, expected) = seen
    assert together.num_padded < 0.7 * apart.num_padded and together.num_tokens == apart.num_tokens
    assert together.loss == pytest.approx(apart.loss, rel=1e-6)
    assert largest_difference(gradients, expected) < 1e-5 * max(1.0, *(float(g.abs().max()) for g in expected.values()))


def test_step_loss_is_the_mean_of_the_pure_function(llama: Path, settings, make_pairs):
    pairs = make_pairs(4, seed=6)
    learner = PreferenceLearner.open(llama, settings(), beta=0.3, alpha=0.5)
    now = torch.tensor(learner.reference_logprobs(pairs))
    reference = torch.tensor(nudged(now.tolist()))
    rows = [pair_rows(pair) for pair in pairs]
    lengths = torch.tensor([[float(w.num_scored), float(x.num_scored)] for w, x in rows])
    inputs = losses.PairLogProbs(*now.T, *reference.T, *lengths.T)
    metrics = learner.step(PairBatch(pairs, reference.tolist()))
    assert metrics.loss == pytest.approx(losses.dpo_nll(inputs, beta=0.3, alpha=0.5).mean().item(), rel=1e-5)


@pytest.mark.parametrize("rank", [0, 4])
def test_first_loss_is_ln_2_and_a_wrong_reference_raises_the_alarm(rank: int, llama: Path, settings, make_pairs):
    pairs = make_pairs(8)
    learner = PreferenceLearner.open(llama, settings(lora_rank=rank, learning_rate=1e-5))
    assert isinstance(learner, LearnerSession)
    reference = learner.reference_logprobs(pairs)
    result = learner.fit(pairs, reference)
    assert result.metrics[0].preference_loss == pytest.approx(math.log(2), abs=1e-4)
    assert result.metrics[0].first_step_gap < 1e-4 and result.metrics[1].first_step_gap is None
    assert result.alarms == ()
    wrong = PreferenceLearner.open(llama, settings(learning_rate=1e-5)).fit(pairs, nudged(reference))
    assert [alarm.name for alarm in wrong.alarms] == ["first_step_loss"]


def test_dropout_does_not_raise_the_first_step_alarm(llama: Path, settings, make_pairs):
    pairs = make_pairs(4)
    training = settings(lora_rank=4, lora_dropout=0.5, learning_rate=1e-2)
    learner = PreferenceLearner.open(llama, training)
    assert learner.policy.has_dropout
    first = learner.fit(pairs, learner.reference_logprobs(pairs), max_steps=1).metrics[0]
    assert first.first_step_gap < 1e-4
    assert not PreferenceLearner.open(llama, settings()).policy.has_dropout


def test_reference_is_refused_after_an_update_and_the_base_is_not_m_t(llama: Path, settings, make_pairs):
    pairs = make_pairs(4)
    learner = PreferenceLearner.open(llama, settings(lora_rank=4, learning_rate=1e-2))
    before = learner.reference_logprobs(pairs)
    learner.step(PairBatch(pairs, before))
    learner.step(PairBatch(pairs, before))
    with pytest.raises(RunFailed, match="after an update"):
        learner.reference_logprobs(pairs)
    base = learner.reference_logprobs(pairs, under="base")  # a fresh adapter starts as the base
    assert torch.allclose(torch.tensor(base), torch.tensor(before), atol=1e-4)
    now = learner.policy.score([pair_rows(pair) for pair in pairs])
    assert (torch.tensor(now) - torch.tensor(before)).abs().max() > 0.01


def toy_world(make_pair):
    """Chosen and rejected differ late; everything before the difference is shared, as in worked solutions."""
    pairs = []
    for i in range(12):
        prompt = [10 + i, 11 + i, 30]
        body = [40 + (i + k) % 9 for k in range(6)]
        right, wrong = ([first + (i + k) % 5 for k in range(4)] for first in (60, 70))
        pairs.append(make_pair(f"t{i}", prompt, [*body, *right, 2], [*body, *wrong, 2]))
    return pairs


def schooled(folder: Path, settings, pairs, out: Path) -> Path:
    """A model that knows both continuations, so that there is probability to lose."""
    both = [
        Example(f"{p.id}/{k}", p.id, p.prompt_ids, ids, (1.0,) * len(ids), "test")
        for p in pairs
        for k, ids in enumerate((p.chosen_ids, p.rejected_ids))
    ]
    sft = SFTLearner.open(folder, settings(learning_rate=1e-2, epochs=8, batch_size=8))
    result = sft.fit(both)
    assert result.metrics[-1].loss < 1.0
    sft.save(out)
    return out


def test_chosen_logprob_falls_under_dpo_and_rises_under_dpo_nll(llama: Path, settings, make_pair, tmp_path: Path):
    pairs = toy_world(make_pair)
    start = schooled(llama, settings, pairs, tmp_path / "m0")
    probes = {}
    for loss in ("dpo", "dpo_nll", "sft"):
        learner = PreferenceLearner.open(start, settings(learning_rate=1e-3, epochs=10), loss=loss, beta=0.1)
        result = learner.fit(pairs, learner.reference_logprobs(pairs), probe=pairs)
        probes[loss] = result.probe
        assert ("chosen_falling" in [a.name for a in result.alarms]) == (loss == "dpo")
    first, dpo, both, sft = probes["dpo"][0], *(probes[loss][-1] for loss in ("dpo", "dpo_nll", "sft"))
    assert first.margin == 0.0 and first.accuracy == 0.0
    assert dpo.chosen_logprob < first.chosen_logprob - 5.0
    assert both.chosen_logprob > first.chosen_logprob + 2.0
    assert both.rejected_logprob < first.rejected_logprob - 5.0
    assert sft.chosen_logprob > first.chosen_logprob + 2.0
    assert abs(sft.rejected_logprob - first.rejected_logprob) < 2.0  # supervised training leaves the rejected alone
    assert dpo.margin > 3 and both.margin > 3 and dpo.accuracy == both.accuracy == 1.0


def test_long_pairs_are_dropped_and_counted_never_cut(llama: Path, settings, make_pairs, make_pair):
    pairs = [*make_pairs(4, longest=8), make_pair("long", [9] * 30, [10] * 30, [11] * 3)]
    pairs.append(make_pair("masked", [9], [10], [11], chosen_mask=(0,)))
    learner = PreferenceLearner.open(llama, settings(max_length=40))
    reference = learner.reference_logprobs(pairs)
    assert all(math.isnan(value) for pair in reference[4:] for value in pair)
    result = learner.fit(pairs, reference)
    assert (result.dropped.too_long, result.dropped.no_loss_tokens) == (1, 1)
    assert result.dropped.ids == ("long", "masked") and result.steps == 1 and result.metrics[0].num_items == 4
    with pytest.raises(NothingToLearn, match="no pair to train on"):
        learner.fit(pairs[4:], reference[4:])
    with pytest.raises(DataError, match="cannot be trained on"):
        learner.step(PairBatch(pairs[4:5], reference[4:5]))


def test_bad_input_is_refused(llama: Path, settings, make_pairs):
    with pytest.raises(ConfigError, match="4 settings are wrong"):
        PreferenceLearner.open(llama, settings(), loss="rpo", beta=0.0, alpha=-1.0, nll_average="mean")
    pairs = make_pairs(4)
    learner = PreferenceLearner.open(llama, settings())
    with pytest.raises(DataError, match="needs its reference"):
        learner.fit(pairs, learner.reference_logprobs(pairs[:3]))
    with pytest.raises(DataError, match="not a number"):
        learner.fit(pairs, [(math.nan, math.nan)] * 4)
    with pytest.raises(DataError, match="needs its reference"):
        learner.step(PairBatch(pairs, learner.reference_logprobs(pairs[:3])))


class Killed(Exception):
    pass


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("killed_at", [1, 2, 3, 5, 6])
def test_kill_and_resume_ends_with_the_same_bits(rank, killed_at, llama: Path, settings, make_pairs, tmp_path: Path):
    pairs = make_pairs(9, seed=7)
    more = {"lora_rank": rank, "lora_dropout": 0.1 if rank else 0.0, "checkpoint_every": 2, "batch_size": 3}
    training = settings(epochs=2.0, schedule="cosine", warmup_steps=2, weight_decay=0.1, **more)

    def run(folder: Path, kill: int | None):
        learner = PreferenceLearner.open(llama, training, seed=11)

        def on_step(metrics):
            torch.rand(3)  # what a callback draws must not matter
            if metrics.step == kill:
                raise Killed

        reference = learner.reference_logprobs(pairs)
        return learner, learner.fit(pairs, reference, folder, on_step=on_step, probe=pairs[:3], eval_every=3)

    whole, result = run(tmp_path / "whole", None)
    with pytest.raises(Killed):
        run(tmp_path / "killed", killed_at)
    torch.manual_seed(99)
    resumed, again = run(tmp_path / "killed", None)
    assert largest_difference(weights_of(whole), weights_of(resumed)) == 0.0
    assert resumed.updates == whole.updates == result.steps == again.steps == 6
    assert [p.step for p in again.probe] == [0, 3, 6] and again.probe == result.probe
    untimed = [[dataclasses.replace(m, seconds=0.0) for m in r.metrics] for r in (result, again)]
    assert untimed[0] == untimed[1]
    finished, done = run(tmp_path / "killed", None)  # a finished fit does nothing more
    assert done.steps == 6 and largest_difference(weights_of(whole), weights_of(finished)) == 0.0


def test_resume_is_refused_with_other_data_settings_or_weights(
    llama: Path, settings, make_pairs, tmp_path: Path, tiny_model_dir: Callable[..., Path]
):
    pairs = make_pairs(8, seed=8)

    def fit(count=8, model=llama, resume=True, beta=0.1, **values):
        learner = PreferenceLearner.open(model, settings(checkpoint_every=1, **values), beta=beta)
        return learner.fit(pairs[:count], learner.reference_logprobs(pairs[:count]), tmp_path / "c", resume=resume)

    fit()
    for change, name in (
        ({"count": 7}, "data"),
        ({"learning_rate": 2e-3}, "settings"),
        ({"beta": 0.2}, "objective"),
        ({"model": tiny_model_dir("qwen2")}, "start"),
    ):
        with pytest.raises(RunError, match=f"another training(.|\n)*{name}"):
            fit(**change)
    assert fit(beta=0.2, resume=False).steps == 2
    assert len(list((tmp_path / "c").iterdir())) == 1  # old checkpoints are pruned


def test_online_session_checkpoint_and_restore(llama: Path, settings, make_pairs, tmp_path: Path):
    first, second = make_pairs(4, seed=1), make_pairs(4, seed=2)

    def opened():
        return PreferenceLearner.open(llama, settings(lora_rank=4), loss="dpo", beta=1.0)

    whole = opened()
    batches = [batch_of(whole, first), PairBatch(second, whole.reference_logprobs(second, under="base"))]
    for batch in batches:
        whole.step(batch)
    part = opened()
    assert not part.restore(tmp_path / "c")
    part.step(batches[0])
    part.checkpoint(tmp_path / "c")
    resumed = opened()
    assert resumed.restore(tmp_path / "c") and resumed.updates == 1
    resumed.step(batches[1])
    assert largest_difference(weights_of(whole), weights_of(resumed)) == 0.0


def test_on_eval_and_max_steps(llama: Path, settings, make_pairs):
    pairs = make_pairs(10)
    learner = PreferenceLearner.open(llama, settings(batch_size=2))
    seen = []
    reference = learner.reference_logprobs(pairs)
    result = learner.fit(
        pairs, reference, max_steps=5, eval_every=2, on_eval=lambda step: seen.append((step, learner.model.training))
    )
    assert seen == [(2, False), (4, False), (5, False)] and result.steps == 5
    assert [m.step for m in result.metrics] == [1, 2, 3, 4, 5] and not learner.model.training


def test_a_diverging_step_leaves_the_weights_alone(llama: Path, settings, make_pairs):
    pairs = make_pairs(4)
    learner = PreferenceLearner.open(llama, settings())
    batch = batch_of(learner, pairs)
    with torch.no_grad():
        learner.model.lm_head.weight[0, 0] = math.inf
    before = weights_of(learner)
    with pytest.raises(RunFailed, match="diverged"):
        learner.step(batch)
    assert all(torch.equal(before[name], p) for name, p in learner.policy.parameters.items())
    assert learner.updates == 0 and all(p.grad is None for p in learner.policy.parameters.values())


def test_gradient_checkpointing_gives_the_same_step(llama: Path, settings, make_pairs):
    pairs = make_pairs(4)
    ends = []
    for checkpointing in (False, True):
        learner = PreferenceLearner.open(llama, settings(gradient_checkpointing=checkpointing))
        learner.step(batch_of(learner, pairs))
        ends.append(weights_of(learner))
    assert largest_difference(*ends) < 1e-6


def test_bfloat16_trains_float32_weights(llama: Path, settings, make_pairs):
    pairs = make_pairs(8)
    learner = PreferenceLearner.open(llama, settings(learning_rate=1e-4), dtype="bfloat16")
    assert all(p.dtype == torch.float32 for p in learner.policy.parameters.values())
    result = learner.fit(pairs, learner.reference_logprobs(pairs))
    assert result.metrics[0].preference_loss == pytest.approx(math.log(2), abs=0.02) and result.alarms == ()
    lora = PreferenceLearner.open(llama, settings(lora_rank=2), dtype="bfloat16")
    assert all(p.dtype == torch.float32 for p in lora.policy.parameters.values())
    assert lora.model.get_base_model().lm_head.weight.dtype == torch.bfloat16
    assert lora.fit(pairs, lora.reference_logprobs(pairs)).alarms == ()
