"""Flow-DPO from end to end: on primer, in rehearsal on three architectures with files of both formats, and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tutelage.cli.backends import open_bench
from tutelage.cli.main import main
from tutelage.config.loading import load_settings
from tutelage.errors import NothingToLearn, RunError
from tutelage.models import loading
from tutelage.recipes import flow_dpo, flow_report
from tutelage.recipes.flow_records import FlowNode, FlowTree, role_of
from tutelage.recipes.flow_updates import FlowUpdate
from tutelage.recipes.progress import SilentProgress
from tutelage.records import Completion, PreferencePair, Verdict
from tutelage.sampling.local import LocalSampler
from tutelage.sampling.session import ScoreRequest
from tutelage.store.lineage import trace
from tutelage.store.run import Run

KINDS = ("completions", "verdicts", "pairs", "evaluations", "flow_trees", "flow_nodes", "flow_updates")


@pytest.fixture
def flow_config() -> Callable[..., flow_dpo.Config]:
    """A function that makes the config of a short stream on primer, changed by keywords."""

    def make(**changes: Any) -> flow_dpo.Config:
        settings: dict[str, Any] = dict(
            model="primer", data="primer:train?n=8", eval_data="primer:dev?n=3", stop_prompt="completeness",
            chunk_tokens=8, max_chunks=6, deviation_tries=2, stream_window=3, pairs_per_update=8, learning_rate=3e-3,
            beta=0.5, max_batch=32, checkpoint_every=2,
        )  # fmt: skip
        return flow_dpo.Config(**{**settings, **changes})

    return make


@pytest.fixture
def run_flow() -> Callable[..., dict[str, Any]]:
    """A function `(config, folder, resume=False) -> report`."""

    def run(config: flow_dpo.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
        with open_bench(config, recipe=flow_dpo.NAME, folder=folder, progress=SilentProgress(), resume=resume) as bench:
            return flow_dpo.run(config, bench)

    return run


@pytest.fixture
def all_of(results_of) -> Callable[[Path], dict[str, Any]]:
    """A function from a run folder to everything that two equal runs must agree on, the flow's own records too."""

    def read(folder: Path) -> dict[str, Any]:
        out = results_of(folder)
        for kind in KINDS[4:]:
            out[kind] = sorted(line for path in (folder / kind).glob("*.jsonl") for line in path.open())
        return out

    return read


