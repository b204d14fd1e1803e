"""A run's report as a table and sentences, 80 columns wide, from `report.json` and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tutelage.cli.progress import show_seconds
from tutelage.records import OUR_OUTCOMES

SMALL_P, SIGNIFICANT = 0.0001, 0.05
WORDS_OF_OUTCOMES = {
    "correct": "correct",
    "incorrect": "incorrect",
    "no_answer": "without an answer",
    "truncated": "cut off",
    "timeout": "out of time",
    "undecided": "undecided",
    "error": "failed",
}


def result_console() -> Console:
    """The console for results on stdout: no highlighting, 80 columns where there is no terminal."""
    return Console(highlight=False, soft_wrap=False)


def print_report(
    report: Mapping[str, Any],
    console: Console,
    *,
    folder: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Print everything a finished run has to say.

    Args:
        report: what `report.json` holds.
        folder: where the run lies; None takes the report's own word.
        settings: those of the run, for the commands to try next.
    """
    console.print(f"{report.get('recipe', 'run')} on {report.get('model', 'a model')}", markup=False)
    console.print(iteration_table(report))
    where = str(folder or report.get("run_folder", ""))
    sentences = [
        *(report.get("remarks") or ()),
        paired_sentence(report),
        outcome_sentence(report.get("outcomes") or {}),
        time_sentence(report),
        *alarm_sentences(report),
        f"run folder: {where}" if where else "",
    ]
    for text in filter(None, sentences):
        console.print(text, markup=False)
    steps = next_steps(report, where, settings or {})
    if steps:
        console.print("\nwhat to try next:")
    for purpose, command in steps:
        # Commands are not wrapped, so that they can be copied.
        console.print(f"  {purpose}:\n    {command}", markup=False, soft_wrap=True)


def iteration_table(report: Mapping[str, Any]) -> Table:
    """Iteration, accuracies with their intervals, pairs, log-probs, seconds; columns without a figure are left out."""
    rows = report.get("iterations") or []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    columns = _columns(rows)
    for _, heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(show(row.get(key)) for key, _, show in columns))
    return table


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, Any]]:
    votes = sorted({key for row in rows for key in row if key.startswith(("maj@", "pass@"))})
    candidates = [
        ("iteration", "iter.", _count),
        ("greedy", "greedy (95 % interval)", show_accuracy),
        *((key, key, _percent_of) for key in votes),
        ("pairs", "pairs", _count),
        ("steps", "steps", _count),
        ("chosen_logprob", "chosen\nlog-prob", _nats),
        ("rejected_logprob", "rejected\nlog-prob", _nats),
        ("seconds", "seconds", _seconds),
    ]
    shown = [item for item in candidates if any(row.get(item[0]) is not None for row in rows)]
    has_pairs = any(key == "pairs" for key, _, _ in shown)
    return [item for item in shown if not (has_pairs and item[0] == "steps")]


def show_accuracy(figures: Mapping[str, Any] | None) -> str:
    """An accuracy with its interval: "41.2 % (38.0 to 44.5)"."""
    if not figures:
        return "-"
    return f"{percent(figures['accuracy'])} % ({percent(figures['low'])} to {percent(figures['high'])})"


def percent(share: float) -> str:
    """A share in [0, 1] in percent, with one decimal."""
    return f"{100 * share:.1f}"


def paired_sentence(report: Mapping[str, Any]) -> str:
    """The paired test of the last iteration against the first, in words."""
    kind = str(report.get("sampler", "local")).partition(":")[0]
    if kind in ("scripted", "replay"):
        what = "written by a script" if kind == "scripted" else "recorded before"
        return f"the samples were {what}: these accuracies say nothing about the model or what it learnt"
    test, rows = report.get("paired_test"), report.get("iterations") or []
    if not test or len(rows) < 2:
        return ""
    last, first = rows[-1]["iteration"], rows[0]["iteration"]
    return f"iteration {last} against iteration {first}: {difference_in_words(test)}"


