"""The critic recipe from end to end: on primer, in rehearsal on three architectures, resumed; labelled solutions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tutelage.cli.backends import open_bench
from tutelage.errors import DataError, NothingToLearn
from tutelage.problems.labelled_solutions import numbered_steps, read_labelled
from tutelage.problems.primer import primer_problems, story_of, true_critique
from tutelage.recipes import critic
from tutelage.recipes.critic_measure import figures, measure_on_labelled
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import Completion, Critique, CritiqueStep, Example, SamplingParams
from tutelage.store.run import Run
from tutelage.text.critiques import CritiqueText, write_critique


def primer_rows(count: int) -> list[dict[str, Any]]:
    """The truth about the right solution and a wrong one of primer problems."""
    rows = []
    for problem in primer_problems("train", count):
        steps = problem.metadata["steps"]
        wrong = [step["wrong_line"] or step["line"] for step in steps]
        for lines in ([step["line"] for step in steps], wrong):
            text = "\n".join([*lines, f"answer: {lines[-1].split('=')[1]}"])
            rows.append({"id": f"{problem.id}-{len(rows)}", "question": problem.question, "answer": problem.answer,
                         "solution": text, "critique": true_critique(story_of(problem), text),
                         "form": "primer"})  # fmt: skip
    return rows


def labelled_form(question: str, wrong: str) -> dict[str, Any]:
    """A critique in the released form."""
    steps = (CritiqueStep("Tim had some.", True, "Yes."), CritiqueStep(wrong, False, "No."))
    return {"id": question, "question": question, "answer": "5", "initial_solution": f"Tim had some.\n{wrong}",
            "critique": write_critique(CritiqueText(steps, False, "No."), "labelled")}  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def make_config(critiques: Path, **changes: Any) -> critic.Config:
    settings: dict[str, Any] = dict(
        model="primer", data="primer:train?n=12", eval_data="primer:dev?n=4", critiques=str(critiques), num_answers=2,
        level_samples=2, max_new_tokens=60, critic_tokens=90, learning_rate=1e-4, batch_size=8, epochs=1.0,
        checkpoint_every=1, max_batch=64,
    )  # fmt: skip
    return critic.Config(**{**settings, **changes})


def run_it(config: critic.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    with open_bench(config, recipe=critic.NAME, folder=folder, progress=SilentProgress(), resume=resume) as bench:
        return critic.run(config, bench)


@pytest.fixture(scope="module")
def critiques(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of critiques of primer solutions."""
    return write(tmp_path_factory.mktemp("critiques") / "rows.jsonl", primer_rows(12))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, critiques: Path) -> Path:
    """The folder of one run with the small config."""
    folder = tmp_path_factory.mktemp("critic") / "run"
    run_it(make_config(critiques), folder)
    return folder


@pytest.fixture
def critic_config(critiques) -> Callable[..., critic.Config]:
    """A function that makes the config of a small critic on primer, changed by keywords."""
    return lambda **changes: make_config(changes.pop("critiques", critiques), **changes)


@pytest.fixture
def run_critic() -> Callable[..., dict[str, Any]]:
    """A function `(config, folder, resume=False) -> report`."""
    return run_it


def test_a_critic_learns_and_the_report_says_what_it_is_worth(trained) -> None:
    run = Run.open(trained)
    report = run.report()
    examples = list(run.read("examples", Example))
    tokenizer = AutoTokenizer.from_pretrained(trained / "checkpoints" / "it1")
    for example, row in zip(examples, primer_rows(12), strict=True):
        assert tokenizer.decode(example.prompt_ids) == f"{row['question']}\nsolve:\n{row['solution']}\ncritique:\n"
        assert tokenizer.decode(example.target_ids) == row["critique"] + "<eos>"
    both = report["critic"]["answers"]
    for when in ("before", "after"):
        own = both[when]
        assert own["verdicts"]["n"] == own["help"]["n"] == 8
        assert own["first_error"]["n_wrong"] + own["first_error"]["n_right"] == 8
        assert sum(level["n"] for level in own["levels"]) == 8 and len(own["levels"]) == 5
    assert both["before"]["help"]["before"] == both["after"]["help"]["before"], "the same answers"
    assert both["compared"].keys() == {"verdicts", "help"}
    assert report["iterations"][1]["steps"] == 3 and report["alarms"] == []
    roles = [c.role for c in run.read("completions", Completion)]
    assert roles.count("answer") == 4 * 2 + 4 * 2 and roles.count("critique") == 16 == roles.count("refinement")
    assert len(list(run.read("critiques", Critique))) <= 16


