"""The settings in words."""

from __future__ import annotations

from tutelage.config.describing import describe
from tutelage.config.settings import EvaluationSettings, ModelSettings, RunSettings, SamplerSettings, TrainingSettings


def test_a_field_is_told_with_everything_that_is_known_of_it() -> None:
    doc = next(d for d in describe(EvaluationSettings) if d.name == "eval_limit")
    assert doc.kind == "whole number, or none"
    assert doc.default == "500"
    assert doc.range == "at least 1"
    assert doc.unit == "problems"
    assert doc.text == "Most problems evaluated greedily; none is all."
    assert doc.source == "ours"
    assert doc.group == "How accuracy is measured"


def test_range_has_both_ends_and_required_is_told() -> None:
    docs = {d.name: d for d in [*describe(TrainingSettings), *describe(ModelSettings)]}
    assert docs["learning_rate"].range == "above 0, at most 1"
    assert docs["model"].default == "required"
    assert docs["dtype"].kind == "one of auto, float32, bfloat16"
    assert docs["lora_rank"].aliases == ("lora_r",)
    assert docs["gradient_checkpointing"].default == "false"


def test_a_subclass_keeps_the_groups_of_its_parts() -> None:
    class Config(ModelSettings, SamplerSettings, RunSettings):
        """A recipe."""

        model: str = "primer"

    docs = {d.name: d for d in describe(Config)}
    assert docs["model"].group.startswith("Which model")
    assert docs["sampler"].group == "Where completions come from"


def test_every_shared_setting_has_a_sentence_and_a_source() -> None:
    for cls in (ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings, RunSettings):
        for doc in describe(cls):
            assert doc.text.endswith("."), doc.name
            assert doc.source, doc.name
