"""Draw an evaluation's votes: the margin of each problem's vote with and without a critic.

    python benchmarks/vote_picture.py EVAL_FOLDER OUT.svg [--json]

Reads `votes` of the folder's report.json, which `tutelage eval` writes with a strategy critic-maj@k. A margin is the
share of votes for the right answer minus that for the most frequent wrong one; below 0 the majority is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from reproduce_plots import Line, Panel, write_chart


def panels_of(votes: dict[str, Any]) -> list[Panel]:
    """A panel for each critic-maj@k: problems by their margin without a critic, and the margins with one."""
    panels = []
    for name, picture in votes.items():
        rows = picture["problems"]
        lines = [
            Line("as sampled", [(i, row["plain_margin"]) for i, row in enumerate(rows)], 0),
            Line("refined", [(i, row["critic_margin"]) for i, row in enumerate(rows)], 1),
        ]
        panels.append(Panel(name, "problem, by its margin without a critic", "margin of the vote", lines,
                            (("majority", 0.0),)))  # fmt: skip
    return panels


def main() -> None:
    """Read, draw, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")
    args = parser.parse_args()
    votes = json.loads((args.folder / "report.json").read_text(encoding="utf-8")).get("votes") or {}
    usable = {name: picture for name, picture in votes.items() if picture["problems"]}
    if not usable:
        sys.exit(f"{args.folder} holds no votes: evaluate with -s critic-maj@K and --critic")
    write_chart(panels_of(usable), args.out)
    counts = {name: picture["majority"] for name, picture in usable.items()}
    print(json.dumps(counts) if args.json else "\n".join(f"{name}: {count}" for name, count in counts.items()))


if __name__ == "__main__":
    main()
