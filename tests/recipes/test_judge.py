"""The recipe judge from end to end: on primer, in rehearsal on three architectures, resumed; data, bad judges."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tutelage.cli.backends import open_bench
from tutelage.errors import DataError, InputError, NothingToLearn, RunFailed
from tutelage.evaluation.judge_flows import Opinion
from tutelage.models.runs import checkpoint_of
from tutelage.primer import model_path
from tutelage.problems.primer import annotate_problem, critique_of, primer_problems, story_of
from tutelage.recipes import judge
from tutelage.recipes.judge_card import filter_table, remarks
from tutelage.recipes.judge_data import JudgeSample, read_samples, to_rate, true_rating, true_score
from tutelage.recipes.judging import judge_scores, open_judge
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Completion, Example, Policy, SamplingParams, Score, Verdict
from tutelage.store.run import Run
from tutelage.text.ratings import Rating, read_rating

PROBLEM = next(p for p in primer_problems("train", 60) if p.level == "3" and p.metadata["steps"][1]["wrong_line"])


def make_config(**changes: Any) -> judge.Config:
    settings: dict[str, Any] = dict(
        model="primer", data="primer:train?n=6", eval_data="primer:dev?n=4", num_samples=4, rated_per_problem=2,
        num_answers=2, max_new_tokens=60, judge_tokens=90, learning_rate=1e-4, batch_size=4, epochs=1.0, keep_top=1,
        checkpoint_every=1, max_batch=64,
    )  # fmt: skip
    return judge.Config(**{**settings, **changes})


def run_it(config: judge.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    with open_bench(config, recipe=judge.NAME, folder=folder, progress=SilentProgress(), resume=resume) as bench:
        return judge.run(config, bench)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answer(text: str, name: str = "a", problem: str = PROBLEM.id) -> Completion:
    return Completion(
        name, problem, "answer", Policy("m"), "t", (1,), (2,), text, ((0, 1, "model"),), (0.0,), "stop",
        SamplingParams(), 0,
    )  # fmt: skip


def verdict(name: str, is_right: bool, problem: str = PROBLEM.id) -> Verdict:
    return Verdict(name, problem, "correct" if is_right else "incorrect", float(is_right))


@pytest.fixture(scope="module")
def rewarding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reward model that has learnt nothing."""
    folder = tmp_path_factory.mktemp("reward")
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(model_path(), num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_path()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, rewarding: Path) -> Path:
    """The folder of one small run on primer."""
    folder = tmp_path_factory.mktemp("judge") / "run"
    run_it(make_config(reward_model=str(rewarding)), folder)
    return folder


@pytest.fixture
def judge_config() -> Callable[..., judge.Config]:
    """A function that makes the config of a small judge on primer, changed by keywords."""
    return make_config


def test_a_judge_learns_and_the_report_says_what_it_is_worth(trained) -> None:
    run = Run.open(trained)
    report, samples = run.report(), list(run.read("judge_samples", JudgeSample))
    card, problems = report["judge"], {p.id: p for p in primer_problems("train", 6)}
    assert card["data"]["ratings"] == len(samples) == sum(card["data"]["scores"])
    tokenizer = AutoTokenizer.from_pretrained(trained / "checkpoints" / "it1")
    for example, sample in zip(run.read("examples", Example), samples, strict=False):
        prompt = f"{sample.question}\nsolve:\n{sample.solution}\nsolution: {sample.answer}\nverdict:\ncritique:\n"
        assert tokenizer.decode(example.prompt_ids) == prompt
        read = read_rating(tokenizer.decode(example.target_ids).removesuffix("<eos>"), "primer")
        assert read == Rating(sample.analysis, sample.score)
        assert sample.is_right == (sample.score >= 6)
        problem = problems[sample.problem_id]
        truth = critique_of(story_of(problem), annotate_problem(problem, sample.solution))
        assert sample.analysis == truth.rpartition("\n")[0]
    assert card["teacher"]["verdicts"]["accuracy"] == 1.0 and card["answers"]["n"] == 8
    (own,) = card["students"]
    histogram = own["after"]["histogram"]
    seen = sum(histogram["right"]) + sum(histogram["wrong"])
    assert seen + histogram["unreadable_right"] + histogram["unreadable_wrong"] == 8
    assert own["before"] is None and own["against_teacher"]["accuracy"]["n"] == 4 and own["parameters"] > 1e5
    assert [row["name"] for row in own["filters"]] == ["reward_model", "judge", "both"]
    assert {row["right_in"] for row in own["filters"]} == {card["answers"]["right"]}
    assert own["filters"][0]["right_out"] + own["filters"][0]["wrong_out"] == 4, "the best of each problem"
    assert card["reward_model"].keys() == {"auc_within", "auc_across"}
    assert len(list(run.read("examples", Example))) == len(samples) and report["iterations"][1]["steps"] >= 2
    kinds = [score.kind for score in run.read("scores", Score)]
    assert kinds.count("reward_model") == 8 and kinds.count("judge") == seen
    assert checkpoint_of(str(trained)).endswith("it1")
    told = remarks(card)
    assert any(line.startswith("teacher: 100.0% right") for line in told) and report["remarks"] == told


