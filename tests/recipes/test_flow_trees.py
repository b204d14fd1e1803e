"""The production flow and its trees, scripted by hand: requests, nodes, pairs and records are as worked out on paper.

The first tree is that of tests/contracts/test_trace_flow_tree.py: question 2+3*4, gold 14, chunks of at most 8 tokens
(characters), Stop asked after each. Main chain "3*4=12. " No "2+12=14" Yes: right.

    node                       deviation     rollout                            right  pair
    answer 0, state ""         "2+3= 5. "    No "5*4=20" Yes                    no     3*4=12.  > 2+3= 5.
    stop 0,   "3*4=12. "       Yes           ends there                         no     No > Yes
    answer 1, "3*4=12. "       "so  14"      Yes                                yes    none
    stop 1,   "..2+12=14"      No            " or 15" Yes                       no     Yes > No
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tutelage.recipes import flow_records, flow_trees
from tutelage.recipes.flow_chain import FlowSettings, ProductionFlow
from tutelage.recipes.flow_prompts import StopPrompter, read_decision
from tutelage.recipes.flow_trees import RolloutSettings, Tree
from tutelage.records import Completion, Policy, Problem, Verdict
from tutelage.sampling.scripted import Scripted, ScriptedSampler
from tutelage.sampling.session import SampleRequest
from tutelage.text.prompts import Prompter

END = 0
ANSWER, STOP = Policy("m", "answer", 4), Policy("m", "stop", 4)
PROBLEM = Problem("p", "2+3*4=", "14")
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
SETTINGS = FlowSettings(
    max_chunks=6, chunk_tokens=8, chunk_steps=0, temperature=1.0, deviation_temperature=1.0, rollout_temperature=1.0,
    top_p=1.0, stop_temperature=0.0, deviation_tries=4, seed=0, context=1000, stop_token_ids=(END,),
)  # fmt: skip


class Characters:
    """One token per character, its code point; token 0 ends a text."""

    eos_token_id = END

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) for c in text]}

    def get_vocab(self) -> dict[str, int]:
        return {chr(i): i for i in range(1, 128)}

    def encode(self, text: str, **_: Any) -> list[int]:
        return [ord(c) for c in text]

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(map(chr, ids))


class BareStopPrompter(StopPrompter):
    """Asks with a question mark after the state, as the contract's tree does."""

    def _asked(self, problem: Problem, text: str) -> str:
        return problem.question + text + "?"


def ids(text: str) -> tuple[int, ...]:
    return tuple(map(ord, text))


def stop_prompter() -> StopPrompter:
    characters = Characters()
    prompter = Prompter.create(characters, form="primer", instruction="")
    return BareStopPrompter(prompter, prompter, "correctness", False, (*ids("Yes"), END), (*ids("No"), END))


def script(request: SampleRequest) -> str:
    state = "".join(map(chr, request.prompt_ids)).split("=", 1)[1].removesuffix("?")
    return SCRIPT[request.role, state, request.index]


def make_tree(rollouts: RolloutSettings | None = None, **changes: Any) -> Tree:
    prompter = stop_prompter()
    prompt = prompter.prompter.render(PROBLEM)
    settings = replace(SETTINGS, **changes)
    flow = ProductionFlow(PROBLEM, prompt, prompter, settings, ANSWER, STOP, "s")
    return Tree(flow, rollouts or RolloutSettings())


@pytest.fixture
def grown() -> Callable[..., tuple[Tree, list[SampleRequest]]]:
    """A function `(script, **settings) -> (tree, requests)` that grows one tree."""

    def make(function: Any = script, rollouts: RolloutSettings | None = None, **changes: Any) -> Any:
        session, asked = ScriptedSampler(function, Characters(), Policy("m")), []
        submit = session.submit
        session.submit = lambda request: (asked.append(request), submit(request))[1]
        tree = make_tree(rollouts, **changes)
        flow_trees.grow([tree], session)
        return tree, asked

    return make