def test_records_link_up_and_the_report_says_what_they_say(tmp_path, flow_config, run_flow) -> None:
    report = run_flow(flow_config(), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    completions = {c.id: c for c in run.read("completions", Completion)}
    verdicts = {v.completion_id: v for v in run.read("verdicts", Verdict)}
    nodes = list(run.read("flow_nodes", FlowNode))
    pairs = {p.id: p for p in run.read("pairs", PreferencePair)}
    trees = list(run.read("flow_trees", FlowTree))
    updates = list(run.read("flow_updates", FlowUpdate))
    assert [t.window for t in trees] == [1] * 3 + [2] * 3 + [3] * 2
    assert pairs and {node.pair_id for node in nodes} - {""} == set(pairs)
    for node in nodes:
        main, other = (verdicts[i] for i in node.completion_ids)
        assert (main.outcome, other.outcome) == (node.main_outcome, node.other_outcome)
        assert bool(node.pair_id) == (main.is_correct != other.is_correct)
        if node.pair_id:
            pair = pairs[node.pair_id]
            assert (pair.chosen_id == node.completion_id) == main.is_correct
            assert role_of(pair) == node.role
    for pair in pairs.values():
        for side, ids in ((pair.chosen_id, pair.chosen_ids), (pair.rejected_id, pair.rejected_ids)):
            assert completions[side].token_ids == ids and completions[side].prompt_ids == pair.prompt_ids
            assert completions[side].policy.adapter == role_of(pair)
    learnt = [i for update in updates for i in update.pair_ids]
    assert sorted(learnt) == sorted(pairs), "every pair is learnt from once, leftovers included"
    assert [u.number for u in updates] == list(range(1, len(updates) + 1))
    flow = report["flow"]
    assert flow["updates"] == {role: sum(u.role == role for u in updates) for role in ("answer", "stop")}
    assert flow["progressive"]["cumulative"] == round(sum(t.outcome == "correct" for t in trees) / 8, 4)
    counted = flow["nodes"]["answer"]
    assert counted["nodes"] == counted["main_right"] + counted["rollout_right"] + counted["agree"]
    assert sum(report["outcomes"].values()) == 8
    assert [row["iteration"] for row in report["iterations"]] == [0, 1] and report["paired_test"]["n"] == 3
    assert flow["flow_before"]["n"] == flow["flow_after"]["n"] == 3
    some = next(iter(pairs.values()))
    kinds = {(link.kind, link.relation) for link in trace(tmp_path / "run", some.id)}
    assert {("completions", "chosen"), ("completions", "rejected"), ("problems", "problem")} <= kinds
    assert any(kind == "flow_nodes" for kind, _ in kinds), "the outcomes that made the pair are on the way"


def test_versions_grow_with_updates_and_a_window_has_one(tmp_path, flow_config, run_flow) -> None:
    run_flow(flow_config(pairs_per_update=2, eval_flow=False), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    tree_of = {t.problem_id: t for t in run.read("flow_trees", FlowTree)}
    seen: dict[tuple[int, str], set[int]] = {}
    for c in run.read("completions", Completion):
        if c.problem_id in tree_of and c.role in ("chunk", "stop"):
            seen.setdefault((tree_of[c.problem_id].window, c.policy.adapter), set()).add(c.policy.version)
    assert all(len(versions) == 1 for versions in seen.values())
    assert [min(seen[window, "stop"]) for window in (1, 2, 3)] == sorted(min(seen[w, "stop"]) for w in (1, 2, 3))
    assert seen[1, "answer"] == seen[1, "stop"] == {0} and min(seen[3, "stop"]) > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"stop_decision": "compare", "chunk_unit": "steps", "chunk_tokens": 16},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"stop_decision": "compare"}, marks=pytest.mark.slow),
    ],
)
def test_equal_runs_are_equal_whatever_the_batch_and_seeds_differ(
    tmp_path, flow_config, run_flow, all_of, changes
) -> None:
    run_flow(flow_config(**changes), tmp_path / "a")
    run_flow(flow_config(**changes, max_batch=7), tmp_path / "b")
    run_flow(flow_config(**changes, seed=1), tmp_path / "c")
    first, second, other = (all_of(tmp_path / name) for name in "abc")
    assert first == second
    assert first["completions"] != other["completions"]


def test_a_finished_run_is_not_made_again_and_other_settings_are_refused(
    tmp_path, flow_config, run_flow, all_of
) -> None:
    run_flow(flow_config(), tmp_path / "run")
    before = all_of(tmp_path / "run")
    run_flow(flow_config(), tmp_path / "run", resume=True)
    assert all_of(tmp_path / "run") == before
    with pytest.raises(RunError, match="beta"):
        run_flow(flow_config(beta=0.2), tmp_path / "run", resume=True)


class Fault(BaseException):
    """Stands in for anything that ends a process."""


