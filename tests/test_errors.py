"""Every error says what failed, what was seen, what was expected and what to do, and has an exit code."""

from __future__ import annotations

import pytest

from tutelage import errors


def test_all_four_parts_are_shown() -> None:
    error = errors.DataError("the file is empty", seen="a.jsonl", expected="one row a line", advice="check the path")
    assert str(error).splitlines() == [
        "the file is empty",
        "  seen:     a.jsonl",
        "  expected: one row a line",
        "  do:       check the path",
    ]


def test_long_values_are_shortened() -> None:
    line = str(errors.DataError("x", seen="y" * 1000)).splitlines()[1]
    assert len(line) < 220 and line.endswith("...")


@pytest.mark.parametrize(
    "kind, code",
    [
        (errors.InputError, 2), (errors.DataError, 2), (errors.ModelError, 2), (errors.RunError, 2),
        (errors.RunFailed, 1), (errors.NothingToLearn, 1), (errors.StorageFull, 1), (errors.SamplerFailed, 1),
    ],
)  # fmt: skip
def test_exit_codes(kind: type[errors.TutelageError], code: int) -> None:
    assert kind("x").exit_code == code


def test_config_errors_list_all_problems_at_once() -> None:
    error = errors.ConfigError(["a is wrong", "b is wrong"])
    assert "2 settings are wrong" in str(error) and "a is wrong" in str(error) and "b is wrong" in str(error)
    assert error.exit_code == 2


def test_a_missing_package_names_its_extra() -> None:
    error = errors.MissingExtra("pyarrow", "parquet", "reading parquet")
    assert "pip install 'tutelage[parquet]'" in str(error) and error.exit_code == 2
