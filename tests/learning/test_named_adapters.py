"""Two adapters on one base: one trains and the other does not move; both are saved, resumed, swapped, sampled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tutelage.config.settings import UpdateSettings
from tutelage.errors import ConfigError, ModelError, RunError
from tutelage.learning.named_adapters import NamedAdapters
from tutelage.learning.objectives import Objective
from tutelage.records import Policy, PreferencePair, SamplingParams
from tutelage.sampling.local import LocalSampler
from tutelage.sampling.session import SampleRequest

ROLES = ("answer", "stop")
SETTINGS = UpdateSettings(learning_rate=5e-2, lora_rank=4, lora_alpha=8, lora_dropout=0.05)
PROMPTS = [(1, 20 + i, 30, 31, 40 + 2 * i) for i in range(6)]


def pair(i: int, prompt: tuple[int, ...]) -> PreferencePair:
    chosen, rejected = (50 + i, 51, 2), (60, 61 + i, 62, 2)
    return PreferencePair(
        f"p{i}", f"q{i}", prompt, chosen, rejected, (1,) * 3, (1,) * 4, f"c{i}", f"r{i}", "next-chunk"
    )  # fmt: skip


PAIRS = [pair(i, prompt) for i, prompt in enumerate(PROMPTS)]


@pytest.fixture
def open_team(tiny_model_dir: Callable[..., Path]) -> Callable[..., NamedAdapters]:
    """A function that opens both adapters on a tiny model; `kind` and keywords of `open` may be given."""

    def make(kind: str = "llama", **options: Any) -> NamedAdapters:
        options = {"objective": Objective("dpo", beta=1.0), "seed": 3, **options}
        settings = options.pop("settings", SETTINGS)
        return NamedAdapters.open(tiny_model_dir(kind), settings, ROLES, **options)

    return make


def weights_of(team: NamedAdapters, name: str) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in team.parameters(name).items()}


def is_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def draw(session: Any, adapter: str, version: int = 0) -> list[tuple[int, ...]]:
    for i, prompt in enumerate(PROMPTS):
        params = SamplingParams(temperature=1.0, max_new_tokens=12)
        session.submit(
            SampleRequest(f"{adapter}{i}", f"q{i}", prompt, params, seed=i, adapter=adapter, version=version)
        )
    found = {c.id: c for c in session.completions()}
    assert all(c.finish_reason != "error" for c in found.values()), next(iter(found.values())).note
    return [found[f"{adapter}{i}"].token_ids for i in range(len(PROMPTS))]


def sampler_of(team: NamedAdapters) -> LocalSampler:
    return LocalSampler(team.model, team.tokenizer, policy=Policy("m", "answer"))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3"])
def test_training_one_leaves_the_other_and_the_base_bit_identical(open_team, kind) -> None:
    team = open_team(kind)
    stop = weights_of(team, "stop")
    base = {name: p.detach().clone() for name, p in team.model.named_parameters() if "lora_" not in name}
    before = weights_of(team, "answer")
    for _ in range(3):
        assert team.update("answer", PAIRS).metrics is not None
    assert is_equal(weights_of(team, "stop"), stop)
    assert not is_equal(weights_of(team, "answer"), before)
    assert all(torch.equal(dict(team.model.named_parameters())[name], p) for name, p in base.items())
    answer = weights_of(team, "answer")
    team.update("stop", PAIRS)
    assert is_equal(weights_of(team, "answer"), answer)
    assert not is_equal(weights_of(team, "stop"), stop)
    assert (team.updates("answer"), team.updates("stop")) == (3, 1)


def test_each_role_trains_its_own_tensors_only(open_team) -> None:
    team = open_team()
    assert all(".answer." in name for name in team.parameters("answer"))
    assert all(".stop." in name for name in team.parameters("stop"))
    assert len(team.parameters("answer")) == len(team.parameters("stop")) > 0


def test_first_loss_is_ln2_against_the_base_and_later_ones_fall(open_team) -> None:
    team = open_team(settings=SETTINGS.model_copy(update={"learning_rate": 1e-2, "lora_dropout": 0.0}))
    losses = [team.update("stop", PAIRS).metrics for _ in range(6)]
    assert losses[0] is not None and losses[0].first_step_gap == pytest.approx(0, abs=1e-5)
    assert losses[-1].preference_loss < losses[0].preference_loss
    assert losses[-1].margin > 0


def test_both_reload_and_generate_the_same_tokens(open_team, tiny_model_dir, tmp_path) -> None:
    team = open_team()
    fresh = draw(sampler_of(team), "answer")
    for _ in range(4):
        team.update("answer", PAIRS)
        team.update("stop", PAIRS[::-1])
    for name in ROLES:
        team.save(name, tmp_path / name)
    session = sampler_of(team)
    now = {name: draw(session, name) for name in ROLES}
    assert now["answer"] != fresh and now["answer"] != now["stop"]
    for name in ROLES:  # as any tool would load it
        alone = LocalSampler.open(tiny_model_dir("llama"), adapter=tmp_path / name, policy=Policy("m", name))
        assert draw(alone, name) == now[name]
    swapped = open_team(starts={"answer": tmp_path / "stop", "stop": tmp_path / "answer"})
    session = sampler_of(swapped)
    assert draw(session, "answer") == now["stop"] and draw(session, "stop") == now["answer"]


def test_sampling_between_updates_changes_nothing_of_the_training(open_team) -> None:
    plain, sampled = open_team(), open_team()
    session = sampler_of(sampled)
    for _ in range(3):
        for name in ROLES:
            draw(session, name, plain.updates(name))
            plain.update(name, PAIRS)
            sampled.update(name, PAIRS)
            session.adopt(name, sampled.updates(name))
    for name in ROLES:
        assert is_equal(weights_of(plain, name), weights_of(sampled, name))


def test_a_sampler_sees_an_update_at_once_and_refuses_the_old_version(open_team) -> None:
    team = open_team()
    session = sampler_of(team)
    before = {name: draw(session, name) for name in ROLES}
    for _ in range(3):
        team.update("answer", PAIRS)
    session.adopt("answer", 3)
    assert draw(session, "answer", 3) != before["answer"]
    assert draw(session, "stop") == before["stop"]
    session.submit(SampleRequest("old", "q", PROMPTS[0], SamplingParams(), seed=0, adapter="answer", version=0))
    [refused] = session.completions()
    assert refused.finish_reason == "error" and "version 0" in refused.note


def test_a_checkpoint_goes_on_exactly(open_team, tmp_path) -> None:
    whole, first = open_team(), open_team()
    order = ["answer", "stop", "answer", "answer", "stop"]
    for name in order:
        whole.update(name, PAIRS)
    for name in order[:3]:
        first.update(name, PAIRS)
    first.checkpoint(tmp_path / "state", {"seen": 7})
    second = open_team()
    assert second.restore(tmp_path / "none") is None
    assert second.restore(tmp_path / "state") == {"seen": 7, "updates": {"answer": 2, "stop": 1}}
    for name in order[3:]:
        second.update(name, PAIRS)
    for name in ROLES:
        assert is_equal(weights_of(whole, name), weights_of(second, name))
    with pytest.raises(RunError, match="another training"):
        open_team(objective=Objective("dpo", beta=0.5)).restore(tmp_path / "state")


def test_pairs_that_cannot_be_read_whole_are_left_out_and_named(open_team) -> None:
    team = open_team(settings=SETTINGS.model_copy(update={"max_length": 8}))
    result = team.update("answer", PAIRS)  # prompt 5 + chosen 3, prompt 5 + rejected 4
    assert result.metrics is None and result.dropped == tuple(p.id for p in PAIRS)
    assert team.updates("answer") == 0


def test_what_cannot_work_is_refused(open_team, tmp_path) -> None:
    with pytest.raises(ConfigError, match="lora_rank=0"):
        open_team(settings=UpdateSettings(lora_rank=0))
    with pytest.raises(ConfigError, match="lora_targets"):
        open_team(settings=UpdateSettings(lora_rank=2, lora_targets="nothing"))
    with pytest.raises(ModelError, match="no adapter"):
        open_team(starts={"stop": tmp_path})
