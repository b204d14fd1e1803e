"""Tables and verdicts of the study of the 360 pipeline, from its rows alone, for `docs/papers.md`.

Published figures: arXiv 2308.01825, Tables 1 and 6, and the 360 talk (2024).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reproduce_pipeline_claims import CLAIMS, PREDICTIONS, WORLD
from reproduce_statistics import Claim, Decision, Rows, decide, seeds_needed, table
from reproduce_tables import claims_table, spread, verdict, write_predictions, write_section

from tutelage.selection.difficulty import NUM_BINS

DOCUMENT = Path(__file__).parent.parent / "docs" / "papers.md"
BEGIN, END = "<!-- begin: pipeline (generated) -->", "<!-- end: pipeline -->"
ARMS = (
    ("before", "before", "-"), ("SFT, 3 epochs", "sft", "35.9"), ("SFT, as many updates as RFT", "sft-long", "-"),
    ("RFT, one sampler", "rft", "41.7"),
    ("RFT, one sampler, made again", "rft-again", "41.7"),
    ("RFT, one sampler, without deduplication", "rft-all", "43.6"),
    ("RFT, one sampler, diverse paths for as many updates", "rft-long", "-"),
    ("RFT, one sampler, without deduplication for few updates", "all-short", "-"),
    ("RFT, one sampler drawn three times", "thrice", "-"), ("RFT, union of three samplers", "union", "49.3"),
    ("RFT, union of three sizes", "union-sizes", "49.3"), ("RFT, tiny sampler drawn twice", "tiny-twice", "-"),
    ("RFT, tiny samplers of two schoolings", "union-schools", "-"),
    ("24 worked solutions: SFT, 3 epochs", "few", "-"), ("the same, as many updates as its RFT", "few-long", "-"),
    ("the same and 60 answers: RFT, one sampler", "few-rft", "-"),
    ("the same and 60 answers: RFT, union of three sizes", "few-union", "-"),
    ("84 worked solutions: SFT, 3 epochs", "many", "-"),
    ("start: SFT, 3 epochs, prose as the textbooks write it", "start", "-"), ("hard pairs", "hard", "win 17, lose 10"),
    ("hard pairs, hardness by a judge", "hard-judged", "win 17, lose 10"),
    ("best-versus-worst pairs", "best-worst", "no gain"),
    ("best-versus-worst pairs by a judge's score", "best-worst-judged", "no gain"), ("PPO", "ppo", "+1"),
    ("24 problems, prose and programs: SFT; in prose", "start-both", "-"),
    ("the same; by programs", "start-both-pot", "-"),
    ("the same; in prose, programs that come run", "start-both-any", "-"),
    ("hard pairs of prose and programs; in prose", "hard-both", "-"),
    ("the same; by programs", "hard-both-pot", "-"),
    ("the same; in prose, programs that come run", "hard-both-any", "-"),
)  # fmt: skip
"""Words, stage, the source's figure."""
UNIONS = {
    "union": "union", "thrice": "one sampler three times", "rft-all": "one sampler, every right path",
    "union-sizes": "union of three sizes", "tiny-twice": "tiny sampler twice",
    "union-schools": "union of two schoolings", "few-rft": "24 worked, 60 answers: one sampler",
    "few-union": "24 worked, 60 answers: union of three sizes",
}  # fmt: skip
"""Arms that learn paths, in words."""
ORIGIN = dict.fromkeys(("hard", "hard-judged", "best-worst", "best-worst-judged", "ppo"), "start") | {
    f"hard-both{way}": f"start-both{way}" for way in ("", "-pot", "-any")
}
"""Arms that do not begin with the model as it was, and what they begin with."""
STARTS = ("before", "start", *(f"start-both{way}" for way in ("", "-pot", "-any")))
PAIRED = {"hard": "grader", "hard-judged": "judge", "hard-both": "grader, half of the samples programs"}
STYLED = (("prose, plain loss", "plain"), ("prose, dynamic loss", "dynamic"), ("programs, plain loss", "plain-pot"),
          ("programs, dynamic loss", "dynamic-pot"))  # fmt: skip
HARD = 0.5


