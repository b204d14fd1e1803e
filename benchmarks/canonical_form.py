"""How often the canonical form is wrong about two programs: 200 pairs whose methods were labelled by hand.

`tests/selection/labelled_programs.txt` holds programs and their labels. Two kinds of error: two forms of one method,
which cost a second path where one would do; and one form of two methods, which lose a path. Compared with the plain
text of the programs, and with their text once comments and layout are gone.

    python benchmarks/canonical_form.py --json
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tutelage.evaluation.statistics import wilson
from tutelage.selection.canonical_programs import canonical_program

FILE = Path(__file__).resolve().parent.parent / "tests" / "selection" / "labelled_programs.txt"
FORMS: dict[str, Callable[[str], str | None]] = {
    "text": str.strip,
    "layout": lambda source: ast.unparse(ast.parse(source)),
    "canonical, fold inside": lambda source: canonical_program(source, fold="inside"),
    "canonical, fold all": lambda source: canonical_program(source, fold="all"),
}


def read_labelled(path: Path = FILE) -> list[list[tuple[str, str]]]:
    """Of each problem its programs, as (label, source)."""
    problems = path.read_text(encoding="utf-8").split("\n== ")[1:]
    return [
        [(part.split("\n", 1)[0].strip(), part.split("\n", 1)[1].strip()) for part in problem.split("\n-- ")[1:]]
        for problem in problems
    ]


def errors(form: Callable[[str], str | None]) -> dict[str, Any]:
    """Pairs that a form gets wrong, by kind, with 95 % intervals of the shares."""
    counts = {"same": [0, 0], "different": [0, 0]}
    for programs in read_labelled():
        for (first, a), (second, b) in itertools.combinations(programs, 2):
            kind = "same" if first == second else "different"
            counts[kind][0] += (form(a) == form(b)) != (first == second)
            counts[kind][1] += 1
    wrong, total = (sum(count[i] for count in counts.values()) for i in (0, 1))
    interval = wilson(wrong, total)
    return {
        "pairs": total, "wrong": wrong, "error_rate": round(wrong / total, 4),
        "low": round(interval.low, 4), "high": round(interval.high, 4),
        "one_method_two_forms": counts["same"], "two_methods_one_form": counts["different"],
    }  # fmt: skip


def main() -> None:
    """Print one line a form."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="a JSON object a form")
    as_json = parser.parse_args().json
    for name, form in FORMS.items():
        row = {"name": f"canonical-form-{name}", "ours": errors(form)}
        print(json.dumps(row) if as_json else f"{name:24} {row['ours']}")


if __name__ == "__main__":
    main()
