"""Reading settings: values, names, order of strength, and every complaint."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import model_validator

from tutelage.config.loading import load_settings, nearest, resolved, to_toml
from tutelage.config.settings import EvaluationSettings, ModelSettings, RunSettings, Settings, TrainingSettings, setting
from tutelage.errors import ConfigError


class Practice(ModelSettings, TrainingSettings, EvaluationSettings, RunSettings):
    """A config like a recipe's."""

    data: str = setting("primer", "Problems.")
    num_samples: int = setting(8, "Samples a problem.", ge=1)
    max_new_tokens: int = setting(256, "Longest completion.", unit="tokens", ge=1)
    prefix: str | None = setting("x", "May be none, is not.")
    cells: list[int] = setting([1], "Several.")
    styles: list[Literal["cot", "pot", "mixed"]] = setting(["cot"], "Several words.")
    mode: Literal["none", "some"] | None = setting("some", "None is a word of its own here.")

    @model_validator(mode="after")
    def _fits(self) -> Practice:
        if self.num_samples == 13:
            raise ValueError("num_samples and luck do not go together")
        return self


def read(*words: str, file: Path | None = None) -> Practice:
    return load_settings(Practice, file=file, overrides=words)


def complaints(*words: str, file: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(*words, file=file)
    assert caught.value.exit_code == 2
    return caught.value.problems


@pytest.mark.parametrize(
    ("word", "field", "value"),
    [
        ("learning_rate=1e-5", "learning_rate", 1e-5),
        ("learning_rate=.5", "learning_rate", 0.5),
        ("epochs=2", "epochs", 2.0),
        ("batch_size=1_000", "batch_size", 1000),
        ("batch_size=1e2", "batch_size", 100),
        ("gradient_checkpointing=true", "gradient_checkpointing", True),
        ("gradient_checkpointing=True", "gradient_checkpointing", True),
        ("model=7", "model", "7"),
        ("model=2024-01-01", "model", "2024-01-01"),
        ("model='a=b'", "model", "a=b"),
        ("model=org/a=b", "model", "org/a=b"),
        ("model=C:\\x", "model", "C:\\x"),
        ("model=a\nseed = 3", "model", "a\nseed = 3"),
        ("model=1\nseed = 3", "model", "1\nseed = 3"),
        ("report_to=none", "report_to", "none"),
        ("mode=none", "mode", "none"),
        ("prefix=none", "prefix", None),
        ("prefix=NULL", "prefix", None),
        ("eval_limit=none", "eval_limit", None),
        ("cells=[1, 2]", "cells", [1, 2]),
        ("cells=1,2", "cells", [1, 2]),
        ("cells=3", "cells", [3]),
    ],
)
def test_a_word_gives_the_value_it_says(word: str, field: str, value: object) -> None:
    assert getattr(read("model=m", word), field) == value


@pytest.mark.parametrize(
    ("word", "field", "value"),
    [
        ("model_name_or_path=q", "model", "q"),
        ("lora_r=4", "lora_rank", 4),
        ("n=3", "num_samples", 3),
        ("num_generations=3", "num_samples", 3),
        ("lr=0.5", "learning_rate", 0.5),
        ("max_tokens=9", "max_new_tokens", 9),
        ("max_completion_length=9", "max_new_tokens", 9),
        ("per_device_train_batch_size=2", "batch_size", 2),
        ("num_train_epochs=3", "epochs", 3.0),
        ("dataset_name=gsm8k", "data", "gsm8k"),
        ("learning-rate=0.5", "learning_rate", 0.5),
    ],
)
def test_names_from_other_tools_are_understood(word: str, field: str, value: object) -> None:
    assert getattr(read("model=m", word), field) == value


def test_an_alias_without_its_field_is_unknown() -> None:
    class Small(Settings):
        seed: int = setting(0, "Seed.")

    with pytest.raises(ConfigError, match="lr = 1"):
        load_settings(Small, overrides=["lr=1"])


def test_later_words_win_over_earlier_and_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('model = "m"\nseed = 1\nbatch_size = 2\nlr = 0.25\neval_limit = "none"\nreport_to = "none"\n')
    config = read("seed=2", "seed=3", file=file)
    assert (config.seed, config.batch_size, config.learning_rate) == (3, 2, 0.25)
    assert config.eval_limit is None and config.report_to == "none"


def test_a_wrong_value_in_the_file_that_is_overridden_does_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('model = "m"\nseed = -1\n')
    assert read("seed=3", file=file).seed == 3


def test_all_problems_come_at_once_with_key_value_expectation_and_place(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("lerning_rate = 1\nbatch_size = 0\n")
    found = complaints("lora_r=-1", "seed", "dtype=bfloat", "temprature=1", "model=", "--epochs=3", file=file)
    assert found == [
        f"lerning_rate = 1 ({file}): there is no such setting; did you mean learning_rate?",
        "'seed' (command line): expected seed=VALUE, with = and no spaces around it",
        "'--epochs=3' (command line): no such option; settings are written without dashes: epochs=3",
        "temprature = 1 (command line): there is no such setting; did you mean eval_temperature?",
        f"batch_size = 0 ({file}): expected a whole number at least 1",
        "lora_r (that is, lora_rank) = -1 (command line): expected a whole number at least 0",
        "dtype = bfloat (command line): expected one of auto, float32, bfloat16; did you mean bfloat16?",
    ]


def test_a_required_setting_left_out_is_told_with_its_sentence() -> None:
    assert complaints() == [
        "model: required, but not given; expected text: Model folder or hub name of a transformers causal language "
        "model, a run folder (its last checkpoint), or `primer`."
    ]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("learning_rate=0", "a number above 0 and at most 1"),
        ("learning_rate=nan", "a number above 0 and at most 1"),
        ("weight_decay=inf", "a number at least 0"),
        ("learning_rate=fast", "a number above 0 and at most 1"),
        ("batch_size=1.5", "a whole number at least 1"),
        ("gradient_checkpointing=perhaps", "true or false"),
        ("eval_limit=0", "a whole number at least 1 (problems), or none"),
        ("batch_size=none", "a whole number at least 1"),
        ("batch_size=", "a whole number at least 1"),
        ("cells=a", "a list of whole numbers"),
    ],
)
def test_expectations_are_in_words(word: str, expected: str) -> None:
    (problem,) = complaints("model=m", word)
    assert problem.endswith(f"(command line): expected {expected}")
    assert problem.startswith(word.split("=")[0] + " = ")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("styles=cot,poot", "poot is wrong, expected a list of words among cot, pot, mixed; did you mean pot?"),
        ('styles=["mxed"]', "expected a list of words among cot, pot, mixed; did you mean mixed?"),
        ("styles=prose", "expected a list of words among cot, pot, mixed"),
        ("cells=1,b", "b is wrong, expected a list of whole numbers"),
    ],
)
def test_the_wrong_value_of_a_list_is_named(word: str, said: str) -> None:
    (problem,) = complaints("model=m", word)
    assert problem.endswith(f"(command line): {said}")