def by_stage(rows: Iterable[dict[str, Any]]) -> Rows:
    """Stage rows by name and seed; those of the dynamic loss also on hard problems alone, as `NAME@hard`."""
    rows = list(rows)
    rates = next((row["rates"] for row in rows if row["part"] == "before"), None)
    found: dict[str, dict[int, Any]] = {}
    for row in rows:
        for name, stage in row["stages"].items():
            found.setdefault(name, {})[row["seed"]] = stage
            if row["part"] == "dynamic" and rates is not None:
                text = "".join(c for c, rate in zip(stage["greedy"]["solved"], rates, strict=True) if rate < HARD)
                greedy = {"solved": text, "accuracy": text.count("1") / max(1, len(text))}
                found.setdefault(f"{name}@hard", {})[row["seed"]] = {"greedy": greedy}
    return found


def predict(rows: list[dict[str, Any]], earlier: list[dict[str, Any]]) -> None:
    """Write what the pilot says of every contrast.

    Args:
        rows: of the pilot.
        earlier: of a pilot with other settings; its spread stands in for a contrast that has one seed only.
    """
    stages, other = by_stage(rows), by_stage(earlier)
    write_predictions(CLAIMS, lambda _: stages, PREDICTIONS)
    lines = PREDICTIONS.read_text(encoding="utf-8").splitlines()
    for contrast in (contrast for claim in CLAIMS for contrast in claim.contrasts):
        values, before = table(stages, contrast), table(other, contrast)
        if values is None or before is None or len(values) > 1 or len(before) < 2:
            continue
        mean, deviation = float(values.mean()), max(0.001, statistics.stdev(map(float, before.mean(axis=1))))
        row = {"contrast": f"{WORLD}: {contrast.name}", "mean": round(mean, 4), "spread": round(deviation, 4),
               "seeds": 1, "needed": seeds_needed(mean, deviation), "spread_of": "first pilot"}  # fmt: skip
        lines.append(json.dumps(row))
    PREDICTIONS.write_text("\n".join(line for line in lines if line) + "\n", encoding="utf-8")


def write_report(rows: list[dict[str, Any]], *, missing: Sequence[Any]) -> None:
    """Print the verdicts, and put the tables into the documentation."""
    for claim, decisions in decide_all(by_stage(rows)):
        print(f"{verdict(decisions):10} {claim.text}")
    write_section(DOCUMENT, BEGIN, END, section(rows, missing=missing))


def decide_all(stages: Rows) -> list[tuple[Claim, list[Decision | None]]]:
    """All claims with the decisions on their contrasts."""
    return [(claim, [decide(stages, contrast) for contrast in claim.contrasts]) for claim in CLAIMS]