def verdicts_of(tree: Tree, right: Callable[[str], bool]) -> dict[str, Verdict]:
    chains = [tree.main, *(rollout.chain for rollout in tree.rollouts)]
    answers = [flow_records.whole_answer(tree.flow, chain) for chain in chains if chain is not None]
    return {
        a.id: Verdict(a.id, a.problem_id, "correct" if right(a.text) else "incorrect", float(right(a.text)))
        for a in answers
    }


def ends_in_14(text: str) -> bool:
    return text.rstrip(". ").endswith("14")


def test_the_contract_tree_is_reproduced(grown) -> None:
    tree, asked = grown()
    assert [node.completion.text for node in tree.main.nodes] == ["3*4=12. ", "No", "2+12=14", "Yes"]
    assert [node.place for node in tree.main.nodes] == [0, 0, 1, 1]
    assert [flow_records.whole_answer(tree.flow, r.chain).text for r in tree.rollouts] == [
        "2+3= 5. 5*4=20", "3*4=12. ", "3*4=12. so  14", "3*4=12. 2+12=14 or 15",
    ]  # fmt: skip
    made = flow_records.make_records(tree, verdicts_of(tree, ends_in_14), window=1)
    q = ids(PROBLEM.question)
    assert [(p.prompt_ids, p.chosen_ids, p.rejected_ids) for p in made.pairs] == [
        (q, ids("3*4=12. "), ids("2+3= 5. ")),
        (q + ids("3*4=12. ?"), (*ids("No"), END), (*ids("Yes"), END)),
        (q + ids("3*4=12. 2+12=14?"), (*ids("Yes"), END), (*ids("No"), END)),
    ]
    assert [flow_records.role_of(pair) for pair in made.pairs] == ["answer", "stop", "stop"]
    assert [(n.role, n.place, n.said, n.main_outcome, n.other_outcome) for n in made.nodes] == [
        ("answer", 0, "chunk", "correct", "incorrect"), ("stop", 0, "no", "correct", "incorrect"),
        ("answer", 1, "chunk", "correct", "correct"), ("stop", 1, "yes", "correct", "incorrect"),
    ]  # fmt: skip
    assert len(asked) == len({r.id for r in asked}) == 12
    assert made.tree.num_chunks == 2 and made.tree.pair_ids == tuple(p.id for p in made.pairs)


def test_each_model_is_asked_under_its_own_adapter_and_prompts_never_mix(grown) -> None:
    _, asked = grown()
    for request in asked:
        policy = ANSWER if request.role == "chunk" else STOP
        assert (request.adapter, request.version) == (policy.adapter, policy.version)
        assert (request.prompt_ids[-1] == ord("?")) == (request.role == "stop")


def test_branches_leave_their_parent_before_its_end_token(grown) -> None:
    tree, asked = grown()
    by_id = {node.completion.id: node.completion for node in tree.main.nodes}
    flipped = next(r for r in asked if "".join(map(chr, r.prompt_ids)).endswith("2+12=14") and r.role == "chunk")
    parent = by_id[flipped.parent_id]
    assert parent.text == "2+12=14" and parent.token_ids[-1] == END
    assert flipped.branch_position == len(parent.token_ids) - 1
    siblings = [r for r in asked if r.role == "chunk" and r.parent_id == tree.main.nodes[0].completion.id]
    assert [r.index for r in siblings] == [0, 1] and len({r.seed for r in siblings}) == 2