def test_killed_in_learning_and_resumed_is_as_uninterrupted(
    tmp_path, trained, rewarding, results_of, interrupted_in_learning
) -> None:
    config = make_config(reward_model=str(rewarding))
    with interrupted_in_learning(2):
        run_it(config, tmp_path / "cut")
    run_it(config, tmp_path / "cut", resume=True)
    assert results_of(tmp_path / "cut") == results_of(trained)
    assert set(Run.open(tmp_path / "cut").read("scores", Score)) == set(Run.open(trained).read("scores", Score))


@pytest.mark.parametrize(
    ("kind", "rank", "source"), [("llama", 0, "own"), ("llama", 0, "real"), ("qwen2", 4, "real"), ("phi3", 4, "real")]
)
def test_rehearsal_runs_every_stage_on_a_real_architecture(
    tmp_path, kind, rank, source, request, tiny_model_dir, judge_config
) -> None:
    rows = [{"question": f"Ann has {a} pens and gets 3. How many?", "answer": f"She has {a + 3}.\n#### {a + 3}"}
            for a in range(7)]  # fmt: skip
    file, model = write(tmp_path / "own.jsonl", rows), str(tiny_model_dir(kind))
    if source == "real":
        file = request.getfixturevalue("shared_data") / "gsm8k" / "test.jsonl"
    config = judge_config(
        model=model, data=f"gsm8k:{file}", data_limit=7, eval_data=None, dev_size=2, annotator=model,
        sampler="scripted", lora_rank=rank, batch_size=2, epochs=1.0, max_new_tokens=300, judge_tokens=300,
    )  # fmt: skip
    report = run_it(config, tmp_path / "run")
    own = report["judge"]["students"][0]
    assert report["iterations"][1]["steps"] >= 3 and report["alarms"] == []
    assert own["after"]["verdicts"]["accuracy"] == 1.0 == report["judge"]["teacher"]["verdicts"]["accuracy"]
    assert own["against_teacher"]["pearson"] in (None, 1.0)
    folder = tmp_path / "run" / "checkpoints" / "it1"
    example = next(iter(Run.open(tmp_path / "run").read("examples", Example)))
    shown = AutoTokenizer.from_pretrained(model).decode(example.prompt_ids)
    assert "Reference answer: " in shown and "9-10: right" in shown and "Rating: [[score]]" in shown
    loaded = AutoModelForCausalLM.from_pretrained(model if rank else folder)
    if rank:
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(loaded, folder)
    ids = torch.tensor([[*example.prompt_ids, *example.target_ids]])
    before = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        assert not torch.allclose(loaded(ids).logits, before(ids).logits, atol=1e-5), "it learnt, and loads again"


