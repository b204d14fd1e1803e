"""Solving with programs, as a flow: a solution pauses where a program ends, is told its output, and goes on.

    solved = yield from solve(request, tokenizer, style="mixed", max_programs=4)

What a program printed is put in as a `tool` segment, which enters no loss; where nothing is written after it, it is in
the text only. Each program runs by itself: it does not see the variables of earlier ones. A program of style `pot` is
the whole solution: nothing is written after it.
Drive it with a session that runs programs (`sampling/executing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.records import Completion, record_id
from tutelage.sampling.executing import Executed, execution_request
from tutelage.sampling.flows import Flow, child_request, splice
from tutelage.sampling.session import SampleRequest
from tutelage.sandbox import Execution
from tutelage.text.programs import OUTPUT_OPEN, PAUSES, Asked, output_block, read_solution, status_note

MAX_PIECES = 16
"""Most interruptions of a solution; fences that hold no program interrupt it too."""
_SHOWN = {
    "timeout": "TimeoutError: the program ran out of time",
    "cpu": "TimeoutError: the program ran out of time",
    "memory": "MemoryError",
    "output_limit": "OverflowError: the program printed too much",
    "crash": "the program crashed",
    "refused": "PermissionError: programs have no files here",
}
"""What a model is shown of a program that did not end by itself."""


@dataclass(frozen=True)
class Solved:
    """A solution and how it came about.

    Args:
        completion: the whole text, a record of its own: outputs are `tool` segments, its note names the statuses.
        pieces: what the model was asked for, in order; the cost.
        executions: of its programs, in order.
    """

    completion: Completion
    pieces: tuple[Completion, ...]
    executions: tuple[Execution, ...]

    @property
    def value(self) -> str | None:
        """What the last program answered; None where it did not end well, or nothing was run."""
        return self.executions[-1].value if self.executions else None


def paused(request: SampleRequest, style: Asked) -> SampleRequest:
    """The request, interrupted where programs end."""
    if style == "cot":
        return request
    return replace(request, params=replace(request.params, pause=PAUSES))


def solve(request: SampleRequest, tokenizer: Any, *, style: Asked, max_programs: int = 4) -> Flow[Solved]:
    """Write a solution, running its programs as they end.

    Args:
        request: for the solution, with a prompt that asks for `style`; `max_new_tokens` bounds all that is written
            and put in.
        tokenizer: of the model.
        style: `pot` ends with its first program, `mixed` goes on with each output, `any` does as is written.
        max_programs: most programs that are run; a further one ends the solution.
    """
    whole = yield paused(request, style)
    pieces = [whole]
    executions: list[Execution] = []
    part = whole
    for _ in range(MAX_PIECES):
        program = read_solution(whole.text).pending if part.finish_reason in ("pause", "stop") else None
        inserted = ""
        if program is not None:
            if len(executions) == max_programs:
                break
            ran: Executed = yield execution_request(whole, program.source, len(executions))
            executions.append(ran.execution)
            inserted = output_block(shown(ran.execution), opened=whole.text.endswith(OUTPUT_OPEN))
        is_last = bool(executions) and _is_alone(whole.text, style)
        if part.finish_reason != "pause" or is_last or _is_ours(executions):
            whole = _told(whole, inserted)
            break
        ids = _encode(tokenizer, inserted)
        room = request.params.max_new_tokens - len(whole.token_ids) - len(ids)
        if room < 1:
            whole = replace(whole, finish_reason="length")
            break
        params = replace(part.params, max_new_tokens=room)
        asked = child_request(whole, params=params, inserted_ids=ids, player=request.player)
        part = yield replace(asked, metadata=request.metadata | {"written": whole.text + inserted})
        pieces.append(part)
        if part.finish_reason == "error":
            whole = replace(whole, finish_reason="error", note=part.note)
            break
        whole = splice(whole, ids, "tool", part, inserted_text=inserted)
    is_ended = bool(executions) and _is_alone(whole.text, style)
    return Solved(_finished(whole, executions, is_ended=is_ended), tuple(pieces), tuple(executions))


def shown(execution: Execution) -> str:
    """What a model is shown of an execution: what it printed, or the last line of its error."""
    if execution.status == "ok":
        return execution.stdout if execution.stdout.strip() else (execution.value or "")
    lines = [line for line in execution.stderr.splitlines() if line.strip()]
    return _SHOWN.get(execution.status) or (lines[-1] if lines else "the program failed")


def _told(completion: Completion, output: str) -> Completion:
    """The completion with an output after its end: in the text, where graders look, and not among the tokens."""
    gap = "" if not output or completion.text.endswith("\n") else "\n"
    return replace(completion, text=completion.text + gap + output)


def _finished(whole: Completion, executions: Sequence[Execution], *, is_ended: bool) -> Completion:
    """The solution as a record of its own; a completion that is paused for good is over."""
    note = "; ".join(part for part in (whole.note, status_note([one.status for one in executions])) if part)
    reason = "stop" if is_ended and whole.finish_reason == "pause" else whole.finish_reason
    return replace(
        whole, id=record_id(whole.stage, whole.problem_id, f"{whole.id}/solved"), parent_id=whole.id, note=note,
        finish_reason=reason,
    )  # fmt: skip


def _is_alone(text: str, style: Asked) -> bool:
    """Whether the program is the whole solution: as asked, or as it was written."""
    return style == "pot" or (style == "any" and read_solution(text).style == "pot")


def _is_ours(executions: Sequence[Execution]) -> bool:
    return bool(executions) and executions[-1].status == "sandbox_error"


def _encode(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text, add_special_tokens=False)) if text else ()
