"""Solutions that pause for their programs: what is asked, put in, masked, recorded, and never waited for by others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tutelage.records import Completion, Policy, SamplingParams, record_id
from tutelage.sampling.executing import KIND, ProgramExecution, ProgramRunner
from tutelage.sampling.flows import drive
from tutelage.sampling.programs import Solved, shown, solve
from tutelage.sampling.scripted import Scripted, ScriptedSampler
from tutelage.sampling.session import SampleRequest
from tutelage.sandbox import Execution, Limits
from tutelage.store.run import Run


class Characters:
    """One token per character; token 0 ends a text."""

    eos_token_id = 0

    def get_vocab(self) -> dict[str, int]:
        return {chr(i): i for i in range(1, 128)}

    def encode(self, text: str, **_: Any) -> list[int]:
        return [ord(c) for c in text]

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(chr(i) for i in ids)


class FakeSandbox:
    """Answers from a table; a program `wait` takes until it is told to end."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.may_end = threading.Event()

    def run(self, program: str, limits: Limits) -> Execution:
        self.ran.append(program)
        if program.startswith("wait"):
            assert self.may_end.wait(10)
        if program.startswith("raise"):
            return Execution("error", stderr="Traceback ...\nValueError: no")
        if program.startswith("ours"):
            raise OSError("no sandbox")
        said = program.split("(")[1].split(")")[0]
        return Execution("ok", stdout=said + "\n", value=said, tier="fake")


PROGRAM, DONE = "Try.\n```python\nprint(5)\n```\n", "So 5."
OUTPUT = "```output\n5\n```\n"


@pytest.fixture
def open_runner(tmp_path: Path) -> Iterator[Callable[[FakeSandbox], ProgramRunner]]:
    run = Run.create(tmp_path / "run", recipe="test", config={}, seed=0)

    def make(sandbox: FakeSandbox) -> ProgramRunner:
        @contextmanager
        def opened() -> Iterator[FakeSandbox]:
            yield sandbox

        return ProgramRunner(run, opened, Limits(), workers=2)

    yield make
    run.close()


def request(name: str = "p", *, most: int = 200) -> SampleRequest:
    params = SamplingParams(max_new_tokens=most)
    return SampleRequest(record_id("s", name), name, tuple(map(ord, name + "?")), params, 3, stage="s")


def walk(
    script: Any, runner: ProgramRunner, *requests: SampleRequest, style: str = "mixed", most: int = 4
) -> list[Any]:
    session = runner.around(ScriptedSampler(script, Characters(), Policy("m")))
    flows = [(r.id, solve(r, Characters(), style=style, max_programs=most)) for r in requests]  # type: ignore[arg-type]
    found = [result for _, result in drive(flows, session)]
    assert all(isinstance(result, Solved) for result in found), found
    return found


def talk(*turns: str) -> Callable[[SampleRequest], str]:
    """Says the turns one after the other, told apart by how many outputs or fences stand in the prompt."""

    def say(asked: SampleRequest) -> str:
        written = "".join(map(chr, asked.prompt_ids))
        return turns[written.count("\n```\n") - written.count("\n```\n```output\n") if "```" in written else 0]

    return say


def test_a_program_runs_and_the_text_goes_on(open_runner: Any) -> None:
    (made,) = walk(talk(PROGRAM + "never read", DONE), open_runner(FakeSandbox()), request())
    whole = made.completion
    assert whole.text == PROGRAM + OUTPUT + DONE and whole.finish_reason == "stop" and whole.note == "programs: ok"
    cuts = [0, len(PROGRAM), len(PROGRAM + OUTPUT), len(PROGRAM + OUTPUT + DONE) + 1]
    assert whole.segments == tuple(zip(cuts[:-1], cuts[1:], ("model", "tool", "model"), strict=True))
    learnt = "".join(chr(t) for t, m in zip(whole.token_ids[:-1], whole.loss_mask(), strict=False) if m)
    assert learnt == PROGRAM + DONE
    assert whole.parent_id == request().id != whole.id and made.value == "5"
    assert [piece.text for piece in made.pieces] == [PROGRAM, DONE]


def test_a_program_alone_is_the_whole_solution(open_runner: Any) -> None:
    (made,) = walk(talk(PROGRAM + "never read"), open_runner(FakeSandbox()), request(), style="pot")
    assert made.completion.text == PROGRAM + OUTPUT and made.completion.finish_reason == "stop"
    assert len(made.pieces) == 1 and made.completion.token_ids == made.pieces[0].token_ids
    assert set(made.completion.loss_mask()) == {1}
    (bare,) = walk(talk("a=5\nprint(a)"), open_runner(FakeSandbox()), request("q"), style="pot")
    assert bare.completion.text == "a=5\nprint(a)\n```output\na\n```\n" and bare.value == "a"