def test_true_scores_follow_the_bands() -> None:
    steps = [step["line"] for step in PROBLEM.metadata["steps"]]
    final = f"answer: {PROBLEM.answer}"

    def score(*rows: str) -> int:
        return true_score(annotate_problem(PROBLEM, "\n".join(rows)))

    wrong = PROBLEM.metadata["steps"][1]["wrong_line"]
    assert score(*steps, final) == 10
    assert score(steps[0], wrong, steps[2], final) in (7, 8), "the answer is right behind a wrong step"
    assert score(final) == 6, "three steps are missing"
    assert score(*steps, "answer: 99999") == 5 and score(*steps) == 5, "all steps right, the answer wrong or missing"
    assert score(steps[0], "answer: 99999") == 3, "one of three steps"
    assert score(*steps[:2], "answer: 99999") == 4
    assert score("nonsense", "answer: 99999") == 2 and score("") == 1
    rating = true_rating(PROBLEM, annotate_problem(PROBLEM, "\n".join([*steps, final])))
    assert rating.score == 10 and rating.analysis.count("correct.") == 3 and "verdict" not in rating.analysis


def test_right_and_wrong_solutions_are_rated_in_turn() -> None:
    texts = ["r1", "r1 ", "r2", "r3", "w1", "", "x"]
    made = [answer(text, f"c{i}") for i, text in enumerate(texts)]
    verdicts = {c.id: verdict(c.id, c.text.startswith("r")) for c in made}
    verdicts["c6"] = Verdict("c6", PROBLEM.id, "undecided", None)
    assert [c.text for c in to_rate(made, verdicts, 3)] == ["r1", "w1", "r2"]
    assert [c.text for c in to_rate(made, verdicts, 9)] == ["r1", "w1", "r2", "r3"]


def test_what_each_filter_lets_through_by_hand() -> None:
    """Problem a: right 9 and (unread), wrong 7; problem b: wrong 3 and 2. Rewards rank a's wrong answer first."""
    scores = {"a0": 9, "a1": None, "a2": 7, "b0": 3, "b1": 2}
    rewards = {"a0": 2.0, "a1": 1.0, "a2": 3.0, "b0": 0.5, "b1": 0.1}
    made = [answer(name, name, name[0]) for name in scores]
    verdicts = {name: verdict(name, name in ("a0", "a1"), name[0]) for name in scores}
    said = {c.id: Opinion(c, None if scores[c.id] is None else Rating("", scores[c.id])) for c in made}
    rows = filter_table(made, verdicts, said, threshold=6, rewards=rewards, top=2)
    assert [(row["name"], row["right_out"], row["wrong_out"]) for row in rows] == [
        ("reward_model", 1, 3), ("judge", 1, 1), ("both", 1, 1)
    ]  # fmt: skip
    assert all((row["right_in"], row["wrong_in"]) == (2, 3) for row in rows)
    assert rows[0]["precision_out"] == 1 / 4 and rows[2]["precision_out"] == 1 / 2 and rows[2]["recall"] == 1 / 2


def test_a_judge_scores_for_other_recipes_and_one_that_never_parses_is_told(tmp_path, trained, judge_config) -> None:
    (tmp_path / "script.py").write_text(
        "def judge(request):\n"
        "    if request.role != 'judge':\n        return '1+1=2\\nanswer: 2'\n"
        "    return 'verdict: 8' if request.index else 'I like it'\n"
        "def chatter(request):\n    return 'I like it' if request.role == 'judge' else 'answer: 2'\n"
    )

    class Settings(judge.Config):
        judge: str | None = None
        judge_reference: bool = True

    def seat_of(name: str, folder: str, **changes: Any) -> Any:
        settings = make_config(sampler=f"scripted:{tmp_path}/script.py:{name}").model_dump()
        config = Settings(**settings, judge=str(trained), **changes)
        return config, open_bench(config, recipe="judge", folder=tmp_path / folder, progress=SilentProgress())

    config, opened = seat_of("judge", "one")
    with opened as bench:
        seat = open_judge(config, bench)
        (note,) = bench.progress.notes  # no warning: it was taught with the reference answer
        assert note.startswith(f"judge={trained}: its last checkpoint")
        problems = bench.train[:2]
        made = [answer("1+1=2\nanswer: 2", f"c{i}", p.id) for i, p in enumerate(problems)]
        assert judge_scores(bench, seat, made, problems) == {"c0": 8.0, "c1": 8.0}
        scores = list(bench.run.read("scores", Score))
        assert {s.kind for s in scores} == {"judge"} and len(scores) == 2
        assert judge_scores(bench, seat, made, problems) == {"c0": 8.0, "c1": 8.0}, "from the run folder"
        assert sum(c.role == "judge" for c in bench.run.read("completions", Completion)) == 4, "two tries each, once"
        assert open_judge(config.model_copy(update={"judge": None}), bench) is None
    config, opened = seat_of("chatter", "two", judge_reference=False)
    with opened as bench:
        seat = open_judge(config, bench)
        assert "asked otherwise than it was taught: judge_reference=false" in bench.progress.notes[-1]
        with pytest.raises(RunFailed, match="none of the judge's 1 ratings can be read"):
            judge_scores(bench, seat, made[:1], problems)
    with pytest.raises(NothingToLearn, match="no rating was kept") as caught:
        run_it(make_config(annotator="primer", sampler=f"scripted:{tmp_path}/script.py:chatter"), tmp_path / "three")
    assert "there is no rating" in str(caught.value)