def test_a_pair_names_records_that_lead_to_its_tokens(grown) -> None:
    tree, _ = grown()
    made = flow_records.make_records(tree, verdicts_of(tree, ends_in_14), window=3)
    known: dict[str, Completion] = {}
    for chain in (tree.main, *(r.chain for r in tree.rollouts)):
        for node in chain.nodes:
            known[node.completion.id] = node.completion
        known |= {piece.id: piece for chunk in chain.state.chunks for piece in chunk.pieces}
    known |= {r.forced.id: r.forced for r in tree.rollouts if r.forced is not None}
    for pair in made.pairs:
        assert known[pair.chosen_id].token_ids == pair.chosen_ids
        assert known[pair.rejected_id].token_ids == pair.rejected_ids
        assert known[pair.chosen_id].prompt_ids == pair.prompt_ids == known[pair.rejected_id].prompt_ids
        assert pair.iteration == 3
    forced = next(r.forced for r in tree.rollouts if r.forced is not None)
    assert forced.loss_mask() == (0,) * len(forced.token_ids), "nobody drew it"


def test_growing_again_makes_the_same_records(grown) -> None:
    first, second = (
        flow_records.make_records(tree, verdicts_of(tree, ends_in_14), window=1) for tree, _ in (grown(), grown())
    )
    assert first == second


def test_outcomes_of_ours_make_no_pair(grown) -> None:
    tree, _ = grown()
    verdicts = verdicts_of(tree, ends_in_14)
    main = flow_records.whole_answer(tree.flow, tree.main)
    for outcome in ("undecided", "error"):
        ours = {**verdicts, main.id: replace(verdicts[main.id], outcome=outcome, score=None)}
        assert flow_records.make_records(tree, ours, window=1).pairs == ()


def numbers(request: SampleRequest) -> str:
    """Chunks that count up, and a Stop that never has enough."""
    return "No" if request.role == "stop" else f"{len(request.prompt_ids):03d}{request.index}, "


@pytest.mark.parametrize("max_chunks", [1, 2, 5])
def test_a_chain_ends_at_the_last_chunk_and_no_decision_hangs_on_it(grown, max_chunks) -> None:
    tree, asked = grown(numbers, RolloutSettings(0), max_chunks=max_chunks, chunk_tokens=6)
    assert len(tree.main.state.chunks) == max_chunks and tree.main.ended == "length"
    assert sum(r.role == "stop" for r in asked) == max_chunks - 1
    assert not tree.rollouts


def test_the_context_ends_a_chain(grown) -> None:
    tree, _ = grown(numbers, RolloutSettings(0), context=len(PROBLEM.question) + 13, chunk_tokens=6)
    assert len(tree.main.state.chunks) == 3 and tree.main.ended == "length"


def test_the_same_chunk_is_drawn_again_until_it_differs_and_not_for_ever(grown) -> None:
    def stubborn(request: SampleRequest) -> str:
        if request.role == "stop":
            return "Yes"
        return "first" if request.index < 3 else "other"

    tree, asked = grown(stubborn, deviation_tries=4)
    [rollout] = [r for r in tree.rollouts if r.node.role == "answer"]
    assert rollout.other_ids == (*ids("other"), END)
    assert [r.index for r in asked if r.role == "chunk" and r.parent_id is None] == [0, 1, 2, 3]
    tree, _ = grown(stubborn, deviation_tries=2)
    assert not [r for r in tree.rollouts if r.node.role == "answer"] and tree.same == 1


def test_several_rollouts_of_a_node_differ(grown) -> None:
    def many(request: SampleRequest) -> str:
        return "Yes" if request.role == "stop" else f"chunk{request.index}"

    tree, _ = grown(many, RolloutSettings(per_node=3))
    answers = [r for r in tree.rollouts if r.node.role == "answer"]
    assert [r.other_ids for r in answers] == [(*ids(f"chunk{i}"), END) for i in (1, 2, 3)]
    assert len({r.chain.state.ids for r in tree.rollouts if r.node.role == "stop"}) == 3
    made = flow_records.make_records(tree, verdicts_of(tree, lambda text: text == "chunk0"), window=1)
    assert len({pair.id for pair in made.pairs}) == len(made.pairs) == 6