def test_killed_in_learning_and_resumed_is_as_uninterrupted(
    tmp_path, trained, critic_config, run_critic, results_of, interrupted_in_learning
) -> None:
    with interrupted_in_learning(2):
        run_critic(critic_config(), tmp_path / "cut")
    run_critic(critic_config(), tmp_path / "cut", resume=True)
    assert results_of(tmp_path / "cut") == results_of(trained)


@pytest.mark.parametrize(("kind", "lora_rank"), [("llama", 0), ("qwen2", 4), ("phi3", 4)])
def test_rehearsal_runs_every_stage_on_a_real_architecture(
    tmp_path, kind, lora_rank, tiny_model_dir, critic_config, run_critic
) -> None:
    rows = [labelled_form(f"Tim has {a} pens and gets 3. How many?", f"{a} + 3 = 5") for a in range(3, 9)]
    problems = [{"question": f"Ann has {a} pens and gets 3. How many?", "answer": f"She has {a + 3}.\n#### {a + 3}"}
                for a in range(5)]  # fmt: skip
    config = critic_config(
        model=str(tiny_model_dir(kind)), data=f"gsm8k:{write(tmp_path / 'own.jsonl', problems)}", eval_data=None,
        dev_size=2, critiques=str(write(tmp_path / "released.jsonl", rows)), sampler="scripted", lora_rank=lora_rank,
        batch_size=2, max_new_tokens=300, critic_tokens=900,
    )  # fmt: skip
    report = run_critic(config, tmp_path / "run")
    own = report["critic"]["answers"]["after"]
    assert report["iterations"][1]["steps"] == 3
    assert own["verdicts"]["accuracy"] == 1.0 and own["verdicts"]["unreadable"] == 0, "the rehearsal's verdicts"
    assert "first_error" not in own, "nobody told where the errors are"
    folder = tmp_path / "run" / "checkpoints" / "it1"
    example = next(iter(Run.open(tmp_path / "run").read("examples", Example)))
    model = AutoModelForCausalLM.from_pretrained(config.model if lora_rank else folder)
    if lora_rank:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder)
    ids = torch.tensor([[*example.prompt_ids, *example.target_ids]])
    before = AutoModelForCausalLM.from_pretrained(config.model)
    with torch.no_grad():
        assert not torch.allclose(model(ids).logits, before(ids).logits, atol=1e-5), "it learnt, and loads again"


def test_rows_that_cannot_be_read_are_told_and_leaks_too(tmp_path, critic_config, run_critic) -> None:
    rows = [labelled_form(f"Tim has {a} pens?", "2") for a in range(4)]
    rows[0]["critique"] = "It is wrong."
    rows[1]["question"] = primer_problems("dev", 1)[0].question
    bad, good = write(tmp_path / "bad.jsonl", rows[:1]), write(tmp_path / "some.jsonl", rows)
    with pytest.raises(NothingToLearn, match="no critique can be read"):
        run_critic(critic_config(critiques=str(bad)), tmp_path / "none")
    report = run_critic(critic_config(critiques=str(good), level_samples=0, num_answers=1, eval_data="primer:dev?n=2"),
                        tmp_path / "run")  # fmt: skip
    assert any("1 of 4 critiques could not be read" in alarm for alarm in report["alarms"])
    assert any("1 of 2 evaluation questions" in alarm for alarm in report["alarms"])
    assert report["critic"]["answers"]["after"]["levels"] == []


