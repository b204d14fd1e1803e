"""The printed report."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tutelage.cli.tables import difference_in_words, estimate_lines, next_steps, print_report


def accuracy(value: float, n: int = 500) -> dict[str, Any]:
    return {"accuracy": value, "low": value - 0.04, "high": value + 0.04, "n": n}


REPORT: dict[str, Any] = {
    "recipe": "iterative-rpo",
    "model": "primer",
    "seconds": 190.4,
    "iterations": [
        {"iteration": 0, "greedy": accuracy(0.357), "maj@8": accuracy(0.4), "pairs": None, "seconds": 20.2},
        {
            "iteration": 1, "greedy": accuracy(0.8), "maj@8": accuracy(0.85), "pairs": 1210, "steps": 75,
            "chosen_logprob": -11.123, "rejected_logprob": -1043.9, "seconds": 170.2,
        },
    ],
    "paired_test": {"difference": 0.443, "low": 0.39, "high": 0.5, "p_value": 1e-9, "n": 500},
    "outcomes": {"correct": 900, "incorrect": 300, "no_answer": 0, "truncated": 4, "timeout": 0, "error": 1},
    "time_spent": {"sampling": 60.0, "learning": 100.0, "grading": 10.0, "other": 30.0},
    "alarms": ["1 of 1205 samples could not be graded", "iteration 1: rejected is high"],
    "run_folder": "demo-seed0",
}  # fmt: skip


def printed(report: dict[str, Any], folder: Path | None = None) -> str:
    target = io.StringIO()
    print_report(report, Console(file=target, width=80), folder=folder)
    return target.getvalue()


def test_the_report_says_everything_within_80_columns() -> None:
    text = printed(REPORT, Path("runs/demo-seed0"))
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("    "))
    flat = " ".join(text.split())
    for part in (
        "35.7 % (31.7 to 39.7)",
        "80.0 % (76.0 to 84.0)",
        "85.0 %",
        "1210",
        "-11.12",
        "-1044",
        "iteration 1 against iteration 0: +44.3 points (95 % interval +39.0 to +50.0), p < 0.0001, on the same 500 "
        "problems: more than chance",
        "1205 practice samples: 900 correct, 300 incorrect, 4 cut off, 1 failed; the undecided and the failed are left "
        "out of learning",
        "took 3 min 10 s: learning 50 %, sampling 30 %, other 15 %, grading 5 %",
        "alarm: iteration 1: rejected is high",
        "alarm: 1 of 1205",
        "run folder: runs/demo-seed0",
        "tutelage eval runs/demo-seed0/checkpoints/it1 --data primer:test",
    ):
        assert part in flat, part


def test_a_bare_report_prints_what_it_has() -> None:
    text = printed({"recipe": "sft", "model": "m", "seconds": 3.0, "iterations": [], "outcomes": {}})
    assert "sft on m" in text and "took 3.0 s" in text
    assert "against" not in text and "samples" not in text


def test_columns_without_a_figure_are_left_out() -> None:
    text = printed({"recipe": "sft", "model": "m", "iterations": [{"iteration": 0, "greedy": accuracy(0.5)}]})
    assert "maj@" not in text and "pairs" not in text and "50.0 % (46.0 to 54.0)" in text


def test_model_names_are_not_markup() -> None:
    assert "on [red]m[/red]" in printed({"recipe": "sft", "model": "[red]m[/red]", "iterations": []})


def test_a_difference_that_may_be_chance_is_called_so() -> None:
    words = difference_in_words({"difference": -0.01, "low": -0.03, "high": 0.01, "p_value": 0.4, "n": 300})
    assert words == (
        "-1.0 points (95 % interval -3.0 to +1.0), p = 0.4000, on the same 300 problems: this may be chance"
    )
    assert difference_in_words({"difference": -0.1, "low": -0.2, "high": -0.05, "p_value": 0.001, "n": 30}).endswith(
        "a loss, and more than chance"
    )


@pytest.mark.parametrize(
    ("styles", "word"), [(None, ""), (["cot"], ""), (["cot", "pot"], " style=any"), (["pot", "mixed"], " style=pot")]
)
def test_programs_that_were_taught_run_in_what_to_try_next(styles: list[str] | None, word: str) -> None:
    (_, command), *_ = next_steps(REPORT, "runs/a", {"max_new_tokens": 96, "styles": styles})
    assert command.endswith(f"max_new_tokens=96{word}")


def test_folders_with_spaces_are_quoted_in_what_to_try_next() -> None:
    (_, command), *_ = next_steps(REPORT, "my runs/a", {"eval_data": "jsonl:my data", "max_new_tokens": 96})
    assert command == (
        "tutelage eval 'my runs/a/checkpoints/it1' --data 'jsonl:my data' -s maj@8 -s pass@8 max_new_tokens=96"
    )


def test_an_estimate_in_words() -> None:
    cost = {
        "completions": 5000, "sampled_tokens": 500000, "sampling_seconds": 250.0, "pairs": 2400, "optimizer_steps": 150,
        "learning_seconds": 45.0, "total_seconds": 295.0, "peak_memory_bytes": 2**30, "tokens_per_second": 2000.0,
        "seconds_per_step": 0.3, "tokens_per_completion": 100.0,
    }  # fmt: skip
    lines = estimate_lines(cost)
    assert lines[1] == "  sampling  4 min 10 s: 5,000 completions of about 100 tokens, 500,000 tokens at 2,000/s"
    assert lines[3].split() == ["in", "all", "4", "min", "55", "s"]