def test_an_unreadable_reply_is_not_a_yes_and_is_counted(grown) -> None:
    def mumbling(request: SampleRequest) -> str:
        return "Hm" if request.role == "stop" else "12345678"

    tree, _ = grown(mumbling, max_chunks=2)
    made = flow_records.make_records(tree, verdicts_of(tree, lambda text: len(text) > 8), window=1)
    assert made.tree.unreadable >= 1
    [pair] = [p for p in made.pairs if flow_records.role_of(p) == "stop"]
    assert (pair.chosen_ids, pair.rejected_ids) == ((*ids("Hm"), END), (*ids("Yes"), END))


def test_an_empty_chunk_ends_the_chain(grown) -> None:
    def silent(request: SampleRequest) -> str:
        return "No" if request.role == "stop" else ("abc" if len(request.prompt_ids) == 6 else "")

    tree, _ = grown(silent, RolloutSettings(0))
    assert [n.completion.text for n in tree.main.nodes] == ["abc", "No", ""] and tree.main.ended == "stop"


def test_a_text_that_ends_texts_of_the_prompt_form_ends_the_chain(grown) -> None:
    def asking(request: SampleRequest) -> str:
        return "No" if request.role == "stop" else "7\nQ:more"

    tree, _ = grown(asking, RolloutSettings(0), stop_texts=("\nQ:",))
    assert [n.completion.text for n in tree.main.nodes] == ["7\nQ:"] and tree.main.ended == "stop"


def test_a_sample_that_fails_once_is_drawn_again_and_twice_ends_the_chain(grown) -> None:
    def ill(times: int) -> Any:
        failures = iter([True] * times)

        def function(request: SampleRequest) -> Any:
            if request.role == "chunk" and request.parent_id is not None and next(failures, False):
                return Scripted("", "error", "ill")
            return script(replace(request, index=0)) if request.index == 0 else script(request)

        return function

    tree, _ = grown(ill(1), RolloutSettings(0))
    assert tree.main.ended == "stop" and len(tree.main.state.chunks) == 2
    tree, _ = grown(ill(2), RolloutSettings(0))
    answer = flow_records.whole_answer(tree.flow, tree.main)
    assert tree.main.ended == "error" and answer.finish_reason == "error"


def test_chunks_of_reasoning_steps_are_whole_lines(grown) -> None:
    lines = ["a=1\n", "b=22\n", "c=333\n", "done"]

    def writing(request: SampleRequest) -> str:
        if request.role == "stop":
            return "No"
        count = "".join(map(chr, request.prompt_ids)).count("\n")
        return "".join(lines[count:]) if count < len(lines) else ""

    tree, _ = grown(writing, RolloutSettings(0), chunk_steps=2, chunk_tokens=50)
    chunks = [node.output for node in tree.main.nodes if node.role == "answer"]
    texts = ["".join(map(chr, chunk.kept_ids)) for chunk in chunks]
    assert texts[:2] == ["a=1\nb=22\n", "c=333\ndone"]
    assert [len(chunk.pieces) for chunk in chunks[:2]] == [2, 2]
    assert chunks[1].token_ids[-1] == END and chunks[0].token_ids == chunks[0].kept_ids
    assert chunks[1].pieces[1].parent_id == chunks[1].pieces[0].id


def test_certain_nodes_can_be_left_alone(grown) -> None:
    tree, _ = grown(rollouts=RolloutSettings(min_entropy=0.9))  # scripted log-probs are -1 a token
    assert len(tree.rollouts) == 4
    tree, _ = grown(rollouts=RolloutSettings(min_entropy=1.1))
    assert not tree.rollouts and tree.skipped == 4


@pytest.mark.parametrize(
    ("text", "read"),
    [("Yes", True), ("no.", False), (" YES, it is", True), ('"No"', False), ("yesterday", None), ("", None),
     ("nothing", None), ("I think yes", None), ("NO\nYes", False)],
)  # fmt: skip
def test_replies_are_read_by_their_first_word(text, read) -> None:
    assert read_decision(text) is read