def test_labels_are_checked(tmp_path) -> None:
    row = {"question": "q?", "completion": "Step 1: a\nb\nStep 2: c\n", "gold": "3", "solution_correct": False,
           "first_error_step": 2, "correct": False}  # fmt: skip
    (found,) = read_labelled(write(tmp_path / "rows.jsonl", [row]))
    assert found.steps == ("Step 1: a\nb", "Step 2: c") and found.first_error == 1 and not found.answer_is_right
    assert numbered_steps("a\nb\nFinal answer: 3") == ("a", "b")
    for change in ({"first_error_step": 3}, {"first_error_step": 0}, {"first_error_step": None}, {"completion": 7},
                   {"solution_correct": None}, {"first_error_step": True}):  # fmt: skip
        with pytest.raises(DataError, match="no labelled solution"):
            read_labelled(write(tmp_path / "rows.jsonl", [row | change]))


@pytest.mark.parametrize("limit", [60, pytest.param(307, marks=pytest.mark.slow)])
def test_human_labels_through_replay(limit, tmp_path, shared_data, tiny_model_dir, critic_config) -> None:
    """A critic's recorded words about solutions that people labelled: what it should be given, it is given."""
    path = shared_data / "model_outputs" / "mr_gsm8k_human.jsonl"
    gold_path = shared_data / "gsm8k" / "test.jsonl"
    if not path.is_file() or not gold_path.is_file():
        pytest.skip("no labelled solutions")
    gold = [json.loads(line) for line in gold_path.read_text().splitlines()[:40]]
    right = [{"id": g["id"], "question": g["question"], "completion": g["solution"], "gold": g["answer"],
              "solution_correct": True, "correct": True} for g in gold]  # fmt: skip
    rows = [json.loads(line) for line in path.read_text().splitlines()[:limit]] + right
    labelled = write(tmp_path / "labelled.jsonl", rows)
    solutions = read_labelled(labelled)
    assert len(solutions) == limit + 40 and sum(s.first_error is None for s in solutions) == 40
    words, hits, readable = [], {True: 0, False: 0}, 0
    for number, solution in enumerate(solutions):
        first = solution.first_error
        if number % 5 == 1:  # one step late, or an error where there is none
            first = 0 if first is None else first + 1
        steps = tuple(CritiqueStep(text, first is None or i < first, "So.") for i, text in enumerate(solution.steps))
        text = write_critique(CritiqueText(steps, solution.answer_is_right, "So."), "labelled")
        if number % 10 == 4:
            text = text.replace("answer: Wrong", "answer: Wrong, perhaps").replace("answer: Correct", "answer: Hm")
        hits[solution.first_error is not None] += number % 5 != 1 and number % 10 != 4
        readable += number % 10 != 4
        words.append({"question_id": solution.problem.id, "role": "critique", "completion": text})
    config = critic_config(
        model=str(tiny_model_dir("llama")), data=f"gsm8k:{gold_file(tmp_path)}", eval_data=None, dev_size=1,
        sampler=f"replay:{write(tmp_path / 'words.jsonl', words)}",
    )  # fmt: skip
    with open_bench(
        config, recipe=critic.NAME, folder=tmp_path / "run", progress=SilentProgress(), resume=False
    ) as bench:
        measured = measure_on_labelled(
            Seat.at(bench, SamplingParams(max_new_tokens=2000)), solutions, name="labelled", seed=0
        )
    found = figures(measured, seed=0, with_help=False)
    on_wrong, on_right = hits[True] / limit, hits[False] / 40
    assert found["first_error"]["on_wrong"] == pytest.approx(on_wrong, abs=1e-4)
    assert found["first_error"]["on_right"] == pytest.approx(on_right, abs=1e-4)
    assert found["first_error"]["f1"] == pytest.approx(2 * on_wrong * on_right / (on_wrong + on_right), abs=1e-4)
    assert found["verdicts"]["accuracy"] == pytest.approx(readable / (limit + 40), abs=1e-4)
    assert found["verdicts"]["unreadable"] == pytest.approx(1 - readable / (limit + 40), abs=1e-4)


def gold_file(tmp_path: Path) -> Path:
    rows = [{"question": f"{a} + 3?", "answer": f"It is {a + 3}.\n#### {a + 3}"} for a in range(3)]
    return write(tmp_path / "own.jsonl", rows)