@pytest.mark.parametrize(
    ("window", "moments"),
    [(3, 4), pytest.param(1, 12, marks=pytest.mark.slow), pytest.param(3, 20, marks=pytest.mark.slow)],
)
def test_faults_at_every_kind_of_moment_change_nothing(
    tmp_path, window, moments, monkeypatch, flow_config, run_flow, all_of
) -> None:
    config = flow_config(data="primer:train?n=6", eval_data="primer:dev?n=2", stream_window=window, checkpoint_every=3)
    events: list[str] = []
    fail_at: list[int] = []

    def watched(name: str, original: Any) -> Any:
        def call(run: Run, *args: Any, **kwargs: Any) -> Any:
            for moment in ("before", "after"):
                events.append(f"{moment} {name}")
                if len(events) in fail_at:
                    raise Fault(events[-1])
                if moment == "before":
                    result = original(run, *args, **kwargs)
            return result

        return call

    for name in ("append_many", "metrics", "write_report", "checkpoint_path", "remove_scratch"):
        monkeypatch.setattr(Run, name, watched(name, getattr(Run, name)))
    run_flow(config, tmp_path / "whole")
    expected, total = all_of(tmp_path / "whole"), len(events)
    for moment in range(5, total, total // moments):
        folder = tmp_path / f"at-{moment}"
        events.clear()
        fail_at[:] = [moment]
        with pytest.raises(Fault):
            run_flow(config, folder)
        fail_at.clear()
        run_flow(config, folder, resume=True)
        assert all_of(folder) == expected, f"differs after a fault at event {moment}"


COMMAND = [
    "run", "flow-dpo", "model=primer", "data=primer:train?n=8", "eval_data=primer:dev?n=3", "chunk_tokens=8",
    "stop_prompt=completeness", "deviation_tries=2", "stream_window=2", "pairs_per_update=1", "learning_rate=3e-3",
    "beta=0.5", "max_batch=32", "checkpoint_every=2",
]  # fmt: skip


@pytest.mark.slow
def test_kill_9_and_resume(tmp_path, run_flow, all_of) -> None:
    def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tutelage", *COMMAND, f"output_dir={folder}", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def is_under_way(folder: Path) -> bool:
        return any(path.read_bytes().count(b"\n") >= 4 for path in (folder / "flow_trees").glob("*.jsonl"))

    run_flow(load_settings(flow_dpo.Config, file=None, overrides=COMMAND[2:]), tmp_path / "whole")
    folder = tmp_path / "killed"
    process = start(folder)
    for _ in range(4000):
        if is_under_way(folder) or process.poll() is not None:
            break
        time.sleep(0.02)
    assert process.poll() is None, process.stdout.read().decode()
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = start(folder, "--resume")
    output, _ = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, output.decode()
    assert all_of(folder) == all_of(tmp_path / "whole")


def test_the_untrained_flow_grows_main_chains_only(tmp_path, flow_config, run_flow) -> None:
    report = run_flow(flow_config(train=False), tmp_path / "run")
    assert report["flow"]["updates"] == {"answer": 0, "stop": 0} and report["flow"]["nodes"]["answer"]["nodes"] == 0
    assert [row["iteration"] for row in report["iterations"]] == [0]
    assert not (tmp_path / "run" / "checkpoints").exists() or not any((tmp_path / "run" / "checkpoints").iterdir())
    trained = run_flow(flow_config(), tmp_path / "trained")
    run, other = Run.open(tmp_path / "run"), Run.open(tmp_path / "trained")
    assert len(list(run.read("flow_trees", FlowTree))) == 8
    first = {t.problem_id: t.outcome for t in run.read("flow_trees", FlowTree)}
    assert {
        t.problem_id: t.outcome for t in other.read("flow_trees", FlowTree) if t.window == 1
    }.items() <= first.items()
    assert trained["flow"]["flow_before"] == report["flow"]["flow_before"]


QUESTIONS = [(f"Tim has {a} pens and gets {b} more. How many pens has he?", a + b) for a in range(2, 6) for b in (3, 9)]


def gsm8k_file(folder: Path) -> str:
    rows = [{"question": q, "answer": f"He has {n} pens in all.\n#### {n}"} for q, n in QUESTIONS]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"gsm8k:{folder / 'own.jsonl'}"


def math_file(folder: Path) -> str:
    rows = [
        {"problem": q, "solution": f"Adding gives $\\boxed{{{n}}}$.", "answer": str(n), "level": 1,
         "subject": "Algebra", "unique_id": f"own/{i}.json"}
        for i, (q, n) in enumerate(QUESTIONS)
    ]  # fmt: skip
    (folder / "math.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"math:{folder / 'math.jsonl'}"


@pytest.mark.parametrize(
    ("kind", "data", "prompt"),
    [("llama", gsm8k_file, "correctness"), ("qwen2", gsm8k_file, "completeness"), ("phi3", gsm8k_file, "correctness"),
     ("qwen2", math_file, "correctness")],
)  # fmt: skip
def test_rehearsal_runs_on_real_architectures_and_files(
    tmp_path, kind, data, prompt, tiny_model_dir, flow_config, run_flow
) -> None:
    config = flow_config(
        model=str(tiny_model_dir(kind)), data=data(tmp_path), eval_data=None, dev_size=2, sampler="scripted",
        stop_prompt=prompt, chunk_tokens=20, pairs_per_update=2, lora_rank=4,
    )  # fmt: skip
    report = run_flow(config, tmp_path / "run")
    flow = report["flow"]
    assert flow["updates"]["answer"] > 0 and flow["updates"]["stop"] > 0 and flow["unreadable_decisions"] == 0
    assert flow["mean_chunks"] > 1
    pair = next(p for p in Run.open(tmp_path / "run").read("pairs", PreferencePair) if role_of(p) == "answer")
    request = ScoreRequest(pair.prompt_ids, pair.chosen_ids, adapter="lora")
    session = LocalSampler.open(config.model, adapter=tmp_path / "run" / "checkpoints" / "answer")
    base = LocalSampler.open(config.model)
    assert sum(session.score([request])[0]) != sum(base.score([ScoreRequest(pair.prompt_ids, pair.chosen_ids)])[0])


def test_random_models_run_to_the_word_that_nothing_can_be_learnt(
    tmp_path, tiny_model_dir, flow_config, run_flow
) -> None:
    config = flow_config(
        model=str(tiny_model_dir("llama")), data=gsm8k_file(tmp_path), eval_data=None, dev_size=2, chunk_tokens=4,
        max_chunks=2,
    )  # fmt: skip
    with pytest.raises(NothingToLearn, match="no rollout of any tree ended otherwise"):
        run_flow(config, tmp_path / "run")


def test_the_base_is_loaded_once(tmp_path, monkeypatch, flow_config, run_flow) -> None:
    loaded: list[Any] = []
    load = loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda *args, **kwargs: (loaded.append(args), load(*args, **kwargs))[1])
    run_flow(flow_config(data="primer:train?n=3", pairs_per_update=2), tmp_path / "run")
    assert len(loaded) == 1, "sampling, learning and measuring share it"


def test_adapters_go_on_from_saved_ones(tmp_path, flow_config, run_flow) -> None:
    first = run_flow(flow_config(), tmp_path / "first")
    folder = tmp_path / "first" / "checkpoints"
    again = flow_config(answer_adapter=str(folder / "answer"), stop_adapter=str(folder / "stop"), train=False)
    report = run_flow(again, tmp_path / "second")
    assert report["flow"]["flow_before"] == first["flow"]["flow_after"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"sampler": "server:http://localhost:1"}, "sampler=local"), ({"rollouts_per_node": 2}, "rollout_temperature"),
     ({"lora_rank": 0}, "lora_rank"), ({"chunk_tokens": 0}, "chunk_tokens"), ({"epochs": 2}, "epochs")],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_any_work(flow_config, changes, word) -> None:
    with pytest.raises(ValidationError, match=word):
        flow_config(**changes)


