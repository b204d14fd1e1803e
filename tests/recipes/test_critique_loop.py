"""critique-loop: one problem's round as a flow; the recipe on primer, in rehearsal on three architectures, resumed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli.backends import open_bench
from tutelage.errors import InputError, NothingToLearn
from tutelage.evaluation.plays import ACTOR, CRITIC, Player, Table
from tutelage.grading.exact import ExactGrader
from tutelage.primer.vocabulary import build_tokenizer
from tutelage.problems.primer import cot_prompt, primer_problems, story_of, true_critique
from tutelage.recipes import critique_loop, learn
from tutelage.recipes.critique_loop_data import harvest, start_examples
from tutelage.recipes.critique_loop_report import by_level
from tutelage.recipes.critique_practice import Practice, PracticeRules, Practised, practise
from tutelage.recipes.grading_on_the_way import GradingOnTheWay
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Completion, Example, Policy, PreferencePair, SamplingParams, Verdict
from tutelage.sampling.flows import drive
from tutelage.sampling.scripted import Scripted, ScriptedSampler
from tutelage.store.run import Run
from tutelage.text.prompts import Prompter

TOKENIZER = build_tokenizer()
PROBLEM = next(problem for problem in primer_problems("train", 40) if problem.level == "3")
GOLD = PROBLEM.solution or ""
WRONG = "1+1=2\n2+2=4\n4+4=8\nanswer: 9"
SHORTCUT = f"answer: {PROBLEM.answer}"
GRADER = ExactGrader()


# One problem's round ------------------------------------------------------------------------------------------------


def played(
    script: Callable[[Any], Any], *, samples: int = 2, refinements: int = 2, max_kept: int = 1, has_barrier: bool = True
) -> tuple[Practised, list[Any], dict[str, Verdict]]:
    """One round on PROBLEM with a scripted actor and critic: what came of it, the requests, the verdicts."""
    prompter = Prompter.create(TOKENIZER, form="primer", question_template=lambda p: cot_prompt(p.question))
    params = SamplingParams(temperature=0.7, max_new_tokens=96)
    players = {name: Player(name, Policy("m"), prompter, params) for name in (ACTOR, CRITIC)}
    asked: list[Any] = []
    verdicts: dict[str, Verdict] = {}

    def said(request: Any) -> Any:
        asked.append(request)
        return script(request)

    def judge(completion: Completion) -> Verdict:
        return verdicts.setdefault(completion.id, GRADER.grade(PROBLEM, completion))

    rules = PracticeRules(params, samples, params, refinements, max_kept, has_barrier, 1)
    flow = practise(Table(PROBLEM, players, "s", 0), rules, judge)
    ((_, made),) = drive([flow], ScriptedSampler(said, TOKENIZER, Policy("m")))
    return made, asked, verdicts


def script_of(answers: list[Any], refined: list[Any], critique: str | None = None) -> Callable[[Any], Any]:
    """A script: answers and refinements by their number, and the true critique of what is criticised."""

    def script(request: Any) -> Any:
        if request.role == "critique":
            return critique or true_critique(story_of(PROBLEM), str(request.metadata["solution"]))
        return (refined if request.role == "refinement" else answers)[request.index]

    return script


def test_only_what_failed_is_criticised_and_refined() -> None:
    made, asked, _ = played(script_of([GOLD, WRONG], [WRONG, GOLD]))
    assert Counter(request.role for request in asked) == {"answer": 2, "critique": 1, "refinement": 2}
    assert [root.text for root in made.right] == [GOLD]
    (repair,) = made.repairs
    assert repair.root.text == WRONG and [one.text for one in repair.kept] == [GOLD] and repair.barred == 0
    refinement = next(request for request in asked if request.role == "refinement")
    assert refinement.parent_id == repair.judgement.said[0].id and repair.judgement.said[0].parent_id == repair.root.id
    assert made.costs()[CRITIC].completion_tokens == len(repair.judgement.said[0].token_ids)


def test_shortcuts_are_barred_and_the_first_of_the_rest_are_kept() -> None:
    tries = [SHORTCUT, GOLD, GOLD + " ", GOLD]
    made, _, _ = played(script_of([WRONG], tries), samples=1, refinements=4)
    (repair,) = made.repairs
    assert len(repair.right) == 4 and repair.barred == 1, "right answers without the calculations"
    assert [one.text for one in repair.kept] == [GOLD]
    assert len(played(script_of([WRONG], tries), samples=1, refinements=4, max_kept=2)[0].repairs[0].kept) == 2
    free, _, _ = played(script_of([WRONG], tries), samples=1, refinements=4, has_barrier=False)
    assert [one.text for one in free.repairs[0].kept] == [SHORTCUT] and free.repairs[0].barred == 0


def test_without_refinements_nothing_is_criticised() -> None:
    made, asked, _ = played(script_of([GOLD, WRONG], []), refinements=0)
    assert {request.role for request in asked} == {"answer"} and made.repairs == () and len(made.right) == 1


def test_texts_cut_short_are_neither_learnt_nor_kept() -> None:
    cut = Scripted(GOLD, "length")
    made, _, _ = played(script_of([cut, WRONG], [cut, cut]))
    assert made.right == () and made.repairs[0].right == ()
    failed, asked, _ = played(script_of([Scripted("", "error"), Scripted("", "stop")], []))
    assert failed.repairs == () and len(asked) == 2, "there is nothing to criticise"


def test_a_round_gives_examples_pairs_and_critiques() -> None:
    made, _, verdicts = played(script_of([GOLD, WRONG, GOLD], [GOLD, GOLD]), samples=3)
    crop = harvest(Practice((made,), verdicts), round=1, max_solutions=None, learn_refining=True)
    root, (repair,) = made.roots[0], made.repairs
    assert [example.origin for example in crop.examples] == ["self", "refining"], "equal texts are learnt once"
    plain, refining = crop.examples
    assert plain.prompt_ids == root.prompt_ids and plain.target_ids == root.token_ids
    assert refining.prompt_ids == repair.kept[0].prompt_ids != root.prompt_ids
    (pair,) = crop.pairs
    assert (pair.chosen_ids, pair.rejected_ids) == (repair.kept[0].token_ids, repair.root.token_ids)
    assert pair.prompt_ids == root.prompt_ids and pair.rule == "refinement-over-original"
    (critique,) = crop.critic_examples
    assert critique.prompt_ids == repair.judgement.said[0].prompt_ids and critique.origin == "critique"
    (one,) = harvest(Practice((made,), verdicts), round=1, max_solutions=1, learn_refining=False).examples
    assert one.origin == "self", "originals come before refinements"


def test_a_critique_that_calls_a_wrong_solution_right_is_no_example() -> None:
    praise = "step 1: +1 correct.\nverdict: correct"
    made, _, verdicts = played(script_of([WRONG], [GOLD, GOLD], praise), samples=1)
    crop = harvest(Practice((made,), verdicts), round=1, max_solutions=None, learn_refining=False)
    assert crop.critic_examples == [] and len(crop.pairs) == 1, "whatever came of it"
    assert [example.origin for example in crop.examples] == ["refinement"]


def test_values_are_counted_by_level() -> None:
    rows = by_level({"a": 1.0, "b": 0.0, "c": 1.0}, {"a": 0, "b": 0, "c": 4})
    assert [(row["accuracy"], row["n"]) for row in rows] == [(0.5, 2), (None, 0), (None, 0), (None, 0), (1.0, 1)]


# The recipe -----------------------------------------------------------------------------------------------------------


def make_config(**changes: Any) -> critique_loop.Config:
    settings: dict[str, Any] = dict(
        model="primer", data="primer:train?n=8", eval_data="primer:dev?n=4", critic="primer", iterations=1,
        num_samples=2, num_refinements=2, max_new_tokens=64, critic_tokens=96, start_limit=2, learning_rate=3e-4,
        epochs=10.0, max_steps=3, batch_size=4, checkpoint_every=1, eval_samples=0, max_batch=64,
    )  # fmt: skip
    return critique_loop.Config(**{**settings, **changes})


def run_it(config: critique_loop.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    with open_bench(config, recipe=critique_loop.NAME, folder=folder, progress=SilentProgress(), resume=resume) as b:
        return critique_loop.run(config, b)


@pytest.fixture
def loop_config() -> Callable[..., critique_loop.Config]:
    """A function that makes the config of one small round on primer, changed by keywords."""
    return make_config


@pytest.fixture
def run_loop() -> Callable[..., dict[str, Any]]:
    """A function `(config, folder, resume=False) -> report`."""
    return run_it


@pytest.fixture
def rehearsal(pens_file: Path, tiny_model_dir: Any) -> Callable[..., critique_loop.Config]:
    """A function that makes the config of a rehearsal on an architecture, with problems that have solutions."""

    def make(kind: str, **changes: Any) -> critique_loop.Config:
        model = str(tiny_model_dir(kind))
        settings: dict[str, Any] = dict(
            model=model, critic=model, data=f"gsm8k:{pens_file}", eval_data=None, dev_size=2,
            sampler="scripted", max_new_tokens=300, critic_tokens=900, num_samples=3, start_limit=1,
        )  # fmt: skip
        return make_config(**{**settings, **changes})

    return make


def everything(folder: Path, results_of: Callable[[Path], Any]) -> dict[str, Any]:
    """What two equal runs must agree on, the examples included."""
    rows = [line for path in sorted((folder / "examples").glob("*.jsonl")) for line in path.open()]
    return {**results_of(folder), "examples": sorted(rows)}


def test_the_loop_on_primer(tmp_path, loop_config, run_loop) -> None:
    config = loop_config(eval_critic=True, level_samples=2, data="primer:train?n=6", eval_data="primer:dev?n=3")
    report = run_loop(config, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    made = {c.id: c for c in run.read("completions", Completion)}
    verdicts = {v.completion_id: v for v in run.read("verdicts", Verdict)}
    examples = list(run.read("examples", Example))
    first, second = report["iterations"]
    counts = Counter(example.origin for example in examples)
    assert counts["gold"] == 2 and second["kept"]["start"] == 2
    assert (counts["self"], counts["refinement"]) == (second["kept"]["original"], second["kept"]["refinement"])
    for example in examples:
        if example.origin != "gold":
            source = made[example.source_id]
            assert verdicts[source.id].is_correct and example.target_ids == source.token_ids
            assert TOKENIZER.decode(example.prompt_ids).endswith("solve:\n"), "as if it were the first solution"
    roots = [c for c in made.values() if c.role == "answer" and c.policy.version == 1 and c.index < 2]
    criticised = {c.parent_id for c in made.values() if c.role == "critique" and c.policy.version == 0}
    assert second["critiques"]["asked"] <= len(criticised) and roots
    assert first["with_critic"]["n"] == second["greedy"]["n"] == 3
    assert sum(level["n"] for level in second["test_levels"]) == 3
    assert sum(second["train_levels"]) == pytest.approx(1.0)
    assert [row["round"] for row in report["critique_loop"]] == [0, 1]
    assert report["remarks"][1].startswith("round 1: ") and "refinements learnt" in report["remarks"][1]
    assert report["critique_loop"][1]["tokens_written"] > 0 == report["critique_loop"][0]["tokens_written"]
    assert {c.policy.version for c in made.values() if c.role == "answer"} == {1, 2}, "base 0, actor_0, actor_1"


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {"learn_refining": True}),
        pytest.param("qwen2", {"learn_from": "sft+dpo", "retrain_critic": True, "lora_rank": 4, "iterations": 2},
                     marks=pytest.mark.slow),
        ("phi3", {"learn_from": "dpo", "start_limit": 0, "retrain_critic": True}),
    ],
)  # fmt: skip
def test_rehearsal_runs_every_option_on_a_real_architecture(tmp_path, kind, changes, rehearsal, run_loop) -> None:
    config = rehearsal(kind, **changes)
    report = run_loop(config, tmp_path / "run")
    run, last = Run.open(tmp_path / "run"), report["iterations"][-1]
    assert last["iteration"] == config.iterations and last["steps"] == 3
    assert last["critiques"]["asked"] > 0 == last["critiques"]["unreadable"]
    origins = Counter(example.origin for example in run.read("examples", Example))
    pairs = list(run.read("pairs", PreferencePair))
    assert pairs and last["critiques"]["helped"] > 0
    assert bool(origins["refining"]) == config.learn_refining and bool(origins["critique"]) == config.retrain_critic
    labels = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert ("critic1" in labels) == config.retrain_critic and "it1" in labels | {f"it{config.iterations - 1}"}
    assert ("it1-dpo" in labels) == (config.learn_from == "sft+dpo")
    with open_bench(rehearsal(kind, **changes), recipe=critique_loop.NAME, folder=tmp_path / "again",
                    progress=SilentProgress()) as bench:  # fmt: skip
        again = bench.invite(str(tmp_path / "run" / "checkpoints" / "it1")) if "it1" in labels else bench
        assert again.base.lineage


def test_vanilla_improvement_asks_no_critic(tmp_path, rehearsal, run_loop) -> None:
    run_loop(rehearsal("llama", critic=None), tmp_path / "run")
    roles = {c.role for c in Run.open(tmp_path / "run").read("completions", Completion)}
    assert roles == {"answer"}


@pytest.mark.slow
def test_vanilla_improvement_may_have_a_critic_at_test_time(tmp_path, rehearsal, run_loop) -> None:
    report = run_loop(rehearsal("llama", num_refinements=0, eval_critic=True), tmp_path / "run")
    assert report["iterations"][1]["critiques"]["asked"] == 0 and report["iterations"][1]["with_critic"]["n"] == 2


@pytest.mark.slow
def test_killed_and_resumed_is_as_uninterrupted(tmp_path, rehearsal, run_loop, results_of, monkeypatch) -> None:
    config = rehearsal("llama", retrain_critic=True, learn_refining=True)
    run_loop(config, tmp_path / "whole")
    grade, shown, count = GradingOnTheWay.__call__, learn.show_steps, 0

    def grading_bomb(self: GradingOnTheWay, completion: Completion) -> Verdict:
        nonlocal count
        count += 1
        if count == 12:
            raise KeyboardInterrupt
        return grade(self, completion)

    def learning_bomb(config: Any, bench: Any, name: str, *rest: Any) -> Any:
        on_step = shown(config, bench, name, *rest)

        def step(metrics: Any) -> None:
            on_step(metrics)
            if name == "it1-learn" and metrics.step == 2:
                raise KeyboardInterrupt

        return step

    for place, name, bomb in ((GradingOnTheWay, "__call__", grading_bomb), (learn, "show_steps", learning_bomb)):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, bomb)
            with pytest.raises(KeyboardInterrupt):
                run_loop(config, tmp_path / "cut", resume=(tmp_path / "cut").exists())
    run_loop(config, tmp_path / "cut", resume=True)
    assert everything(tmp_path / "cut", results_of) == everything(tmp_path / "whole", results_of)


def test_refined_solutions_of_critique_data_are_learnt_after_their_critiques(tmp_path, loop_config) -> None:
    story = true_critique(story_of(PROBLEM), WRONG)
    row = {"id": "a", "question": PROBLEM.question, "answer": PROBLEM.answer, "solution": WRONG, "critique": story,
           "form": "primer", "fate": "kept", "refined": GOLD}  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "id": "b", "refined": ""}) + "\n")
    config = loop_config(start_refinements=str(path))
    with open_bench(config, recipe=critique_loop.NAME, folder=tmp_path / "run", progress=SilentProgress()) as bench:
        examples = start_examples(bench, limit=1, refinements=str(path))
    assert [example.origin for example in examples] == ["gold", "refining"]
    assert TOKENIZER.decode(examples[1].target_ids) == GOLD + "<eos>"
    assert TOKENIZER.decode(examples[1].prompt_ids).endswith(f"critique:\n{story}\nrefine:\n")
    path.write_text(json.dumps({**row, "refined": ""}) + "\n")
    with pytest.raises(NothingToLearn, match="no refined solution"):
        start_examples(bench, limit=0, refinements=str(path))


def test_nothing_to_learn_is_told(tmp_path, rehearsal, run_loop) -> None:
    (tmp_path / "script.py").write_text("def write(request):\n    return 'I do not know.'\n")
    config = rehearsal("llama", start_limit=0, critic=None, sampler=f"scripted:{tmp_path}/script.py:write")
    with pytest.raises(NothingToLearn, match="no solution and no refinement was right") as caught:
        run_loop(config, tmp_path / "run")
    assert "12 solutions and 0 critiques of 4 problems" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learn_from": "dpo", "critic": None}, "nothing is refined"),
        ({"learn_from": "sft+dpo", "num_refinements": 0}, "nothing is refined"),
        ({"retrain_critic": True, "critic": "server:http://localhost:1"}, "cannot be trained again"),
        ({"retrain_critic": True, "critic": None}, "cannot be trained again"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message) -> None:
    with pytest.raises(InputError, match=message):
        critique_loop.check(make_config(**changes))


def test_every_problem_is_practised_on_where_evaluation_data_are_named(tmp_path, loop_config) -> None:
    with open_bench(
        loop_config(), recipe=critique_loop.NAME, folder=tmp_path / "run", progress=SilentProgress()
    ) as bench:
        assert len(bench.train) == 8 and bench.held_out == []
