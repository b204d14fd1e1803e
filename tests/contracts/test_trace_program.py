"""Trace 2: a program executed in mid-sample. The model pauses at `</program>`, its output is put in, it goes on.

model  Try: <program>print(2+3)</program>
tool   [5]
model  No: <program>loop()</program>
tool   [timeout]
model  So 5.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from tutelage.records import Completion, Example, SamplingParams, record_id
from tutelage.sampling.flows import child_request, drive, splice
from tutelage.sampling.session import SampleRequest

PARAMS = SamplingParams(max_new_tokens=60, pause=("</program>",))
PROMPT = "2+3?"
FIRST, SECOND, LAST = "Try: <program>print(2+3)</program>", "No: <program>loop()</program>", "So 5."
OUTPUTS = {"print(2+3)": "[5]", "loop()": "[timeout]"}


def script(request: SampleRequest) -> str:
    written = "".join(map(chr, request.prompt_ids))
    if written.endswith("[5]"):
        return SECOND + "never read"
    return LAST if written.endswith("[timeout]") else FIRST + "never read"


def with_programs(request: SampleRequest, max_programs: int) -> Generator[Any, Any, Completion]:
    """Sample; at each pause run the program and go on with its output."""
    whole = yield request
    part = whole
    for _ in range(max_programs):
        if part.finish_reason != "pause":
            break
        program = part.text.rsplit("<program>", 1)[1].removesuffix("</program>")
        output = tuple(map(ord, OUTPUTS[program]))
        part = yield child_request(whole, inserted_ids=output)
        whole = splice(whole, output, "tool", part, inserted_text=OUTPUTS[program])
    return whole


def walk(session: Any, max_programs: int = 4) -> tuple[Completion, list[SampleRequest]]:
    asked: list[SampleRequest] = []
    submit = session.submit
    session.submit = lambda request: (asked.append(request), submit(request))[1]
    root = SampleRequest(record_id("s", "p"), "p", tuple(map(ord, PROMPT)), PARAMS, 3, role="program", stage="s")
    [(_, result)] = drive([with_programs(root, max_programs)], session)
    return result, asked


def test_the_completion_is_one_record_of_five_segments(scripted: Callable[..., Any]) -> None:
    whole, asked = walk(scripted(script))
    assert whole.text == FIRST + "[5]" + SECOND + "[timeout]" + LAST
    cuts = [0]
    for part in (FIRST, "[5]", SECOND, "[timeout]", LAST + "$"):
        cuts.append(cuts[-1] + len(part))
    kinds = ("model", "tool", "model", "tool", "model")
    assert whole.segments == tuple(zip(cuts[:-1], cuts[1:], kinds, strict=True))
    assert len(whole.token_ids) == len(whole.token_logprobs) == cuts[-1] and whole.finish_reason == "stop"
    assert whole.id == asked[0].id and whole.prompt_ids == asked[0].prompt_ids
    assert "".join(map(chr, whole.token_ids[:-1])) == whole.text


def test_each_request_holds_everything_before_it(scripted: Callable[..., Any]) -> None:
    _, asked = walk(scripted(script))
    texts = ["".join(map(chr, r.prompt_ids)) for r in asked]
    assert texts == [PROMPT, PROMPT + FIRST + "[5]", PROMPT + FIRST + "[5]" + SECOND + "[timeout]"]
    assert all(r.parent_id == asked[0].id for r in asked[1:])
    assert [r.branch_position for r in asked[1:]] == [len(FIRST), len(FIRST + "[5]" + SECOND)]
    assert len({r.id for r in asked}) == len({r.seed for r in asked}) == 3


def test_the_programs_output_is_in_no_loss(scripted: Callable[..., Any]) -> None:
    whole, _ = walk(scripted(script))
    weights = tuple(float(w) for w in whole.loss_mask())
    example = Example(record_id("e", "p", whole.id), "p", whole.prompt_ids, whole.token_ids, weights, "pot", whole.id)
    learnt = "".join(chr(t) for t, w in zip(example.target_ids[:-1], example.weights, strict=False) if w)
    assert learnt == FIRST + SECOND + LAST and sum(weights) == len(learnt) + 1
    assert whole.logprob == -sum(weights)
    assert all(lp == 0 for lp, w in zip(whole.token_logprobs, weights, strict=True) if not w)


def test_a_completion_that_used_up_its_programs_stays_paused(scripted: Callable[..., Any]) -> None:
    whole, asked = walk(scripted(script), max_programs=1)
    assert whole.finish_reason == "pause" and len(asked) == 2 and whole.text == FIRST + "[5]" + SECOND
    assert Completion.from_json(whole.to_json()) == whole
