"""critique-data from end to end: on primer, in rehearsal on three architectures, streaming, resumed; its files."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli.backends import open_bench
from tutelage.errors import DataError, InputError, NothingToLearn
from tutelage.evaluation.plays import ACTOR, Player, Table
from tutelage.primer.vocabulary import build_tokenizer
from tutelage.problems.critique_files import mathcritique_rows, read_critiques
from tutelage.problems.mistakes import read_mistakes
from tutelage.problems.primer import annotate_problem, cot_prompt, primer_problems
from tutelage.recipes import critique_data
from tutelage.recipes.critique_flaws import HeatSettings, cut, gold_path, raised_from, with_mistake
from tutelage.recipes.critique_records import CritiqueSample
from tutelage.recipes.grading_on_the_way import GradingOnTheWay
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Completion, Critique, Policy, SamplingParams, Verdict
from tutelage.sampling.flows import drive
from tutelage.sampling.scripted import ScriptedSampler
from tutelage.store.lineage import trace
from tutelage.store.run import Run
from tutelage.text.critiques import Unreadable, read_critique
from tutelage.text.prompts import Prompter

TOKENIZER = build_tokenizer()
KINDS = ("completions", "verdicts", "critiques", "critique_samples")


def make_config(**changes: Any) -> critique_data.Config:
    settings: dict[str, Any] = dict(
        model="primer", data="primer:train?n=4", num_samples=4, max_new_tokens=60, num_refinements=4, min_right=2,
        max_batch=64,
    )  # fmt: skip
    return critique_data.Config(**{**settings, **changes})


def run_it(config: critique_data.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    with open_bench(
        config, recipe=critique_data.NAME, folder=folder, progress=SilentProgress(), resume=resume
    ) as bench:
        return critique_data.run(config, bench)


@pytest.fixture
def data_config() -> Callable[..., critique_data.Config]:
    """A function that makes the config of a small set on primer, changed by keywords."""
    return make_config


@pytest.fixture
def run_data() -> Callable[..., dict[str, Any]]:
    """A function `(config, folder, resume=False) -> report`."""
    return run_it


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run with the small config."""
    folder = tmp_path_factory.mktemp("critiques") / "run"
    run_it(make_config(), folder)
    return folder


def all_of(folder: Path) -> dict[str, Any]:
    """Records as sets, without seconds, and the files."""
    out: dict[str, Any] = {}
    for kind in KINDS:
        rows = [json.loads(line) for path in sorted((folder / kind).glob("*.jsonl")) for line in path.open()]
        out[kind] = sorted(json.dumps({k: v for k, v in row.items() if k != "seconds"}) for row in rows)
    return out | {path.name: path.read_text() for path in (folder / "dataset").iterdir() if path.suffix != ".json"}


def test_records_link_up_and_the_card_counts_them(made) -> None:
    run = Run.open(made)
    report = run.report()
    completions = {c.id: c for c in run.read("completions", Completion)}
    verdicts = {v.completion_id: v for v in run.read("verdicts", Verdict)}
    samples = list(run.read("critique_samples", CritiqueSample))
    critiques = {c.completion_id: c for c in run.read("critiques", Critique)}
    problems = {p.id: p for p in primer_problems("train", 4)}
    assert {s.way for s in samples} == {"RG1", "RG2", "RG3", "right"}
    for sample in samples:
        solution, truth = completions[sample.completion_id], annotate_problem(problems[sample.problem_id],
                                                                              sample.solution)  # fmt: skip
        assert solution.text == sample.solution and solution.role == "answer"
        assert verdicts[solution.id].is_correct == (sample.way == "right") == truth.final_is_correct
        assert critiques[solution.id].first_error == truth.first_error == sample.first_error, "exact annotator"
        if sample.way == "right":
            assert sample.fate == "kept" and not sample.num_refined
        else:
            assert sample.num_refined == 4 and (sample.fate == "kept") == (sample.num_right >= 2)
        if sample.way == "RG3":
            assert sample.mistake and truth.first_error == sample.location
            assert [k for _, _, k in solution.segments].count("forced") == 1
        if sample.way in ("RG2", "RG3"):
            parent, kept = completions.get(solution.parent_id), solution.branch_position
            assert (parent is None) == solution.parent_id.startswith("gold:"), "no right sample: the data's solution"
            if parent is not None:
                assert solution.token_ids[:kept] == parent.token_ids[:kept] and verdicts[parent.id].is_correct
    card = report["critique_data"]
    fates = Counter((s.way, s.fate) for s in samples)
    assert all(card["fates"][way][fate] == fates[way, fate] for way in card["fates"] for fate in card["fates"][way])
    assert card["solutions"]["RG1"]["made"] == 16 and card["solutions"]["RG3"]["made"] == 8
    assert sum(card["kept"]["mistake"].values()) == card["kept"]["way"]["RG3"]
    assert card["truth"]["kept"]["steps"] == 1.0 and card["truth"]["location"]["RG3"]["right"] == 1.0
    some = next(s for s in samples if s.way == "RG3")
    kinds = {link.kind for link in trace(made, some.id)}
    assert {"critique_samples", "completions", "critiques", "problems"} <= kinds


