"""The schedule by hand, clipping, weight decay, and the state's way to disk and back."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tutelage.errors import RunError, RunFailed
from tutelage.learning import checkpoints
from tutelage.learning.checkpoints import Checkpoint
from tutelage.learning.optimizer import Optimizer, learning_rate


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1.0, 1.0, 0.8535534, 0.5, 0.1464466]),
    ],
)
def test_learning_rates_by_hand(schedule, expected, settings):
    values = settings(learning_rate=1.0, warmup_steps=2, schedule=schedule)
    assert [learning_rate(step, values, total_steps=6) for step in range(6)] == pytest.approx(expected)


def test_update_clips_decays_matrices_only_and_returns_the_norm(settings):
    matrix, vector = torch.nn.Parameter(torch.ones(1, 1)), torch.nn.Parameter(torch.ones(1))
    optimizer = Optimizer({"m": matrix, "v": vector}, settings(weight_decay=0.5, max_grad_norm=1.0))
    matrix.grad, vector.grad = torch.full((1, 1), 3.0), torch.full((1,), 4.0)
    assert optimizer.update(0.1) == pytest.approx(5.0)
    # AdamW's first step moves by the rate, whatever the gradient's size; decay takes rate * decay of the weight
    assert matrix.item() == pytest.approx(1 - 0.1 * 0.5 - 0.1, abs=1e-5)
    assert vector.item() == pytest.approx(1 - 0.1, abs=1e-5)
    assert matrix.grad is None


def test_gradients_that_are_not_finite_are_refused(settings):
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = Optimizer({"p": parameter}, settings(max_grad_norm=0))
    parameter.grad = torch.full((2, 2), math.nan)
    with pytest.raises(RunFailed, match="not finite"):
        optimizer.update(0.1)
    assert torch.equal(parameter, torch.ones(2, 2)) and parameter.grad is None


def made(folder: Path, step: int, **identity: str) -> None:
    weights = {"w": torch.full((2,), float(step))}
    checkpoints.write(folder, Checkpoint(step, weights, {"step/w": torch.tensor(3.0)}, identity, {"updates": step}))


def test_the_newest_checkpoint_is_read_and_older_ones_go(tmp_path: Path):
    assert checkpoints.read_latest(tmp_path, {}) is None
    assert checkpoints.read_latest(tmp_path / "none", {}) is None
    for step in (9, 10, 11):
        made(tmp_path, step, data="d")
    (tmp_path / ".step-000012.draft").mkdir()  # what a kill in mid-write leaves
    found = checkpoints.read_latest(tmp_path, {"data": "d"})
    assert found.step == 11 and found.weights["w"].tolist() == [11.0, 11.0] and found.history == {"updates": 11}
    assert sorted(p.name for p in tmp_path.iterdir()) == [".step-000012.draft", "step-000011"]
    made(tmp_path, 12, data="d")
    assert [p.name for p in tmp_path.iterdir()] == ["step-000012"]
    checkpoints.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_trainings_or_a_broken_checkpoint_is_refused(tmp_path: Path):
    made(tmp_path, 1, data="d", start="s")
    with pytest.raises(RunError, match="other data, start"):
        checkpoints.read_latest(tmp_path, {"data": "e", "start": "t"})
    (tmp_path / "step-000001" / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="cannot be read"):
        checkpoints.read_latest(tmp_path, {"data": "d", "start": "s"})
    (tmp_path / "step-000001" / "state.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        checkpoints.read_latest(tmp_path, {"data": "d", "start": "s"})
