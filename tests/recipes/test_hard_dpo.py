"""hard-dpo from end to end: on primer, in rehearsal on three architectures, interrupted, and where nothing is hard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from tutelage.cli.backends import open_bench
from tutelage.errors import NothingToLearn
from tutelage.recipes import hard_dpo
from tutelage.recipes.answer_spread import Spread, entropy, spread_by_difficulty
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Group, Policy, PreferencePair, Verdict
from tutelage.store.run import Run


@pytest.fixture
def hard_config() -> Callable[..., hard_dpo.Config]:
    """A function that makes the config of a small run on primer, changed by keywords."""

    def make(**changes: Any) -> hard_dpo.Config:
        settings: dict[str, Any] = dict(
            model="primer", data="primer:train?n=10", eval_data="primer:dev?n=4", num_samples=5, temperature=1.0,
            max_new_tokens=64, batch_size=4, epochs=1.0, learning_rate=1e-4, eval_samples=0, diversity_samples=3,
            checkpoint_every=1,
        )  # fmt: skip
        return hard_dpo.Config(**{**settings, **changes})

    return make


def run(config: hard_dpo.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    with open_bench(config, recipe=hard_dpo.NAME, folder=folder, progress=SilentProgress(), resume=resume) as bench:
        return hard_dpo.run(config, bench)


def test_only_hard_problems_make_pairs_and_the_diagnosis_is_there(tmp_path, hard_config) -> None:
    report = run(hard_config(), tmp_path / "run")
    store = Run.open(tmp_path / "run")
    rates = {group.problem_id: group.pass_rate for group in store.read("groups", Group)}
    verdicts = {v.completion_id: v for v in store.read("verdicts", Verdict)}
    pairs = list(store.read("pairs", PreferencePair))
    assert pairs
    for pair in pairs:
        assert 0 < rates[pair.problem_id] <= 0.5
        assert verdicts[pair.chosen_id].is_correct and not verdicts[pair.rejected_id].is_correct
    counts = report["iterations"][1]["pairing"]
    assert counts["hard"] == sum(0 < rate <= 0.5 for rate in rates.values())
    assert counts["pairs"] == len(pairs) == sum(counts[kind] for kind in hard_dpo.PAIR_TYPES)
    card = report["hard"]
    assert sum(row["problems"] for row in card["by_difficulty"]) == 4
    assert 0 <= card["lose_rate"] <= 1 and 0 <= card["win_rate"] <= 1
    assert card["win_rate"] - card["lose_rate"] == pytest.approx(report["paired_test"]["difference"])


@pytest.mark.slow
def test_the_comparison_takes_one_pair_of_every_mixed_problem(tmp_path, hard_config) -> None:
    report = run(hard_config(pairs="best-vs-worst", diversity_samples=0), tmp_path / "run")
    counts = report["iterations"][1]["pairing"]
    assert counts["pairs"] == counts["problems"] - counts["one_sided"] > 0
    assert all(row["problems"] == 0 for row in report["hard"]["by_difficulty"])


OWN = [{"question": f"Tim has {a} pens and gets {b} more. How many?", "answer": f"{a} and {b} more.\n#### {a + b}"}
       for a in range(2, 8) for b in (3, 9)]  # fmt: skip
SCRIPT = """
def answer(request):
    good = request.metadata["answer"]
    return "Final answer: " + (good if request.index % SHARE == 0 else f"{good}.01" if request.index == 1 else "1000")
"""


def scripted(tmp_path: Path, share: int) -> dict[str, Any]:
    """Data and a sampler that is right in every `share`-th sample."""
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in OWN))
    (tmp_path / "script.py").write_text(SCRIPT.replace("SHARE", str(share)))
    return dict(data=f"gsm8k:{tmp_path}/own.jsonl", eval_data=None, dev_size=3,
                sampler=f"scripted:{tmp_path}/script.py:answer", diversity_samples=0)  # fmt: skip


@pytest.mark.parametrize("kind, source", [("llama", "own"), ("llama", "real"), ("qwen2", "real"), ("phi3", "real")])
def test_every_stage_runs_on_a_real_architecture(tmp_path, kind, source, request, tiny_model_dir, hard_config) -> None:
    changes = scripted(tmp_path, 4)
    if source == "real":
        changes["data"] = f"gsm8k:{request.getfixturevalue('shared_data')}/gsm8k/test.jsonl"
    config = hard_config(model=str(tiny_model_dir(kind)), pairs_per_problem=2, data_limit=12, **changes)
    report = run(config, tmp_path / "run")
    assert report["iterations"][1]["steps"] >= 3
    counts = report["iterations"][1]["pairing"]
    assert counts["hard"] == 9 and counts["precision"] == 9 and counts["plain"] == 9
    AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoints" / "it1")


PROGRAMMER = """
def answer(request):
    good = request.metadata["answer"]
    if request.params.temperature == 0 or "Python program" in request.prompt_text:
        return f"```python\\nprint({good})\\n```\\n"
    return "Final answer: 1000"
