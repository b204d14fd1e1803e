"""Synthesis through every step: on primer, in rehearsal on three architectures and real seeds; drops have reasons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tutelage.cli.backends import open_bench
from tutelage.errors import DataError, InputError, NothingToLearn
from tutelage.problems import load_problems
from tutelage.problems.primer.reading import read_story
from tutelage.recipes import synthesize
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.synthesis_asking import list_text, seed_keywords
from tutelage.recipes.synthesis_records import KEPT, Candidate
from tutelage.records import Completion, Problem
from tutelage.store.run import Run
from tutelage.text.extraction import extract


@pytest.fixture
def config() -> Callable[..., synthesize.Config]:
    """A function that makes a config of one small round on primer, changed by keywords."""

    def make(**changes: Any) -> synthesize.Config:
        settings: dict[str, Any] = dict(
            model="primer", data="primer:train?n=30", num_problems=8, max_rounds=2, asks_per_round=12, temperature=0.9,
            top_p=0.9, write_tokens=110, max_new_tokens=48, solve_samples=4, max_batch=64,
        )  # fmt: skip
        return synthesize.Config(**{**settings, **changes})

    return make


def run(config: synthesize.Config, folder: Path, *, resume: bool = False, progress: Any = None) -> dict[str, Any]:
    with open_bench(
        config, recipe=synthesize.NAME, folder=folder, progress=progress or SilentProgress(), resume=resume
    ) as bench:
        return synthesize.run(config, bench)


def candidates(folder: Path) -> list[Candidate]:
    return list(Run.open(folder).read("candidates", Candidate))


class Stops(SilentProgress):
    """Interrupts at the n-th unit of work."""

    def __init__(self, at: int) -> None:
        self.left = at

    def advance(self, n: int = 1) -> None:
        self.left -= n
        if self.left <= 0:
            raise KeyboardInterrupt


def test_primer_writes_problems_that_can_be_practised_on(tmp_path: Path, config) -> None:
    report = run(config(), tmp_path / "run")
    counts, found = report["synthesis"], candidates(tmp_path / "run")
    kept = [c for c in found if c.fate == KEPT]
    assert counts["questions"] == len(found) and counts["kept"] == len(kept) >= 1
    assert counts["kept"] + sum(counts["dropped"].values()) == counts["questions"]
    problems = load_problems(f"jsonl:{tmp_path}/run/synthesized.jsonl")
    assert [(p.question, p.answer) for p in problems] == [(c.question, c.answer) for c in kept]
    assert all(p.metadata["agreement"] >= 0.5 and p.metadata["num_solutions"] == 4 for p in problems)
    assert "answers are not known to be right" in (tmp_path / "run" / "synthesized.md").read_text()
    completions = {c.id: c for c in Run.open(tmp_path / "run").read("completions", Completion)}
    for problem in problems:
        agree = [c for c in completions.values() if c.problem_id == problem.id and c.finish_reason == "stop"
                 and extract(c.text).answer == problem.answer]  # fmt: skip
        first = min(agree, key=lambda c: c.index)
        assert problem.metadata["solution_id"] == first.id and problem.solution == first.text.strip()
    solutions = counts["solutions"]
    assert solutions["with_solution"] == len(kept) >= solutions["with_programs"] >= 1
    assert solutions["with_programs"] + sum(solutions["not_converted"].values()) == len(kept)
    assert f"{len(kept)} come with a worked solution" in " ".join(report["remarks"])
    for candidate in found:
        assert completions[candidate.source_id].role == "problem"
        assert candidate.question == completions[candidate.source_id].text.strip()
    truth = counts["primer"]
    assert truth["stories"]["n"] == sum(c.fate != "truncated" for c in found)
    read = [read_story(c.question, is_strict=False) for c in found if c.fate != "truncated"]
    assert truth["stories"]["share"] == pytest.approx(sum(s is not None for s in read) / len(read), abs=1e-4)
    assert 0 < truth["stories"]["share"] <= 1 and truth["seed_sequences"] > 10


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path, config, results_of) -> None:
    small = dict(num_problems=30, asks_per_round=6, solve_samples=2)
    run(config(**small), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(config(**small), tmp_path / "cut", progress=Stops(10))  # in the middle of solving
    with pytest.raises(KeyboardInterrupt):
        run(config(**small), tmp_path / "cut", progress=Stops(20), resume=True)  # in the second round
    run(config(**small, max_batch=9), tmp_path / "cut", resume=True)
    found, wanted = results_of(tmp_path / "cut"), results_of(tmp_path / "whole")
    for report in (found["report"], wanted["report"]):
        report["remarks"] = report["remarks"][:1]  # the others name the folder
    assert found == wanted
    assert candidates(tmp_path / "cut") == candidates(tmp_path / "whole")
    files = [(tmp_path / name / "synthesized.jsonl").read_bytes() for name in ("cut", "whole")]
    assert files[0] == files[1]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3"])
def test_rehearsal_on_real_seeds_and_architectures(tmp_path: Path, kind, shared_data, tiny_model_dir, config) -> None:
    seeds = {
        "llama": str(shared_data / "self_instruct_seeds" / "seed_tasks.jsonl"),
        "qwen2": f"gsm8k:{shared_data}/gsm8k/train.jsonl",
        "phi3": f"math:{shared_data}/math/train.jsonl.gz",
    }
    settings = config(
        model=str(tiny_model_dir(kind)), data=seeds[kind], data_limit=40, sampler="scripted", num_problems=20,
        asks_per_round=8, write_tokens=4000, against=[f"gsm8k:{shared_data}/gsm8k/test.jsonl?split=test"],
        persona_share=0.5, banned=[], most_words=400,
    )  # fmt: skip
    report = run(settings, tmp_path / "run")
    counts = report["synthesis"]
    assert counts["kept"] >= 4 and "primer" not in counts and len(counts["by_field"]) == 8
    assert len(load_problems(f"jsonl:{tmp_path}/run/synthesized.jsonl")) == counts["kept"]


SCRIPT = """
COPY = {copy!r}
def answer(request):
    if request.role == "problem":
        return {items!r}
    return {solution}