def test_files_are_read_by_other_trainers_and_by_us(tmp_path, made) -> None:
    folder = made / "dataset"
    kept, bad = read_critiques(made / "critique_samples")
    assert kept and not bad
    for name in ("mathcritique", "llama_factory"):
        rows, bad = read_critiques(folder / f"{name}.jsonl")
        assert not bad and len(rows) == len(kept)
        for row, own in zip(rows, kept, strict=True):
            assert (row.question, row.answer, row.solution.strip()) == (own.question, own.answer, own.solution.strip())
            assert [s.is_correct for s in row.critique.steps] == [s.is_correct for s in own.critique.steps]
            assert row.critique.final_is_correct == own.critique.final_is_correct
    info = json.loads((folder / "dataset_info.json").read_text())["critiques"]
    first = json.loads((folder / info["file_name"]).open().readline())
    assert all(isinstance(first[column], str) for column in info["columns"].values())
    datasets = pytest.importorskip("datasets")
    trl = datasets.load_dataset("json", data_files=str(folder / "trl.jsonl"), split="train", cache_dir=str(tmp_path))
    assert trl.column_names == ["prompt", "completion"] and trl[0]["completion"][0]["role"] == "assistant"
    assert "| RG3 |" in (folder / "README.md").read_text()


@pytest.mark.slow
def test_annotators_that_err_are_told_from_the_exact_one(tmp_path, data_config, run_data) -> None:
    shares = []
    for noise in (0.1, 0.4):
        config = data_config(data="primer:train?n=12", annotator=f"noisy:{noise}", check_final=False, min_right=0)
        card = run_data(config, tmp_path / str(noise))["critique_data"]
        shares.append(card["truth"]["kept"]["steps"])
        assert abs(card["truth"]["kept"]["steps"] - (1 - noise)) < 0.15
        assert card["annotator"]["calls"] == 0
    assert shares[0] > shares[1]
    card = run_data(data_config(annotator="noisy:0.4"), tmp_path / "checked")["critique_data"]
    assert sum(card["fates"][way]["contradicts"] for way in card["fates"]) > 0
    assert card["truth"]["kept"]["final"] == 1.0


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3"])
def test_rehearsal_on_a_real_architecture_with_a_model_as_annotator(
    tmp_path, kind, tiny_model_dir, data_config, run_data
) -> None:
    rows = [{"question": f"Tim has {a} pens and gets {b} more. How many?", "answer": f"He had {a}.\nHe has {a + b}.\n"
             f"#### {a + b}"} for a in (2, 3) for b in (3, 9)]  # fmt: skip
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = str(tiny_model_dir(kind))
    config = data_config(
        model=model, data=f"gsm8k:{tmp_path}/own.jsonl", annotator=model, sampler="scripted", max_new_tokens=400,
        annotation_tokens=900, mistake_writer="annotator",
    )  # fmt: skip
    report = run_data(config, tmp_path / "run")
    card = report["critique_data"]
    assert card["solutions"]["RG3"]["made"] == 8 and card["annotator"]["calls"] == card["annotator"]["read"] > 0
    assert card["kept"]["way"]["right"], card["fates"]
    assert sum(card["kept"]["way"].values()) > card["kept"]["way"]["right"]
    roles = Counter(c.role for c in Run.open(tmp_path / "run").read("completions", Completion))
    assert roles["annotation"] >= card["annotator"]["calls"] and roles["refinement"]


