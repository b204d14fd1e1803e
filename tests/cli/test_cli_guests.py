"""Whom a recipe's settings name besides its model: wrong names are told before anything is drawn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli.backends import assemble, open_bench
from tutelage.cli.guests import named
from tutelage.cli.main import main
from tutelage.errors import InputError, ModelError
from tutelage.primer import model_path
from tutelage.recipes import critique_data, diverse_rft, judge, ppo
from tutelage.recipes.progress import SilentProgress

DATA: dict[str, Any] = dict(model="primer", data="primer:train?n=8", eval_data="primer:dev?n=4")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run folder with two checkpoints."""
    run = tmp_path / "trained"
    for name in ("it1", "it2"):
        shutil.copytree(model_path(), run / "checkpoints" / name)
    (run / "run.json").write_text(json.dumps({"recipe": "sft"}))
    return run


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A run folder without any."""
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "run.json").write_text(json.dumps({"recipe": "sft"}))
    return tmp_path / "unfinished"


def test_annotators_that_are_no_models_are_not_looked_for() -> None:
    assert list(named(critique_data.Config(**DATA, annotator="noisy:0.1"), ("annotator",))) == []
    config = judge.Config(**DATA, annotator="a", students=["b", "c"])
    assert list(named(config, ("annotator", "students"))) == [("annotator", "a"), ("students", "b"), ("students", "c")]


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (diverse_rft, {"samplers": ["primer", "primr"]}),
        (diverse_rft, {"judge": "local:primr"}),
        (diverse_rft, {"reward_model": "primr"}),
        (diverse_rft, {"samplers": ["/no/such/model"]}),
        (diverse_rft, {"reward_model": "primer"}),  # a language model
        (judge, {"students": ["primr"]}),
        (judge, {"annotator": "primr"}),
        (critique_data, {"annotator": "primr"}),
        (ppo, {"reward": "both", "reward_model": "/no/such/model"}),
    ],
)
def test_a_wrong_name_is_told_before_there_is_a_run_folder(tmp_path: Path, module: Any, settings: Any) -> None:
    config = module.Config(**DATA, **settings)
    with (
        pytest.raises(ModelError) as caught,
        open_bench(config, recipe=module.NAME, folder=tmp_path / "run", progress=SilentProgress()),
    ):
        pass
    assert not (tmp_path / "run").exists()
    assert getattr(caught.value, "__notes__", []) == [f"named by: {next(reversed(settings))}"]


def test_a_run_stands_for_its_last_checkpoint_and_that_is_told(tmp_path: Path, trained: Path) -> None:
    last = str(trained / "checkpoints" / "it2")
    config = diverse_rft.Config(**DATA | {"model": str(trained)}, samplers=[str(trained), "primer"])
    progress = SilentProgress()
    with open_bench(config, recipe="diverse-rft", folder=tmp_path / "run", progress=progress) as bench:
        assert bench.base.model == last
        assert bench.invite(str(trained)).base.model == bench.invite(f"local:{trained}").base.model == last
    assert progress.notes == [f"samplers={trained}: its last checkpoint, {last}"]


def test_a_run_without_a_checkpoint_is_refused_wherever_it_is_named(unfinished: Path) -> None:
    for settings in ({"model": str(unfinished)}, {"samplers": [str(unfinished)]}, {"reward_model": str(unfinished)}):
        with pytest.raises(InputError, match="this run has no checkpoint"):
            assemble(diverse_rft.Config(**DATA | settings))


def test_a_recipe_and_an_evaluation_take_a_run_as_model(
    tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last, told = str(trained / "checkpoints" / "it2"), f"model={trained}: its last checkpoint, "
    words = ["run", "sft", f"model={trained}", "data=primer:train?n=8", "eval_data=primer:dev?n=4", "eval_samples=0",
             "max_steps=1", "max_new_tokens=48", f"output_dir={tmp_path / 'run'}"]  # fmt: skip
    assert main(words) == 0
    assert told + last in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["model"] == last
    words = ["eval", str(trained), "--data", "primer:dev?n=4", "max_new_tokens=48", "--output", str(tmp_path / "eval")]
    assert main(words) == 0
    assert told + last in capsys.readouterr().err
    assert json.loads((tmp_path / "eval" / "report.json").read_text())["model"] == last


def test_an_evaluation_of_a_run_without_a_checkpoint_says_so(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(unfinished), "--data", "primer:dev?n=4"]) == 2
    assert "this run has no checkpoint" in capsys.readouterr().err