def test_programs_that_nobody_asked_for_are_run_too(open_runner: Any) -> None:
    (made,) = walk(talk(PROGRAM, DONE), open_runner(FakeSandbox()), request(), style="any")
    assert made.completion.text == PROGRAM + OUTPUT + DONE and made.completion.note == "programs: ok"
    (alone,) = walk(talk(PROGRAM[5:], "never read"), open_runner(FakeSandbox()), request("s"), style="any")
    assert alone.completion.text == PROGRAM[5:] + OUTPUT and alone.completion.finish_reason == "stop"
    (bare,) = walk(talk("print(7)"), open_runner(FakeSandbox()), request("q"), style="any")
    assert bare.completion.text == "print(7)\n```output\n7\n```\n" and bare.value == "7"
    (prose,) = walk(talk("It is 4."), open_runner(FakeSandbox()), request("r"), style="any")
    assert prose.completion.text == "It is 4." and not prose.executions


def test_prose_is_left_alone(open_runner: Any) -> None:
    sandbox = FakeSandbox()
    (made,) = walk(talk("Two and two. Final answer: 4"), open_runner(sandbox), request())
    assert made.completion.text == "Two and two. Final answer: 4" and not sandbox.ran and made.completion.note == ""


def test_other_fences_do_not_end_a_solution(open_runner: Any) -> None:
    turns = ("See:\n```text\nabc\n```\n", PROGRAM, DONE)
    (made,) = walk(talk(*turns), open_runner(FakeSandbox()), request())
    assert made.completion.text == turns[0] + PROGRAM + OUTPUT + DONE


def test_an_error_is_shown_and_may_be_mended(open_runner: Any) -> None:
    (made,) = walk(talk("```python\nraise x\n```\n", PROGRAM, DONE), open_runner(FakeSandbox()), request())
    assert "```output\nValueError: no\n```\n" + PROGRAM in made.completion.text
    assert made.completion.note == "programs: error, ok" and made.value == "5"


def test_limits_on_programs_and_on_length(open_runner: Any) -> None:
    (made,) = walk(talk(PROGRAM, PROGRAM, DONE), open_runner(FakeSandbox()), request(), most=1)
    assert len(made.executions) == 1 and made.completion.finish_reason == "pause"
    (short,) = walk(talk(PROGRAM, DONE), open_runner(FakeSandbox()), request("r", most=len(PROGRAM) + 5))
    assert short.completion.finish_reason == "length" and short.completion.text == PROGRAM


def test_our_failure_ends_the_solution_and_says_so(open_runner: Any) -> None:
    (made,) = walk(talk("```python\nours\n```\n", DONE), open_runner(FakeSandbox()), request())
    assert made.executions[0].status == "sandbox_error" and "no sandbox" in made.executions[0].stderr
    assert made.completion.note == "programs: sandbox_error" and DONE not in made.completion.text


def test_a_failed_sample_is_an_error(open_runner: Any) -> None:
    def script(asked: SampleRequest) -> Any:
        return Scripted("", "error", "gone") if "```" in "".join(map(chr, asked.prompt_ids)) else PROGRAM

    (made,) = walk(script, open_runner(FakeSandbox()), request())
    assert made.completion.finish_reason == "error" and made.completion.note.startswith("gone")


def test_a_slow_program_makes_nobody_else_wait(open_runner: Any) -> None:
    sandbox = FakeSandbox()
    order: list[str] = []

    def script(asked: SampleRequest) -> str:
        written = "".join(map(chr, asked.prompt_ids))
        order.append(asked.problem_id)
        if asked.problem_id == "z":  # the last of the others: now the slow program may end
            sandbox.may_end.set()
        if "```" in written:
            return DONE
        return PROGRAM.replace("print", "wait") if asked.problem_id == "slow" else "Final answer: 1"

    runner = open_runner(sandbox)
    made = walk(script, runner, request("slow"), *(request(name) for name in "xyz"))
    assert order == ["slow", "x", "y", "z", "slow"] and made[-1].completion.problem_id == "slow"


def test_executions_are_recorded_and_not_run_again(open_runner: Any) -> None:
    first = FakeSandbox()
    with open_runner(first) as runner:
        (made,) = walk(talk(PROGRAM, DONE), runner, request())
        (kept,) = list(runner.run.read(KIND, ProgramExecution))
    assert (kept.problem_id, kept.completion_id, kept.program) == ("p", request().id, "print(5)\n")
    assert kept.execution == made.executions[0] and first.ran == ["print(5)\n"]
    again = FakeSandbox()
    with open_runner(again) as runner:
        assert walk(talk(PROGRAM, DONE), runner, request()) == [made]
    assert not again.ran


@pytest.mark.parametrize(
    ("execution", "text"),
    [
        (Execution("ok", stdout="1\n2\n"), "1\n2\n"),
        (Execution("ok", value="7"), "7"),
        (Execution("ok"), ""),
        (Execution("timeout", stdout="1"), "TimeoutError: the program ran out of time"),
        (Execution("error", stderr="Trace\nKeyError: 1\n\n"), "KeyError: 1"),
        (Execution("error"), "the program failed"),
        (Execution("memory"), "MemoryError"),
    ],
)
def test_what_a_model_is_shown(execution: Execution, text: str) -> None:
    assert shown(execution) == text


def test_the_record_survives_the_disk(open_runner: Any) -> None:
    (made,) = walk(talk(PROGRAM, DONE), open_runner(FakeSandbox()), request())
    assert Completion.from_json(made.completion.to_json()) == made.completion