def test_actor_and_annotator_may_have_different_tokenizers(tmp_path, tiny_model_dir, data_config, run_data) -> None:
    config = data_config(annotator=str(tiny_model_dir("llama")), sampler="scripted", annotation_tokens=900)
    run_data(config, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    samples = {s.source_id: s for s in run.read("critique_samples", CritiqueSample)}
    by_role: dict[str, list[Completion]] = {}
    for completion in run.read("completions", Completion):
        by_role.setdefault(completion.role, []).append(completion)
    assert samples and {s.form for s in samples.values()} == {"labelled"}
    assert run.report()["critique_data"]["annotator"]["retokenized"] == len(samples)
    assert all("text tokenized again from primer" in c.note for c in by_role["annotation"])
    assert by_role["refinement"] and all("text tokenized again from" in c.note for c in by_role["refinement"])
    for refinement in by_role["refinement"]:
        prompt = TOKENIZER.decode(refinement.prompt_ids)
        critique = prompt.rpartition("critique:\n")[2].removesuffix("\nrefine:\n")
        assert not isinstance(read_critique(critique, "primer"), Unreadable), "the actor reads its own form"


def test_annotation_begins_before_sampling_ends(tmp_path, tiny_model_dir, data_config, run_data) -> None:
    rows = [{"question": f"Tim has {a} pens and gets 3 more. How many?", "answer": f"He had {a}.\n#### {a + 3}"}
            for a in range(2, 10)]  # fmt: skip
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = str(tiny_model_dir("llama"))
    config = data_config(model=model, data=f"gsm8k:{tmp_path}/own.jsonl", annotator=model, sampler="scripted",
                         max_new_tokens=400, annotation_tokens=900, stream_window=2)  # fmt: skip
    run_data(config, tmp_path / "run")
    order = [c for c in Run.open(tmp_path / "run").read("completions", Completion) if "whole" not in c.note]
    roots = [i for i, c in enumerate(order) if c.role == "answer" and c.parent_id is None]
    annotations = [i for i, c in enumerate(order) if c.role == "annotation"]
    assert annotations[0] < roots[-1], "the first problems are annotated while others are still sampled"


@pytest.mark.slow
def test_equal_runs_are_equal_whatever_the_batch_and_window(tmp_path, data_config, run_data) -> None:
    run_data(data_config(data="primer:train?n=3"), tmp_path / "a")
    run_data(data_config(data="primer:train?n=3", max_batch=7, stream_window=1), tmp_path / "b")
    first, second = all_of(tmp_path / "a"), all_of(tmp_path / "b")
    assert first["README.md"] == second["README.md"] and first["critique_samples"]
    # The stage's digest holds no batch or window, so even the ids agree.
    assert first == second


def test_killed_and_resumed_is_as_uninterrupted(tmp_path, made, data_config, run_data, monkeypatch) -> None:
    grade, count = GradingOnTheWay.__call__, 0

    def bomb(self: GradingOnTheWay, completion: Completion) -> Verdict:
        nonlocal count
        count += 1
        if count == 40:
            raise KeyboardInterrupt
        return grade(self, completion)

    monkeypatch.setattr(GradingOnTheWay, "__call__", bomb)
    with pytest.raises(KeyboardInterrupt):
        run_data(data_config(), tmp_path / "cut")
    assert not (tmp_path / "cut" / "report.json").exists()
    run_data(data_config(), tmp_path / "cut", resume=True)
    assert all_of(tmp_path / "cut") == all_of(made)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"annotator": "noisy:2"}, InputError, "not named rightly"),
        ({"annotator": "exact:1"}, InputError, "not named rightly"),
        ({"min_right": 9}, InputError, "no critique could be kept"),
        ({"mistakes": "missing.toml"}, DataError, "missing.toml"),
    ],
)
def test_bad_input_is_refused(tmp_path, changes, error, message, data_config, run_data) -> None:
    with pytest.raises(error, match=message):
        run_data(data_config(**changes), tmp_path / "run")