def section(rows: list[dict[str, Any]], *, missing: Sequence[Any]) -> str:
    """What stands between the markers of the documentation."""
    stages = by_stage(rows)
    parts = [
        _setting(rows, stages, missing), "#### Accuracies\n\n" + _accuracies(stages), "#### Paths\n\n" + _paths(stages),
        "#### Hard pairs by type\n\n" + _pair_types(stages),
        "#### Diagnosis of the pairs: by difficulty under the start\n\n" + _difficulty(stages),
        "#### Dynamic loss\n\n" + _dynamic(stages),
        "#### Claims of the pipeline\n\n" + claims_table(decide_all(stages)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def _setting(rows: list[dict[str, Any]], stages: Rows, missing: Sequence[Any]) -> str:
    seeds = sorted({row["seed"] for row in rows if row["part"] != "before"})
    minutes = sum(row["cpu_seconds"] for row in rows) / 60
    count = len(next(iter(next(iter(stages.values())).values()))["greedy"]["solved"])
    lacking = f" Not run: {', '.join(f'{cell.part} seed {cell.seed}' for cell in missing)}." if missing else ""
    return (f"World `{WORLD}`; seeds {', '.join(map(str, seeds))}; {count} test problems greedily; "
            f"{minutes:.0f} CPU-minutes; percent, mean ± standard deviation over seeds.{lacking}")  # fmt: skip


def _percent(stages: Rows, name: str) -> str:
    return spread([100 * row["greedy"]["accuracy"] for row in stages.get(name, {}).values()])


def _mean(stages: Rows, name: str, key: str) -> str:
    rows = stages.get(name, {}).values()
    values = [row[key] for row in rows if row.get(key) is not None]
    if key == "examples" and not values:
        values = [row["pairs"]["pairs"] for row in rows if "pairs" in row]
    return f"{statistics.fmean(values):.0f}" if values else "-"


def _accuracies(stages: Rows) -> str:
    lines = ["| method | greedy | solved before, lost | unsolved before, gained | examples or pairs | updates "
             "| source |",
             "|---|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for words, name, source in ARMS:
        if name not in stages:
            continue
        lost, gained = _moved(stages, ORIGIN.get(name, "before"), name) if name not in STARTS else ("-", "-")
        lines.append(f"| {words} | {_percent(stages, name)} | {lost} | {gained} | {_mean(stages, name, 'examples')} "
                     f"| {_mean(stages, name, 'updates')} | {source} |")  # fmt: skip
    return "\n".join(lines)


def _moved(stages: Rows, origin: str, name: str) -> tuple[str, str]:
    """Shares of all test problems that only the first, and only the second model solves."""
    lost, gained = [], []
    firsts = stages.get(origin, {})
    for seed, row in stages.get(name, {}).items():
        first = firsts.get(seed) or (next(iter(firsts.values())) if origin == "before" and firsts else None)
        if first is None:
            continue
        pairs = list(zip(first["greedy"]["solved"], row["greedy"]["solved"], strict=True))
        lost.append(100 * pairs.count(("1", "0")) / len(pairs))
        gained.append(100 * pairs.count(("0", "1")) / len(pairs))
    return spread(lost), spread(gained)


def _paths(stages: Rows) -> str:
    """Distinct right paths a problem of each sampler and union, and who gave what."""
    if not stages.get("union"):
        return ""
    lines = ["| learnt together | sampler | greedy | right samples, % | distinct paths a problem | of a solved one "
             "| only it found, % of all | kept, % of all | tokens a distinct path | R² of log k | R² of k "
             "| paths for each doubling of k |", "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for name in (name for name in UNIONS if name in stages):
        some = list(stages[name].values())
        if name in ("union", "union-sizes", "union-schools", "few-union"):
            lines += [f"| {UNIONS[name]} {line}" for line in _samplers(stages, some)]
        found = spread([row["figures"]["distinct"] for row in some], 2)
        solved = spread([row["paths"]["distinct"] / row["solved_by_any"] for row in some], 2)
        whole = list(some[0]["paths"]["distinct_by_samples"])[-1]  # "union", or the only sampler
        lines.append(f"| {UNIONS[name]} | all | | | {found} | {solved} | | | | {_fits(some, whole)} |")
    shared = {name: spread([100 * row["paths"]["shared_share"] for row in stages[name].values()])
              for name in UNIONS if name in stages and name.startswith(("union", "few-union"))}  # fmt: skip
    lines += ["", "A path that several found is kept in the name of the one listed first: shares kept follow that "
              "order, exclusive ones do not. Found by several: "
              + "; ".join(f"{UNIONS[name]} {share} %" for name, share in shared.items()) + "."]  # fmt: skip
    rows, thrice = list(stages["union"].values()), list(stages.get("thrice", {}).values())
    ks = [str(k) for k, _ in rows[0]["paths"]["distinct_by_samples"]["union"]["points"]]
    lines += ["", f"Distinct right paths a problem after {', '.join(ks)} samples: union "
              f"{_curve(rows)}; one sampler three times {_curve(thrice)}."]  # fmt: skip
    return "\n".join(lines)


def _samplers(stages: Rows, rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each sampler of a union, without its first cell."""
    lines = []
    for place, part in enumerate(rows[0]["paths"]["samplers"]):
        name, problems = part["sampler"], rows[0]["paths"]["distinct"] / rows[0]["figures"]["distinct"]
        parts = [row["paths"]["samplers"][place] for row in rows]
        each = [p["distinct"] / row["solved"][name] for row, p in zip(rows, parts, strict=True)]
        cells = [
            name, _percent(stages, name), spread([100 * p["correct"] / p["samples"] for p in parts]),
            spread([p["distinct"] / problems for p in parts], 2), spread(each, 2),
            spread([100 * p["exclusive_share"] for p in parts]), spread([100 * p["kept_share"] for p in parts]),
            spread([p["tokens"] / max(1, p["distinct"]) for p in parts], 0), _fits(rows, name),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _pair_types(stages: Rows) -> str:
    """How many hard problems there were and which pairs they gave, means over seeds; how good the judge was."""
    lines = ["| hard by | hard problems | unsolved | pairs | precision | prose wrong, program right "
             "| program of several steps | plain |", "|---|--:|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    keys = ("hard", "unsolved", "pairs", "precision", "cot_wrong_pot_right", "multistep_pot", "plain")
    for name, words in PAIRED.items():
        if counts := [row["pairs"] for row in stages.get(name, {}).values()]:
            means = " | ".join(spread([float(c[key]) for c in counts]) for key in keys)
            lines.append(f"| {words} | {means} |")
    if judged := [row["judge"] for row in stages.get("hard-judged", {}).values()]:
        share = spread([100 * one["accuracy"] for one in judged])
        lines += ["", f"The judge, not shown the reference answer, is right about {share} % of "
                  f"{judged[0]['n']} answers to dev problems."]  # fmt: skip
    return "\n".join(lines)


def _fits(rows: Sequence[dict[str, Any]], name: str) -> str:
    fits = [row["paths"]["distinct_by_samples"][name]["fit"] for row in rows]
    return " | ".join(spread([fit[key] for fit in fits], 2) for key in ("log", "linear", "per_doubling"))


def _curve(rows: Sequence[dict[str, Any]]) -> str:
    curves = [row["paths"]["distinct_by_samples"]["union"]["points"] for row in rows]
    return ", ".join(f"{statistics.fmean(point[1] for point in points):.2f}" for points in zip(*curves, strict=True))


def _difficulty(stages: Rows) -> str:
    lines = ["| pairs | pass rate under the start | problems | pass rate, before → after | entropy of answers, nats "
             "| distinct right paths |",
             "|---|---|--:|--:|--:|--:|"]  # fmt: skip
    for words, name in (("hard", "hard"), ("best-versus-worst", "best-worst")):
        tables = [row["by_difficulty"] for row in stages.get(name, {}).values()]
        for number in range(NUM_BINS if tables else 0):
            some = [table[number] for table in tables if table[number]["problems"]]
            if some:
                count = spread([float(entry["problems"]) for entry in some], 0)
                moved = " | ".join(_arrow(some, what) for what in ("pass_rate", "entropy", "distinct"))
                band = f"{number / NUM_BINS:.1f} to {(number + 1) / NUM_BINS:.1f}"
                lines.append(f"| {words} | {band} | {count} | {moved} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _arrow(entries: Sequence[dict[str, Any]], what: str) -> str:
    """Before and after, each problem counted once over all seeds."""
    total = sum(entry["problems"] for entry in entries)
    sides = [sum(entry[what][side] * entry["problems"] for entry in entries) / total for side in (0, 1)]
    return " → ".join(f"{side:.2f}" for side in sides)


def _dynamic(stages: Rows) -> str:
    if "dynamic" not in stages:
        return ""
    hard = next(iter(stages["dynamic@hard"].values()))["greedy"]["solved"] if "dynamic@hard" in stages else ""
    lines = [f"| solves in | all | hard ({len(hard)}: pass rate before below {HARD}) |", "|---|--:|--:|"]
    lines += [f"| {words} | {_percent(stages, name)} | {_percent(stages, name + '@hard')} |" for words, name in STYLED]
    lines += ["", "Mean NLL of training solutions by pass rate before (hardest fifth first), over the training:", "",
              "| loss | steps to | 0.0 to 0.2 | to 0.4 | to 0.6 | to 0.8 | to 1.0 |",
              "|---|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for name in ("plain", "dynamic"):
        curves = [row["loss"] for row in stages[name].values()]
        picked = [0, 1, 2, len(curves[0]) // 2, len(curves[0]) - 1]
        for place in dict.fromkeys(picked):
            points = [curve[place] for curve in curves]
            means = [[p["nll"][b] for p in points if p["nll"][b] is not None] for b in range(NUM_BINS)]
            lines.append(f"| {name} | {points[0]['step']} | " + " | ".join(spread(m, 3) for m in means) + " |")
    return "\n".join(lines)