def difference_in_words(test: Mapping[str, Any]) -> str:
    """A paired test: the difference in points, its interval, p, n, and whether it is more than chance."""
    p = test["p_value"]
    shown = f"p < {SMALL_P:.4f}" if p < SMALL_P else f"p = {p:.4f}"
    if not test["difference"]:
        meaning = "no difference"
    elif p >= SIGNIFICANT:
        meaning = "this may be chance"
    else:
        meaning = "more than chance" if test["difference"] > 0 else "a loss, and more than chance"
    return (
        f"{100 * test['difference']:+.1f} points "
        f"(95 % interval {100 * test['low']:+.1f} to {100 * test['high']:+.1f}), "
        f"{shown}, on the same {test['n']} problems: {meaning}"
    )


def outcome_sentence(outcomes: Mapping[str, int]) -> str:
    """What became of the practice samples."""
    total = sum(outcomes.values())
    if not total:
        return ""
    left_out = sum(outcomes.get(name, 0) for name in OUR_OUTCOMES)
    note = "; the undecided and the failed are left out of learning" if left_out else ""
    return f"{total} practice samples: {outcome_words(outcomes)}{note}"


def outcome_words(outcomes: Mapping[Any, int]) -> str:
    """How many of each outcome there are, those of none left out."""
    return ", ".join(f"{count} {WORDS_OF_OUTCOMES.get(name, name)}" for name, count in outcomes.items() if count)


def time_sentence(report: Mapping[str, Any]) -> str:
    """How long it took, and where the time went, largest part first."""
    seconds = report.get("seconds")
    if seconds is None:
        return ""
    spent = {work: part for work, part in (report.get("time_spent") or {}).items() if part}
    whole = sum(spent.values())
    parts = sorted(spent.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{work} {100 * part / whole:.0f} %" for work, part in parts) if whole else ""
    return f"took {show_seconds(seconds)}" + (f": {shares}" if shares else "")


def alarm_sentences(report: Mapping[str, Any]) -> list[str]:
    """What looks wrong, over all iterations."""
    return [f"alarm: {text}" for text in report.get("alarms") or ()]


def next_steps(report: Mapping[str, Any], folder: str, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a user may want to do after this run: (purpose, command) pairs."""
    rows = report.get("iterations") or []
    if not folder or not rows:
        return []
    if own := report.get("next_steps"):  # what was made is no language model
        return [(purpose, command.format(folder=shlex.quote(folder))) for purpose, command in own]
    name = report.get("weights") or f"it{rows[-1]['iteration']}"
    weights = shlex.quote(f"{folder}/checkpoints/{name}")
    is_primer = report.get("model") == "primer"
    data = shlex.quote(settings.get("eval_data") or ("primer:test" if is_primer else "DATA"))
    length = f" max_new_tokens={settings['max_new_tokens']}" if "max_new_tokens" in settings else ""
    command = f"tutelage eval {weights} --data {data} -s maj@8 -s pass@8{length}{_style_of(settings)}"
    steps = [("measure the new weights in other ways", command)]
    if is_primer:
        steps.append(("practise with your own model", "tutelage run iterative-rpo model=MODEL data=gsm8k:FOLDER"))
    return steps


def _style_of(settings: Mapping[str, Any]) -> str:
    """The word that has the programs run which a run taught to write, with a space before it; "" for prose."""
    styles = settings.get("styles") or ["cot"]
    if styles == ["cot"]:
        return ""
    return " style=any" if "cot" in styles else f" style={styles[0]}"


def estimate_lines(cost: Mapping[str, float]) -> list[str]:
    """What a run will cost, in words, a figure a line; it is an upper estimate."""
    return [
        "at most, from a measured warm-up:",
        f"  sampling  {show_seconds(cost['sampling_seconds'])}: {cost['completions']:,.0f} completions of about "
        f"{cost['tokens_per_completion']:.0f} tokens, {cost['sampled_tokens']:,.0f} tokens "
        f"at {cost['tokens_per_second']:,.0f}/s",
        f"  learning  {show_seconds(cost['learning_seconds'])}: {cost['optimizer_steps']:,.0f} steps "
        f"of {cost['seconds_per_step']:.2f} s on {cost['pairs']:,.0f} pairs",
        f"  in all    {show_seconds(cost['total_seconds'])}",
        f"  memory    {cost['peak_memory_bytes'] / 2**30:.1f} GiB at the peak of the warm-up",
    ]


def _count(value: Any) -> str:
    return "-" if value is None else str(value)


def _percent_of(figures: Mapping[str, Any] | None) -> str:
    return "-" if not figures else f"{percent(figures['accuracy'])} %"


def _nats(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