def test_the_truth_is_known_of_primer_only(tmp_path, tiny_model_dir, data_config, run_data) -> None:
    (tmp_path / "own.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n{"question": "1+2?", "answer": "3"}\n')
    config = data_config(model=str(tiny_model_dir("llama")), data=f"jsonl:{tmp_path}/own.jsonl", sampler="scripted")
    with pytest.raises(InputError, match="built-in problems only"):
        run_data(config, tmp_path / "run")
    config = data_config(model=str(tiny_model_dir("llama")), sampler="scripted", annotator="noisy:0.1")
    with pytest.raises(InputError, match="built-in model's form only"):
        run_data(config, tmp_path / "other")


def test_nothing_kept_is_told(tmp_path, data_config, run_data) -> None:
    config = data_config(data="primer:train?n=2", num_right=0, num_wrong=0, rg2_samples=0, rg3_samples=0)
    with pytest.raises(NothingToLearn, match="no critique was kept"):
        run_data(config, tmp_path / "run")


def table() -> Table:
    problem = next(p for p in primer_problems("train", 40) if p.level == "4")
    prompter = Prompter.create(TOKENIZER, form="primer", question_template=lambda p: cot_prompt(p.question))
    params = SamplingParams(temperature=1.0, max_new_tokens=40)
    return Table(problem, {ACTOR: Player(ACTOR, Policy("m"), prompter, params)}, "s", 0)


def test_a_path_is_cut_at_whole_steps_and_the_temperature_rises() -> None:
    here = table()
    path = gold_path(here)
    lines = here.problem.solution.splitlines(keepends=True)
    for step in range(path.num_steps):
        assert cut(here, path, step).text == "".join(lines[:step])
    asked: list[Any] = []

    def script(request: Any) -> str:
        asked.append(request)
        return "answer: 2" if len(asked) == 4 else "1+1=2\n3+3=6\n"

    flow = raised_from(here, path, 1, HeatSettings(1.0, 0.25, 1.4), index=0)
    ((_, whole),) = drive([flow], ScriptedSampler(script, TOKENIZER, Policy("m")))
    assert [r.params.temperature for r in asked] == [1.0, 1.25, 1.4, 1.4]
    assert whole.text.startswith(lines[0]) and whole.finish_reason == "stop"
    assert whole.branch_position == len(cut(here, path, 1).token_ids)
    assert TOKENIZER.decode(whole.token_ids[:-1]) == whole.text
    assert sum(r.params.max_new_tokens < 40 for r in asked) == 3, "one budget for the whole branch"


def test_a_mistake_is_forced_text_that_no_loss_may_see() -> None:
    here = table()
    flow = with_mistake(here, gold_path(here), 1, "1+1=3", SamplingParams(max_new_tokens=40), index=0)
    ((_, whole),) = drive([flow], ScriptedSampler(lambda r: "3+3=6\nanswer: 6", TOKENIZER, Policy("m")))
    assert whole.text == here.problem.solution.splitlines(keepends=True)[0] + "1+1=3\n3+3=6\nanswer: 6"
    masked = [t for t, m in zip(whole.token_ids, whole.loss_mask(), strict=True) if m]
    assert TOKENIZER.decode(masked) == "3+3=6\nanswer: 6<eos>"


def test_the_table_of_mistakes_is_the_users(tmp_path) -> None:
    kinds = read_mistakes()
    assert len({k.name for k in kinds}) == len(kinds) >= 8 and {k.primer for k in kinds} > {"slip", "skip", None}
    path = tmp_path / "own.toml"
    path.write_text('[mine]\ndescription = "a kind of mine"\nweight = 2\n')
    assert [(k.name, k.weight, k.primer) for k in read_mistakes(path)] == [("mine", 2.0, None)]
    for text in ("", "[a]\n", '[a]\ndescription = "x"\nwieght = 1\n', '[a]\ndescription = "x"\nweight = -1\n',
                 '[a]\ndescription = "x"\nprimer = "nonsense"\n', "[a\n"):  # fmt: skip
        path.write_text(text)
        with pytest.raises(DataError):
            read_mistakes(path)


def test_the_released_sample_is_read_and_written(tmp_path, shared_data) -> None:
    path = shared_data / "mathcritique_sample" / "sample.jsonl"
    if not path.is_file():
        pytest.skip("no released sample")
    rows, bad = read_critiques(path)
    assert (len(rows), len(bad)) == (199, 1) and "Correct nor Wrong" in bad[0].reason
    assert all(row.refined for row in rows)
    again = tmp_path / "again.jsonl"
    again.write_text("".join(json.dumps(row) + "\n" for row in mathcritique_rows(rows)))
    assert read_critiques(again)[0] == rows
    released = {json.loads(line)["id"]: json.loads(line) for line in path.open()}
    for row in random.Random(0).sample(list(mathcritique_rows(rows)), 50):
        source = released[row["id"]]
        assert (row["question"], row["initial_solution"]) == (source["question"], source["initial_solution"])
        assert read_critique(row["critique"], "labelled") == read_critique(source["critique"], "labelled")


def test_rows_of_no_known_form_are_refused(tmp_path) -> None:
    for row in ({"text": "x"}, {"instruction": "Do it", "output": "ok"}, {"question": "", "solution": "",
                                                                          "critique": ""}):  # fmt: skip
        (tmp_path / "rows.jsonl").write_text(json.dumps(row))
        with pytest.raises(DataError, match="no row of critique data"):
            read_critiques(tmp_path / "rows.jsonl")
