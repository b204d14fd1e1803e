"""The sandbox contract: what a run of a program reports, and what counts as a sandbox."""

from __future__ import annotations

from tutelage.sandbox import Execution, Limits, Sandbox


def test_executions_survive_json() -> None:
    execution = Execution("timeout", stdout="1\n", value="1", seconds=5.0, tier="landlock")
    assert Execution.from_json(execution.to_json()) == execution


def test_anything_that_runs_programs_under_limits_is_a_sandbox() -> None:
    class Fixed:
        def run(self, program: str, limits: Limits) -> Execution:
            return Execution("ok", stdout=program)

    assert isinstance(Fixed(), Sandbox)
    assert not isinstance(object(), Sandbox)