"""


def test_programs_are_run_where_pairs_teach_to_write_them(tmp_path, tiny_model_dir, hard_config) -> None:
    changes = scripted(tmp_path, 1)
    (tmp_path / "script.py").write_text(PROGRAMMER)
    changes |= {"diversity_samples": 2, "styles": ["cot", "pot"], "max_new_tokens": 200}
    report = run(hard_config(model=str(tiny_model_dir("llama")), **changes), tmp_path / "run")
    assert report["iterations"][1]["pairing"]["cot_wrong_pot_right"] > 0
    before, after = report["styles"]["iterations"]
    found = {style: shown["accuracy"] for style, shown in after["accuracy"].items()}
    assert found == {"any": 1.0, "cot": 0.0, "pot": 1.0}, "prose's prompt, its programs run and not run; programs"
    assert report["iterations"][1]["greedy"]["accuracy"] == 1.0 and before["written"]["any"]["programs"] == {"ok": 3}
    assert report["hard"]["by_difficulty"][0]["pass_rate"] == [0.0, 0.0], "samples are wrong prose here"
    assert report["remarks"][:3] == [
        "greedy, prose's prompt, programs that come run: 100.0%, then 100.0% (43.9% to 100.0%); programs: 3 ok",
        "greedy, prose: 0.0%, then 0.0% (0.0% to 56.1%)",
        "greedy, a program: 100.0%, then 100.0% (43.9% to 100.0%); programs: 3 ok",
    ]
    assert report["remarks"][3] == "of 3 problems 3 are wrong in prose and right by program, 0 the other way"
    assert report["remarks"][4].startswith("hard pairs: 9 problems, 9 hard, 9 cot wrong pot right, 9 pairs")


@pytest.mark.parametrize("share, message", [(1, "no problem is hard"), (100, "no problem is hard")])
def test_no_hard_problem_is_told(tmp_path, tiny_model_dir, hard_config, share, message) -> None:
    changes = scripted(tmp_path, share)
    if share == 100:
        (tmp_path / "script.py").write_text("def answer(request):\n    return 'Final answer: 1000'\n")
    with pytest.raises(NothingToLearn, match=message) as caught:
        run(hard_config(model=str(tiny_model_dir("llama")), **changes), tmp_path / "run")
    assert "9 all_right" in str(caught.value) or "9 unsolved" in str(caught.value)


def test_a_sampler_that_writes_nothing_is_told_as_that(tmp_path, tiny_model_dir, hard_config) -> None:
    changes = scripted(tmp_path, 1)
    (tmp_path / "script.py").write_text("def answer(request):\n    return ''\n")
    with pytest.raises(NothingToLearn, match="no problem is hard") as caught:
        run(hard_config(model=str(tiny_model_dir("llama")), **changes), tmp_path / "run")
    assert "of 45 solutions 45 are empty" in str(caught.value) and "harder problems" not in str(caught.value)


def test_a_run_that_is_killed_and_resumed_ends_the_same(tmp_path, hard_config, results_of, interrupted_at_rows) -> None:
    config = hard_config(
        data="primer:train?n=6", eval_data="primer:dev?n=2", num_samples=4, diversity_samples=2, pairs="best-vs-worst",
        batch_size=1, max_steps=3,
    )  # fmt: skip
    run(config, tmp_path / "whole")
    with interrupted_at_rows(2, "train"):
        run(config, tmp_path / "part")
    run(config, tmp_path / "part", resume=True)
    assert results_of(tmp_path / "part") == results_of(tmp_path / "whole")


def test_entropy_and_means_by_difficulty_by_hand() -> None:
    assert entropy("ab") == pytest.approx(0.693147, abs=1e-6) and entropy("aaaa") == 0 and entropy([]) == 0
    before = {"p": Spread(0, 0.0, 1.0, 0), "q": Spread(0, 0.1, 0.5, 1), "r": Spread(4, 1.0, 0.0, 3)}
    after = {"p": Spread(2, 0.5, 0.2, 1), "q": Spread(1, 0.3, 0.0, 2), "r": Spread(4, 1.0, 0.0, 1)}
    rows = spread_by_difficulty(before, after)
    assert rows[0] == {
        "bin": 0,
        "problems": 2,
        "pass_rate": [0.05, 0.4],
        "entropy": [0.75, 0.1],
        "distinct": [0.5, 1.5],
    }
    assert rows[4]["distinct"] == [3.0, 1.0] and rows[1]["problems"] == 0 and rows[1]["entropy"] == [None, None]


def test_ratings_that_cannot_be_read_are_no_failures_of_the_solution() -> None:
    group = Group("p", Policy("m"), 0, ("a", "b", "c", "d"), 2, 4)
    assert hard_dpo.judged_rate(group, {"a": 8, "b": 2, "c": 6}, 6) == pytest.approx(2 / 3)
    assert hard_dpo.judged_rate(group, {"a": 5}, 6) == 0 and hard_dpo.judged_rate(group, {}, 6) is None


def test_hardness_may_be_judged_and_needs_a_judge(tmp_path, hard_config, monkeypatch) -> None:
    with pytest.raises(ValidationError, match="judge"):
        hard_config(hardness="judge")
    asked: list[int] = []

    def scores(bench, seat, completions, problems, **options):
        asked.append(len(completions))
        return {c.id: 8.0 if c.index == 0 else 2.0 for c in completions}

    monkeypatch.setattr(hard_dpo, "judge_scores", scores)
    config = hard_config(hardness="judge", judge="primer", data="primer:train?n=6", diversity_samples=0)
    report = run(config, tmp_path / "run")
    counts = report["iterations"][1]["pairing"]
    assert asked == [30] and counts["hard"] == 6, "one path in five passes this judge, of every problem"