def test_a_rule_between_settings_is_told_in_its_own_words() -> None:
    assert complaints("model=m", "n=13") == ["num_samples and luck do not go together"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"seed = 1\nmodel = oops\n", "line 2 is: model = oops"),
        (b"model: m\n", "line 1 is: model: m; expected TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[training]\nepochs = 1\n", "settings are flat"),
        (b'lr = 0.1\nlearning_rate = 0.2\nmodel = "m"\n', "given twice, also as lr"),
    ],
)
def test_files_that_cannot_be_read_are_told_with_the_line(tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(content)
    assert any(expected in problem and str(file) in problem for problem in complaints(file=file))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "there is no such file" in complaints("model=m", file=tmp_path / "no.toml")[0]
    assert "this is a folder" in complaints("model=m", file=tmp_path)[0]


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b'\xef\xbb\xbfmodel = "m"\n')
    assert read(file=file).model == "m"


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=30),
    rate=st.floats(min_value=1e-30, max_value=1, exclude_min=True),
    limit=st.none() | st.integers(1, 10**9),
    cells=st.lists(st.integers(-(2**60), 2**60), max_size=3),
)
def test_written_settings_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, text: str, rate: float, limit: int | None, cells: list[int]
) -> None:
    config = Practice(model="m", prefix=None, instruction=text, learning_rate=rate, eval_limit=limit, cells=cells)
    if text.lower() in ("none", "null"):
        return
    file = tmp_path_factory.mktemp("toml") / "c.toml"
    file.write_text(to_toml(config), encoding="utf-8", newline="\n")
    again = load_settings(Practice, file=file)
    assert again == config
    assert resolved(again) == resolved(config)


@pytest.mark.parametrize(
    ("word", "near"),
    [("iterative_rpo", "iterative-rpo"), ("IRPO", ""), ("Iterative", "iterative-rpo"), ("sfft", "sft"), ("zzz", "")],
)
def test_nearest_forgives_case_hyphens_and_slips(word: str, near: str) -> None:
    assert nearest(word, ["iterative-rpo", "sft"]) == near
