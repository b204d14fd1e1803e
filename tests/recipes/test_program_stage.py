"""From a run's settings to the limits of one program."""

from __future__ import annotations

import dataclasses

from tutelage.config.settings import ProgramSettings
from tutelage.recipes.program_stage import limits_of
from tutelage.sandbox import Limits


def test_a_run_s_defaults_are_the_sandbox_s() -> None:
    assert limits_of(ProgramSettings()) == Limits()


def test_every_limit_is_a_setting_with_its_unit() -> None:
    config = ProgramSettings(
        program_seconds=2, program_cpu=1.5, program_memory=0.5, program_threads=4, program_file_size=2,
        program_scratch=3, program_files=7, program_output=1,
    )  # fmt: skip
    found = limits_of(config)
    assert found == Limits(2, 1.5, 1 << 29, 4, 2 << 20, 3 << 20, 7, 1 << 10)
    default = Limits()
    assert all(getattr(found, field.name) != getattr(default, field.name) for field in dataclasses.fields(Limits))


def test_processor_time_follows_the_clock_s_limit() -> None:
    assert limits_of(ProgramSettings(program_seconds=9)).cpu_seconds == 9
