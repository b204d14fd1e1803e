"""Paths a second, one core: canonicalise and select, 100 paths of each problem.

    programs   programs of 6 to 12 lines, every text different (names, remarks, order of operands, dead lines), a dozen
               methods a problem
    equations  worked solutions in prose with 3 to 6 equations, every text different, a dozen methods a problem

Every text is read once, and each round starts with nothing remembered. Within a round of a dozen problems is kept what
a run keeps: forms of programs that differ in names and remarks only, and equations. The rows with `-cold` forget all of
that after each problem too. Selection is RFT's rule on all 100. There is no peer, so there is no `ratio`; times are CPU
seconds of one process, which grow where a core is shared.
`python benchmarks/diversity.py --json > benchmarks/results/diversity.jsonl`
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from typing import Any

from paired import machine, summary

from tutelage.records import Completion, Policy, SamplingParams
from tutelage.selection import canonical_programs, equations
from tutelage.selection.diversity import Path, bounded_set, replacement_pass
from tutelage.selection.paths import path_of

PATHS, PROBLEMS, ROUNDS = 100, 12, 5
TARGET = 1000
THINGS = ("eggs", "boxes", "price", "total", "left", "paid", "hours", "rate", "cost", "boys", "girls", "share", "gain")


def program_text(rng: random.Random) -> str:
    """One of a dozen methods, written in its own words."""
    method = rng.randrange(12)
    names = rng.sample(THINGS, 6)
    a, b, c, d, e, f = (f"{name}_{rng.randrange(100)}" for name in names)
    lines = [f"{a} = 16", f"{b} = 3", f"{c} = 4  # {rng.choice(THINGS)} {rng.randrange(10_000)}"]
    if rng.random() < 0.3:
        lines.append(f"{f} = {a} * {rng.randrange(50)}")
    swap = rng.random() < 0.5
    lines.append(f"{d} = {b} * {c}" if swap else f"{d} = {c} * {b}")
    for step in range(method % 4 + 1):
        lines.append(f"{d} += {a} * {step + 2}" if step % 2 else f"{d} = {d} + {a} * {step + 2}")
    lines.append(f"{e} = ({a} - {b}) * {method + 2}")
    lines.append(f"if {d} > {e}:\n    print({d} - {e})\nelse:\n    print({e} - {d})")
    if rng.random() < 0.5:
        return (
            "def solution():\n" + "\n".join("    " + row for line in lines for row in line.split("\n")) + "\nsolution()"
        )
    return "\n".join(lines)


def prose_text(rng: random.Random) -> str:
    """One of a dozen methods of three to six equations, told in its own words."""
    method = random.Random(rng.randrange(12))
    value, rows = method.randrange(2, 20), []
    for _ in range(method.randrange(3, 7)):
        right = method.randrange(2, 12)
        sign = method.choice("+*")
        result = value + right if sign == "+" else value * right
        first, second = rng.choice(THINGS), rng.choice(THINGS)
        rows.append(f"Then {first} {rng.randrange(10_000)} make {value} {sign} {right} = {result} {second}.")
        value = result
    return "\n".join(rows) + f"\nFinal answer: {value}"


def completion_of(text: str, number: int) -> Completion:
    """A record around a text."""
    shown = f"```python\n{text}\n```" if "print" in text else text
    return Completion(
        str(number),
        "p",
        "answer",
        Policy("bench"),
        "",
        (),
        (),
        shown,
        (),
        (),
        "stop",
        SamplingParams(),
        0,
        index=number,
    )


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of a piece of work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def forget() -> None:
    """Drop whatever reading a path leaves behind."""
    canonical_programs._FORMS.clear()
    for cached in (canonical_programs.canonical_program, equations.read_equation, equations._value, equations._in_line):
        cached.cache_clear()


def one_round(problems: list[list[Completion]], *, is_cold: bool) -> tuple[float, float, float, int]:
    """Seconds of reading, choosing by RFT's rule and choosing eight, and how many paths the rule kept."""
    reading = choosing = bounded = 0.0
    kept = 0
    forget()
    for completions in problems:
        if is_cold:
            forget()
        paths: list[Path] = []
        reading += seconds(lambda c=completions, out=paths: out.extend(map(path_of, c)))
        chosen: list[Path] = []
        choosing += seconds(lambda p=paths, out=chosen: out.extend(replacement_pass(p)))
        bounded += seconds(lambda p=paths: bounded_set(p, 8))
        kept += len(chosen)
    return reading, choosing, bounded, kept


def measure(make: Callable[[random.Random], str], name: str, *, is_cold: bool) -> dict[str, Any]:
    """Paths a second over fresh texts in each round."""
    rates, kept, parts = [], 0, []
    for number in range(ROUNDS + 1):
        rng = random.Random(number)
        problems = [[completion_of(make(rng), i) for i in range(PATHS)] for _ in range(PROBLEMS)]
        row = one_round(problems, is_cold=is_cold)
        if number:  # the first round imports and compiles
            rates.append(PROBLEMS * PATHS / (row[0] + row[1]))
            parts.append(row[:3])
            kept += row[3]
    total = ROUNDS * PROBLEMS * PATHS
    return {
        "name": f"diversity-{name}{'-cold' if is_cold else ''}",
        "ours": {
            "paths_per_second": summary(rates), "at_least": TARGET,
            "microseconds_a_path": {
                part: round(1e6 * sum(row[i] for row in parts) / total, 1)
                for i, part in enumerate(("read", "replacement_pass", "bounded_set"))
            },
            "forgets": "after each problem" if is_cold else "after each round",
            "paths_a_problem": PATHS, "kept_a_problem": round(kept / (ROUNDS * PROBLEMS), 2),
        },
        "machine": machine(),
    }  # fmt: skip


def main() -> None:
    """Print one line a workload."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="a JSON object a workload")
    as_json = parser.parse_args().json
    workloads = ((program_text, "programs"), (prose_text, "equations"))
    for make, name, is_cold in ((*one, is_cold) for one in workloads for is_cold in (False, True)):
        row = measure(make, name, is_cold=is_cold)
        rate = row["ours"]["paths_per_second"]
        print(
            json.dumps(row) if as_json else f"{row['name']}: {rate['median']} paths/s ({rate['min']} to {rate['max']})",
            flush=True,
        )


if __name__ == "__main__":
    main()
