"""Iterative RPO through every stage: on primer, in rehearsal on three architectures, where nothing can be learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from tutelage.errors import DataError, InputError, NothingToLearn, RunError, RunFailed
from tutelage.records import Completion, PreferencePair, Verdict
from tutelage.sampling.local import LocalSampler
from tutelage.sampling.session import ScoreRequest
from tutelage.store.run import Run

QUESTIONS = [(f"Tim has {a} pens and gets {b} more. How many pens has he?", a + b) for a in range(2, 8) for b in (3, 9)]


@pytest.fixture
def gsm8k_file(tmp_path: Path) -> Path:
    """Twelve problems of our own in the published GSM8K form."""
    rows = [{"question": q, "answer": f"He has {n} pens in all.\n#### {n}"} for q, n in QUESTIONS]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_report_has_the_contract_and_records_link_up(tmp_path, small_config, run_recipe) -> None:
    report = run_recipe(small_config(), tmp_path / "run")
    assert [row["iteration"] for row in report["iterations"]] == [0, 1, 2]
    assert report["paired_test"].keys() == {"difference", "low", "high", "p_value", "n"}
    assert report["paired_test"]["n"] == 16
    for row in report["iterations"]:
        assert row["greedy"]["n"] == 16 and row["maj@4"]["n"] == 8
        assert row["greedy"]["low"] <= row["greedy"]["accuracy"] <= row["greedy"]["high"]
    assert report["iterations"][1]["pairs"] > 0
    assert report["iterations"][1]["chosen_logprob"] < 0
    assert sum(report["outcomes"].values()) == 2 * 24 * 4
    assert sum(report["iterations"][1]["difficulty"]) == 24
    packing = report["iterations"][1]["packing"]
    assert packing["tree"] == report["iterations"][1]["steps"] and packing["computed"] < packing["tokens"]
    run = Run.open(tmp_path / "run")
    verdicts = {v.completion_id: v for v in run.read("verdicts", Verdict)}
    completions = {c.id: c for c in run.read("completions", Completion)}
    for pair in run.read("pairs", PreferencePair):
        assert verdicts[pair.chosen_id].is_correct and not verdicts[pair.rejected_id].is_correct
        assert completions[pair.chosen_id].token_ids == pair.chosen_ids
        assert completions[pair.rejected_id].policy.version == pair.iteration - 1


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(
    tmp_path, small_config, run_recipe, results_of
) -> None:
    run_recipe(small_config(), tmp_path / "a")
    run_recipe(small_config(max_batch=7), tmp_path / "b")
    run_recipe(small_config(seed=1), tmp_path / "c")
    first, second, other = (results_of(tmp_path / name) for name in "abc")
    assert first == second
    assert first["completions"] != other["completions"]


def test_greedy_is_not_drawn_again_and_a_changed_config_is_refused(
    tmp_path, small_config, run_recipe, results_of
) -> None:
    run_recipe(small_config(), tmp_path / "run")
    before = results_of(tmp_path / "run")
    run_recipe(small_config(), tmp_path / "run", resume=True)
    assert results_of(tmp_path / "run") == before
    with pytest.raises(RunError, match="beta"):
        run_recipe(small_config(beta=0.2), tmp_path / "run", resume=True)
    with pytest.raises(RunError):
        run_recipe(small_config(), tmp_path / "run")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3"])
@pytest.mark.parametrize("lora_rank", [0, 4])
def test_rehearsal_runs_every_stage_on_a_real_architecture(
    tmp_path, kind, lora_rank, tiny_model_dir, gsm8k_file, small_config, run_recipe
) -> None:
    config = small_config(
        model=str(tiny_model_dir(kind)), data=f"gsm8k:{gsm8k_file}", eval_data=None, dev_size=3, iterations=1,
        sampler="scripted", lora_rank=lora_rank, batch_size=2, max_new_tokens=128,
    )  # fmt: skip
    report = run_recipe(config, tmp_path / "run")
    assert report["iterations"][1]["steps"] >= 3
    folder = tmp_path / "run" / "checkpoints" / "it1"
    pair = next(iter(Run.open(tmp_path / "run").read("pairs", PreferencePair)))
    request = ScoreRequest(pair.prompt_ids, pair.chosen_ids, adapter="lora" if lora_rank else "")
    if lora_rank:
        session = LocalSampler.open(config.model, adapter=folder)
        model = AutoModelForCausalLM.from_pretrained(config.model)
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder).eval()
    else:
        session = LocalSampler.open(folder)
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        assert AutoTokenizer.from_pretrained(folder).eos_token == "</s>"
    ids = torch.tensor([[*pair.prompt_ids, *pair.chosen_ids]])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(ids).logits[0].float(), -1)
    plain = [logprobs[i - 1, ids[0, i]].item() for i in range(len(pair.prompt_ids), ids.shape[1])]
    assert session.score([request])[0] == pytest.approx(plain, abs=1e-4)
    before = AutoModelForCausalLM.from_pretrained(config.model).eval()
    with torch.no_grad():
        assert not torch.allclose(torch.log_softmax(before(ids).logits[0], -1), logprobs, atol=1e-4)


def test_a_model_that_solves_nothing_is_told_so(tmp_path, tiny_model_dir, gsm8k_file, small_config, run_recipe) -> None:
    config = small_config(
        model=str(tiny_model_dir("llama")), data=f"gsm8k:{gsm8k_file}", eval_data=None, dev_size=3, max_new_tokens=16
    )
    with pytest.raises(NothingToLearn, match="no problem had both a right and a wrong sample") as caught:
        run_recipe(config, tmp_path / "run")
    assert caught.value.exit_code == 1
    assert "max_new_tokens" in str(caught.value)


@pytest.mark.parametrize("loss", ["dpo", "ipo", "sft"])
def test_baselines_run(tmp_path, loss, small_config, run_recipe) -> None:
    report = run_recipe(small_config(loss=loss, iterations=1), tmp_path / "run")
    assert report["iterations"][1]["steps"] > 0


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_best_step_is_chosen_on_held_out_problems_and_trained_again(
    tmp_path, lora_rank, small_config, run_recipe
) -> None:
    config = small_config(
        iterations=2, choose_step_every=2, dev_size=8, data="primer:train?n=32", lora_rank=lora_rank, eval_samples=0
    )
    report = run_recipe(config, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    for row in report["iterations"][1:]:
        found = [m for m in run.read_metrics("choose_step") if m["where"]["iteration"] == row["iteration"]]
        measured = {m["where"]["step"]: m["values"]["accuracy"] for m in found}
        assert measured[row["chosen_step"]] == max(measured.values())
        assert row["steps"] == row["chosen_step"]


def test_saturation_stops_the_loop(tmp_path, small_config, run_recipe) -> None:
    report = run_recipe(small_config(iterations=3, stop_gain=1.0, dev_size=6), tmp_path / "run")
    assert len(report["iterations"]) == 2
    assert report["iterations"][1]["dev"]["n"] == 6


def test_temperature_schedule_goes_on_with_its_last_value(small_config) -> None:
    config = small_config(temperature=[0.8, 1.3])
    assert [config.temperature_at(t) for t in (1, 2, 3, 4)] == [0.8, 1.3, 1.3, 1.3]
    with pytest.raises(ValidationError):
        small_config(temperature=[0.0])


def test_gold_winners_pair_with_wrong_samples(tmp_path, tiny_model_dir, gsm8k_file, small_config, run_recipe) -> None:
    config = small_config(
        model=str(tiny_model_dir("llama")), data=f"gsm8k:{gsm8k_file}", eval_data=None, dev_size=3, iterations=1,
        gold_in_winners="always", max_new_tokens=16,
    )  # fmt: skip
    run_recipe(config, tmp_path / "run")
    pairs = list(Run.open(tmp_path / "run").read("pairs", PreferencePair))
    assert pairs and all(pair.chosen_id.startswith("gold:") for pair in pairs)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data": "gsm8k:missing.jsonl"}, "missing.jsonl"),
        ({"model": "no/such/folder/here"}, "no/such/folder/here"),
        ({"dev_size": 500, "eval_data": None}, "held out"),
        ({"num_shots": 64, "data": "primer:train?n=10"}, "worked examples"),
        ({"sampler": "locla"}, "unknown sampler"),
        ({"lora_rank": 4, "lora_targets": "nonsense"}, "lora_targets"),
    ],
)
def test_bad_input_is_refused_before_any_work(tmp_path, changes, message, small_config, run_recipe) -> None:
    with pytest.raises(InputError, match=message) as caught:
        run_recipe(small_config(**changes), tmp_path / "run")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_one_id_for_two_questions_is_refused(tmp_path, small_config, run_recipe) -> None:
    for folder, answer in (("a", 3), ("b", 4)):
        (tmp_path / folder).mkdir()
        rows = [{"question": f"{folder} {i}?", "answer": str(answer + i)} for i in range(4)]
        (tmp_path / folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = small_config(data=f"jsonl:{tmp_path}/a/data.jsonl", eval_data=f"jsonl:{tmp_path}/b/data.jsonl")
    with pytest.raises(DataError, match="data-0"):
        run_recipe(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_server_without_adapters_is_refused(small_config) -> None:
    with pytest.raises(ValidationError, match="lora_rank"):
        small_config(sampler="server:http://127.0.0.1:1", lora_rank=0)


def test_over_long_pairs_are_dropped_counted_and_told(tmp_path, small_config, run_recipe) -> None:
    report = run_recipe(small_config(iterations=1, max_length=58), tmp_path / "run")
    row = report["iterations"][1]
    pairs = list(Run.open(tmp_path / "run").read("pairs", PreferencePair))
    long = [p for p in pairs if len(p.prompt_ids) + max(len(p.chosen_ids), len(p.rejected_ids)) > 58]
    assert 0 < row["dropped"] == len(long) < len(pairs) == row["pairs"]
    assert any(f"{len(long)} of {len(pairs)} were left out of training" in alarm for alarm in report["alarms"])


def test_a_grader_that_fails_is_named_with_its_reason(tmp_path, small_config, run_recipe) -> None:
    (tmp_path / "own.py").write_text("def grade(problem, completion):\n    raise ValueError('no such key')\n")
    with pytest.raises(RunFailed, match="no such key") as caught:
        run_recipe(small_config(grader=f"{tmp_path}/own.py:grade"), tmp_path / "run")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    "kind, data",
    [
        ("llama", "gsm8k:{}/gsm8k/test.jsonl"),
        ("qwen2", "math:{}/math/train.jsonl.gz"),
        ("phi3", "arc:{}/arc_challenge/test.jsonl"),
    ],
)
def test_every_stage_runs_on_real_files(
    tmp_path, kind, data, shared_data, tiny_model_dir, small_config, run_recipe
) -> None:
    config = small_config(
        model=str(tiny_model_dir(kind)), data=data.format(shared_data), data_limit=24, eval_data=None, dev_size=4,
        iterations=1, sampler="scripted", batch_size=4, max_new_tokens=200, pairs_per_problem=1,
    )  # fmt: skip
    report = run_recipe(config, tmp_path / "run")
    assert report["iterations"][1]["steps"] >= 3
    assert report["outcomes"]["correct"] > 20 and report["outcomes"]["incorrect"] > 20
    assert report["outcomes"]["undecided"] == report["outcomes"]["error"] == 0


def test_a_random_model_solves_nothing_of_the_real_test_file(
    tmp_path, shared_data, tiny_model_dir, small_config, run_recipe
) -> None:
    config = small_config(
        model=str(tiny_model_dir("qwen2")), data=f"gsm8k:{shared_data}/gsm8k/test.jsonl", data_limit=24,
        eval_data=None, dev_size=4, max_new_tokens=32,
    )  # fmt: skip
    with pytest.raises(NothingToLearn, match="no problem had both a right and a wrong sample"):
        run_recipe(config, tmp_path / "run")


LEARNS = """
def answer(request):
    is_right = request.version > 0 or request.index % 2 == 0
    return "Final answer: " + (request.metadata["answer"] if is_right else "1000")
"""


def test_the_loop_ends_well_where_nothing_is_left_to_learn(
    tmp_path, tiny_model_dir, gsm8k_file, small_config, run_recipe
) -> None:
    (tmp_path / "script.py").write_text(LEARNS)
    config = small_config(
        model=str(tiny_model_dir("llama")), data=f"gsm8k:{gsm8k_file}", eval_data=None, dev_size=3, iterations=3,
        sampler=f"scripted:{tmp_path}/script.py:answer",
    )  # fmt: skip
    report = run_recipe(config, tmp_path / "run")
    assert [row["iteration"] for row in report["iterations"]] == [0, 1]
    assert report["outcomes"]["correct"] == 9 * 2 + 9 * 4, "half of iteration 1's samples, all of iteration 2's"
