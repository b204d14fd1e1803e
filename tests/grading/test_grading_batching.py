"""Batches through a jail: one reply an item whatever dies, and nothing forged counts."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tutelage.grading.batching import CPU_EXIT, MAX_LOST, WALL_EXIT, Batcher, ItemLimits, Reply
from tutelage.sandbox.protocol import Execution, Limits

LIMITS = ItemLimits(2.0, 10.0, 1 << 28)
Child = Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], Execution | None]


class ScriptedJail:
    """Plays children: `child` writes lines for an item and returns how the child ended, or None to go on."""

    def __init__(self, child: Child) -> None:
        self.child, self.batches = child, []  # type: ignore[var-annotated]

    def call(self, entry: str, payload: bytes, limits: Limits) -> Execution:
        header, *lines = [json.loads(line) for line in payload.splitlines()]
        assert header == {"cpu": 2.0, "wall": 10.0}
        self.batches.append([line["item"] for line in lines])
        written: list[str] = []

        def write(line: dict[str, Any]) -> None:
            written.append(json.dumps(line) + "\n")

        for line in lines:
            ended = self.child(line, write)
            if ended is not None:
                return Execution(**{**ended.to_json(), "stdout": "".join(written)})
        return Execution("ok", stdout="".join(written))


def answer(line: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> None:
    write({"tag": line["tag"], "phase": "begun"})
    write({"tag": line["tag"], "value": line["item"] * 2, "seconds": 0.5})


def test_replies_come_in_order_from_batches_of_the_given_size() -> None:
    jail = ScriptedJail(answer)
    replies = Batcher(jail, "m:f", LIMITS, batch_size=3).run(list(range(7)))
    assert [reply.value for reply in replies] == [0, 2, 4, 6, 8, 10, 12]
    assert [len(batch) for batch in jail.batches] == [3, 3, 1]
    assert replies[0] == Reply(0, seconds=0.5)


def test_several_workers_give_the_same_replies_as_one() -> None:
    replies = Batcher(ScriptedJail(answer), "m:f", LIMITS, batch_size=2, workers=4).run(list(range(30)))
    assert [reply.value for reply in replies] == [2 * item for item in range(30)]


def test_items_that_may_run_code_get_a_child_of_their_own() -> None:
    jail = ScriptedJail(answer)
    replies = Batcher(jail, "m:f", LIMITS).run([1, 2, 3, 4], lambda item: item in (2, 3))
    assert [reply.value for reply in replies] == [2, 4, 6, 8]
    assert sorted(jail.batches) == [[1, 4], [2], [3]]


@pytest.mark.parametrize(
    ("ended", "failure", "tries"),
    [
        (Execution("error", exit_code=CPU_EXIT), "time", 1),
        (Execution("cpu", signal=signal.SIGXCPU), "time", 1),
        (Execution("timeout", signal=signal.SIGKILL), "time", 2),
        (Execution("error", exit_code=signal.SIGALRM), "time", 2),
        (Execution("memory", exit_code=72), "memory", 2),
        (Execution("memory", signal=signal.SIGKILL), "memory", 2),
        (Execution("crash", signal=signal.SIGSEGV), "crash", 2),
        (Execution("ok", exit_code=0), "crash", 2),
        (Execution("output_limit"), "crash", 2),
        (Execution("sandbox_error", stderr="gone"), "lost", MAX_LOST),
    ],
)
def test_a_death_costs_its_item_and_the_rest_is_put_into_a_new_child(
    ended: Execution, failure: str, tries: int
) -> None:
    def child(line: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> Execution | None:
        if line["item"] == 5:
            write({"tag": line["tag"], "phase": "begun"})
            write({"tag": line["tag"], "phase": "answer"})
            return ended
        answer(line, write)
        return None

    jail = ScriptedJail(child)
    replies = Batcher(jail, "m:f", LIMITS).run([1, 5, 7, 9])
    assert [reply.value for reply in replies] == [2, None, 14, 18]
    assert (replies[1].failure, replies[1].phase) == (failure, "answer")
    assert sum(5 in batch for batch in jail.batches) == tries


@pytest.mark.parametrize(
    ("ended", "together", "seconds"),
    [
        (Execution("error", exit_code=CPU_EXIT, cpu_seconds=2.6), True, 2.0),
        (Execution("error", exit_code=WALL_EXIT, cpu_seconds=1.75), False, 1.75),
        (Execution("timeout", signal=signal.SIGKILL, cpu_seconds=1.75), False, 1.75),
        (Execution("memory", exit_code=72, cpu_seconds=0.25), False, 0.25),
        (Execution("cpu", signal=signal.SIGXCPU, cpu_seconds=3.0), True, 2.0),
    ],
)
def test_an_item_that_failed_has_the_cpu_seconds_that_it_used(ended: Execution, together: bool, seconds: float) -> None:
    def child(line: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> Execution | None:
        if line["item"] == 5:
            write({"tag": line["tag"], "phase": "answer"})
            return ended
        answer(line, write)
        return None

    jail = ScriptedJail(child)
    assert Batcher(jail, "m:f", LIMITS).run([1, 5])[1].seconds == seconds
    assert jail.batches == ([[1, 5]] if together else [[1, 5], [5]])


def test_an_earlier_item_cannot_make_the_seconds_of_a_later_one_up() -> None:
    def child(line: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> Execution | None:
        write({"tag": line["tag"], "phase": "answer"})
        if line["item"] == 5:
            return Execution("error", exit_code=CPU_EXIT - 1, cpu_seconds=1.0)
        write({"tag": line["tag"], "value": 1, "seconds": line["item"]})
        return None

    for said, left in ((-100, 1.0), (100, 0.0), (0.25, 0.75)):
        _, culprit = Batcher(ScriptedJail(child), "m:f", LIMITS)._call([said, 5])
        assert culprit is not None and culprit.seconds == left


@pytest.mark.parametrize("seed", range(20))
def test_kills_from_outside_lose_and_double_nothing(seed: int) -> None:
    rng = random.Random(seed)
    judged: list[int] = []
    kills = [6]

    def child(line: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> Execution | None:
        if kills[0] and rng.random() < 0.3:
            kills[0] -= 1
            if rng.random() < 0.5:
                write({"tag": line["tag"], "phase": "begun"})
            return rng.choice([Execution("memory", signal=signal.SIGKILL), Execution("sandbox_error")])
        judged.append(line["item"])
        answer(line, write)
        return None

    replies = Batcher(ScriptedJail(child), "m:f", LIMITS, batch_size=8).run(list(range(40)))
    lost = [reply for reply in replies if reply.failure]
    assert len(lost) <= 2  # the same item killed three times
    assert [r.value for r in replies if not r.failure] == [2 * i for i, r in enumerate(replies) if not r.failure]
    assert len(judged) == len(set(judged)) == 40 - len(lost)


def test_forged_torn_and_second_lines_do_not_count() -> None:
    def child(line: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> Execution | None:
        write({"tag": "guessed", "value": "forged", "seconds": 0})
        write({"tag": ["no", "text"], "value": "forged", "seconds": 0})
        write({"value": "forged"})
        write({"tag": line["tag"], "value": "no seconds"})
        answer(line, write)
        write({"tag": line["tag"], "value": "second", "seconds": 0})
        return None

    replies = Batcher(ScriptedJail(child), "m:f", LIMITS).run([1, 2])
    assert [reply.value for reply in replies] == [2, 4]


def test_a_last_line_without_its_end_is_no_line() -> None:
    class Torn(ScriptedJail):
        def call(self, entry: str, payload: bytes, limits: Limits) -> Execution:
            whole = super().call(entry, payload, limits).stdout
            return Execution("memory", stdout=whole[:-1], exit_code=72)

    replies = Batcher(Torn(answer), "m:f", LIMITS).run([4])
    assert replies[0].failure == "memory"


def test_what_a_judge_raises_is_told_with_its_phase() -> None:
    def child(line: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> None:
        write({"tag": line["tag"], "phase": "answer"})
        error = "MemoryError: " if line["item"] else "ValueError: no"
        write({"tag": line["tag"], "error": error, "seconds": 1})

    replies = Batcher(ScriptedJail(child), "m:f", LIMITS).run([0, 1])
    assert [(r.failure, r.phase, r.detail) for r in replies] == [
        ("raised", "answer", "ValueError: no"), ("memory", "answer", "MemoryError: "),
    ]  # fmt: skip