def test_a_dry_run_tells_the_cost_and_writes_nothing(tmp_path, monkeypatch, capsys, flow_config) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "flow-dpo", "model=primer", "data=primer:train?n=12", "eval_data=primer:dev?n=6", "max_batch=4",
             "chunk_tokens=8", "pairs_per_update=8"]  # fmt: skip
    assert main([*words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert 'stop_prompt = "correctness"' in shown and "steps" in shown and "tokens" in shown
    assert not list(tmp_path.iterdir())


def tree(outcome: str, i: int) -> FlowTree:
    return FlowTree(f"t{i}", f"q{i}", 1, outcome, "stop", 1, (), 0, 0)


def test_progressive_accuracy_by_hand() -> None:
    outcomes = ["correct", "incorrect", "error", "no_answer", "correct", "correct"]
    found = flow_report.progressive([tree(o, i) for i, o in enumerate(outcomes)], window=2)
    assert (found["problems"], found["cumulative"], found["windowed"], found["first"]) == (5, 0.6, 1.0, 0.5)
    assert [p["cumulative"] for p in found["curve"]] == [1.0, 0.5, 0.3333, 0.5, 0.6]
    assert [p["windowed"] for p in found["curve"]] == [1.0, 0.5, 0.0, 0.5, 1.0]
    assert flow_report.progressive([], window=2)["cumulative"] is None


def test_remarks_say_what_matters_first() -> None:
    curve = {"problems": 5, "cumulative": 0.6, "windowed": 1.0, "window": 2}
    stop = {"nodes": 6, "too_early": 1, "too_late": 2, "no_matter": 1}
    chunks = [{"chunk": 1, "nodes": 4, "agree": 3}, {"chunk": 2, "nodes": 3, "agree": 1}]
    answer = {"nodes": 7, "main_right": 1, "rollout_right": 2, "agree": 4, "by_chunk": chunks}
    nodes = {"stop": stop, "answer": answer}
    flow = {"progressive": curve, "nodes": nodes, "flow_before": {"accuracy": 0.25}, "flow_after": None}
    flow["nodes_without_another_chunk"] = 5
    assert flow_report.remarks({**flow, "unreadable_decisions": 0}) == [
        "the flow on the stream, before learning from each problem: 60.0% of 5 problems, 100.0% of the last 2",
        "the flow on the evaluation data: 25.0% untrained",
        "Stop, at 6 decisions: 1 too early, 2 too late, 1 that did not matter",
        "Answer, at 7 chunks that were written anew: 1 times only the first way came out right, 2 times only the new "
        "one, most often at chunk 2; 5 more chunks gave no other text",
    ]
    assert "3 replies" in flow_report.remarks({**flow, "unreadable_decisions": 3})[-1]


def test_what_to_do_with_a_flow_names_its_chunks() -> None:
    (_, measured), (_, compiled) = flow_report.next_steps(
        "primer", "primer:train?n=9", "jsonl:a{b}.jsonl", {"chunk_tokens": 8}
    )
    assert measured.format(folder="RUN") == ("tutelage eval RUN/checkpoints/answer --data 'jsonl:a{b}.jsonl' -s maj@8")
    assert compiled.format(folder="RUN") == (
        "tutelage run compile model=primer data='primer:train?n=9' flow=RUN/checkpoints chunk_tokens=8"
    )


def node(role: str, said: str, main: str, other: str, place: int = 0) -> FlowNode:
    return FlowNode(f"{said}{main}{other}{place}", "q", role, place, "m", "o", ("a", "b"), said, main, other)


def test_node_statistics_by_hand() -> None:
    right, wrong = "correct", "incorrect"
    found = flow_report.node_statistics([
        node("answer", "chunk", right, wrong), node("answer", "chunk", wrong, right, 1),
        node("answer", "chunk", wrong, "no_answer", 1), node("answer", "chunk", right, "error"),
        node("stop", "yes", wrong, right), node("stop", "no", wrong, right, 1), node("stop", "yes", right, wrong, 1),
        node("stop", "no", right, wrong), node("stop", "", wrong, right), node("stop", "yes", right, right),
    ])  # fmt: skip
    assert found["answer"]["nodes"] == 3 and found["answer"]["main_right"] == 1 == found["answer"]["rollout_right"]
    assert found["answer"]["by_chunk"][1] == {"chunk": 2, "nodes": 2, "main_right": 0, "rollout_right": 1, "agree": 1}
    stop = {key: value for key, value in found["stop"].items() if key != "by_chunk"}
    assert stop == {
        "nodes": 6, "too_early": 1, "too_late": 2, "rightly_stopped": 1, "rightly_went_on": 1, "no_matter": 1,
    }  # fmt: skip
