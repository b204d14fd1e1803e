"""A sampler that cannot serve the run is refused before any work: exit code 2 and no run folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.cli.main import main
from tutelage.cli.seats import guest_config
from tutelage.recipes import diverse_rft

WORDS = ["run", "iterative-rpo", "model=primer", "data=primer:train?n=20", "eval_data=primer:test?n=4"]


def test_a_server_is_refused_where_all_weights_are_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main([*WORDS, "sampler=server:http://127.0.0.1:9", "lora_rank=0", f"output_dir={folder}"]) == 2
    shown = capsys.readouterr().err
    assert "lora_rank" in shown and "--resume" not in shown
    assert not folder.exists()


def test_a_missing_recording_is_told_before_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main([*WORDS, f"sampler=replay:{tmp_path / 'none.jsonl'}", f"output_dir={folder}"]) == 2
    assert "The data file does not exist" in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize(
    "name, sampler, model, prompt",
    [
        ("server:http://h", "server:http://h", "m", "plain"),
        ("replay:a.jsonl", "replay:a.jsonl", "m", "plain"),
        ("scripted:a.py:f", "scripted:a.py:f", "m", "plain"),
        ("local:n", "local", "n", "auto"),
        ("local:m", "local", "m", "plain"),
        ("n", "replay:own.jsonl", "n", "auto"),
        ("m", "replay:own.jsonl", "m", "plain"),
    ],
)
def test_a_guest_brings_its_sampler_or_its_model(name: str, sampler: str, model: str, prompt: str) -> None:
    config = diverse_rft.Config(model="m", data="primer:train?n=2", sampler="replay:own.jsonl", prompt="plain")
    guest = guest_config(config, name)
    assert (guest.sampler, guest.model, guest.prompt) == (sampler, model, prompt)