"""


def scripted(folder: Path, items: str, solution: str = "'Final answer: 7'", copy: str = "") -> str:
    folder.joinpath("script.py").write_text(SCRIPT.format(items=items, solution=solution, copy=copy))
    return f"scripted:{folder}/script.py:answer"


SEEDS = [
    "Tom has 12 red apples and gives 5 of them to Ann. How many apples does Tom have now?",
    "A train covers 300 miles in 4 hours. What is its mean speed in miles per hour?",
]


@pytest.fixture
def seeded(tmp_path: Path, tiny_model_dir, config) -> Callable[..., synthesize.Config]:
    """A config on two seeds of our own and a plain model; keywords change it."""
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(json.dumps({"question": seed}) + "\n" for seed in SEEDS))

    def make(**changes: Any) -> synthesize.Config:
        base = dict(
            model=str(tiny_model_dir("llama")), data=str(path), asks_per_round=1, max_rounds=1, harder_share=0.0,
            write_tokens=3000, fields=["word problems"],
        )  # fmt: skip
        return config(**{**base, **changes})

    return make


def test_every_drop_has_its_reason(tmp_path: Path, seeded) -> None:
    items = [
        " A farmer plants 9 rows of 14 beans each in spring. How many beans are that?",  # kept
        "Too short.",
        "word " * 151,
        "Look at the graph and tell how many cars were sold in May of that year.",
        "Write a program that sums up all the numbers from one to a hundred.",
        "- and how many of them are left over in the end?",
        SEEDS[0].replace("Tom", "Bob"),
        "A farmer plants 9 rows of 15 beans each in spring. How many beans are that?",
        "Weng earns 12 dollars an hour for babysitting. Yesterday she did 50 minutes of it. What did she earn?",
        "Is nobody able to say what the answer to this one question could be?",
        "Every solution of this question gives something new, so who is right?",
        "The last one is cut",
    ]
    text = items[0] + "".join(f"\n{number}. {item}" for number, item in enumerate(items[1:], start=4))
    solution = (
        "'no idea' if 'nobody' in request.prompt_text else 'Final answer: ' + str("
        "request.index if 'something new' in request.prompt_text else 7)"
    )
    script = tmp_path / "own"
    script.mkdir()
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps({"question": items[8], "answer": "10"}) + "\n")
    where = scripted(script, text, solution)
    cut = script / "script.py"
    cut.write_text("from tutelage.sampling.scripted import Scripted\n" + cut.read_text().replace(
        f"return {text!r}", f"return Scripted({text!r}, 'length')"))  # fmt: skip
    report = run(seeded(sampler=where, against=[f"jsonl:{test}"]), tmp_path / "run")
    found = candidates(tmp_path / "run")
    assert [c.fate for c in found] == [
        KEPT, "too_short", "too_long", "banned_word", "program", "bad_start", "similar", "similar", "contaminated",
        "no_answer", "no_agreement", "truncated",
    ]  # fmt: skip
    assert (found[6].similar_to, found[6].rule) == ("seeds-0", "rouge_l") and found[6].likeness > 0.7
    assert found[7].similar_to == found[0].id
    assert (found[8].rule, found[8].similar_to) == ("text", "test-0")
    assert (found[0].answer, found[0].agreement, found[0].num_solutions) == ("7", 1.0, 4)
    assert (found[9].agreement, found[10].agreement) == (0.0, 0.25)
    assert report["synthesis"]["dropped"]["similar"] == 2 and report["synthesis"]["kept"] == 1


@pytest.mark.parametrize(
    "items, message, advice",
    [
        ("", "the model wrote no question", "write_tokens"),
        (f" {SEEDS[0]}", "every question was dropped", "rouge_l"),
    ],
)
def test_nothing_to_keep_is_one_clear_message(tmp_path: Path, seeded, items: str, message: str, advice: str) -> None:
    with pytest.raises(NothingToLearn, match=message) as caught:
        run(seeded(sampler=scripted(tmp_path, items)), tmp_path / "run")
    assert advice in str(caught.value) and caught.value.exit_code == 1


def test_a_later_round_that_keeps_nothing_ends_the_run(tmp_path: Path, seeded) -> None:
    text = " A farmer plants 9 rows of 14 beans each in spring. How many beans are that?"
    report = run(seeded(sampler=scripted(tmp_path, text), max_rounds=9), tmp_path / "run")
    assert report["synthesis"]["kept"] == 1 and report["synthesis"]["dropped"]["similar"] == 1


def test_a_plain_models_solution_is_kept_without_its_closing_line(tmp_path: Path, seeded) -> None:
    items = " A farmer plants 9 rows of 14 beans each in spring. How many beans are that?"
    prose = "'9*14 = <<9*14=126>>126 beans.\\nFinal answer: 126'"
    run(seeded(sampler=scripted(tmp_path, items, prose)), tmp_path / "run")
    (problem,) = load_problems(f"jsonl:{tmp_path}/run/synthesized.jsonl")
    assert (problem.solution, problem.answer) == ("9*14 = <<9*14=126>>126 beans.", "126")
    assert problem.metadata["program"] == "x1 = 9*14\nprint(round(x1))"


def test_an_empty_pool_and_wrong_names_are_refused(tmp_path: Path, config, seeded) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="no problems"):
        run(seeded(data=str(tmp_path / "empty.jsonl")), tmp_path / "a")
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="no such field"):
        run(seeded(fields=["astrology"]), tmp_path / "b")
    with pytest.raises(InputError, match="built-in world"):
        run(config(data=seeded().data), tmp_path / "c")
    with pytest.raises(ValidationError, match="list_length"):
        config(list_length=8)
    with pytest.raises(ValidationError, match="at most 1"):
        config(keyword_share=0.6, harder_share=0.6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": ["geometri"]}, "no such field"),
        ({"taxonomy": "/no/such/file.toml"}, "taxonomy cannot be read"),
        ({"against": ["gsm8k:/no/such/file.jsonl"]}, "does not exist"),
    ],
)
def test_the_built_in_model_takes_no_unknown_names_either(tmp_path: Path, config, changes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(config(**changes), tmp_path / "run")
    assert not list(Run.open(tmp_path / "run").read("completions", Completion))


def test_settings_without_effect_on_the_built_in_model_are_told(tmp_path: Path, config) -> None:
    quiet, loud = SilentProgress(), SilentProgress()
    small = dict(asks_per_round=4, max_rounds=1, num_problems=1, solve_samples=2)
    run(config(**small), tmp_path / "a", progress=quiet)
    assert not any("no effect" in note for note in quiet.notes)
    changes = dict(fields=["geometry"], persona_share=0.5, machine_demos=3)
    run(config(**small, **changes), tmp_path / "b", progress=loud)
    (told,) = [note for note in loud.notes if "no effect" in note]
    assert told.endswith(": fields=[geometry], machine_demos=3, persona_share=0.5")


def test_keywords_of_seeds_are_the_telling_ones() -> None:
    texts = {
        "a": ["mix acid here", "acid and salt"],
        "b": [*["salt here"] * 3, "here bishop moves", "bishop is here", *["from here"] * 1, *["salt now"] * 4],
    }
    seeds = [Problem(f"{f}{n}", text, "") for f, group in texts.items() for n, text in enumerate(group)]
    found = seed_keywords(seeds, {seed.id: seed.id[0] for seed in seeds})
    # 12 seeds: a word may stand in 3 at most, here and salt stand in more, moves and from in one each.
    assert found == {"a": ["acid"], "b": ["bishop"]}


def test_the_list_begins_with_its_examples() -> None:
    text = list_text("algebra", ["One\n two?", "Three?"], ["roots"], "a baker")
    assert text.endswith("\n1. One two?\n2. Three?")
    assert "roots" in text and "a baker" in text and "algebra" in text
