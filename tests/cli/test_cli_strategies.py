"""`tutelage eval` with players and programs, and `compare` of two strategies of one folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tutelage.cli.main import main

SCRIPT = """
def write(request):
    answer, prompt = request.metadata["answer"], request.prompt_text
    if "Python program" in prompt and "Write nothing but" in prompt:
        return ["No idea.", f"```python\\nprint({answer})\\n```\\n", "```python\\n1 / 0\\n```\\n"][hash_of(request) % 3]
    return f"Final answer: {answer}"

def hash_of(request):
    return sum(map(ord, request.problem_id))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("eval") / "run"
    words = ["eval", "primer", "--data", "primer:dev?n=4", "-s", "maj@3", "-s", "critic-maj@2", "-s", "pot-then-cot",
             "--critic", "primer", "--curve", "max_new_tokens=64", "-o", str(path)]  # fmt: skip
    assert main(words) == 0
    return path


def test_report_has_costs_figures_and_curves(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    rows = {row["strategy"]: row for row in report["strategies"]}
    assert list(rows) == ["maj@3", "critic-maj@2", "pot-then-cot"]
    assert rows["critic-maj@2"]["cost"].keys() == {"actor", "critic"}
    assert rows["critic-maj@2"]["figures"].keys() >= {"start", "pass", "vote"}
    assert rows["pot-then-cot"]["figures"].keys() == {"fell_back", "no_program"}
    assert rows["maj@3"]["tokens_per_problem"] == rows["maj@3"]["cost"]["actor"]["completion_tokens"] / 4
    assert [point["k"] for point in report["curves"]["maj@3"]] == [1, 2, 3]
    assert "pot-then-cot" not in report["curves"] and len(list((folder / "executions").glob("*"))) == 1


def test_curves_are_drawn_beside_their_data_and_on_the_page(folder: Path) -> None:
    picture = (folder / "curves.svg").read_text()
    assert picture.startswith("<svg") and "maj@k" in picture and "critic-maj@k" in picture
    assert "the answer chosen, against cost" in picture and picture in (folder / "report.html").read_text()


def test_two_strategies_of_one_folder_are_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["compare", str(folder), str(folder), "-s", "maj@3", "--against", "critic-maj@2"]) == 0
    shown = capsys.readouterr().out
    assert "A maj@3, B critic-maj@2" in shown and "critic " in shown and "actor " in shown
    assert main(["compare", str(folder), str(folder), "-s", "maj@3", "--against", "critic-maj@2", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["against"] == "critic-maj@2" and row["sides"]["second_cost"].keys() == {"actor", "critic"}
    assert row["sides"]["second_tokens"] == sum(c["written"] for c in row["sides"]["second_cost"].values())


@pytest.mark.parametrize(
    ("words", "text"),
    [(["-s", "refine"], "--critic MODEL"), (["-s", "best-of-4"], "--reward-model FOLDER"),
     (["-s", "flow"], "stop=FOLDER"),
     (["-s", "sequentail@4"], "sequential@k"), (["-s", "best-of-4", "--reward-model", "primer-none"], "primer-none")],
)  # fmt: skip
def test_who_is_missing_is_named(
    words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "primer", "--data", "primer:dev?n=2", *words, "-o", str(tmp_path / "run")]) == 2
    assert text in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "kind", ["llama", pytest.param("qwen2", marks=pytest.mark.slow), pytest.param("phi3", marks=pytest.mark.slow)]
)
def test_programs_first_on_real_architectures(kind: str, tmp_path: Path, tiny_model_dir: Callable[..., Path]) -> None:
    script, data = tmp_path / "writer.py", tmp_path / "own.jsonl"
    script.write_text(SCRIPT)
    data.write_text(
        "".join(json.dumps({"id": f"q{n}", "question": f"What is {n}?", "answer": str(n)}) + "\n" for n in range(6))
    )
    words = ["eval", str(tiny_model_dir(kind)), "--data", f"jsonl:{data}", "-s", "pot-then-cot", "-o",
             str(tmp_path / "run"), f"sampler=scripted:{script}:write", "max_new_tokens=200"]  # fmt: skip
    assert main(words) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    (row,) = report["strategies"]
    assert row["accuracy"] == 1.0 and row["figures"]["fell_back"]["value"] == pytest.approx(2 / 3)
    assert row["figures"]["no_program"]["value"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_a_trained_flow_answers_as_in_its_own_run(tmp_path: Path) -> None:
    run, evaluated = tmp_path / "run", tmp_path / "eval"
    words = ["run", "flow-dpo", "model=primer", "data=primer:train?n=4", "eval_data=primer:dev?n=3", "chunk_tokens=8",
             "max_chunks=6", "stop_prompt=completeness", "stop_decision=compare", "stream_window=4",
             "pairs_per_update=2", "lora_rank=4", "learning_rate=1e-3", "deviation_tries=2"]  # fmt: skip
    assert main([*words, f"output_dir={run}"]) == 0
    assert main(["eval", str(run / "checkpoints" / "answer"), "--data", "primer:dev?n=3", "-s", "flow", "-o",
                 str(evaluated)]) == 0  # fmt: skip

    def answers(folder: Path) -> dict[str, str]:
        lines = (line for path in sorted((folder / "completions").glob("*.jsonl")) for line in path.open())
        rows = [json.loads(line) for line in lines]
        return {row["problem_id"]: row["text"] for row in rows if row["note"] == "all chunks joined"}

    asked = answers(evaluated)
    assert len(asked) == 3 and asked == {name: text for name, text in answers(run).items() if name in asked}
    (row,) = json.loads((evaluated / "report.json").read_text())["strategies"]
    assert row["cost"].keys() == {"actor", "stop"} and row["figures"].keys() == {"chunks"}