def test_a_sampler_that_writes_nothing_is_told_as_that(tmp_path) -> None:
    (tmp_path / "script.py").write_text("def nothing(request):\n    return ''\n")
    with pytest.raises(NothingToLearn, match="no rating was kept") as caught:
        run_it(make_config(sampler=f"scripted:{tmp_path}/script.py:nothing"), tmp_path / "run")
    message = str(caught.value)
    assert re.search(r"no solution to rate.*of (\d+) solutions \1 are empty", message)
    assert "annotator" not in message and "why the sampler writes nothing" in message


def test_what_is_refused(tmp_path) -> None:
    with pytest.raises(ValidationError, match="ratings must name"):
        make_config(annotator=None)
    with pytest.raises(InputError, match="not named rightly"):
        run_it(make_config(annotator="noisy:2"), tmp_path / "run")
    good = {"question": "q?", "answer": "3", "solution": "3", "analysis": "Yes.", "score": 9}
    (read,) = read_samples(write(tmp_path / "rows.jsonl", [good]))
    assert read.is_right and read.fate == "kept" and read.annotator == "rows.jsonl:1" and read.score == 9
    for change in ({"score": 11}, {"score": None}, {"score": True}, {"analysis": 3}, {"question": None}):
        with pytest.raises(DataError, match="no rating"):
            read_samples(write(tmp_path / "rows.jsonl", [good | change]))


def test_ratings_from_elsewhere_teach_students_with_different_tokenizers(tmp_path, tiny_model_dir) -> None:
    rows = [{"question": p.question, "answer": p.answer, "solution": p.solution, "analysis": "", "score": 10}
            for p in primer_problems("train", 6)]  # fmt: skip
    path = write(tmp_path / "rows.jsonl", rows)
    small = str(tiny_model_dir("llama"))
    config = make_config(annotator=None, ratings=str(path), eval_data="primer:dev?n=2", judge_tokens=12,
                         students=["primer", small], untrained=True)  # fmt: skip
    report = run_it(config, tmp_path / "run")
    card = report["judge"]
    assert card["teacher"] is None and card["data"]["scores"] == [0] * 9 + [6] and card["reward_model"] is None
    assert [own["checkpoint"] for own in card["students"]] == ["it1", "it2"]
    assert checkpoint_of(str(tmp_path / "run")).endswith("it2")
    for own in card["students"]:
        assert own["against_teacher"] is None and [row["name"] for row in own["filters"]] == ["judge"]
        assert own["before"]["verdicts"]["unreadable"] == 1.0, "it was not schooled in this form"
    examples = list(Run.open(tmp_path / "run").read("examples", Example))
    assert len(examples) == 12 and len({example.id for example in examples}) == 12
    first, second = ((tmp_path / "run" / "checkpoints" / name / "config.json").read_text() for name in ("it1", "it2"))
    assert first != second, "each student is of its own kind"
