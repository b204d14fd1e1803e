"""self-talk: one train of thought as a flow; its texts; the recipe on primer, in rehearsal, resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from tutelage.cli.backends import open_bench
from tutelage.errors import InputError, NothingToLearn
from tutelage.evaluation.plays import ACTOR, CRITIC, Player, Table
from tutelage.grading.exact import ExactGrader
from tutelage.primer.vocabulary import build_tokenizer
from tutelage.problems.primer import cot_prompt, primer_problems, story_of, true_critique
from tutelage.recipes import self_talk
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.self_talk_flow import ThinkingRules, Train, think_about
from tutelage.records import Completion, Example, Policy, SamplingParams, Verdict
from tutelage.sampling.flows import drive
from tutelage.sampling.scripted import Scripted, ScriptedSampler
from tutelage.store.run import Run
from tutelage.text.prompts import Prompter
from tutelage.text.self_talk import Piece, inner_talk, joined

TOKENIZER = build_tokenizer()
PROBLEM = next(problem for problem in primer_problems("train", 40) if problem.level == "3")
GOLD = PROBLEM.solution or ""
LINES = GOLD.splitlines(keepends=True)
WRONGS = [step["wrong_line"] or "1+1=3" for step in PROBLEM.metadata["steps"]]
PROMPTER = Prompter.create(TOKENIZER, form="primer", question_template=lambda p: cot_prompt(p.question))


def wrong_at(place: int) -> str:
    """The gold solution with a mistake in one step."""
    return "".join([*LINES[:place], WRONGS[place] + "\n", *LINES[place + 1 :]])


def thought(
    script: Callable[[Any], Any], *, samples: int = 1, num_wrong: int = 1, num_right: int = 1, rounds: int = 3
) -> tuple[tuple[Train, ...], list[Any]]:
    """The trains of thought about PROBLEM with a scripted actor and critic, and what was asked."""
    params = SamplingParams(temperature=0.7, max_new_tokens=96)
    players = {name: Player(name, Policy("m"), PROMPTER, params) for name in (ACTOR, CRITIC)}
    asked: list[Any] = []
    verdicts: dict[str, Verdict] = {}

    def said(request: Any) -> Any:
        asked.append(request)
        return script(request)

    def judge(completion: Completion) -> Verdict:
        return verdicts.setdefault(completion.id, ExactGrader().grade(PROBLEM, completion))

    rules = ThinkingRules(params, samples, num_wrong, num_right, params, rounds, 1)
    flow = think_about(Table(PROBLEM, players, "s", 0), rules, judge)
    ((_, trains),) = drive([flow], ScriptedSampler(said, TOKENIZER, Policy("m")))
    return trains, asked


def script_of(answers: list[Any], rests: list[Any], critic: Callable[[str], str] | None = None) -> Callable[[Any], Any]:
    """A script: answers by number, what is written on in turn, true critiques unless `critic` says otherwise."""
    left = iter(rests)

    def script(request: Any) -> Any:
        if request.role == "critique":
            text = str(request.metadata["solution"])
            return critic(text) if critic else true_critique(story_of(PROBLEM), text)
        return next(left) if request.role == "refinement" else answers[request.index]

    return script


def test_a_train_of_thought_with_two_errors() -> None:
    """The first step is wrong; written on, the second is; then all is right."""
    second = WRONGS[1] + "\n" + "".join(LINES[2:])
    rests = [LINES[0] + second, "".join(LINES[1:])]
    (train,), asked = thought(script_of([wrong_at(0)], rests))
    assert train.end == "right" and train.num_errors == 2
    bare = [line.strip() for line in LINES]
    assert [(t.text, t.place, t.is_right) for t in train.thoughts] == [
        (WRONGS[0], 0, False), (bare[0], 0, True), (WRONGS[1], 1, False), (bare[1], 1, True), (bare[2], 2, True),
    ]  # fmt: skip
    assert train.last.text == GOLD and [whole.text for whole in train.wholes] == [LINES[0] + second, GOLD]
    begun = [request for request in asked if request.role == "refinement"]
    assert [request.metadata["kept"] for request in begun] == ["", LINES[0]]
    for request, whole in zip(begun, train.wholes, strict=True):
        assert request.prompt_ids == whole.prompt_ids + whole.token_ids[: request.metadata["written"]]
        kept = "".join(TOKENIZER.decode(whole.token_ids[a:b]) for a, b, kind in whole.segments if kind == "forced")
        assert kept == request.metadata["kept"] and TOKENIZER.decode(whole.token_ids) == whole.text + "<eos>"
    text = joined(inner_talk(train.thoughts, LINES[-1], "primer", "wrong")).split("\n")
    assert len(text) == 5 + 2 + 1 and [i for i, line in enumerate(text) if " wrong" in line] == [1, 4]


def test_a_critic_that_changes_its_mind_sends_the_thought_back() -> None:
    """A step that stood is called wrong later: it is said again, and so is what follows."""
    story, texts = story_of(PROBLEM), [wrong_at(1), GOLD, GOLD]
    true = true_critique(story, GOLD)
    again = true.replace("step 1: ", "step 1: ", 1).split("\n")
    again[0], again[-1] = again[0].replace(" correct", " wrong"), "verdict: wrong"
    said = iter([true_critique(story, texts[0]), "\n".join(again), true])
    (train,), _ = thought(script_of([texts[0]], ["".join(LINES[1:]), GOLD], lambda text: next(said)))
    bare = [line.strip() for line in LINES]
    assert train.end == "right"
    assert [(t.text, t.is_right) for t in train.thoughts] == [
        (bare[0], True), (WRONGS[1], False), (bare[0], False), (bare[0], True), (bare[1], True), (bare[2], True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rests", "critic", "end"),
    [
        ([wrong_at(0)] * 3, None, "rounds used up"),
        ([], lambda text: "nonsense", "unreadable critique"),
        ([], lambda text: "step 1: +1 correct.\nstep 2: +1 correct.\nstep 3: +1 correct.\nverdict: wrong",
         "error not found"),
        ([], lambda text: "step 1: +1 correct.\nstep 2: +1 correct.\nstep 3: +1 correct.\nverdict: correct",
         "wrong answer"),
        ([Scripted("1+1=2", "length")], None, "sampling failed"),
    ],
)  # fmt: skip
def test_trains_that_may_not_be_learnt_from_say_why(rests, critic, end) -> None:
    (train,), _ = thought(script_of(["1+1=3\n" + "".join(LINES[1:-1]) + "answer: 0"], rests, critic))
    assert train.end == end


def test_some_wrong_and_some_right_solutions_are_gone_through_each_text_once() -> None:
    answers = [GOLD, wrong_at(0), GOLD + " ", wrong_at(0), Scripted(wrong_at(1), "length"), wrong_at(2) + "0", GOLD]
    trains, asked = thought(script_of(answers, [GOLD, LINES[-1]] * 3), samples=7, num_wrong=2, num_right=2)
    assert [train.root.index for train in trains] in ([0, 1, 5], [0, 1]), "wrong steps may still end right"
    assert all(train.root.finish_reason == "stop" for train in trains)
    assert sum(request.role == "answer" for request in asked) == 7


def test_errors_are_left_out_of_the_loss_token_by_token() -> None:
    bench: Any = SimpleNamespace(prompter=PROMPTER)
    pieces = [Piece("9+7=16", True), Piece("step 1: +7 wrong, use -7."), Piece("9-7=2"), Piece("answer: 2")]
    ids, weights = self_talk.tokens_of(bench, pieces, False)
    whole, ones = self_talk.tokens_of(bench, pieces, True)
    assert ids == whole and set(ones) == {1.0} and TOKENIZER.decode(ids) == joined(pieces) + "<eos>"
    left_out = [i for i, weight in zip(ids, weights, strict=True) if weight == 0.0]
    assert TOKENIZER.decode(left_out) == "9+7=16\n"


# The recipe -----------------------------------------------------------------------------------------------------------


def make_config(**changes: Any) -> self_talk.Config:
    settings: dict[str, Any] = dict(
        model="primer", data="primer:train?n=4", eval_data="primer:dev?n=3", critic="primer", num_samples=3, rounds=2,
        max_new_tokens=96, critic_tokens=96, eval_samples=2, learning_rate=3e-4, epochs=10.0, max_steps=3,
        batch_size=4, checkpoint_every=1, max_batch=64,
    )  # fmt: skip
    return self_talk.Config(**{**settings, **changes})


def run_it(config: self_talk.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    with open_bench(config, recipe=self_talk.NAME, folder=folder, progress=SilentProgress(), resume=resume) as bench:
        return self_talk.run(config, bench)


@pytest.fixture
def talk_config() -> Callable[..., self_talk.Config]:
    """A function that makes the config of a small run on primer, changed by keywords."""
    return make_config


@pytest.fixture
def run_talk() -> Callable[..., dict[str, Any]]:
    """A function `(config, folder, resume=False) -> report`."""
    return run_it


@pytest.fixture
def rehearsal(pens_file: Path, tiny_model_dir: Any) -> Callable[..., self_talk.Config]:
    """A function that makes the config of a rehearsal on an architecture."""

    def make(kind: str, **changes: Any) -> self_talk.Config:
        model = str(tiny_model_dir(kind))
        settings: dict[str, Any] = dict(
            model=model, critic=model, data=f"gsm8k:{pens_file}", eval_data=None, dev_size=2,
            sampler="scripted", max_new_tokens=400, critic_tokens=900,
        )  # fmt: skip
        return make_config(**{**settings, **changes})

    return make


@pytest.mark.slow
def test_self_talk_on_primer(tmp_path, talk_config, run_talk) -> None:
    report = run_talk(talk_config(arms=["self-talk", "self-correct"]), tmp_path / "run")
    run, told = Run.open(tmp_path / "run"), report["self_talk"]
    assert [arm["arm"] for arm in told["arms"]] == ["actor alone", "two players", "self-talk", "self-correct"]
    assert len(told["comparisons"]) == 6 and report["weights"] == "self-talk"
    assert len(report["remarks"]) == 5 and report["remarks"][1].startswith("actor alone: ")
    examples = list(run.read("examples", Example))
    learnt = told["trains"]["learnt"]
    assert Counter(example.origin for example in examples) == {"self-talk": learnt, "self-correct": learnt}
    problems = {problem.id: problem for problem in primer_problems("train", 4)}
    for example in examples:
        text = TOKENIZER.decode(example.target_ids)
        assert text.endswith(f"answer: {problems[example.problem_id].answer}<eos>") and text.count("answer") == 1
        assert TOKENIZER.decode(example.prompt_ids).endswith("solve:\n")
    assert sum(told["trains"]["errors_taken_back"].values()) == learnt
    assert told["trains"]["begun"] == sum(told["trains"]["ends"].values())


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {"feedback": "wrong", "learn_errors": False, "arms": ["plain", "self-talk"]}),
        pytest.param("qwen2", {"lora_rank": 4, "arms": ["self-correct"]}, marks=pytest.mark.slow),
        ("phi3", {"smoother": "itself", "arms": ["self-talk"]}),
    ],
)
def test_rehearsal_on_a_real_architecture(tmp_path, kind, changes, rehearsal, run_talk, tiny_model_dir) -> None:
    if "smoother" in changes:
        changes = {**changes, "smoother": str(tiny_model_dir(kind))}
    config = rehearsal(kind, **changes)
    report = run_talk(config, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert [row["steps"] for row in report["iterations"][1:]] == [3] * len(config.arms)
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == set(config.arms)
    roles = Counter(c.role for c in run.read("completions", Completion))
    assert ("self_talk" in roles) == (config.smoother is not None) and roles["refinement"] and roles["critique"]
    weights = {weight for example in run.read("examples", Example) for weight in example.weights}
    assert weights <= {0.0, 1.0} and (0.0 in weights) <= (not config.learn_errors)
    with open_bench(config, recipe=self_talk.NAME, folder=tmp_path / "again", progress=SilentProgress()) as bench:
        assert bench.invite(str(tmp_path / "run" / "checkpoints" / config.arms[0])).base.lineage


@pytest.mark.slow
def test_killed_and_resumed_is_as_uninterrupted(
    tmp_path, rehearsal, run_talk, results_of, interrupted_in_learning
) -> None:
    config = rehearsal("llama", arms=["self-talk", "plain"])
    run_talk(config, tmp_path / "whole")
    with interrupted_in_learning(2, "plain-learn"):
        run_talk(config, tmp_path / "cut")
    run_talk(config, tmp_path / "cut", resume=True)
    assert results_of(tmp_path / "cut") == results_of(tmp_path / "whole")


def test_nothing_to_learn_is_told(tmp_path, rehearsal, run_talk) -> None:
    (tmp_path / "script.py").write_text("def write(request):\n    return 'I do not know.'\n")
    config = rehearsal("llama", sampler=f"scripted:{tmp_path}/script.py:write")
    with pytest.raises(NothingToLearn, match="no train of thought came to a right answer"):
        run_talk(config, tmp_path / "run")


def test_bad_settings_are_refused(tmp_path, talk_config, run_talk) -> None:
    for arms in ([], ["plain", "plain"], ["talk"]):
        with pytest.raises(ValidationError, match="each once"):
            talk_config(arms=arms)
    with pytest.raises(InputError, match="cannot smooth"):
        run_talk(talk_config(smoother="primer", data="primer:train?n=2"), tmp_path / "run")
