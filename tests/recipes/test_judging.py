"""How a judge is asked by other recipes: as its run taught it, and told where not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tutelage.config.loading import load_settings, resolved
from tutelage.recipes import diverse_rft
from tutelage.recipes.judging import JudgeSettings, unlike_taught


def taught(folder: Path, recipe: str = "judge", **config: Any) -> Path:
    """A run folder that says no more than with which settings its judge was taught."""
    (folder / "checkpoints" / "it1").mkdir(parents=True)
    shown = {"reference": True, "prompt": "auto", "system_prompt": None, "students": []} | config
    (folder / "run.json").write_text(json.dumps({"recipe": recipe, "config": shown}))
    return folder


def test_a_judge_is_asked_as_its_run_taught_it_unless_the_user_says_otherwise(tmp_path) -> None:
    blind = taught(tmp_path / "blind", reference=False)
    for name in (str(blind), f"local:{blind}", str(blind / "checkpoints" / "it1")):
        assert not JudgeSettings(judge=name).judge_reference
        assert JudgeSettings(judge=name, judge_reference=True).judge_reference, "what the user says holds"
    other = taught(tmp_path / "other", "sft", reference=False)
    for judge_of in (str(taught(tmp_path / "shown")), str(other), "primer", "server:http://here", None):
        assert JudgeSettings(judge=judge_of).judge_reference
    told = load_settings(diverse_rft.Config, overrides=["model=primer", "data=primer:train", f"judge={blind}"])
    assert resolved(told)["judge_reference"] is False, "run.json says how the judge was asked"
    assert diverse_rft.Config.model_validate(resolved(told)) == told


def test_a_contradiction_between_a_judge_and_its_run_is_told(tmp_path) -> None:
    def asked(form: str, name: Path | str, **changes: Any) -> str:
        seat: Any = SimpleNamespace(bench=SimpleNamespace(prompter=SimpleNamespace(form=form)))
        config = diverse_rft.Config(model="primer", data="primer:train", judge=str(name), **changes)
        return unlike_taught(config, seat)

    blind = taught(tmp_path / "blind", reference=False)
    assert asked("primer", blind) == "" == asked("chat", "some/model", judge_reference=False)
    said = asked("plain", blind, judge_reference=True)
    assert said == "judge_reference=true, but in its run reference=false"
    led = taught(tmp_path / "led", system_prompt="Be strict.", prompt="plain")
    assert asked("chat", led) == (
        "system_prompt=none, but in its run system_prompt=Be strict.; prompt=chat, but in its run prompt=plain"
    )
    assert asked("plain", led) == "", "a plain prompt has no system message"
    assert asked("chat", taught(tmp_path / "small", prompt="plain", students=["small"])) == ""
