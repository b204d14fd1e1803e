"""Votes and equal cost in an evaluation with a critic: what the report holds is what the records say."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

from typer.testing import CliRunner

from tutelage.cli.main import app
from tutelage.records import Completion, Verdict
from tutelage.store.run import Run

SVG = "{http://www.w3.org/2000/svg}"


def test_votes_are_reported_problem_by_problem_and_drawn(tmp_path) -> None:
    folder = tmp_path / "eval"
    words = ["eval", "primer", "--data", "primer:dev?n=4", "--critic", "primer", "-s", "critic-maj@2", "-s", "maj@6",
             "sampler=scripted", "max_new_tokens=90", "--output", str(folder)]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    report = json.loads((folder / "report.json").read_text())
    (row,) = report["equal_cost"]
    assert (row["strategy"], row["against"], row["n"]) == ("critic-maj@2", "maj@6", 4)
    values = {entry["strategy"]: entry["accuracy"] for entry in report["strategies"]}
    assert abs(row["difference"] - (values["critic-maj@2"] - values["maj@6"])) < 1e-9
    picture = report["votes"]["critic-maj@2"]
    run = Run.open(folder)
    verdicts = {v.completion_id: v for v in run.read("verdicts", Verdict)}
    first: dict[str, list[bool]] = {}
    for completion in run.read("completions", Completion):
        if completion.role == "answer" and completion.index < 2:
            first.setdefault(completion.problem_id, []).append(verdicts[completion.id].is_correct)
    for problem in picture["problems"]:
        own = first[problem["problem_id"]]
        assert problem["plain_right"] == sum(own) / len(own)
        assert problem["plain_margin"] == problem["plain_right"] - problem["plain_wrong"]
    assert sum(picture["majority"].values()) == len(picture["problems"]) == 4
    drawn = ET.fromstring((folder / "votes.svg").read_text())
    assert {"critic-maj@2", "as sampled", "refined"} <= {text.text for text in drawn.iter(f"{SVG}text")}
    assert (folder / "votes.svg").read_text() in (folder / "report.html").read_text()
