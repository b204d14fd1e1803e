"""Trace 1: a Flow-DPO tree, written by hand and walked through a scripted session.

Question 2+3*4, gold 14. An Answer adapter writes chunks of at most 8 characters, a Stop adapter says Yes or No after
each. Main chain: "3*4=12. " No "2+12=14" Yes: right. One random rollout per output node:

    node                       deviation     rollout                            right  pair
    answer 0, state ""         "2+3= 5. "    No "5*4=20" Yes                    no     3*4=12.  > 2+3= 5.
    stop 0,   "3*4=12. "       Yes           ends there                         no     No > Yes
    answer 1, "3*4=12. "       "so  14"      Yes                                yes    none
    stop 1,   "..2+12=14"      No            " or 15" Yes                       no     Yes > No
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from tutelage.records import Completion, Policy, PreferencePair, SamplingParams, record_id, seed_of
from tutelage.sampling.flows import child_request, drive
from tutelage.sampling.session import SampleRequest

ANSWER, STOP = Policy("m", "answer", 4), Policy("m", "stop", 4)
CHUNK = SamplingParams(max_new_tokens=8)
JUDGE = SamplingParams(max_new_tokens=4)
QUESTION, GOLD, MAX_CHUNKS, END = "2+3*4=", "14", 6, 0

SCRIPT = {
    ("chunk", "", 0): "3*4=12. ",
    ("chunk", "", 1): "2+3= 5. ",
    ("chunk", "3*4=12. ", 0): "2+12=14",
    ("chunk", "3*4=12. ", 1): "so  14",
    ("chunk", "2+3= 5. ", 0): "5*4=20",
    ("chunk", "3*4=12. 2+12=14", 0): " or 15",
    ("stop", "3*4=12. ", 0): "No",
    ("stop", "2+3= 5. ", 0): "No",
    ("stop", "3*4=12. 2+12=14", 0): "Yes",
    ("stop", "3*4=12. so  14", 0): "Yes",
    ("stop", "2+3= 5. 5*4=20", 0): "Yes",
    ("stop", "3*4=12. 2+12=14 or 15", 0): "Yes",
}


def script(request: SampleRequest) -> str:
    prompt = "".join(map(chr, request.prompt_ids))
    state = prompt.split("=", 1)[1].removesuffix("?")
    return SCRIPT[request.role, state, request.index]


def ids(text: str) -> tuple[int, ...]:
    return tuple(map(ord, text))


def is_right(state: tuple[int, ...]) -> bool:
    numbers = re.findall(r"=\s*(\d+)|(\d+)$", "".join(map(chr, state)))
    return bool(numbers) and (numbers[-1][0] or numbers[-1][1]) == GOLD


@dataclass
class Node:
    """An output of the flow: the completion, and the state it was written in (tokens after the question)."""

    completion: Completion
    state: tuple[int, ...]


def kept(completion: Completion) -> tuple[int, ...]:
    """The tokens without an end token: what a later chunk continues."""
    return completion.token_ids[:-1] if completion.token_ids[-1:] == (END,) else completion.token_ids


def chunk_request(last: Completion | None, index: int) -> SampleRequest:
    if last is None:
        return SampleRequest(record_id("s", "p", None, index), "p", ids(QUESTION), CHUNK, seed_of("p", index), "chunk",
                             ANSWER.adapter, ANSWER.version, stage="s", index=index)  # fmt: skip
    return child_request(last, params=CHUNK, branch_position=len(kept(last)), index=index)


def run_flow(
    last: Completion | None, state: tuple[int, ...], count: int, *, chunk_first: bool, index: int = 0
) -> Generator[Any, Any, tuple[tuple[int, ...], list[Node]]]:
    """Write chunks and ask Stop after each, from any state; returns the final state and the nodes."""
    nodes: list[Node] = []
    while True:
        if chunk_first:
            chunk = yield chunk_request(last, index)
            nodes.append(Node(chunk, state))
            last, state, count, index = chunk, state + kept(chunk), count + 1, 0
        chunk_first = True
        stop = yield child_request(
            last, role="stop", policy=STOP, params=JUDGE, prompt_ids=ids(QUESTION) + state + ids("?")
        )
        nodes.append(Node(stop, state))
        if stop.text == "Yes" or count == MAX_CHUNKS:
            return state, nodes


def tree(characters: Any) -> Generator[Any, Any, tuple[bool, list[Node], list[PreferencePair], list[tuple[int, ...]]]]:
    """The main chain, then one rollout per output node, and the pairs of nodes whose outcomes differ."""
    final, nodes = yield from run_flow(None, (), 0, chunk_first=True)
    is_main_right = is_right(final)
    pairs, finals = [], []
    last: Completion | None = None
    for node in nodes:
        main, count = (
            node.completion,
            sum(n.completion.role == "chunk" and len(n.state) < len(node.state) for n in nodes),
        )
        if main.role == "chunk":
            deviation = yield chunk_request(last, 1)
            other, other_id = deviation.token_ids, deviation.id
            state, _ = yield from run_flow(deviation, node.state + kept(deviation), count + 1, chunk_first=False)
            last = main
        else:
            decision = "No" if main.text == "Yes" else "Yes"
            other, other_id, state = (*characters.encode(decision), END), f"forced:{main.id}", node.state
            if decision == "No":
                state, _ = yield from run_flow(last, node.state, count, chunk_first=True)
        finals.append(state)
        if is_right(state) != is_main_right:
            ours, theirs = (main.token_ids, main.id), (other, other_id)
            (chosen, chosen_id), (rejected, rejected_id) = (ours, theirs) if is_main_right else (theirs, ours)
            pairs.append(
                PreferencePair(
                    record_id("pairs", "p", main.id),
                    "p",
                    main.prompt_ids,
                    chosen,
                    rejected,
                    (1,) * len(chosen),
                    (1,) * len(rejected),
                    chosen_id,
                    rejected_id,
                    "next-chunk",
                )
            )
    return is_main_right, nodes, pairs, finals


def walk(session: Any, characters: Any) -> tuple[Any, list[SampleRequest]]:
    asked: list[SampleRequest] = []
    submit = session.submit
    session.submit = lambda request: (asked.append(request), submit(request))[1]
    [(_, result)] = drive([tree(characters)], session)
    return result, asked


def test_the_tree_is_as_written(scripted: Callable[..., Any], characters: Any) -> None:
    (is_main_right, nodes, pairs, finals), asked = walk(scripted(script), characters)
    assert is_main_right
    assert [n.completion.text for n in nodes] == ["3*4=12. ", "No", "2+12=14", "Yes"]
    assert [n.completion.finish_reason for n in nodes] == ["length", "stop", "stop", "stop"]
    assert ["".join(map(chr, s)) for s in finals] == [
        "2+3= 5. 5*4=20", "3*4=12. ", "3*4=12. so  14", "3*4=12. 2+12=14 or 15",
    ]  # fmt: skip
    q = ids(QUESTION)
    assert [(p.prompt_ids, p.chosen_ids, p.rejected_ids) for p in pairs] == [
        (q, ids("3*4=12. "), ids("2+3= 5. ")),
        (q + ids("3*4=12. ?"), (*ids("No"), END), (*ids("Yes"), END)),
        (q + ids("3*4=12. 2+12=14?"), (*ids("Yes"), END), (*ids("No"), END)),
    ]
    assert len(asked) == len({r.id for r in asked}) == 12


def test_answer_and_stop_never_share_weights_or_prompts(scripted: Callable[..., Any], characters: Any) -> None:
    (_, _, _, _), asked = walk(scripted(script), characters)
    for request in asked:
        policy = ANSWER if request.role == "chunk" else STOP
        assert (request.adapter, request.version) == (policy.adapter, policy.version)
        assert (request.continues is not None) == (request.role == "chunk" and len(request.prompt_ids) > len(QUESTION))
        assert (request.prompt_ids[-1] == ord("?")) == (request.role == "stop")


def test_branches_name_where_they_leave_their_parent(scripted: Callable[..., Any], characters: Any) -> None:
    (_, nodes, _, _), asked = walk(scripted(script), characters)
    by_id = {n.completion.id: n.completion for n in nodes}
    forced = next(r for r in asked if "".join(map(chr, r.prompt_ids)).endswith("2+12=14") and r.role == "chunk")
    parent = by_id[forced.parent_id or ""]
    assert parent.text == "2+12=14" and parent.token_ids[-1] == END
    assert forced.branch_position == len(parent.token_ids) - 1
    siblings = [r for r in asked if r.role == "chunk" and r.parent_id == nodes[0].completion.id]
    assert [r.index for r in siblings] == [0, 1] and len({r.seed for r in siblings}) == 2


def test_walking_again_makes_the_same_records(scripted: Callable[..., Any], characters: Any) -> None:
    (first, asked), (second, again) = walk(scripted(script), characters), walk(scripted(script), characters)
    assert first == second and asked == again
