"""The environment that torch finds."""

from __future__ import annotations

import pytest

from tutelage.cli.threads import configure_threads
from tutelage.errors import InputError


def test_one_thread_and_sleeping_waiters_by_default() -> None:
    environment: dict[str, str] = {}
    assert configure_threads(environment) == 1
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["OMP_WAIT_POLICY"] == "passive" and environment["MKL_CBWR"] == "AUTO,STRICT"
    assert environment["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_what_the_user_set_stays() -> None:
    environment = {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "active", "TRANSFORMERS_VERBOSITY": "info"}
    assert configure_threads(environment) == 3
    assert environment["OMP_WAIT_POLICY"] == "active"
    assert environment["TRANSFORMERS_VERBOSITY"] == "info"


def test_our_own_variable_wins() -> None:
    environment = {"OMP_NUM_THREADS": "3", "TUTELAGE_THREADS": "2"}
    assert configure_threads(environment) == 2
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "2"


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_a_wrong_number_is_the_users_mistake(text: str) -> None:
    with pytest.raises(InputError) as caught:
        configure_threads({"TUTELAGE_THREADS": text})
    assert caught.value.exit_code == 2 and "at least 1" in str(caught.value)
