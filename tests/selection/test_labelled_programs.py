"""The canonical form against 200 pairs labelled by hand: what docs/diverse_paths.md says of its errors."""

from __future__ import annotations

import itertools
from pathlib import Path

from tutelage.selection.canonical_programs import canonical_program


def test_two_methods_never_share_a_form_and_most_of_one_method_do() -> None:
    text = Path(__file__).with_name("labelled_programs.txt").read_text(encoding="utf-8")
    same: list[bool] = []
    different: list[bool] = []
    for problem in text.split("\n== ")[1:]:
        parts = [part.split("\n", 1) for part in problem.split("\n-- ")[1:]]
        for (first, a), (second, b) in itertools.combinations(parts, 2):
            forms = canonical_program(a.strip(), fold="inside"), canonical_program(b.strip(), fold="inside")
            assert None not in forms
            (same if first == second else different).append(forms[0] == forms[1])
    assert len(same) + len(different) == 200
    assert not any(different)
    assert sum(same) >= 42, "of 57 pairs of one method"
