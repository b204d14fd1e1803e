"""The study of the 360 pipeline: rows of the settings in the code, a page that says what rows say, its claims."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of the study, by what they are."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("lab", "paths", "pairs", "claims", "report")
    yield SimpleNamespace(
        **{name: import_module(f"reproduce_pipeline_{name}") for name in names}, cells=import_module("cells")
    )


def rows_of(study: SimpleNamespace) -> list[dict[str, Any]]:
    return study.cells.read_rows(BENCHMARKS / "results" / "reproduce_pipeline.jsonl")


def test_rows_were_made_with_the_settings_that_stand_in_the_code(study) -> None:
    known = {cell.key for cell in study.lab.all_cells(is_pilot=False)}
    assert rows_of(study) and {row["key"] for row in rows_of(study)} <= known


def test_the_page_says_what_the_rows_say(study) -> None:
    rows = rows_of(study)
    done = {row["key"] for row in rows}
    missing = [cell for cell in study.lab.all_cells(is_pilot=False) if cell.key not in done]
    text = study.report.section(rows, missing=missing)
    page = study.report.DOCUMENT.read_text(encoding="utf-8")
    begin, end = page.index(study.report.BEGIN) + len(study.report.BEGIN), page.index(study.report.END)
    assert page[begin:end].strip() == text, "python benchmarks/reproduce_pipeline.py --report"


def test_every_claim_is_about_arms_that_the_report_shows(study) -> None:
    shown = {arm for _, arm, _ in study.report.ARMS} | {f"{arm}@hard" for _, arm in study.report.STYLED}
    shown |= {"sampler-primer", "sampler-small"}
    named = {term.stage for claim in study.claims.CLAIMS for one in claim.contrasts for term in one.terms}
    assert named <= shown
    names = [one.name for claim in study.claims.CLAIMS for one in claim.contrasts]
    assert len(set(names)) == len(names), "predictions are kept by these names"


def test_hard_pairs_are_counted_by_type_over_seeds(study) -> None:
    counts = dict.fromkeys(("unsolved", "precision", "cot_wrong_pot_right", "multistep_pot", "plain"), 0)
    stages = {
        "hard-judged": {
            seed: {"pairs": counts | {"hard": hard, "pairs": 2 * hard}, "judge": {"accuracy": 0.8, "n": 200}}
            for seed, hard in ((1, 4), (2, 6))
        }
    }
    lines = study.report._pair_types(stages).split("\n")
    assert lines[2].startswith("| judge | 5.0 ± 1.4 | 0.0 ± 0.0 | 10.0 ± 2.8 |")
    assert lines[-1].endswith("is right about 80.0 ± 0.0 % of 200 answers to dev problems.")


def test_every_part_can_be_run(study) -> None:
    main = import_module("reproduce_pipeline")
    assert set(main.RUN) == set(study.lab.PARTS) and not set(study.lab.SEEDS) & set(study.lab.PILOT_SEEDS)


def test_updates_are_counted_as_training_counts_them(study, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, cell = study.paths.diverse_rft, study.lab.Cell("repeats", 1)
    monkeypatch.setattr(recipe, "passing", lambda *_: ({}, {}))
    monkeypatch.setattr(recipe, "choose", lambda *_: {})
    trained = [row["stages"]["rft-all"] for row in rows_of(study) if "rft-all" in row["stages"]]
    assert trained
    for stage in trained:
        monkeypatch.setattr(recipe, "learnt_from", lambda *_, n=stage["examples"]: ([None] * n, 0))
        assert study.paths.updates_of(study.paths.config_of(cell, 60), None, []) == stage["updates"]


def test_a_part_says_which_siblings_it_needs(study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert study.lab.missing_siblings("sizes") == [("small", 0), ("tiny", 0)]
    assert study.lab.missing_siblings("judged") == []
    assert study.lab.sibling_path("tiny", 1).parent == tmp_path / "tutelage"
