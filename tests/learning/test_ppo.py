"""The PPO learner: trajectories as the contract has them, losses as written out, values, resume, what it learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from tutelage.errors import DataError, NothingToLearn
from tutelage.learning import losses
from tutelage.learning.log_probs import sequence_logprobs
from tutelage.learning.ppo import PPOLearner, ValueModel
from tutelage.learning.session import LearnerSession
from tutelage.learning.surrogate import Episode, Surrogate, estimate, make_targets
from tutelage.records import Completion, Policy, SamplingParams

POLICY = Policy("m", "", 0)
CPU = torch.device("cpu")


def completion_of(name: str, problem: str, prompt, tokens, segments=None) -> Completion:
    return Completion(
        name, problem, "answer", POLICY, "t", tuple(prompt), tuple(tokens), "",
        segments or ((0, len(tokens), "model"),), (0.0,) * len(tokens), "stop", SamplingParams(), 0,
    )  # fmt: skip


@pytest.fixture
def episodes(make_pairs) -> list[Episode]:
    """Three problems with two completions each; the first has tool output in its middle; the first of each is right."""
    out = []
    for i, pair in enumerate(make_pairs(3, seed=6)):
        sides = (*pair.chosen_ids[:9], 12, 13), (*pair.rejected_ids, 14)
        for j, ids in enumerate(sides):
            end = len(ids)
            segments = ((0, 1, "model"), (1, 2, "tool"), (2, end, "model")) if (i, j) == (0, 0) else None
            out.append(Episode(completion_of(f"c{i}{j}", f"p{i}", pair.prompt_ids, ids, segments), 1.0 - j))
    return out


def test_trajectories_hold_one_entry_per_written_token(llama: Path, settings, episodes) -> None:
    learner = PPOLearner.open(llama, settings(), surrogate=Surrogate(whiten=False))
    assert isinstance(learner, LearnerSession)
    found = learner.experience(episodes, beta=0.1, policy=POLICY)
    assert found.kl == pytest.approx(0.0, abs=1e-5) and found.reward == 0.5
    values = sequence_logprobs(
        learner.model, [e.completion.prompt_ids for e in episodes], [e.completion.token_ids for e in episodes]
    )  # fmt: skip
    for episode, trajectory, logprobs in zip(episodes, found.trajectories, values, strict=True):
        mask = episode.completion.loss_mask()
        written = [value for value, m in zip(logprobs, mask, strict=True) if m]
        assert trajectory.old_logprobs == pytest.approx(written, abs=1e-5)
        assert trajectory.values == (0.0,) * sum(mask), "a fresh head says 0"
        # The reference is the policy itself, so only the last token is paid; with V = 0, A_t = lambda^(n - t) R.
        assert trajectory.rewards == pytest.approx([0.0] * (sum(mask) - 1) + [episode.score], abs=1e-6)
        powers = [0.95 ** (sum(mask) - 1 - t) * episode.score for t in range(sum(mask))]
        assert trajectory.advantages == pytest.approx(powers, abs=1e-6)
        assert trajectory.policy == POLICY
    entropy = -sum(sum(t.old_logprobs) for t in found.trajectories) / sum(len(t.values) for t in found.trajectories)
    assert found.entropy == pytest.approx(entropy)


def test_the_estimate_is_that_of_the_contract() -> None:
    """The trajectory of tests/contracts/test_trace_ppo.py, through the code that recipes use."""
    completion = completion_of("c", "p", (9,), (1, 2, 3, 4, 5), ((0, 2, "model"), (2, 3, "tool"), (3, 5, "model")))
    found = estimate(
        Surrogate(gae_lambda=0.5), [Episode(completion, 1.0)], [[-0.5, -1.0, -0.2, -0.1]], [[-0.7, -0.8, -0.2, -0.4]],
        values=[[0.5, 0.6, 0.7, 0.8]], beta=0.1,
    )  # fmt: skip
    rewards, advantages = found.of(0, 4)
    assert rewards == pytest.approx((-0.02, 0.02, 0.0, 0.97))
    assert advantages == pytest.approx((0.18625, 0.2125, 0.185, 0.17))


def test_group_advantages_are_the_whole_solutions_and_need_no_values(llama: Path, settings, episodes) -> None:
    learner = PPOLearner.open(llama, settings(), surrogate=Surrogate(advantage="rloo"))
    assert learner.value is None
    for trajectory, expected in zip(
        learner.experience(episodes, beta=0.0, policy=POLICY).trajectories, [1.0, -1.0] * 3, strict=True
    ):
        assert trajectory.advantages == pytest.approx([expected] * len(trajectory.advantages))


def test_whitening_leaves_the_returns_alone(llama: Path, settings, episodes) -> None:
    learner = PPOLearner.open(llama, settings(), surrogate=Surrogate())
    found = learner.experience(episodes, beta=0.0, policy=POLICY).trajectories
    batch = list(zip([e.completion for e in episodes], found, strict=True))
    white, raw = (make_targets(Surrogate(whiten=w), batch, device=CPU) for w in (True, False))
    together = torch.cat([t.advantages for t in white])
    assert float(together.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(together.std(correction=0)) == pytest.approx(1.0, abs=1e-5)
    for a, b in zip(white, raw, strict=True):
        torch.testing.assert_close(a.returns, b.returns)


@pytest.mark.parametrize("average", ["token", "sequence"])
@pytest.mark.parametrize("budget", [10**6, 40])
def test_the_first_gradient_is_the_policy_gradient(average, budget, llama: Path, settings, episodes) -> None:
    """At ratio 1 the loss is minus the weighted advantages, and its gradient that of the weighted log-probs."""
    surrogate = Surrogate(advantage="rloo", average=average)
    learner = PPOLearner.open(llama, settings(token_budget=budget, max_grad_norm=0), surrogate=surrogate)
    found = learner.experience(episodes, beta=0.0, policy=POLICY).trajectories
    learner.policy.optimizer.update = lambda rate: 0.0
    metrics = learner.step(list(zip([e.completion for e in episodes], found, strict=True)))
    gradient = learner.model.lm_head.weight.grad.clone()
    learner.model.zero_grad()
    total, lengths = torch.zeros(()), [len(t.advantages) for t in found]
    for episode, trajectory in zip(episodes, found, strict=True):
        ids = torch.tensor([[*episode.completion.prompt_ids, *episode.completion.token_ids]])
        start = len(episode.completion.prompt_ids)
        logprobs = learner.model(ids).logits[0, start - 1 : -1].log_softmax(-1)
        chosen = logprobs.gather(1, ids[0, start:, None])[:, 0][torch.tensor(episode.completion.loss_mask()).bool()]
        weight = 1 / sum(lengths) if average == "token" else 1 / (len(lengths) * len(trajectory.advantages))
        total = total - weight * (chosen * torch.tensor(trajectory.advantages)).sum()
    total.backward()
    torch.testing.assert_close(gradient, learner.model.lm_head.weight.grad, atol=1e-5, rtol=1e-3)
    flat = [a for t in found for a in t.advantages]
    expected = sum(flat) / len(flat) if average == "token" else sum(t.advantages[0] for t in found) / len(found)
    assert metrics.loss == pytest.approx(-expected, abs=1e-5)
    assert metrics.clip_fraction == 0.0 and metrics.step_kl == pytest.approx(0.0, abs=1e-6)


def test_values_are_of_the_state_before_the_token(llama: Path, settings, episodes) -> None:
    model = ValueModel.open(llama, settings())
    torch.nn.init.normal_(model.policy.model.score.weight, generator=torch.Generator().manual_seed(1))
    completion = episodes[0].completion
    from tutelage.learning.batches import completion_row

    [values] = model.values([completion_row(completion)])
    ids = torch.tensor([[*completion.prompt_ids, *completion.token_ids]])
    with torch.no_grad():
        states = model.policy.model.model(ids).last_hidden_state
        every = model.policy.model.score(states)[0, len(completion.prompt_ids) - 1 : -1, 0].tolist()
    expected = [v for v, m in zip(every, completion.loss_mask(), strict=True) if m]
    assert values == pytest.approx(expected, abs=1e-5)


def test_the_value_network_learns_what_pays(llama: Path, settings, episodes) -> None:
    training = settings(learning_rate=1e-9, epochs=40.0, batch_size=6)
    learner = PPOLearner.open(llama, training, surrogate=Surrogate(gae_lambda=1.0, value_clip=10.0), value_rate=1e7)
    found = learner.experience(episodes, beta=0.0, policy=POLICY).trajectories
    result = learner.fit(list(zip([e.completion for e in episodes], found, strict=True)))
    assert result.metrics[-1].value_loss < 0.2 * result.metrics[0].value_loss
    after = learner.experience(episodes, beta=0.0, policy=POLICY).trajectories
    ends = [t.values[-1] for t in after]
    assert min(ends[::2]) > max(ends[1::2]), "right solutions are expected to earn more at their last token"


@pytest.mark.parametrize("advantage, rank", [("gae", 0), ("grpo", 4)])
def test_what_pays_becomes_likelier_and_a_resumed_fit_has_the_same_bits(
    advantage, rank, llama: Path, settings, episodes, tmp_path: Path
) -> None:
    training = settings(learning_rate=1e-2, epochs=4.0, batch_size=3, checkpoint_every=3, lora_rank=rank)

    def run(folder: Path, kill: int | None = None):
        learner = PPOLearner.open(llama, training, surrogate=Surrogate(advantage=advantage), seed=3)
        found = learner.experience(episodes, beta=0.05, policy=POLICY)

        def on_step(metrics):
            if metrics.step == kill:
                raise KeyboardInterrupt

        batch = list(zip([e.completion for e in episodes], found.trajectories, strict=True))
        return learner, found, learner.fit(batch, folder, on_step=on_step)

    whole, before, result = run(tmp_path / "a")
    after = whole.experience(episodes, beta=0.05, policy=POLICY)

    def gain(i: int) -> float:
        return sum(after.trajectories[i].old_logprobs) - sum(before.trajectories[i].old_logprobs)

    assert sum(gain(i) for i in (0, 2, 4)) > 0.5 > sum(gain(i) for i in (1, 3, 5))
    assert after.kl != 0 and whole.kl([e.completion for e in episodes]) == pytest.approx(after.kl)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", kill=5)
    resumed, _, again = run(tmp_path / "b")
    assert again.steps == result.steps == 8
    trained = [(whole.policy, resumed.policy)]
    if whole.value and resumed.value:
        trained.append((whole.value.policy, resumed.value.policy))
    for policy, other in trained:
        for name, parameter in policy.parameters.items():
            assert torch.equal(parameter, other.parameters[name]), name
    whole.checkpoint(tmp_path / "state")
    fresh = PPOLearner.open(llama, training, surrogate=Surrogate(advantage=advantage), seed=3)
    assert fresh.restore(tmp_path / "state") and fresh.updates == 8
    batch = list(zip([e.completion for e in episodes], after.trajectories, strict=True))
    assert fresh.step(batch).loss == whole.step(batch).loss
    for name, parameter in whole.policy.parameters.items():
        assert torch.equal(parameter, fresh.policy.parameters[name]), "the moments came back too"


def test_clipping_bounds_what_one_round_can_do(llama: Path, settings, episodes) -> None:
    training = settings(learning_rate=3e-3, epochs=30.0, batch_size=6)
    moved = {}
    for clip in (0.05, 0.9):
        learner = PPOLearner.open(llama, training, surrogate=Surrogate(advantage="rloo", clip=clip))
        found = learner.experience(episodes, beta=0.0, policy=POLICY).trajectories
        metrics = learner.fit(list(zip([e.completion for e in episodes], found, strict=True))).metrics
        moved[clip] = metrics[-1].step_kl
        assert metrics[-1].clip_fraction > 0
    assert moved[0.05] < 0.5 * moved[0.9]


def test_bad_input_is_told(llama: Path, settings, episodes) -> None:
    learner = PPOLearner.open(llama, settings(), surrogate=Surrogate(advantage="grpo"))
    found = learner.experience(episodes, beta=0.0, policy=POLICY).trajectories
    with pytest.raises(DataError, match="do not belong together"):
        learner.step([(episodes[1].completion, found[0])])
    with pytest.raises(DataError, match="do not belong together"):
        learner.step([(episodes[0].completion, dataclasses.replace(found[0], values=()))])
    nothing = completion_of("x", "p", (9,), (10,), ((0, 1, "forced"),))
    with pytest.raises(NothingToLearn, match="no completion"):
        learner.experience([Episode(nothing, 1.0)], beta=0.0, policy=POLICY)
    kept = learner.experience([Episode(nothing, 1.0), *episodes], beta=0.0, policy=POLICY)
    assert kept.dropped.ids == ("x",) and len(kept.trajectories) == 6


def test_the_surrogate_at_ratio_one_has_the_value_of_the_advantages() -> None:
    old = torch.tensor([-1.0, -2.0])
    assert float(losses.clipped_policy(old, old, torch.tensor([1.0, -3.0]), clip=0.2).sum()) == 2.0
