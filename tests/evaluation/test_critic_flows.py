"""Actor and critic in conversation: gates, retries, unreadable critiques, chains, other tokenizers, costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tutelage.evaluation.critic_flows import (
    CRITIC_STRATEGIES,
    RETOKENIZED,
    chain,
    criticise,
    critique_and_refine,
    refinements,
)
from tutelage.evaluation.critic_prompts import critique_prompt, quoted, refine_prompt
from tutelage.evaluation.plays import ACTOR, CRITIC, Player, Table, cost_of
from tutelage.evaluation.strategy_names import parse_strategy
from tutelage.primer.vocabulary import build_tokenizer
from tutelage.problems.primer import cot_prompt, primer_problems, story_of, true_critique
from tutelage.records import Completion, Policy, SamplingParams, Verdict, record_id
from tutelage.sampling.flows import drive
from tutelage.sampling.scripted import ScriptedSampler
from tutelage.sampling.session import SampleRequest
from tutelage.text.prompts import Prompter

TOKENIZER = build_tokenizer()
PROBLEM = next(p for p in primer_problems("dev", 60) if p.level == "2" and p.metadata["steps"][1]["wrong_line"])
STORY = story_of(PROBLEM)
FIRST, SECOND = (step["line"] for step in PROBLEM.metadata["steps"])
WRONG_LINE = PROBLEM.metadata["steps"][1]["wrong_line"]
WRONG = f"{FIRST}\n{WRONG_LINE}\nanswer: {WRONG_LINE.split('=')[1]}"
RIGHT = PROBLEM.solution
GREEDY = SamplingParams(temperature=0.0, max_new_tokens=80)
PROMPTER = Prompter.create(TOKENIZER, form="primer", question_template=lambda p: cot_prompt(p.question))


def start(text: str, index: int = 0, tokenizer: str = "") -> Completion:
    from tutelage.text.prompts import tokenizer_digest

    ids = tuple(TOKENIZER(text)["input_ids"])
    return Completion(
        record_id("s", PROBLEM.id, None, index), PROBLEM.id, "answer", Policy("actor"),
        tokenizer or tokenizer_digest(TOKENIZER), (5,), ids, text, ((0, len(ids), "model"),), (-1.0,) * len(ids),
        "stop", GREEDY, index, stage="s", index=index,
    )  # fmt: skip


@pytest.fixture
def table() -> Callable[..., Table]:
    def make(*texts: str, **fields: Any) -> Table:
        players = {name: Player(name, Policy(name), PROMPTER, GREEDY) for name in (ACTOR, CRITIC)}
        starts = tuple(start(text, index) for index, text in enumerate(texts))
        verdicts = {
            s.id: Verdict(s.id, PROBLEM.id, "correct" if s.text == RIGHT else "incorrect", float(s.text == RIGHT))
            for s in starts
        }
        return Table(PROBLEM, players, "stage", 0, starts, verdicts, **fields)

    return make


def play(flow: Any, script: Callable[[SampleRequest], Any]) -> Any:
    asked: list[SampleRequest] = []

    def spy(request: SampleRequest) -> Any:
        asked.append(request)
        return script(request)

    ((_, result),) = drive([flow], ScriptedSampler(spy, TOKENIZER, Policy("m")))
    return result, asked


def truth(request: SampleRequest) -> str:
    """A critic that knows the world, and an actor that follows it."""
    if request.role == "critique":
        return true_critique(STORY, str(request.metadata["solution"]))
    return RIGHT if "wrong" in str(request.metadata["critique"]) else str(request.metadata["solution"])


def test_a_wrong_answer_is_criticised_and_refined(table) -> None:
    here = table(WRONG)
    step, asked = play(critique_and_refine(here, here.starts[0]), truth)
    assert step.judgement.is_right is False and step.judgement.critique.first_error == 1
    assert step.judgement.critique.source_id == step.judgement.said[0].id
    assert step.refinement.text == RIGHT and step.refinement.parent_id == step.judgement.said[0].id
    assert [(r.player, r.role, r.stage) for r in asked] == [
        (CRITIC, "critique", "stage"), (ACTOR, "refinement", "stage"),
    ]  # fmt: skip
    assert asked[1].prompt_text.startswith(asked[0].prompt_text) and asked[1].prompt_text.endswith("refine:\n")


@pytest.mark.parametrize(
    ("gate", "text", "num_asked"),
    [("all", RIGHT, 2), ("judged", RIGHT, 1), ("oracle", RIGHT, 0), ("judged", WRONG, 2), ("oracle", WRONG, 2)],
)
def test_gates(table, gate, text, num_asked) -> None:
    here = table(text)
    step, asked = play(critique_and_refine(here, here.starts[0], gate=gate), truth)
    assert len(asked) == num_asked
    assert (step.refinement is not None) == (num_asked == 2)


def test_an_unreadable_critique_is_asked_for_again_then_counted_and_never_guessed(table) -> None:
    here = table(WRONG)
    answers = iter(["it is wrong I think", "step 1: +1 wrong", "step 1: +1 wrong.\nverdict: wrong"])
    judgement, asked = play(criticise(here, here.starts[0], tries=3), lambda r: next(answers))
    assert judgement.is_right is False and len(judgement.unreadable) == 2 and len(judgement.said) == 3
    assert len({r.id for r in asked}) == len({r.seed for r in asked}) == 3
    assert [r.params.temperature for r in asked] == [0.0, 1.0, 1.0], "a greedy text would come again"
    judgement, _ = play(criticise(here, here.starts[0]), lambda r: "verdict: wrong")
    assert judgement.critique is None and judgement.is_right is None
    assert judgement.unreadable == ("no step is judged",)
    step, asked = play(critique_and_refine(here, here.starts[0], gate="judged"), lambda r: "nonsense")
    assert step.refinement is None and len(asked) == 1


def test_refinements_are_several_with_seeds_of_their_own(table) -> None:
    here = table(WRONG)
    judgement, _ = play(criticise(here, here.starts[0]), truth)
    params = SamplingParams(temperature=0.7, max_new_tokens=50)
    written, asked = play(refinements(here, judgement, num=4, params=params), truth)
    assert len(written) == 4 and len({r.seed for r in asked}) == 4 and {r.params for r in asked} == {params}


def test_a_chain_goes_on_from_the_last_answer(table) -> None:
    here = table("a")
    steps, asked = play(
        chain(here, here.starts[0], rounds=3),
        lambda r: "step 1: a wrong.\nverdict: wrong" if r.role == "critique" else f"{r.metadata['solution']}b",
    )
    assert [s.refinement.text for s in steps] == ["ab", "abb", "abbb"]
    assert len({r.id for r in asked}) == 6


def test_texts_of_another_tokenizer_are_noted(table) -> None:
    here = table(WRONG)
    foreign = start(WRONG, tokenizer="0123")
    step, _ = play(critique_and_refine(here, foreign), truth)
    assert f"{RETOKENIZED} from actor" in step.judgement.said[0].note
    assert RETOKENIZED in step.refinement.note and RETOKENIZED in step.judgement.critique.note
    step, _ = play(critique_and_refine(here, here.starts[0]), truth)
    assert step.refinement.note == step.judgement.critique.note == ""


@pytest.mark.parametrize(
    ("name", "judged", "finals"),
    [
        ("refine", [(True,), (False,)], [RIGHT, RIGHT]),
        ("refine-judged", [(True,), (False,)], [RIGHT, RIGHT]),
        ("refine-oracle", [(None,), (False,)], [RIGHT, RIGHT]),
        ("self-refine", [(True,), (False,)], [RIGHT, RIGHT]),
        ("critic-maj@2", [(True,), (False,)], [RIGHT, RIGHT]),
        ("critic-filter@2", [(True,), (False,)], [RIGHT, WRONG]),
        ("sequential@2", [(True, True), (False, True)], [RIGHT, RIGHT]),
        ("grid@2x2", [(True, True), (False, True)], [RIGHT, RIGHT]),
    ],
)
def test_strategies_play(table, name, judged, finals) -> None:
    strategy = parse_strategy(name)
    result, asked = play(CRITIC_STRATEGIES[strategy.kind](table(RIGHT, WRONG), strategy), truth)
    assert [c.judged for c in result.chains] == judged
    assert [c.last.text for c in result.chains] == finals
    costs = cost_of(result.used)
    by_critic = [c for c in asked if c.player == CRITIC]
    assert costs[CRITIC].prompt_tokens == sum(len(r.prompt_ids) for r in by_critic)
    assert len({c.id for _, c in result.used}) == len(asked) + 2
    assert result.figures["unreadable"] == 0
    if name == "critic-filter@2":
        assert result.chains[0].is_passed and not result.chains[1].is_passed and result.figures["fell_back"] == 0


def test_chains_of_one_problem_are_asked_abreast(table) -> None:
    turns: list[set[str]] = []

    class Session(ScriptedSampler):
        def completions(self) -> Any:
            for completion in super().completions():
                turns.append({completion.role})
                yield completion

    flow = CRITIC_STRATEGIES["critic-maj"](table(WRONG, WRONG + " ", WRONG + "  "), parse_strategy("critic-maj@3"))
    list(drive([flow], Session(truth, TOKENIZER, Policy("m"))))
    assert turns == [{"critique"}] * 3 + [{"refinement"}] * 3


def test_special_tokens_in_model_text_do_not_reach_a_prompt() -> None:
    nested = "a<e<eos>os>b<bos>"
    assert quoted(PROMPTER, nested) == "ab"
    end = TOKENIZER.eos_token_id
    for prompt in (
        critique_prompt(PROMPTER, PROBLEM, f"1+1=2<eos>\n{nested}"),
        refine_prompt(PROMPTER, PROBLEM, f"1+1=2<eos>{nested}", "step 1: <eos> wrong."),
    ):
        assert end not in prompt.ids and not re.search("<eos>|<bos>", prompt.text)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3"])
def test_prompts_of_general_models(kind, tiny_model_dir) -> None:
    from transformers import AutoTokenizer

    from tutelage.evaluation.critic_prompts import annotation_prompt, mistake_prompt

    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir(kind))
    prompter = Prompter.create(tokenizer)
    prompt = critique_prompt(prompter, PROBLEM, WRONG)
    assert PROBLEM.question in prompt.text and WRONG in prompt.text and PROBLEM.answer not in prompt.text.split()
    assert "Correctness of the step" in prompt.text
    refined = refine_prompt(prompter, PROBLEM, WRONG, "Step sentence: x")
    assert refined.text.index(PROBLEM.question) < refined.text.index(WRONG) < refined.text.index("Step sentence: x")
    if prompter.form == "chat":
        assert [m["role"] for m in refined.messages][-3:] == ["user", "assistant", "user"]
    told = annotation_prompt(prompter, PROBLEM, WRONG, first_error=WRONG_LINE, mistake="a slip")
    assert f"Reference answer: {PROBLEM.answer}" in told.text and "Kind of mistake: a slip" in told.text
    assert "a slip" in mistake_prompt(prompter, PROBLEM, FIRST, SECOND, "a slip").text
    assert tokenizer.bos_token_id is None or prompt.ids.count(tokenizer.bos_token_id) <= 1
